from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.task import ResponseTask, read_task
from oncoresponse.response.training.cohort import make_cohort, read_cohort, read_robustness, without_fragile_inputs

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]
MakeTask = Callable[..., ResponseTask]


def _patients(rows: int) -> list[str]:
    return [f"P{row:03d}" for row in range(rows)]


def _rewrite(path: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    with path.open(newline="") as stream:
        rows = change(list(csv.DictReader(stream)))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_copy_of_the_outcome_is_refused(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favorable = draw_cohort(40)
    values = np.exp(values)
    values[:, 1] = 2.0 - favorable
    with pytest.raises(TrainingDataInvalid, match="'m1' separates") as caught:
        make_cohort(make_task(), _patients(40), values, favorable)
    assert caught.value.reason == "TRAINING_DATA_INVALID"


def test_a_value_that_follows_from_the_outcome_is_refused(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favorable = draw_cohort(40)
    values = np.exp(values)
    # Days to failure, very long where there was none.
    values[:, 2] = np.where(favorable == 1, 5000 + values[:, 0], 100 + values[:, 1])
    with pytest.raises(TrainingDataInvalid, match="'m2' separates"):
        make_cohort(make_task(), _patients(40), values, favorable)


def test_two_patients_with_the_same_inputs_are_refused(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favorable = draw_cohort(40)
    values[7] = values[3]
    with pytest.raises(TrainingDataInvalid, match="duplicate"):
        make_cohort(make_task(), _patients(40), np.exp(values), favorable)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0, 1e9])
def test_an_impossible_value_is_refused(wrong: float, make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favorable = draw_cohort(40)
    values = np.exp(values)
    values[5, 0] = wrong
    with pytest.raises(TrainingDataInvalid, match="'m0'"):
        make_cohort(make_task(), _patients(40), values, favorable)


def test_too_few_outcomes_are_refused(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favorable = draw_cohort(40)
    favorable[:] = 1
    favorable[:5] = 0
    with pytest.raises(TrainingDataInvalid, match="5 times"):
        make_cohort(make_task(), _patients(40), np.exp(values), favorable)


def test_held_out_patients_are_left_out_and_the_hash_does_not_depend_on_order(
    write_training_files: Callable[[Path], object], tmp_path: Path
) -> None:
    files = write_training_files(tmp_path)
    cohort = read_cohort(read_task(files.task), files.features, files.clinical)
    assert len(cohort.patients) == 48
    assert not {"P000", "P001"} & set(cohort.patients)
    assert np.allclose(cohort.transformed, np.log(cohort.values))
    _rewrite(files.features, lambda rows: rows[::-1])
    _rewrite(files.clinical, lambda rows: rows[::-1])
    assert read_cohort(read_task(files.task), files.features, files.clinical).sha256 == cohort.sha256


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("features", lambda rows: rows[:-1], "1 patients"),
        ("features", lambda rows: [*rows, rows[3]], "two rows"),
        ("features", lambda rows: [row | {"m1": ""} if row["patient_id"] == "P007" else row for row in rows], "'m1'"),
        ("features", lambda rows: [{k: v for k, v in row.items() if k != "m1"} for row in rows], "no column 'm1'"),
        ("clinical", lambda rows: [{"patient_id": row["patient_id"]} for row in rows], "first_failure"),
        ("clinical", lambda rows: [{"name": row["patient_id"]} for row in rows], "patient_id"),
    ],
)
def test_a_table_that_is_not_complete_is_refused(
    table: str,
    change: Callable[[list[dict[str, str]]], list[dict[str, str]]],
    message: str,
    write_training_files: Callable[[Path], object],
    tmp_path: Path,
) -> None:
    files = write_training_files(tmp_path)
    _rewrite(getattr(files, table), change)
    with pytest.raises(TrainingDataInvalid, match=message) as caught:
        read_cohort(read_task(files.task), files.features, files.clinical)
    assert "P007" not in caught.value.message, "a message must not name a patient"


@pytest.mark.parametrize("change", [lambda value: value, lambda value: value / 30.44, lambda value: 5000 - value])
def test_a_post_outcome_column_by_another_name_unit_or_sign_is_refused(
    change: Callable[[float], float],
    write_training_files: Callable[[Path], object],
    make_task: MakeTask,
    tmp_path: Path,
) -> None:
    files = write_training_files(tmp_path)
    days = dict(zip(_patients(50), np.random.default_rng(2).integers(100, 2000, 50), strict=True))
    _rewrite(files.clinical, lambda rows: [row | {"status": str(days[row["patient_id"]])} for row in rows])
    _rewrite(files.features, lambda rows: [row | {"m1": repr(float(change(days[row["patient_id"]])))} for row in rows])
    with pytest.raises(TrainingDataInvalid, match="copy") as caught:
        read_cohort(make_task(), files.features, files.clinical)
    assert caught.value.metadata == {"input": "m1"}


def test_the_same_patient_typed_twice_is_refused(
    write_training_files: Callable[[Path], object], make_task: MakeTask, tmp_path: Path
) -> None:
    files = write_training_files(tmp_path)
    _rewrite(files.clinical, lambda rows: [*rows, rows[5] | {"patient_id": " p005"}])
    with pytest.raises(TrainingDataInvalid, match="two rows"):
        read_cohort(make_task(), files.features, files.clinical)


def test_a_patient_entered_again_with_rounded_values_is_a_duplicate(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favorable = draw_cohort(40)
    values = np.exp(values)
    values[30] = values[3] * (1 + 1e-9)
    with pytest.raises(TrainingDataInvalid, match="1 pairs"):
        make_cohort(make_task(), _patients(40), values, favorable)


def test_a_change_is_derived_and_its_columns_may_not_be_forbidden(
    write_training_files: Callable[[Path], object], task_fields: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    files = write_training_files(tmp_path)
    fields = task_fields()
    change = {
        "name": "change",
        "title": "Change",
        "unit": "1",
        "source": "clinical",
        "minimum": -4,
        "maximum": 4,
        "log_ratio": {"earlier": "first", "later": "second", "unit": "mm", "at_least": 5},
    }
    fields["inputs"] = [*fields["inputs"], change]
    _rewrite(files.clinical, lambda rows: [row | {"first": 40 + n, "second": n} for n, row in enumerate(rows)])
    cohort = read_cohort(ResponseTask.model_validate(fields), files.features, files.clinical)
    with files.clinical.open(newline="") as stream:
        rows = {row["patient_id"]: row for row in csv.DictReader(stream)}
    expected = [np.log(max(float(rows[name]["second"]), 5) / float(rows[name]["first"])) for name in cohort.patients]
    np.testing.assert_allclose(cohort.transformed[:, -1], expected)
    with pytest.raises(ValueError, match="known only after the scan"):
        ResponseTask.model_validate(fields | {"forbidden_columns": ["second"]})


def test_one_table_may_hold_everything(
    write_training_files: Callable[[Path], object], make_task: MakeTask, tmp_path: Path
) -> None:
    files = write_training_files(tmp_path)
    apart = read_cohort(make_task(), files.features, files.clinical)
    with files.clinical.open(newline="") as stream:
        clinical = {row["patient_id"]: row for row in csv.DictReader(stream)}
    _rewrite(files.features, lambda rows: [row | clinical[row["patient_id"]] for row in rows])
    assert read_cohort(make_task(), files.features).sha256 == apart.sha256


def test_exclusions_are_counted_and_subgroups_and_times_are_read(
    write_training_files: Callable[[Path], object], make_task: MakeTask, tmp_path: Path
) -> None:
    files = write_training_files(tmp_path)
    _rewrite(
        files.clinical,
        lambda rows: [
            row
            | {
                "age": "" if number in (5, 6) else str(30 + number),
                "failed": "100" if row["first_failure"] else "",
                "seen": str(200 + number),
            }
            for number, row in enumerate(rows)
        ],
    )
    task = make_task(
        exclusions=[{"column": "age", "when": "empty", "reason": "No age"}],
        audit_groups=[
            {"title": "Age", "column": "age", "bands": [50], "unit": "a"},
            {"title": "Size", "column": "m0", "bands": [1], "unit": "ml"},
        ],
        follow_up={"failure_column": "failed", "follow_up_column": "seen", "unit": "d", "horizon": 2},
    )
    cohort = read_cohort(task, files.features, files.clinical)
    assert cohort.excluded == {"No age": 2}
    assert len(cohort.patients) == 46
    assert cohort.subgroups["Age"].count("below 50 a") == 20 - 2 - 2
    assert set(cohort.subgroups["Size"]) == {"below 1 ml", "1 ml or more"}
    assert (cohort.follow_up.failed == 1 - cohort.favorable).all()
    assert cohort.follow_up.time[cohort.follow_up.failed == 1].tolist() == [100.0] * int(cohort.follow_up.failed.sum())
    assert cohort.follow_up.time[cohort.follow_up.failed == 0].min() > 200


def test_inputs_that_depend_on_the_contour_are_dropped(make_task: MakeTask, tmp_path: Path) -> None:
    table = tmp_path / "robustness.csv"
    table.write_text("feature,icc,n\nm0,0.95,30\nm1,0.61,30\nm2,nan,30\nother,0.1,30\n")
    task, dropped = without_fragile_inputs(make_task(minimum_icc=0.75), read_robustness(table))
    assert task.input_names == ("m0",)
    assert dropped["m1"] == 0.61
    assert set(dropped) == {"m1", "m2"}
    assert without_fragile_inputs(make_task(), None) == (make_task(), {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--robustness"),
        ("feature,icc\nm0,0.9\nm1,0.9\n", "no row for input 'm2'"),
        ("feature,icc\nm0,0.2\nm1,0.9\nm2,0.9\n", "Baseline input 'm0'"),
    ],
)
def test_a_robustness_threshold_without_what_it_needs_is_refused(
    content: str | None, message: str, make_task: MakeTask, tmp_path: Path
) -> None:
    robustness = None
    if content is not None:
        (tmp_path / "robustness.csv").write_text(content)
        robustness = read_robustness(tmp_path / "robustness.csv")
    with pytest.raises(TrainingDataInvalid, match=message):
        without_fragile_inputs(make_task(minimum_icc=0.75), robustness)
