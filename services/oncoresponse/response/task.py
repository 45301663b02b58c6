"""The declaration of a response task: what is predicted, from what, and what may never be an input.

``response/task.yaml`` is written by a person before any fit and read by the training command. Inputs, transforms, signs
and the search over hyper-parameters are fixed there, so that nothing is chosen by looking at results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from oncoresponse.case.prediction import PhysicianGroup
from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.task_settings import (
    BoosterSettings,
    EvidenceRule,
    Strict,
    UncertaintySettings,
    ValidationSettings,
)


class OutcomeRule(Strict):
    """How a column of the clinical table becomes the outcome.

    Attributes:
        column: Column of the clinical table.
        favorable_when: ``empty``: favorable when the cell is empty; ``one``: favorable when it is 1 (0 otherwise);
            ``zero``: favorable when it is 0 (1 otherwise), as in a column that says who died or recurred.
        definition: The rule in words.
    """

    column: str
    favorable_when: Literal["empty", "one", "zero"]
    definition: str

    def favorable(self, cell: str) -> int:
        """1 where a cell of the column says that the outcome was favorable, else 0.

        Raises:
            ValueError: The cell should be 0 or 1 and is not.
        """
        cell = cell.strip()
        if self.favorable_when == "empty":
            return int(cell == "")
        if cell not in ("0", "1"):
            raise ValueError("neither 0 nor 1")
        return int(cell == ("1" if self.favorable_when == "one" else "0"))


class Exclusion(Strict):
    """Patients who are left out before anything is computed, by a rule declared in advance.

    Attributes:
        column: Column of the clinical table.
        when: ``empty``, or how the cell compares with ``value``.
        value: What it is compared with; numbers for ``below`` and ``above``.
        reason: Why, in words; the evaluation says how many patients it concerned.
    """

    column: str
    when: Literal["empty", "equals", "below", "above"]
    value: str | float | None = None
    reason: str

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        if self.when in ("below", "above") and not isinstance(self.value, float | int):
            raise ValueError(f"Exclusion on '{self.column}': '{self.when}' needs a number.")
        if (self.when == "empty") != (self.value is None):
            raise ValueError(f"Exclusion on '{self.column}': give a value, or 'when: empty' without one.")
        return self

    def applies(self, cell: str) -> bool:
        """Whether a patient with this cell is left out.

        Raises:
            ValueError: The cell is compared with a number and is none.
        """
        cell = cell.strip()
        if self.when == "empty":
            return cell == ""
        if self.when == "equals":
            return cell == (str(self.value) if isinstance(self.value, str) else f"{self.value:g}")
        return cell != "" and (
            float(cell) < float(str(self.value)) if self.when == "below" else float(cell) > float(str(self.value))
        )


class AuditGroup(Strict):
    """Subgroups in which the evaluation is repeated. Never an input by being named here.

    Attributes:
        title: Such as ``Age``.
        column: Column of the clinical or the feature table.
        bands: Limits between bands of a number, ascending; without them each value of the column is a subgroup.
        unit: UCUM of the bands, ``1`` for a pure number; needed with them.
    """

    title: str
    column: str
    bands: tuple[float, ...] = ()
    unit: str = ""

    @model_validator(mode="after")
    def _bands_ascend(self) -> Self:
        if list(self.bands) != sorted(set(self.bands)):
            raise ValueError(f"Audit group '{self.title}': bands must ascend.")
        if self.bands and not self.unit:
            raise ValueError(f"Audit group '{self.title}': bands need a unit; 1 for a pure number.")
        return self

    def subgroup(self, cell: str) -> str:
        """Name of the subgroup of a cell, such as ``40 to 60 a``; ``not recorded`` for an empty one.

        Raises:
            ValueError: A number is needed and the cell is none.
        """
        cell = cell.strip()
        if not cell:
            return "not recorded"
        if not self.bands:
            return cell
        value, unit = float(cell), f" {self.unit}" if self.unit not in ("", "1") else ""
        if value < self.bands[0]:
            return f"below {self.bands[0]:g}{unit}"
        for low, high in pairwise(self.bands):
            if low <= value < high:
                return f"{low:g} to {high:g}{unit}"
        return f"{self.bands[-1]:g}{unit} or more"


class FollowUpTask(Strict):
    """When a failure came, or until when there was none: the outcome as a censored time, for the validation only.

    Attributes:
        failure_column: Time of the failure; empty where there was none.
        follow_up_column: Time of the last follow-up.
        unit: UCUM of both, such as ``d``.
        origin: From when both count, such as ``diagnosis``.
        horizon: Failures up to then are ordered (the truncation time of Uno's concordance); patients without failure
            who were followed less are counted and named.
    """

    failure_column: str
    follow_up_column: str
    unit: str
    origin: str = "diagnosis"
    horizon: float = Field(gt=0)


class Candidate(Strict):
    """A set of inputs that may become the model.

    Attributes:
        name: Such as ``SUVmax alone``.
        inputs: Names of declared inputs.
    """

    name: str
    inputs: tuple[str, ...] = Field(min_length=1)


class StrataTask(Strict):
    """Strata within which the prediction sets keep their promise for each outcome.

    Attributes:
        input: A declared input.
        limits: Borders between the strata, ascending, in the unit of the input.
        names: One more than limits, from the smallest values on.
        reason: Why these.
    """

    input: str
    limits: tuple[float, ...] = Field(min_length=1)
    names: tuple[str, ...]
    reason: str

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if list(self.limits) != sorted(set(self.limits)) or len(self.names) != len(self.limits) + 1:
            raise ValueError("Strata need ascending limits and one name more than limits.")
        return self


class CallRule(Strict):
    """Which kinds of call are made.

    Attributes:
        lowest_right: Smallest share of calls of the kind that were right in nested validation.
        level: Of the two-sided interval whose lower end must exceed the better of chance and the share of patients with
            that outcome.
    """

    lowest_right: float = Field(default=0.7, ge=0, le=1)
    level: float = Field(default=0.8, gt=0.5, lt=1)


class ShiftTest(Strict):
    """Trained on the patients with the smaller values of an input, tested on those with the larger ones."""

    input: str


_TEXTURE = ("glcm", "glrlm", "glszm", "gldm", "ngtdm")


class LogRatio(Strict):
    """The change between two sizes that a table holds, as the natural logarithm of the later over the earlier.

    Attributes:
        later: Column of the later size.
        earlier: Column of the earlier one.
        unit: UCUM of both.
        at_least: Smaller sizes count as this one: what is gone or too small to measure has no logarithm.
    """

    later: str
    earlier: str
    unit: str
    at_least: float = Field(gt=0)

    def value(self, row: Mapping[str, float]) -> float:
        """The change of one patient; NaN where a size is missing or below 0.

        Raises:
            KeyError: The row lacks a column.
        """
        later, earlier = row[self.later], row[self.earlier]
        if not (0 <= later < math.inf and 0 <= earlier < math.inf):
            return math.nan
        return math.log(max(later, self.at_least) / max(earlier, self.at_least))


class ResponseInput(Strict):
    """One input of the response model.

    Attributes:
        name: Name of a feature, a measure, or a clinical column.
        title: The same in clinical words.
        unit: UCUM.
        source: Which table holds it; clinical inputs are covariates of a request.
        transform: Applied before everything else; ``log`` is the natural logarithm.
        favorable_sign: Sign of the effect on the favorable outcome that physiology gives (-1: a larger value makes
            the favorable outcome less likely); 0 where it gives none.
        minimum: Smallest value that can be true, in ``unit``.
        maximum: Largest.
        group: What a physician would call it; guessed from ``name`` and ``source`` when not given.
        log_ratio: Where the input is a change that is derived from two other columns; there is then no column of its
            name, and ``minimum`` and ``maximum`` are of the logarithm.
    """

    name: str
    title: str
    unit: str
    source: Literal["features", "clinical"] = "features"
    transform: Literal["log", "none"] = "none"
    favorable_sign: Literal[-1, 0, 1] = 0
    minimum: float
    maximum: float
    group: PhysicianGroup | None = None
    log_ratio: LogRatio | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Columns of a table that give it, with their units."""
        if self.log_ratio is None:
            return {self.name: self.unit}
        return {self.log_ratio.earlier: self.log_ratio.unit, self.log_ratio.later: self.log_ratio.unit}

    @property
    def physician_group(self) -> PhysicianGroup:
        """``group``, or what follows from the name of the feature."""
        if self.group is not None:
            return self.group
        if self.source == "clinical":
            return "patient"
        name = self.name.casefold()
        if any(texture in name for texture in _TEXTURE):
            return "heterogeneity"
        if any(word in name for word in ("density", "intensity")):
            return "intensity"
        if any(word in name for word in ("suv", "glycolysis", "firstorder")):
            return "intensity" if self.unit.startswith(("HU", "[arb'U]")) else "uptake"
        return "size" if any(word in name for word in ("volume", "diameter", "extent")) else "shape"

    @property
    def is_binary(self) -> bool:
        """Whether it says yes or no (unit 1, 0 to 1)."""
        return (self.unit, self.minimum, self.maximum, self.transform) == ("1", 0.0, 1.0, "none")

    @model_validator(mode="after")
    def _range_fits_transform(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError(f"Input '{self.name}': minimum must be below maximum.")
        if self.transform == "log" and self.minimum <= 0:
            raise ValueError(f"Input '{self.name}': a logarithm needs a minimum above 0.")
        if self.log_ratio is not None and (self.transform != "none" or self.source != "clinical"):
            raise ValueError(f"Input '{self.name}': a derived change is clinical and has no other transform.")
        return self

    def transformed(self, value: float) -> float:
        """``value`` on the scale the model works on; NaN where the transform is not defined."""
        if self.transform == "none":
            return value
        return math.log(value) if value > 0 and math.isfinite(value) else math.nan


def with_derived(inputs: Sequence[ResponseInput], values: Mapping[str, float]) -> dict[str, float]:
    """``values`` and the changes that can be derived from them; one that is there by its own name stays."""
    derived = {
        entry.name: entry.log_ratio.value(values)
        for entry in inputs
        if entry.log_ratio is not None and entry.columns.keys() <= values.keys()
    }
    return {**derived, **values}


class ResponseTask(Strict):
    """Contents of ``response/task.yaml``. Unknown keys are refused.

    Attributes:
        patient_column: Column that names the patient in every table.
        outcome: What is predicted.
        inputs: From what.
        baseline_inputs: Inputs of the logistic regression that is always computed beside.
        forbidden_columns: Columns known only after the scan or decided with knowledge of what followed; no input may be
            one of them or a copy of one.
        exclusions: Patients left out by rule.
        audit_groups: Subgroups of the evaluation.
        held_out_patients: Patients kept out of everything.
        minimum_icc: Measured inputs whose intraclass correlation under perturbed contours is smaller are dropped; needs
            the table that ``oncoradiomics robustness`` writes.
        candidates: Sets of inputs among which the validation chooses, simplest first; all inputs when not given.
        evidence: What validation has to show before the model predicts.
        calls: Which kinds of call are made.
        strata: Strata of the prediction sets.
        follow_up: The outcome as a censored time.
        shift: Test under shift.
        keep_training_cases: Keep inputs and outcome of each training patient, without identifier, in the model, so that
            a report can show the nearest ones.
        booster: Fixed hyper-parameters and the small search.
        validation: Size of the validation.
        uncertainty: Promises about a single prediction.
        seed: Seed of everything.
    """

    patient_column: str = "patient_id"
    outcome: OutcomeRule
    inputs: tuple[ResponseInput, ...] = Field(min_length=1)
    baseline_inputs: tuple[str, ...] = Field(min_length=1)
    forbidden_columns: tuple[str, ...]
    exclusions: tuple[Exclusion, ...] = ()
    audit_groups: tuple[AuditGroup, ...] = ()
    held_out_patients: tuple[str, ...] = ()
    minimum_icc: float | None = Field(default=None, gt=0, lt=1)
    candidates: tuple[Candidate, ...] = Field(default=(), max_length=3)
    evidence: EvidenceRule = EvidenceRule()
    calls: CallRule = CallRule()
    strata: StrataTask | None = None
    follow_up: FollowUpTask | None = None
    shift: ShiftTest | None = None
    keep_training_cases: bool = True
    booster: BoosterSettings
    validation: ValidationSettings = ValidationSettings()
    uncertainty: UncertaintySettings = UncertaintySettings()
    seed: int = Field(ge=0, lt=2**31)

    @model_validator(mode="after")
    def _inputs_are_allowed(self) -> Self:
        names = [entry.name for entry in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError("An input is declared twice.")
        after = [self.outcome.column, self.patient_column]
        if self.follow_up is not None:
            after += [self.follow_up.failure_column, self.follow_up.follow_up_column]
        forbidden = {name.casefold() for name in (*self.forbidden_columns, *after)}
        sources = [*names, *(column for entry in self.inputs for column in entry.columns)]
        if refused := [name for name in sources if name.casefold() in forbidden]:
            raise ValueError(
                f"Input '{refused[0]}' is the outcome, is known only after the scan, or was decided with knowledge of "
                "it. Remove it from the inputs."
            )
        if unknown := set(self.baseline_inputs) - set(names):
            raise ValueError(f"Baseline input '{sorted(unknown)[0]}' is not among the inputs.")
        if self.shift is not None and self.shift.input not in names:
            raise ValueError(f"Input '{self.shift.input}' of the shift test is not among the inputs.")
        if self.strata is not None and self.strata.input not in names:
            raise ValueError(f"Input '{self.strata.input}' of the strata is not among the inputs.")
        for candidate in self.candidates:
            if unknown := set(candidate.inputs) - set(names):
                raise ValueError(f"Candidate '{candidate.name}': '{sorted(unknown)[0]}' is not among the inputs.")
            if not set(candidate.inputs) & set(self.baseline_inputs):
                raise ValueError(f"Candidate '{candidate.name}' has no baseline input.")
        return self

    def of_candidate(self, candidate: Candidate) -> ResponseTask:
        """The task with the inputs of one candidate; shift and strata are left out where their input is."""
        kept = candidate.inputs
        return self.model_copy(
            update={
                "inputs": tuple(entry for entry in self.inputs if entry.name in kept),
                "baseline_inputs": tuple(name for name in self.baseline_inputs if name in kept),
                "shift": self.shift if self.shift is not None and self.shift.input in kept else None,
                "strata": self.strata if self.strata is not None and self.strata.input in kept else None,
                "candidates": (),
            }
        )

    @property
    def every_candidate(self) -> tuple[Candidate, ...]:
        """The candidates; one with all inputs where none are declared."""
        return self.candidates or (Candidate(name="All declared inputs", inputs=self.input_names),)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order the booster sees them."""
        return tuple(entry.name for entry in self.inputs)

    @property
    def post_outcome_columns(self) -> tuple[str, ...]:
        """Columns no input may copy."""
        found = [self.outcome.column, *self.forbidden_columns]
        if self.follow_up is not None:
            found += [self.follow_up.failure_column, self.follow_up.follow_up_column]
        return tuple(dict.fromkeys(found))

    @property
    def baseline_columns(self) -> tuple[int, ...]:
        """Positions of the baseline's inputs among the inputs."""
        return tuple(self.input_names.index(name) for name in self.baseline_inputs)


def read_task(path: Path) -> ResponseTask:
    """Read and check a task file.

    Raises:
        TrainingDataInvalid: The file cannot be read, has an unknown key, or declares a forbidden input.
    """
    try:
        return ResponseTask.model_validate(yaml.safe_load(path.read_bytes()))
    except OSError as error:
        raise TrainingDataInvalid(f"The task file {path.name} cannot be read. Check the path.") from error
    except ValidationError as error:
        raise TrainingDataInvalid(f"The task file is not valid. {schema_faults(error)}") from error
    except yaml.YAMLError as error:
        raise TrainingDataInvalid("The task file is not YAML. Correct it and train again.") from error
