"""A dry run lists every fault of task and tables at once, by line and never by patient."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from oncoresponse.cli.main import app
from oncoresponse.response.task import OutcomeRule
from oncoresponse.response.training.dry_run import check_response_training
from typer.testing import CliRunner

from .conftest import TrainingFiles

Write = Callable[[Path], TrainingFiles]


@pytest.fixture
def files(write_training_files: Write, tmp_path: Path) -> TrainingFiles:
    return write_training_files(tmp_path)


def _change(path: Path, change: Callable[[list[list[str]]], None]) -> None:
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    change(rows)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def _change_task(path: Path, **fields: object) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **fields}))


def test_tables_that_can_be_trained_on_have_no_fault(files: TrainingFiles) -> None:
    start = time.perf_counter()
    found = check_response_training(
        files.task, files.features, files.clinical, features_automatic=files.features_automatic
    )
    assert time.perf_counter() - start < 5
    assert found.faults == []
    assert (found.patients, found.held_out, found.excluded) == (48, 2, 0)
    assert 8 <= found.favorable <= 40


def test_every_fault_is_listed_at_once(files: TrainingFiles) -> None:
    def spoil_features(rows: list[list[str]]) -> None:
        rows[5][1] = "1,5"  # line 6
        rows[9][1] = ""  # line 10
        rows[12][2] = "1e9"  # line 13, beyond what the task allows
        for row in rows[1:]:
            row[3] = "7.0"
        rows.append(list(rows[4]))  # line 52 repeats the patient of line 5
        del rows[20]

    def spoil_clinical(rows: list[list[str]]) -> None:
        rows[7][0] = "STRANGER"  # line 8

    _change(files.features, spoil_features)
    _change(files.clinical, spoil_clinical)
    _change_task(
        files.task,
        exclusions=[{"column": "age", "when": "below", "value": 18, "reason": "Minor"}],
        audit_groups=[{"title": "Sex", "column": "sex"}],
    )
    faults = check_response_training(files.task, files.features, files.clinical).faults
    for expected in (
        "The feature table, line 51: the patient of line 5 again.",
        "The clinical table lacks column 'age'.",
        "No table has the column 'sex' of audit group 'Sex'.",
        "The clinical table, lines 8, 21: the patient is not in the feature table.",
        "The feature table, line 10: 'm0' is empty",
        "The feature table, line 6: 'm0' is not a finite number.",
        "The feature table, line 13: 'm1' lies outside",
        "Input 'm2' has the same value for every patient",
    ):
        assert any(fault.startswith(expected) for fault in faults), (expected, faults)
    assert len(faults) == 8
    assert not any(name in " ".join(faults) for name in ("P0", "STRANGER", "1,5"))


def test_faults_of_the_outcome_and_of_what_gives_it_away_are_found_too(files: TrainingFiles) -> None:
    outcomes = {}

    def as_numbers(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[2] = "0" if row[2] else "1"
            outcomes[row[0]] = row[2]

    def give_away(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[1] = "2.0" if outcomes[row[0]] == "1" else "1.0"

    _change(files.clinical, as_numbers)
    _change(files.features, give_away)
    rule = {"column": "first_failure", "favorable_when": "one", "definition": "Stated."}
    _change_task(files.task, outcome=rule)
    (copied, separated) = check_response_training(files.task, files.features, files.clinical).faults
    assert "orders the patients exactly as 'first_failure'" in copied
    assert "'m0' separates the outcomes without one error" in separated
    _change(files.clinical, lambda rows: rows[3].__setitem__(2, "yes"))
    faults = check_response_training(files.task, files.features, files.clinical).faults
    assert "The clinical table, line 4: outcome 'first_failure' is neither 0 nor 1." in faults
    _change(files.clinical, lambda rows: [row.__setitem__(2, "1") for row in rows[1:]])
    faults = check_response_training(files.task, files.features, files.clinical).faults
    assert any("occurs 0 times" in fault for fault in faults)


def test_an_invalid_task_names_each_wrong_key(files: TrainingFiles) -> None:
    _change_task(files.task, sed=3, outcome={"column": "x", "favorable_when": "always", "definition": "Stated."})
    (fault,) = check_response_training(files.task, files.features, files.clinical).faults
    assert "sed" in fault
    assert "favorable_when" in fault


def test_a_held_out_patient_that_is_nowhere_is_a_note(files: TrainingFiles) -> None:
    _change_task(files.task, held_out_patients=["P000", "P0O1"])
    found = check_response_training(files.task, files.features, files.clinical)
    assert found.faults == []
    assert "1 held-out patients of the task are not in the clinical table" in found.notes[0]


def test_the_command_ends_with_an_exit_code_and_trains_nothing(files: TrainingFiles, tmp_path: Path) -> None:
    arguments = ["train", "response", "--dry-run", "--features", str(files.features), "--clinical", str(files.clinical)]
    arguments += ["--model", str(files.model), "--run", str(tmp_path / "run")]
    before = sorted(path.name for path in files.model.rglob("*"))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "48 patients" in done.stdout
    assert "No fault found" in done.stdout
    _change(files.features, lambda rows: [row.__setitem__(1, "x") for row in rows[2:4]])
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "1. The feature table, line 4: 'm0' is not a finite number." in done.stdout
    assert "1 fault. Nothing was trained." in done.stdout
    assert sorted(path.name for path in files.model.rglob("*")) == before
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rule", "cell", "favorable"),
    [("zero", "0", 1), ("zero", "1", 0), ("one", "1", 1), ("one", "0", 0), ("empty", "", 1), ("empty", "Mets", 0)],
)
def test_the_outcome_is_favorable_as_the_task_says(rule: str, cell: str, favorable: int) -> None:
    outcome = OutcomeRule.model_validate({"column": "died", "favorable_when": rule, "definition": "Stated."})
    assert outcome.favorable(cell) == favorable


def test_a_column_of_who_failed_gives_the_same_cohort_turned_round(files: TrainingFiles) -> None:
    _change(files.clinical, lambda rows: [row.__setitem__(2, "1" if row[2] else "0") for row in rows[1:]])
    before = check_response_training(files.task, files.features, files.clinical)
    rule = {"column": "first_failure", "favorable_when": "zero", "definition": "Stated."}
    _change_task(files.task, outcome=rule)
    found = check_response_training(files.task, files.features, files.clinical)
    assert found.faults == []
    assert 8 <= found.favorable <= 40
    assert before.favorable == 0  # read as "empty", nobody is favorable
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        OutcomeRule.model_validate(rule).favorable("")
