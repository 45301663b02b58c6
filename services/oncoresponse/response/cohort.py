"""A training cohort from a feature table and a clinical table, refused when the outcome could leak into the inputs."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.task import ResponseTask

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SMALLEST_CLASS = 8
_PERFECT_SEPARATION_NEEDS = 20


@dataclass(frozen=True)
class Cohort:
    """Patients of a training run.

    Attributes:
        patients: One identifier a row.
        values: Float (patients, inputs), in the units of the task, order of the task's inputs.
        transformed: The same after each input's transform.
        favourable: Int (patients,), 1 where the outcome was favourable.
    """

    patients: tuple[str, ...]
    values: FloatArray
    transformed: FloatArray
    favourable: IntArray

    @property
    def sha256(self) -> str:
        """SHA-256 over outcome and inputs, rows in order of the patient identifier, identifiers left out."""
        order = np.argsort(np.array(self.patients))
        digest = hashlib.sha256()
        for row in order:
            cells = [str(int(self.favourable[row])), *(repr(float(value)) for value in self.values[row])]
            digest.update((",".join(cells) + "\n").encode())
        return digest.hexdigest()


def read_table(path: Path, patient_column: str) -> dict[str, dict[str, str]]:
    """Rows of a CSV file by patient.

    Raises:
        TrainingDataInvalid: The file cannot be read, has no patient column, or names a patient twice.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if patient_column not in (reader.fieldnames or ()):
                raise TrainingDataInvalid(f"A training table has no column '{patient_column}'. Add it.")
            rows: dict[str, dict[str, str]] = {}
            for row in reader:
                patient = row[patient_column]
                if patient in rows:
                    raise TrainingDataInvalid("A patient has two rows in a training table. Keep one row a patient.")
                rows[patient] = row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingDataInvalid("A training table cannot be read. Give a CSV file in UTF-8.") from error
    return rows


def read_cohort(task: ResponseTask, features: Path, clinical: Path) -> Cohort:
    """Join the tables, leave out held-out patients, and check what no honest cohort may contain.

    Args:
        task: The declared task.
        features: CSV, one row a patient, feature and measure names as columns.
        clinical: CSV, one row a patient; patients listed here and not held out make the cohort.

    Raises:
        TrainingDataInvalid: A table, a column or a patient is missing, a value is missing or impossible, two patients
            share all inputs, or an input gives the outcome away.
    """
    feature_rows = read_table(features, task.patient_column)
    clinical_rows = read_table(clinical, task.patient_column)
    patients = tuple(sorted(set(clinical_rows) - set(task.held_out_patients)))
    if absent := [patient for patient in patients if patient not in feature_rows]:
        raise TrainingDataInvalid(
            f"{len(absent)} patients of the clinical table have no features. Compute them, or leave those patients out "
            "of the clinical table; missing features are never guessed."
        )
    values = input_values(task, patients, feature_rows, clinical_rows)
    favourable = np.array([_favourable(task, clinical_rows[patient]) for patient in patients], dtype=np.int64)
    return make_cohort(task, patients, values, favourable)


def make_cohort(task: ResponseTask, patients: Sequence[str], values: FloatArray, favourable: IntArray) -> Cohort:
    """A checked cohort from arrays; see :func:`read_cohort`."""
    smallest = int(min(favourable.sum(), (1 - favourable).sum()))
    if smallest < _SMALLEST_CLASS:
        raise TrainingDataInvalid(
            f"The rarer outcome occurs {smallest} times; at least {_SMALLEST_CLASS} are needed for nested "
            "cross-validation."
        )
    _require_plausible(task, values)
    if len(np.unique(values, axis=0)) < len(values):
        raise TrainingDataInvalid("Two patients have the same value of every input. Remove the duplicate.")
    _require_no_leak(task, values, favourable)
    return Cohort(tuple(patients), values, transform(task, values), favourable)


def input_values(
    task: ResponseTask,
    patients: Sequence[str],
    feature_rows: Mapping[str, Mapping[str, str]],
    clinical_rows: Mapping[str, Mapping[str, str]],
) -> FloatArray:
    """Float (patients, inputs) in the units of the task.

    Raises:
        TrainingDataInvalid: A column is absent, or a cell is empty or not a number.
    """
    values = np.empty((len(patients), len(task.inputs)))
    for column, entry in enumerate(task.inputs):
        rows = feature_rows if entry.source == "features" else clinical_rows
        for row, patient in enumerate(patients):
            cell = rows[patient].get(entry.name)
            if cell is None:
                raise TrainingDataInvalid(f"The {entry.source} table has no column '{entry.name}'.", input=entry.name)
            try:
                values[row, column] = float(cell)
            except ValueError as error:
                raise TrainingDataInvalid(
                    f"Input '{entry.name}' is empty or not a number for a patient. Missing inputs are never guessed.",
                    input=entry.name,
                ) from error
    return values


def transform(task: ResponseTask, values: FloatArray) -> FloatArray:
    """Float (patients, inputs) after each input's transform."""
    return np.array(
        [[entry.transformed(float(value)) for entry, value in zip(task.inputs, row, strict=True)] for row in values]
    ).reshape(values.shape)


def _favourable(task: ResponseTask, row: Mapping[str, str]) -> int:
    cell = row.get(task.outcome.column)
    if cell is None:
        raise TrainingDataInvalid(f"The clinical table has no outcome column '{task.outcome.column}'.")
    if task.outcome.favourable_when == "empty":
        return int(cell.strip() == "")
    if cell.strip() not in {"0", "1"}:
        raise TrainingDataInvalid(f"Outcome column '{task.outcome.column}' must hold 0 or 1 for every patient.")
    return int(cell.strip())


def _require_plausible(task: ResponseTask, values: FloatArray) -> None:
    for column, entry in enumerate(task.inputs):
        if not all(math.isfinite(value) and entry.minimum <= value <= entry.maximum for value in values[:, column]):
            raise TrainingDataInvalid(
                f"Input '{entry.name}' is not finite or lies outside {entry.minimum:g} to {entry.maximum:g} "
                f"{entry.unit} for a patient. Check the unit of the column and the range in the task file.",
                input=entry.name,
            )


def _require_no_leak(task: ResponseTask, values: FloatArray, favourable: IntArray) -> None:
    for column, entry in enumerate(task.inputs):
        area = float(roc_auc_score(favourable, values[:, column]))
        few_values = len(np.unique(values[:, column])) <= 2
        if area in (0.0, 1.0) and (few_values or len(favourable) >= _PERFECT_SEPARATION_NEEDS):
            raise TrainingDataInvalid(
                f"Input '{entry.name}' separates the outcomes without one error, as the outcome itself would. "
                "Remove it: it is a copy of the outcome or was recorded after it.",
                input=entry.name,
            )
