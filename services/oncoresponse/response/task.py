"""The declaration of a response task: what is predicted, from what, and what may never be an input.

``response/task.yaml`` is written by a person before any fit and read by the training command. Inputs, transforms, signs
and the search over hyper-parameters are fixed there, so that nothing is chosen by looking at results.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncoresponse.errors import TrainingDataInvalid


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OutcomeRule(_Strict):
    """How a column of the clinical table becomes the outcome.

    Attributes:
        column: Column of the clinical table.
        favourable_when: ``empty``: favourable when the cell is empty; ``one``: favourable when it is 1 (0 otherwise).
        definition: The rule in words.
    """

    column: str
    favourable_when: Literal["empty", "one"]
    definition: str


class ResponseInput(_Strict):
    """One input of the response model.

    Attributes:
        name: Name of a feature, a measure, or a clinical column.
        title: The same in clinical words.
        unit: UCUM.
        source: Which table holds it; clinical inputs are covariates of a request.
        transform: Applied before everything else; ``log`` is the natural logarithm.
        favourable_sign: Sign of the effect on the favourable outcome that physiology gives (-1: a larger value makes
            the favourable outcome less likely); 0 where it gives none.
        minimum: Smallest value that can be true, in ``unit``.
        maximum: Largest.
    """

    name: str
    title: str
    unit: str
    source: Literal["features", "clinical"] = "features"
    transform: Literal["log", "none"] = "none"
    favourable_sign: Literal[-1, 0, 1] = 0
    minimum: float
    maximum: float

    @model_validator(mode="after")
    def _range_fits_transform(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError(f"Input '{self.name}': minimum must be below maximum.")
        if self.transform == "log" and self.minimum <= 0:
            raise ValueError(f"Input '{self.name}': a logarithm needs a minimum above 0.")
        return self

    def transformed(self, value: float) -> float:
        """``value`` on the scale the model works on; NaN where the transform is not defined."""
        if self.transform == "none":
            return value
        return math.log(value) if value > 0 and math.isfinite(value) else math.nan


class BoosterSettings(_Strict):
    """Fixed hyper-parameters of XGBoost and the small search declared in advance.

    ``min_child_weight`` is the sum of p(1-p) in a leaf: 1 asks for about four patients. With 3 and fewer than 40
    patients trees stop splitting and the model becomes a constant, which training refuses.
    """

    max_depth: tuple[int, ...] = Field(min_length=1)
    rounds: tuple[int, ...] = Field(min_length=1)
    learning_rate: float = Field(gt=0, le=1)
    l2_penalty: float = Field(default=1.0, ge=0)
    min_child_weight: float = Field(default=1.0, ge=0)
    row_fraction: float = Field(default=1.0, gt=0, le=1)
    column_fraction: float = Field(default=1.0, gt=0, le=1)


class ValidationSettings(_Strict):
    """Size of the validation.

    Attributes:
        folds: Outer and inner folds, stratified by outcome, whole patients.
        repeats: Repeats of the outer cross-validation with new folds.
        inner_repeats: Repeats of the inner one, which chooses hyper-parameters and calibrates.
        permutations: Permutations of the outcome through the whole pipeline.
        permutation_repeats: Outer repeats in each permutation.
        bootstrap_samples: Patient bootstraps for intervals of figures of merit.
        simulated_cohorts: Cohorts of the same size with a known truth on which the interval is checked and widened.
    """

    folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=20, ge=1)
    inner_repeats: int = Field(default=3, ge=1)
    permutations: int = Field(default=200, ge=0)
    permutation_repeats: int = Field(default=1, ge=1)
    bootstrap_samples: int = Field(default=2000, ge=100)
    simulated_cohorts: int = Field(default=40, ge=0)


class UncertaintySettings(_Strict):
    """Promises about a single prediction.

    Attributes:
        conformal_coverage: Coverage of the conformal set in each outcome class.
        interval_level: Level of the interval of the probability.
        ensemble_members: Patient bootstraps refitted for that interval.
        outside_quantile: Quantile of the leave-one-out distances of training patients that is the threshold.
    """

    conformal_coverage: float = Field(default=0.8, gt=0.5, lt=1)
    interval_level: float = Field(default=0.9, gt=0.5, lt=1)
    ensemble_members: int = Field(default=100, ge=10)
    outside_quantile: float = Field(default=0.975, gt=0.5, lt=1)


class ResponseTask(_Strict):
    """Contents of ``response/task.yaml``. Unknown keys are refused."""

    patient_column: str = "patient_id"
    outcome: OutcomeRule
    inputs: tuple[ResponseInput, ...] = Field(min_length=1)
    baseline_inputs: tuple[str, ...] = Field(min_length=1)
    forbidden_columns: tuple[str, ...]
    held_out_patients: tuple[str, ...] = ()
    booster: BoosterSettings
    validation: ValidationSettings = ValidationSettings()
    uncertainty: UncertaintySettings = UncertaintySettings()
    seed: int = Field(ge=0, lt=2**31)

    @model_validator(mode="after")
    def _inputs_are_allowed(self) -> Self:
        names = [entry.name for entry in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError("An input is declared twice.")
        forbidden = {name.casefold() for name in (*self.forbidden_columns, self.outcome.column, self.patient_column)}
        if refused := [name for name in names if name.casefold() in forbidden]:
            raise ValueError(
                f"Input '{refused[0]}' is the outcome, is known only after the scan, or was decided with knowledge of "
                "it. Remove it from the inputs."
            )
        if unknown := set(self.baseline_inputs) - set(names):
            raise ValueError(f"Baseline input '{sorted(unknown)[0]}' is not among the inputs.")
        return self

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order the booster sees them."""
        return tuple(entry.name for entry in self.inputs)

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
        found = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'task'}: {item['msg']}" for item in error.errors())
        raise TrainingDataInvalid(f"The task file is not valid. {found}") from error
    except yaml.YAMLError as error:
        raise TrainingDataInvalid("The task file is not YAML. Correct it and train again.") from error
