"""Everything that is wrong with a task and its tables, found in seconds and listed at once.

Training stops at the first fault; whoever prepares a table wants to know them all. Rows are named by their line in the
file, never by patient.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.task import ResponseTask, read_task, with_derived
from oncoresponse.response.training.cohort import (
    copies,
    duplicates,
    leaks,
    read_robustness,
    too_few,
    without_fragile_inputs,
)

_SHOWN_LINES = 10


@dataclass
class Findings:
    """What a dry run found.

    Attributes:
        faults: One sentence each; training would refuse the first of them.
        patients: Patients that would be trained on.
        favorable: How many of them with the favorable outcome.
        excluded: Patients left out by a rule of the task.
        held_out: Patients the task keeps out.
        notes: What may be meant so, and may be a slip.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    patients: int = 0
    favorable: int = 0
    excluded: int = 0
    held_out: int = 0


@dataclass(frozen=True)
class _Table:
    """A CSV file with the line of each row.

    Attributes:
        title: As messages call it.
        columns: Names, as they stand in the file.
        rows: By patient, trimmed.
        lines: Line of each patient's row in the file, from 1.
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]
    lines: Mapping[str, int]


def check_response_training(
    task_file: Path,
    features: Path | None,
    clinical: Path | None,
    *,
    robustness: Path | None = None,
    features_automatic: Path | None = None,
    studies: Path | None = None,
) -> Findings:
    """Check task and tables as training would, without fitting anything.

    Args:
        task_file: The declared task.
        features: CSV with the inputs, and the outcome too where there is no ``clinical``; ``None`` with ``studies``.
        clinical: CSV with the outcome.
        robustness: CSV from ``oncoradiomics robustness``.
        features_automatic: The same inputs from automatic contours.
        studies: Folder with one folder of DICOM files a patient. They are looked for, not read.
    """
    found = Findings()
    try:
        task = read_task(task_file)
    except TrainingDataInvalid as error:
        found.faults.append(error.message)
        return found
    task = _without_fragile(task, robustness, found.faults)
    clinical_table = None if clinical is None else _read(clinical, "clinical table", task, found.faults)
    feature_table = None if features is None else _read(features, "feature table", task, found.faults)
    if features_automatic is not None:
        automatic = _read(features_automatic, "table of automatic contours", task, found.faults)
        _require_columns(automatic, [entry.name for entry in task.inputs if entry.source == "features"], found.faults)
    outcome_table = clinical_table if clinical is not None else feature_table
    if outcome_table is None or (features is not None and feature_table is None):
        return found
    _check_columns(task, outcome_table, feature_table, found.faults)
    patients = _cohort(task, outcome_table, found)
    if studies is not None:
        absent = [patient for patient in patients if not _holds_a_file(studies / patient)]
        _fault_of_lines(found.faults, outcome_table, absent, "no folder of DICOM files that is named as the patient")
    if feature_table is not None and feature_table is not outcome_table:
        absent = [patient for patient in patients if patient not in feature_table.rows]
        _fault_of_lines(found.faults, outcome_table, absent, "the patient is not in the feature table")
        patients = [patient for patient in patients if patient in feature_table.rows]
    _check_values(task, patients, outcome_table, feature_table, found)
    return found


def _without_fragile(task: ResponseTask, robustness: Path | None, faults: list[str]) -> ResponseTask:
    try:
        return without_fragile_inputs(task, None if robustness is None else read_robustness(robustness))[0]
    except TrainingDataInvalid as error:
        faults.append(error.message)
        return task


def _read(path: Path, title: str, task: ResponseTask, faults: list[str]) -> _Table | None:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            columns = tuple(next(reader, []))
            cells = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error):
        faults.append(f"The {title} cannot be read. Give a CSV file in UTF-8.")
        return None
    faults += [
        f"The {title} has the column '{name}' {columns.count(name)} times. Keep one."
        for name in dict.fromkeys(columns)
        if columns.count(name) > 1
    ]
    if task.patient_column not in columns:
        faults.append(f"The {title} has no column '{task.patient_column}'. Add it.")
        return None
    if uneven := [line for line, row in cells if len(row) != len(columns)]:
        faults.append(f"The {title}, {_lines(uneven)}: not as many cells as the table has columns.")
    rows: dict[str, Mapping[str, str]] = {}
    lines: dict[str, int] = {}
    first: dict[str, int] = {}
    nameless = []
    for line, row in cells:
        named = dict(zip(columns, row, strict=False))
        patient = named.get(task.patient_column, "").strip()
        if not patient:
            nameless.append(line)
        elif (known := first.get(patient.casefold())) is not None:
            faults.append(f"The {title}, line {line}: the patient of line {known} again. Keep one row a patient.")
        else:
            first[patient.casefold()] = line
            # A short row lacks its last cells; they count as empty, so that one fault is told once.
            rows[patient], lines[patient] = dict.fromkeys(columns, "") | named, line
    if nameless:
        faults.append(f"The {title}, {_lines(nameless)}: '{task.patient_column}' is empty.")
    return _Table(title, columns, rows, lines)


def _check_columns(task: ResponseTask, outcome: _Table, features: _Table | None, faults: list[str]) -> None:
    needed = [task.outcome.column, *(rule.column for rule in task.exclusions)]
    needed += [name for entry in task.inputs if entry.source == "clinical" for name in entry.columns]
    if task.follow_up is not None:
        needed += [task.follow_up.failure_column, task.follow_up.follow_up_column]
    _require_columns(outcome, needed, faults)
    if features is None:  # audit groups and inputs may still come from the images
        return
    _require_columns(features, [entry.name for entry in task.inputs if entry.source == "features"], faults)
    either = {*outcome.columns, *features.columns}
    faults += [
        f"No table has the column '{group.column}' of audit group '{group.title}'."
        for group in task.audit_groups
        if group.column not in either
    ]


def _require_columns(table: _Table | None, names: Sequence[str], faults: list[str]) -> None:
    if table is not None and (absent := [name for name in dict.fromkeys(names) if name not in table.columns]):
        listed = ", ".join(f"'{name}'" for name in absent)
        faults.append(f"The {table.title} lacks {'column' if len(absent) == 1 else 'columns'} {listed}.")


def _cohort(task: ResponseTask, table: _Table, found: Findings) -> list[str]:
    """Patients that are neither held out nor excluded."""
    patients = sorted(set(table.rows) - set(task.held_out_patients))
    found.held_out = len(table.rows) - len(patients)
    if unknown := len(set(task.held_out_patients) - set(table.rows)):
        found.notes.append(
            f"{unknown} held-out patients of the task are not in the {table.title}. Where a name is misspelt the "
            "patient would be trained on."
        )
    kept = patients
    for rule in task.exclusions:
        if rule.column not in table.columns:
            continue
        odd, left = [], []
        for patient in kept:
            try:
                if not rule.applies(table.rows[patient][rule.column]):
                    left.append(patient)
            except ValueError:
                odd.append(patient)
                left.append(patient)
        _fault_of_lines(found.faults, table, odd, f"'{rule.column}' of an exclusion is not a number")
        kept = left
    found.excluded, found.patients = len(patients) - len(kept), len(kept)
    return kept


def _check_values(
    task: ResponseTask, patients: list[str], outcome: _Table, features: _Table | None, found: Findings
) -> None:
    faults = found.faults
    favorable = _outcomes(task, patients, outcome, found)
    values = np.full((len(patients), len(task.inputs)), np.nan)
    for column, entry in enumerate(task.inputs):
        table = outcome if entry.source == "clinical" else features
        if table is None or not set(entry.columns) <= set(table.columns):
            continue
        read = {name: _numbers(table, patients, name, faults) for name in entry.columns}
        values[:, column] = [
            with_derived([entry], {name: float(cells[row]) for name, cells in read.items()})[entry.name]
            for row in range(len(patients))
        ]
        outside = [
            patient
            for patient, value in zip(patients, values[:, column], strict=True)
            if math.isfinite(value) and not entry.minimum <= value <= entry.maximum
        ]
        allowed = f"{entry.minimum:g} to {entry.maximum:g} {entry.unit}"
        _fault_of_lines(faults, table, outside, f"'{entry.name}' lies outside {allowed}; check its unit")
        known = values[np.isfinite(values[:, column]), column]
        if len(known) > 1 and np.ptp(known) == 0:
            faults.append(f"Input '{entry.name}' has the same value for every patient, so it tells nothing. Remove it.")
    _check_groups(task, patients, outcome, features, faults)
    _check_follow_up(task, patients, outcome, faults)
    if favorable is not None:
        found.favorable = int(favorable.sum())
        faults += _messages(too_few(favorable))
        smallest = int(min(favorable.sum(), (1 - favorable).sum()))
        if smallest < task.validation.folds:
            faults.append(
                f"The rarer outcome occurs {smallest} times, in {task.validation.folds} folds. Use fewer folds."
            )
    _check_inputs_against_outcome(task, patients, values, favorable, outcome, faults)


def _check_inputs_against_outcome(
    task: ResponseTask,
    patients: list[str],
    values: FloatArray,
    favorable: IntArray | None,
    outcome: _Table,
    faults: list[str],
) -> None:
    complete = np.isfinite(values).all(axis=0)
    if not len(patients) or not complete.any():
        return
    # Inputs with a fault of their own are left out here, so that the others are still looked at.
    inputs = tuple(task.inputs[column] for column in np.flatnonzero(complete))
    part = task.model_copy(update={"inputs": inputs})
    faults += _messages(copies(part, patients, values[:, complete], outcome.rows))
    if favorable is not None and 0 < favorable.sum() < len(favorable):
        faults += _messages(leaks(part, values[:, complete], favorable))
    if complete.all():
        faults += _messages(duplicates(values))


def _outcomes(task: ResponseTask, patients: list[str], table: _Table, found: Findings) -> IntArray | None:
    if task.outcome.column not in table.columns:
        return None
    known, odd = [], []
    for patient in patients:
        try:
            known.append(task.outcome.favorable(table.rows[patient][task.outcome.column]))
        except ValueError:
            odd.append(patient)
    _fault_of_lines(found.faults, table, odd, f"outcome '{task.outcome.column}' is neither 0 nor 1")
    return None if odd else np.array(known, dtype=np.int64)


def _numbers(table: _Table, patients: list[str], name: str, faults: list[str]) -> FloatArray:
    values = np.full(len(patients), np.nan)
    empty: list[str] = []
    odd: list[str] = []
    for row, patient in enumerate(patients):
        cell = table.rows[patient][name].strip()
        try:
            values[row] = float(cell)
        except ValueError:
            (odd if cell else empty).append(patient)
        else:
            if not math.isfinite(values[row]):
                odd.append(patient)
    _fault_of_lines(faults, table, empty, f"'{name}' is empty; leave such patients out by an exclusion")
    _fault_of_lines(faults, table, odd, f"'{name}' is not a finite number")
    return np.asarray(np.where(np.isfinite(values), values, np.nan), dtype=np.float64)


def _check_groups(
    task: ResponseTask, patients: list[str], outcome: _Table, features: _Table | None, faults: list[str]
) -> None:
    for group in task.audit_groups:
        table = next((t for t in (outcome, features) if t is not None and group.column in t.columns), None)
        if table is not None:
            odd = [p for p in patients if _fails(group.subgroup, table.rows[p][group.column])]
            what = f"'{group.column}' of audit group '{group.title}' has bands and is not a number"
            _fault_of_lines(faults, table, odd, what)


def _check_follow_up(task: ResponseTask, patients: list[str], table: _Table, faults: list[str]) -> None:
    declared = task.follow_up
    if declared is None or not {declared.failure_column, declared.follow_up_column} <= set(table.columns):
        return
    cells = {
        patient: table.rows[patient][declared.failure_column].strip() or table.rows[patient][declared.follow_up_column]
        for patient in patients
    }
    odd = [patient for patient, cell in cells.items() if _fails(_time, cell)]
    what = f"neither '{declared.failure_column}' nor '{declared.follow_up_column}' is a time above 0"
    _fault_of_lines(faults, table, odd, what)


def _time(cell: str) -> float:
    value = float(cell)
    if not (math.isfinite(value) and value > 0):
        raise ValueError("no time")
    return value


def _fails(read: Callable[[str], object], cell: str) -> bool:
    try:
        read(cell)
    except ValueError:
        return True
    return False


def _holds_a_file(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _messages(found: Iterator[TrainingDataInvalid]) -> list[str]:
    return [error.message for error in found]


def _fault_of_lines(faults: list[str], table: _Table, patients: Sequence[str], what: str) -> None:
    if patients:
        faults.append(f"The {table.title}, {_lines(sorted(table.lines[patient] for patient in patients))}: {what}.")


def _lines(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:_SHOWN_LINES]))
    more = f" and {len(lines) - _SHOWN_LINES} more" if len(lines) > _SHOWN_LINES else ""
    return f"{'line' if len(lines) == 1 else 'lines'} {shown}{more}"
