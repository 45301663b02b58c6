"""A table of patients: what is refused by name, what a row says, and that an identifier is only handed through."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.cli.main import app
from oncoresponse.errors import OncoResponseError, PredictionTableInvalid
from oncoresponse.model_folder import ModelFolder
from oncoresponse.response.batch_prediction import (
    OUTPUT_COLUMNS,
    predict_table,
    read_prediction_table,
    write_predictions,
)
from oncoresponse.response.model import ResponseModel
from typer.testing import CliRunner

MODELS = Path(__file__).parents[3] / "models"
INPUTS = ("lesion_volume", "suv_max", "suv_peak", "total_lesion_glycolysis")
HEADER = "id," + ",".join(INPUTS)
PATIENT = "Doe^Jane 4711"
ROWS = (
    "small,60,4,3.2,90",
    f"{PATIENT},800,24,20,3200",
    "no glycolysis,300,9,7,",
    "unlike the others,2900,70,1,40000",
    "impossible,-5,4,3.2,90",
)


@pytest.fixture(scope="module")
def model() -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(MODELS / "sts-petct"))


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


def test_each_row_is_what_the_model_says_of_that_patient(model, table, tmp_path):
    read = read_prediction_table(table(HEADER, *ROWS), model.document.inputs)
    seen: list[int] = []
    predictions = predict_table(model, read, seen.append)
    write_predictions(tmp_path / "out.csv", read, predictions)
    rows = answers(tmp_path / "out.csv")
    assert tuple(rows[0]) == OUTPUT_COLUMNS
    assert [row["id"] for row in rows] == [line.split(",")[0] for line in ROWS]
    assert [row["answer"] for row in rows] == [
        "favourable",
        "unfavourable",
        "indeterminate",
        "outside_experience",
        "outside_experience",
    ]
    alone = model.predict(dict(zip(INPUTS, (800.0, 24.0, 20.0, 3200.0), strict=True)))
    assert float(rows[1]["probability"]) == alone.probability
    assert (float(rows[1]["interval_low"]), float(rows[1]["interval_high"])) == (
        alone.interval_low,
        alone.interval_high,
    )
    assert rows[1]["prediction_set"] == "unfavourable"
    assert float(rows[1]["out_of_domain_score"]) == alone.outside.score / alone.outside.threshold
    assert [row["out_of_domain"] for row in rows] == ["no", "no", "unknown", "yes", "yes"]
    assert rows[2]["reasons"] == "INPUT_NOT_FINITE"
    assert "Total lesion glycolysis" in rows[2]["reasons_text"]
    assert rows[2]["probability"] == ""
    assert "OUTSIDE_TRAINING_DATA" in rows[3]["reasons"]
    assert "OUTSIDE_ALLOWED_RANGE" in rows[4]["reasons"]
    assert all(row["research_use"].startswith("Research use only") for row in rows)
    assert all(row["interval_low"] and row["prediction_set_coverage"] for row in rows if row["probability"])
    assert seen == [1, 2, 3, 4, 5]


def test_same_table_gives_the_same_bytes_in_any_order_of_columns_with_units_or_a_byte_order_mark(
    model, table, tmp_path
):
    written = []
    for lines, encoding in (
        ((HEADER, ROWS[0]), "utf-8"),
        (("suv_peak [g/mL],total_lesion_glycolysis[g], suv_max ,lesion_volume [ml],id", "3.2,90,4,60,small"), "utf-8"),
        ((HEADER, "", ROWS[0]), "utf-8-sig"),
    ):
        read = read_prediction_table(table(*lines, encoding=encoding), model.document.inputs)
        write_predictions(tmp_path / "out.csv", read, predict_table(model, read))
        written.append((tmp_path / "out.csv").read_bytes())
    assert written[0] == written[1] == written[2]


def test_table_without_identifiers(model, table, tmp_path):
    read = read_prediction_table(table(",".join(INPUTS), "60,4,3.2,90"), model.document.inputs)
    write_predictions(tmp_path / "out.csv", read, predict_table(model, read))
    assert answers(tmp_path / "out.csv")[0]["id"] == ""


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("id,lesion_volume,suv_max", "a,60,4"), "'suv_peak', 'total_lesion_glycolysis'"),
        ((HEADER + ",grade", "a,60,4,3.2,90,2"), "'grade'"),
        ((HEADER + ",suv_max", "a,60,4,3.2,90,4"), "'suv_max' twice"),
        ((HEADER.replace("lesion_volume", "lesion_volume [mm3]"), "a,60000,4,3.2,90"), "'lesion_volume' is in mm3"),
        ((HEADER, "a,60,4,3.2"), "Line 2 has 4 cells"),
        ((HEADER, "a,60,4,3.2,90", "b,60,4,3.2,90,7"), "Line 3 has 6 cells"),
        ((HEADER, 'a,60,"4,5",3.2,90'), "'suv_max' is not a number in line 2"),
        ((HEADER,), "no row"),
        (("", HEADER), "names none"),
    ],
)
def test_table_that_does_not_fit_is_refused_by_name(model, table, lines, named):
    with pytest.raises(PredictionTableInvalid) as caught:
        read_prediction_table(table(*lines), model.document.inputs)
    assert named in caught.value.message
    assert caught.value.reason == "PREDICTION_TABLE_INVALID"


def test_no_refusal_quotes_a_patient(model, table):
    for lines in (
        (f"{PATIENT},60,4,3.2,90",),  # a file without column names
        (HEADER, f"{PATIENT},{PATIENT},4,3.2,90"),
        (HEADER, f"{PATIENT},60,4"),
        (HEADER, f'"{PATIENT}'),
    ):
        with pytest.raises(PredictionTableInvalid) as caught:
            read_prediction_table(table(*lines), model.document.inputs)
        assert "Doe" not in caught.value.message + str(caught.value.metadata)


def test_unreadable_files(model, tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path / "latin.csv", tmp_path):
        if path.suffix and "latin" in path.name:
            path.write_bytes(HEADER.encode() + b"\nM\xfcller,60,4,3.2,90\n")
        with pytest.raises(PredictionTableInvalid):
            read_prediction_table(path, model.document.inputs)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(model, tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(PredictionTableInvalid):
        read_prediction_table(path, model.document.inputs)


@given(st.lists(st.floats(allow_nan=False), min_size=4, max_size=4))
def test_any_numbers_get_an_answer_of_the_model(model, tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_text(",".join(INPUTS) + "\n" + ",".join(map(repr, values)) + "\n")
    (prediction,) = predict_table(model, read_prediction_table(path, model.document.inputs))
    assert prediction == model.predict(dict(zip(INPUTS, values, strict=True)))


def run(*arguments: str):
    return CliRunner().invoke(app, ["predict", "--models-dir", str(MODELS), *arguments])


def test_command_writes_answers_and_says_research_use_and_no_identifier(table, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "new" / "predictions.csv"
    done = run("--model", "sts-petct", "--table", str(table(HEADER, *ROWS)), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "Research use only" in done.output
    assert "5 patients" in done.output
    assert "Doe" not in done.output + caplog.text
    assert answers(out)[1]["id"] == PATIENT
    assert [path.name for path in out.parent.iterdir()] == ["predictions.csv"]


def test_command_refuses_what_it_cannot_do_and_writes_nothing(table, tmp_path):
    path = table(HEADER, *ROWS)
    for arguments, reason in (
        (("--model", "sts-petct", "--table", str(path), "--out", str(path)), "PREDICTION_TABLE_INVALID"),
        (("--model", "oracle", "--table", str(path), "--out", str(tmp_path / "x.csv")), "MODEL_NOT_FOUND"),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, OncoResponseError)
        assert done.exception.reason == reason
    assert path.read_text().startswith(HEADER)
    assert not (tmp_path / "x.csv").exists()
