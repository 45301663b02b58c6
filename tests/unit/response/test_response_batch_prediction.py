"""A table of patients: what is refused by name, what a row says, and that an identifier is only handed through."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.cli.main import app
from oncoresponse.errors import OncoResponseError, PredictionTableInvalid
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.batch_prediction import (
    OUTPUT_COLUMNS,
    predict_table,
    read_prediction_table,
    write_predictions,
)
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.task import ResponseInput
from typer.testing import CliRunner

PATIENT = "Doe^Jane 4711"


@pytest.fixture(scope="module")
def model(models_that_predict: Path) -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(models_that_predict / "sts-petct"))


@pytest.fixture(scope="module")
def names(model) -> list[str]:
    return list(model.document.input_names)


@pytest.fixture(scope="module")
def header(names) -> str:
    return ",".join(["id", *names])


@pytest.fixture(scope="module")
def small(model) -> list[float]:
    """Small tumors of low uptake: 5th percentiles of the training patients."""
    return [entry.low for entry in model.document.training]


@pytest.fixture(scope="module")
def large(model) -> list[float]:
    """Large tumors of high uptake: 95th percentiles."""
    return [entry.high for entry in model.document.training]


@pytest.fixture(scope="module")
def rows(model, small, large) -> list[str]:
    """Five patients, and what becomes of them is known beforehand."""
    middle = [entry.median for entry in model.document.training]
    extreme = [0.95 * entry.maximum for entry in model.document.inputs]
    return [
        line("small", small),
        line(PATIENT, large),
        line("one missing", [*middle[:-1], ""]),
        line("unlike the others", extreme),
        line("impossible", [-5.0, *small[1:]]),
    ]


def line(*cells: object) -> str:
    identifier, values = cells
    return ",".join([str(identifier), *map(str, values)])


@pytest.fixture
def table(tmp_path):
    """Factory: a CSV file of lines."""

    def write(*lines: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "inputs.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return path

    return write


def answers(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_each_row_is_what_the_model_says_of_that_patient(model, table, header, rows, names, large, tmp_path):
    read = read_prediction_table(table(header, *rows), model.document.inputs)
    seen: list[int] = []
    predictions = predict_table(model, read, seen.append)
    write_predictions(tmp_path / "out.csv", read, predictions)
    found = answers(tmp_path / "out.csv")
    assert tuple(found[0]) == OUTPUT_COLUMNS
    assert [row["id"] for row in found] == [row.split(",")[0] for row in rows]
    assert [row["answer"] for row in found] == [
        "favorable",
        "unfavorable",
        "indeterminate",
        "out_of_distribution",
        "out_of_distribution",
    ]
    values = dict(zip(names, large, strict=True))
    alone = model.predict(values, values)
    assert float(found[1]["probability"]) == alone.probability
    assert float(found[1]["interval_low"]) == alone.interval_low
    assert float(found[1]["interval_high"]) == alone.interval_high
    assert found[1]["prediction_set"] == "unfavorable"
    assert float(found[1]["out_of_distribution_score"]) == alone.outside.score / alone.outside.threshold
    assert [row["out_of_distribution"] for row in found] == ["no", "no", "unknown", "yes", "yes"]
    assert found[2]["reasons"] == "INPUT_NOT_FINITE"
    assert model.document.inputs[-1].title in found[2]["reasons_text"]
    assert found[2]["probability"] == ""
    assert "OUTSIDE_TRAINING_DATA" in found[3]["reasons"]
    assert "OUTSIDE_ALLOWED_RANGE" in found[4]["reasons"]
    for row in found[:2]:
        low, high = float(row["interval_low"]), float(row["interval_high"])
        least = low if row["answer"] == "favorable" else 1 - high
        words = "very likely" if least >= 0.9 else "likely" if least >= 0.66 else "more likely than not"
        assert row["answer_text"].endswith(f": {words if least > 0.5 else 'weak evidence'}")
    assert all(row["research_use"].startswith("Research use only") for row in found)
    assert all(row["interval_low"] and row["prediction_set_coverage"] for row in found if row["probability"])
    assert seen == [1, 2, 3, 4, 5]


def test_same_table_gives_the_same_bytes_in_any_order_of_columns_with_units_or_a_byte_order_mark(
    model, table, header, rows, names, small, tmp_path
):
    units = [f" {entry.name} [{entry.unit}]" for entry in model.document.inputs]
    written = []
    for lines, encoding in (
        ((header, rows[0]), "utf-8"),
        ((",".join([*reversed(units), "id"]), ",".join([*map(str, reversed(small)), "small"])), "utf-8"),
        ((header, "", rows[0]), "utf-8-sig"),
    ):
        read = read_prediction_table(table(*lines, encoding=encoding), model.document.inputs)
        write_predictions(tmp_path / "out.csv", read, predict_table(model, read))
        written.append((tmp_path / "out.csv").read_bytes())
    assert written[0] == written[1] == written[2]


def test_a_table_is_taken_as_it_is(two_inputs, table):
    read = read_prediction_table(table("grade,patient_id,lesion_volume,suv_max", "G2,P1,60,4"), two_inputs)
    assert (read.identifiers, read.ignored_columns) == (("P1",), ("grade",))
    assert read.rows == ({"lesion_volume": 60.0, "suv_max": 4.0},)
    both = read_prediction_table(table("id,patient_id,lesion_volume,suv_max", "7,P1,60,4"), two_inputs)
    assert (both.identifiers, both.ignored_columns) == (("7",), ("patient_id",))


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [("40", "20", -0.693147), ("40", "0", -2.079442), ("3", "4", 0.0), ("", "20", None), ("40", "-1", None)],
)
def test_a_change_is_derived_from_two_columns(table, earlier, later, expected):
    """ln(20/40); what is gone counts as 5 mm, ln(5/40); both below that: no change."""
    change = ResponseInput(
        name="change",
        title="Change",
        unit="1",
        source="clinical",
        minimum=-4,
        maximum=4,
        log_ratio={"earlier": "first", "later": "second", "unit": "mm", "at_least": 5},
    )
    read = read_prediction_table(table("id,second [mm],first [mm]", f"a,{later},{earlier}"), [change])
    found = read.rows[0]["change"]
    assert math.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-6)
    with pytest.raises(PredictionTableInvalid, match="lacks column 'second'"):
        read_prediction_table(table("id,first", "a,40"), [change])


def test_table_without_identifiers(model, table, names, small, tmp_path):
    read = read_prediction_table(table(",".join(names), ",".join(map(str, small))), model.document.inputs)
    write_predictions(tmp_path / "out.csv", read, predict_table(model, read))
    assert answers(tmp_path / "out.csv")[0]["id"] == ""


CASES = {
    "missing column": (lambda h, row: (h.rpartition(",")[0], row.rpartition(",")[0]), "lacks column 'suv_max'"),
    "column twice": (lambda h, row: (h + ",lesion_volume", row + ",4"), "'lesion_volume' twice"),
    "other unit": (lambda h, row: (h.replace("volume", "volume [mm3]"), row), "'lesion_volume' is in mm3"),
    "short line": (lambda h, row: (h, row, row.rpartition(",")[0]), "Line 3 has"),
    "long line": (lambda h, row: (h, row + ",7"), "Line 2 has"),
    "decimal comma": (lambda h, row: (h, row.rpartition(",")[0] + ',"4,5"'), "'suv_max' is not a number in line 2"),
    "no patient": (lambda h, row: (h,), "no row"),
    "empty first line": (lambda h, row: ("", h, row), "names none"),
}


@pytest.fixture(scope="module")
def two_inputs(model):
    """Volume and SUVmax, which every version of the model has."""
    return [entry for entry in model.document.inputs if entry.name in ("lesion_volume", "suv_max")]


@pytest.mark.parametrize("case", CASES)
def test_table_that_does_not_fit_is_refused_by_name(two_inputs, table, case):
    change, named = CASES[case]
    with pytest.raises(PredictionTableInvalid) as caught:
        read_prediction_table(table(*change("id,lesion_volume,suv_max", "a,60,4")), two_inputs)
    assert named in caught.value.message
    assert caught.value.reason == "PREDICTION_TABLE_INVALID"


def test_no_refusal_quotes_a_patient(two_inputs, table):
    header = "id,lesion_volume,suv_max"
    for lines in (
        (f"{PATIENT},60,4",),  # a file without column names
        (header, f"{PATIENT},{PATIENT},4"),
        (header, f"{PATIENT},60"),
        (header, f'"{PATIENT}'),
    ):
        with pytest.raises(PredictionTableInvalid) as caught:
            read_prediction_table(table(*lines), two_inputs)
        assert "Doe" not in caught.value.message + str(caught.value.metadata)


def test_unreadable_files(model, header, tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path / "latin.csv", tmp_path):
        if path.suffix and "latin" in path.name:
            path.write_bytes(header.encode() + b"\nM\xfcller,60,4,3.2,90\n")
        with pytest.raises(PredictionTableInvalid) as refused:
            read_prediction_table(path, model.document.inputs)
        assert ("UTF-8" in refused.value.message) == (path.suffix == ".csv" and path.exists())


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(model, tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(PredictionTableInvalid):
        read_prediction_table(path, model.document.inputs)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(allow_nan=False), min_size=9, max_size=9))
def test_any_numbers_get_an_answer_of_the_model(model, names, tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    chosen = dict(zip(names, values, strict=False))
    path.write_text(",".join(names) + "\n" + ",".join(map(repr, chosen.values())) + "\n")
    (prediction,) = predict_table(model, read_prediction_table(path, model.document.inputs))
    assert prediction == model.predict(chosen, chosen)


@pytest.fixture
def run(models_that_predict: Path):
    def invoke(*arguments: str):
        return CliRunner().invoke(app, ["predict", "--models-dir", str(models_that_predict), *arguments])

    return invoke


def test_command_writes_answers_and_says_research_use_and_no_identifier(run, table, header, rows, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "new" / "predictions.csv"
    done = run("--model", "sts-petct", "--table", str(table(header, *rows)), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "Research use only" in done.output
    assert "5 patients" in done.output
    assert "Doe" not in done.output + caplog.text
    assert answers(out)[1]["id"] == PATIENT
    assert [path.name for path in out.parent.iterdir()] == ["predictions.csv"]


def test_command_refuses_what_it_cannot_do_and_writes_nothing(run, table, header, rows, tmp_path):
    path = table(header, *rows)
    for arguments, reason in (
        (("--model", "sts-petct", "--table", str(path), "--out", str(path)), "PREDICTION_TABLE_INVALID"),
        (("--model", "oracle", "--table", str(path), "--out", str(tmp_path / "x.csv")), "MODEL_NOT_FOUND"),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, OncoResponseError)
        assert done.exception.reason == reason
    assert path.read_text().startswith(header)
    assert not (tmp_path / "x.csv").exists()


def test_an_upper_bound_beside_a_size_widens_the_interval(model, header, names, small, tmp_path):
    volume = names.index("lesion_volume")
    high = list(small)
    high[volume] = 8 * small[volume]
    table = tmp_path / "table.csv"
    table.write_text(
        "\n".join(
            [
                f"{header},lesion_volume_high [ml]",
                f"{line('whole', small)},",
                f"{line('cut', small)},{high[volume]!r}",
                f"{line('large', high)},",
            ]
        )
    )
    whole, cut, large = predict_table(model, read_prediction_table(table, model.inputs))
    assert whole.contour_interval is None
    assert cut.probability == whole.probability
    ends = sorted((whole.probability, large.probability))
    assert cut.contour_interval.low <= ends[0] + 1e-9
    assert cut.contour_interval.high >= ends[1] - 1e-9
    assert cut.interval_low <= min(whole.interval_low, ends[0] + 1e-9)


def test_an_upper_bound_below_the_value_or_of_no_size_is_refused(model, header, small, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"{header},lesion_volume_high\n{line('cut', small)},0.001\n")
    with pytest.raises(PredictionTableInvalid, match="'lesion_volume_high' is below 'lesion_volume' in line 2"):
        read_prediction_table(table, model.inputs)
    table.write_text(f"{header},suv_max_high\n{line('cut', small)},9\n")
    with pytest.raises(PredictionTableInvalid, match="does not know column 'suv_max_high'"):
        read_prediction_table(table, model.inputs)
