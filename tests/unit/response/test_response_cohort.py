from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.cohort import make_cohort, read_cohort
from oncoresponse.response.task import ResponseTask, read_task

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
    values, favourable = draw_cohort(40)
    values = np.exp(values)
    values[:, 1] = 2.0 - favourable
    with pytest.raises(TrainingDataInvalid, match="'m1' separates") as caught:
        make_cohort(make_task(), _patients(40), values, favourable)
    assert caught.value.reason == "TRAINING_DATA_INVALID"


def test_a_value_that_follows_from_the_outcome_is_refused(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favourable = draw_cohort(40)
    values = np.exp(values)
    # Days to failure, very long where there was none.
    values[:, 2] = np.where(favourable == 1, 5000 + values[:, 0], 100 + values[:, 1])
    with pytest.raises(TrainingDataInvalid, match="'m2' separates"):
        make_cohort(make_task(), _patients(40), values, favourable)


def test_two_patients_with_the_same_inputs_are_refused(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favourable = draw_cohort(40)
    values[7] = values[3]
    with pytest.raises(TrainingDataInvalid, match="duplicate"):
        make_cohort(make_task(), _patients(40), np.exp(values), favourable)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0, 1e9])
def test_an_impossible_value_is_refused(wrong: float, make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favourable = draw_cohort(40)
    values = np.exp(values)
    values[5, 0] = wrong
    with pytest.raises(TrainingDataInvalid, match="'m0'"):
        make_cohort(make_task(), _patients(40), values, favourable)


def test_too_few_outcomes_are_refused(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favourable = draw_cohort(40)
    favourable[:] = 1
    favourable[:5] = 0
    with pytest.raises(TrainingDataInvalid, match="5 times"):
        make_cohort(make_task(), _patients(40), np.exp(values), favourable)


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
