"""A training cohort from tables, refused when the outcome could leak into the inputs."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.task import AuditGroup, ResponseInput, ResponseTask, with_derived

_SMALLEST_CLASS = 8
_PERFECT_SEPARATION_NEEDS = 20
_COPY_RANK_CORRELATION = 0.9999
_SAME_VALUE = 1e-6

Rows = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class FollowUp:
    """When the failure came, or until when there was none.

    Attributes:
        time: Float (patients,), in the unit of the task.
        failed: Int (patients,), 1 where ``time`` is that of the failure.
    """

    time: FloatArray
    failed: IntArray


@dataclass(frozen=True)
class Cohort:
    """Patients of a training run.

    Attributes:
        patients: One identifier a row.
        values: Float (patients, inputs), in the units of the task, order of the task's inputs.
        transformed: The same after each input's transform.
        favorable: Int (patients,), 1 where the outcome was favorable.
        subgroups: By title of the audit group, the subgroup of each patient.
        excluded: By reason of the exclusion, how many patients it left out.
        follow_up: Times; ``None`` when the task declares none.
    """

    patients: tuple[str, ...]
    values: FloatArray
    transformed: FloatArray
    favorable: IntArray
    subgroups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    follow_up: FollowUp | None = None

    def of_inputs(self, task: ResponseTask, names: Sequence[str]) -> Cohort:
        """The cohort with some of the inputs of ``task``, in its order."""
        columns = [index for index, entry in enumerate(task.inputs) if entry.name in names]
        return replace(self, values=self.values[:, columns], transformed=self.transformed[:, columns])

    @property
    def sha256(self) -> str:
        """SHA-256 over outcome and inputs, rows in order of the patient identifier, identifiers left out."""
        order = np.argsort(np.array(self.patients))
        digest = hashlib.sha256()
        for row in order:
            cells = [str(int(self.favorable[row])), *(repr(float(value)) for value in self.values[row])]
            digest.update((",".join(cells) + "\n").encode())
        return digest.hexdigest()


def read_table(path: Path, patient_column: str) -> dict[str, dict[str, str]]:
    """Rows of a CSV file by patient.

    Raises:
        TrainingDataInvalid: The file cannot be read, has no patient column, or names a patient twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if patient_column not in (reader.fieldnames or ()):
                raise TrainingDataInvalid(f"A training table has no column '{patient_column}'. Add it.")
            rows: dict[str, dict[str, str]] = {}
            known: set[str] = set()
            for row in reader:
                patient = row[patient_column]
                # "sts_001 " and "STS_001" are one patient, typed twice.
                if patient.strip().casefold() in known:
                    raise TrainingDataInvalid("A patient has two rows in a training table. Keep one row a patient.")
                known.add(patient.strip().casefold())
                rows[patient.strip()] = row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingDataInvalid("A training table cannot be read. Give a CSV file in UTF-8.") from error
    return rows


def read_cohort(task: ResponseTask, features: Path, clinical: Path | None = None) -> Cohort:
    """Join the tables, leave out who is excluded or held out, and check what no honest cohort may contain.

    Args:
        task: The declared task.
        features: CSV, one row a patient, feature and measure names as columns.
        clinical: CSV, one row a patient; patients listed here, not excluded and not held out, make the cohort. Without
            it ``features`` holds these columns too.

    Raises:
        TrainingDataInvalid: A table, a column or a patient is missing, a value is missing or impossible, two patients
            share all inputs, or an input gives the outcome away.
    """
    feature_rows = read_table(features, task.patient_column)
    clinical_rows = feature_rows if clinical is None else read_table(clinical, task.patient_column)
    named = sorted(set(clinical_rows) - set(task.held_out_patients))
    patients, excluded = _without_excluded(task, named, clinical_rows)
    if absent := [patient for patient in patients if patient not in feature_rows]:
        raise TrainingDataInvalid(
            f"{len(absent)} patients of the clinical table have no features. Compute them, or leave those patients out "
            "of the clinical table; missing features are never guessed."
        )
    values = input_values(task, patients, feature_rows, clinical_rows)
    favorable = np.array([_favorable(task, clinical_rows[patient]) for patient in patients], dtype=np.int64)
    _refuse(copies(task, patients, values, clinical_rows))
    cohort = make_cohort(task, patients, values, favorable)
    return Cohort(
        cohort.patients,
        cohort.values,
        cohort.transformed,
        cohort.favorable,
        subgroups={
            group.title: tuple(_subgroup(group, patient, feature_rows, clinical_rows) for patient in patients)
            for group in task.audit_groups
        },
        excluded=excluded,
        follow_up=_follow_up(task, patients, clinical_rows),
    )


def make_cohort(task: ResponseTask, patients: Sequence[str], values: FloatArray, favorable: IntArray) -> Cohort:
    """A checked cohort from arrays; see :func:`read_cohort`."""
    _refuse(too_few(favorable))
    _require_plausible(task, values)
    _refuse(duplicates(values))
    _refuse(leaks(task, values, favorable))
    return Cohort(tuple(patients), values, transform(task, values), favorable)


def input_values(task: ResponseTask, patients: Sequence[str], feature_rows: Rows, clinical_rows: Rows) -> FloatArray:
    """Float (patients, inputs) in the units of the task.

    Raises:
        TrainingDataInvalid: A column is absent, or a cell is empty or not a number.
    """
    values = np.empty((len(patients), len(task.inputs)))
    for column, entry in enumerate(task.inputs):
        rows = feature_rows if entry.source == "features" else clinical_rows
        for row, patient in enumerate(patients):
            cells = {name: rows[patient].get(name) for name in entry.columns}
            if absent := [name for name, cell in cells.items() if cell is None]:
                raise TrainingDataInvalid(f"The {entry.source} table has no column '{absent[0]}'.", input=entry.name)
            try:
                found = {name: float(cell or "") for name, cell in cells.items()}
                values[row, column] = with_derived([entry], found)[entry.name]
            except ValueError as error:
                raise TrainingDataInvalid(
                    f"Input '{entry.name}' is empty or not a number for a patient. Missing inputs are never guessed; "
                    "leave such patients out by an exclusion in the task file.",
                    input=entry.name,
                ) from error
    return values


def transform(task: ResponseTask, values: FloatArray) -> FloatArray:
    """Float (patients, inputs) after each input's transform."""
    return np.array(
        [[entry.transformed(float(value)) for entry, value in zip(task.inputs, row, strict=True)] for row in values]
    ).reshape(values.shape)


def read_robustness(path: Path) -> dict[str, float]:
    """Intraclass correlation of each feature from a CSV with the columns ``feature`` and ``icc``.

    Raises:
        TrainingDataInvalid: The file cannot be read, lacks a column, or holds something that is no number.
    """
    rows = read_table(path, "feature")
    try:
        return {name: float(row["icc"]) for name, row in rows.items()}
    except (KeyError, ValueError) as error:
        raise TrainingDataInvalid(
            "The robustness table needs the columns 'feature' and 'icc' with a number in each row. Write it with "
            "'oncoradiomics robustness'."
        ) from error


def without_fragile_inputs(
    task: ResponseTask, robustness: Mapping[str, float] | None
) -> tuple[ResponseTask, dict[str, float]]:
    """The task without measured inputs that depend too much on the contour, and what was dropped with its ICC.

    Raises:
        TrainingDataInvalid: The task declares a threshold and there is no table, the table lacks an input, or no input
            or a baseline input would have to go.
    """
    if task.minimum_icc is None:
        return task, {}
    measured = [entry for entry in task.inputs if entry.source == "features"]
    if robustness is None and measured:
        raise TrainingDataInvalid(
            "The task declares minimum_icc. Give the table of 'oncoradiomics robustness' with --robustness."
        )
    found = robustness or {}
    if absent := [entry.name for entry in measured if entry.name not in found]:
        raise TrainingDataInvalid(f"The robustness table has no row for input '{absent[0]}'.", input=absent[0])
    # An ICC that is not a number was computed from values that do not vary: nothing to trust.
    dropped = {entry.name: found[entry.name] for entry in measured if not found[entry.name] >= task.minimum_icc}
    if lost := [name for name in task.baseline_inputs if name in dropped]:
        raise TrainingDataInvalid(
            f"Baseline input '{lost[0]}' has an intraclass correlation below {task.minimum_icc:g}. Choose another.",
            input=lost[0],
        )
    if task.shift is not None and task.shift.input in dropped:
        raise TrainingDataInvalid(f"Input '{task.shift.input}' of the shift test is not robust. Choose another.")
    return task.model_copy(update={"inputs": tuple(i for i in task.inputs if i.name not in dropped)}), dropped


def _favorable(task: ResponseTask, row: Mapping[str, str]) -> int:
    cell = row.get(task.outcome.column)
    if cell is None:
        raise TrainingDataInvalid(f"The clinical table has no outcome column '{task.outcome.column}'.")
    try:
        return task.outcome.favorable(cell)
    except ValueError as error:
        raise TrainingDataInvalid(
            f"Outcome column '{task.outcome.column}' must hold 0 or 1 for every patient."
        ) from error


def _without_excluded(task: ResponseTask, patients: list[str], rows: Rows) -> tuple[list[str], dict[str, int]]:
    excluded: dict[str, int] = {}
    for rule in task.exclusions:
        if any(rule.column not in rows[patient] for patient in patients):
            raise TrainingDataInvalid(f"The clinical table has no column '{rule.column}' of an exclusion.")
        try:
            kept = [patient for patient in patients if not rule.applies(rows[patient][rule.column])]
        except ValueError as error:
            raise TrainingDataInvalid(
                f"Column '{rule.column}' of an exclusion holds something that is not a number."
            ) from error
        excluded[rule.reason] = len(patients) - len(kept)
        patients = kept
    return patients, excluded


def _subgroup(group: AuditGroup, patient: str, feature_rows: Rows, clinical_rows: Rows) -> str:
    cell = clinical_rows[patient].get(group.column, feature_rows[patient].get(group.column))
    if cell is None:
        raise TrainingDataInvalid(f"No table has the column '{group.column}' of audit group '{group.title}'.")
    try:
        return group.subgroup(cell)
    except ValueError as error:
        raise TrainingDataInvalid(
            f"Column '{group.column}' of audit group '{group.title}' has bands and holds something that is no number."
        ) from error


def _follow_up(task: ResponseTask, patients: Sequence[str], rows: Rows) -> FollowUp | None:
    if (declared := task.follow_up) is None:
        return None
    time, failed = np.empty(len(patients)), np.zeros(len(patients), dtype=np.int64)
    for row, patient in enumerate(patients):
        cells = rows[patient]
        if declared.failure_column not in cells or declared.follow_up_column not in cells:
            raise TrainingDataInvalid(
                f"The clinical table needs '{declared.failure_column}' and '{declared.follow_up_column}'."
            )
        failure = cells[declared.failure_column].strip()
        failed[row] = int(failure != "")
        try:
            time[row] = float(failure or cells[declared.follow_up_column])
        except ValueError as error:
            raise TrainingDataInvalid("A time to failure or follow-up is empty or not a number.") from error
    if not (np.isfinite(time) & (time > 0)).all():
        raise TrainingDataInvalid("Every time to failure or follow-up must be above 0.")
    return FollowUp(time, failed)


def _require_plausible(task: ResponseTask, values: FloatArray) -> None:
    for column, entry in enumerate(task.inputs):
        if not all(math.isfinite(value) and entry.minimum <= value <= entry.maximum for value in values[:, column]):
            raise TrainingDataInvalid(
                f"Input '{entry.name}' is not finite or lies outside {entry.minimum:g} to {entry.maximum:g} "
                f"{entry.unit} for a patient. Check the unit of the column and the range in the task file.",
                input=entry.name,
            )


def _refuse(found: Iterable[TrainingDataInvalid]) -> None:
    for error in found:
        raise error


def too_few(favorable: IntArray) -> Iterator[TrainingDataInvalid]:
    """What to say where an outcome is too rare for nested cross-validation."""
    smallest = int(min(favorable.sum(), (1 - favorable).sum()))
    if smallest < _SMALLEST_CLASS:
        yield TrainingDataInvalid(
            f"The rarer outcome occurs {smallest} times; at least {_SMALLEST_CLASS} are needed for nested "
            "cross-validation."
        )


def duplicates(values: FloatArray) -> Iterator[TrainingDataInvalid]:
    """What to say where patients share every input; float (patients, inputs)."""
    measured = [column for column in values.T if len(np.unique(column)) > len(column) / 2]
    # Ages and receptors alone may agree between patients; a measured number does not agree to six digits by chance.
    if not measured:
        return
    order = np.lexsort(values.T)
    ordered = values[order]
    same = (np.abs(np.diff(ordered, axis=0)) <= _SAME_VALUE * np.abs(ordered[1:])).all(axis=1)
    if same.any():
        yield TrainingDataInvalid(
            f"{int(same.sum())} pairs of patients have the same value of every input. Remove the duplicate.",
            pairs=int(same.sum()),
        )


def leaks(task: ResponseTask, values: FloatArray, favorable: IntArray) -> Iterator[TrainingDataInvalid]:
    """What to say of each input that separates the outcomes as only the outcome can."""
    for column, entry in enumerate(task.inputs):
        area = float(roc_auc_score(favorable, values[:, column]))
        few_values = len(np.unique(values[:, column])) <= 2
        if area in (0.0, 1.0) and (few_values or len(favorable) >= _PERFECT_SEPARATION_NEEDS):
            yield TrainingDataInvalid(
                f"Input '{entry.name}' separates the outcomes without one error, as the outcome itself would. "
                "Remove it: it is a copy of the outcome or was recorded after it.",
                input=entry.name,
            )


def copies(
    task: ResponseTask, patients: Sequence[str], values: FloatArray, rows: Rows
) -> Iterator[TrainingDataInvalid]:
    """What to say of each input that is a column known only afterwards by another name, unit or sign."""
    for name in task.post_outcome_columns:
        cells = [rows[patient].get(name, "") for patient in patients]
        present = np.array([_is_number(cell) for cell in cells])
        if present.sum() < _PERFECT_SEPARATION_NEEDS:
            continue
        known = np.array([float(cell) if is_number else np.nan for cell, is_number in zip(cells, present, strict=True)])
        for column, entry in enumerate(task.inputs):
            if abs(_rank_correlation(values[present, column], known[present])) >= _COPY_RANK_CORRELATION:
                yield _copied(entry, name)


def _copied(entry: ResponseInput, name: str) -> TrainingDataInvalid:
    return TrainingDataInvalid(
        f"Input '{entry.name}' orders the patients exactly as '{name}' does, which is known only after the scan. It is "
        "a copy of it: remove it.",
        input=entry.name,
    )


def _rank_correlation(first: FloatArray, second: FloatArray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
