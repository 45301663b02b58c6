"""``response/response.json``: everything of a trained response model that is not a tree."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from oncoradiomics.features import ExtractionIdentity
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.calibration import Sigmoid
from oncoresponse.response.call_rule import CallFigures
from oncoresponse.response.conformal import CoverageCell, stratum_of
from oncoresponse.response.pipeline import LogisticBaseline
from oncoresponse.response.task import ResponseInput, StrataTask
from oncoresponse.response.task_settings import CalibrationMethod
from oncoresponse.response.training_distance import TrainingDistance

BOOSTER_FILE = "booster.ubj"
ENSEMBLE_FILE = "ensemble.zip"
DOCUMENT_FILE = "response.json"
EVALUATION_FILE = "evaluation.json"
TASK_FILE = "task.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainingDistribution(_Strict):
    """Values of one input in the training patients, in its unit.

    Attributes:
        minimum: Smallest.
        low: 5th percentile.
        median: 50th.
        high: 95th.
        maximum: Largest.
        percentiles: The 0th to the 100th, 101 values.
    """

    minimum: float
    low: float
    median: float
    high: float
    maximum: float
    percentiles: tuple[float, ...] = Field(min_length=101, max_length=101)

    def percentile_of(self, value: float) -> float:
        """Share of training patients below, ties half, 0 to 100, between percentiles by interpolation."""
        steps = np.array(self.percentiles)
        below = np.interp(value, steps, np.arange(101.0), left=0.0, right=100.0)
        equal = np.flatnonzero(steps == value)
        return float(equal.mean()) if len(equal) else float(below)


class CalibrationDocument(_Strict):
    """The calibration and the out-of-fold margins it was fitted to, which also make the conformal sets.

    Attributes:
        chosen: Method that cross-validation over patients chose among those of the task.
        method: Name and reason.
        slope: Factor on the margin.
        intercept: Added after it.
        out_of_fold_margins: (inner repeats, patients), log-odds by boosters that had not seen the patient.
        favorable: (patients,), 1 where the outcome was favorable.
        out_of_fold_probabilities: (patients,), calibrated, mean over repeats.
        strata: (patients,), stratum of each patient; empty where there are none.
    """

    chosen: CalibrationMethod
    method: str
    slope: float = Field(ge=0)
    intercept: float
    out_of_fold_margins: tuple[tuple[float, ...], ...]
    favorable: tuple[int, ...]
    out_of_fold_probabilities: tuple[float, ...]
    strata: tuple[int, ...] = ()

    @property
    def sigmoid(self) -> Sigmoid:
        """The calibration as a function."""
        return Sigmoid(self.slope, self.intercept)

    def scores(self) -> tuple[FloatArray, IntArray]:
        """Margins (repeats, patients) and outcomes (patients,)."""
        return np.array(self.out_of_fold_margins), np.array(self.favorable, dtype=np.int64)

    def stratum_of_each(self) -> IntArray:
        """Int (patients,); 0 where there are none."""
        return np.array(self.strata or (0,) * len(self.favorable), dtype=np.int64)


class DistanceDocument(_Strict):
    """See :class:`~oncoresponse.response.training_distance.TrainingDistance`."""

    center: tuple[float, ...]
    scale: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    threshold: float
    quantile: float

    @property
    def distance(self) -> TrainingDistance:
        """The distance as a function."""
        return TrainingDistance(np.array(self.center), np.array(self.scale), np.array(self.precision), self.threshold)


class BaselineDocument(_Strict):
    """See :class:`~oncoresponse.response.pipeline.LogisticBaseline`."""

    inputs: tuple[str, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float

    @classmethod
    def of(cls, regression: LogisticBaseline, names: tuple[str, ...]) -> Self:
        """The document of a regression whose columns are positions in ``names``."""
        return cls(
            inputs=tuple(names[column] for column in regression.columns),
            center=tuple(float(value) for value in regression.center),
            scale=tuple(float(value) for value in regression.scale),
            coefficients=tuple(float(value) for value in regression.coefficients),
            intercept=float(regression.intercept),
        )

    def regression(self, names: tuple[str, ...]) -> LogisticBaseline:
        """The regression as a function of inputs in the order of ``names``."""
        return LogisticBaseline(
            tuple(names.index(name) for name in self.inputs),
            np.array(self.center),
            np.array(self.scale),
            np.array(self.coefficients),
            self.intercept,
        )


class IntervalDocument(_Strict):
    """How the interval of the probability is made, and how often it held in simulation."""

    method: str
    level: float
    members: int
    widening: float = Field(ge=1)
    simulated_coverage: float | None


class ConformalDocument(_Strict):
    """Promised coverage of the conformal set in each group, and what cross-validation found.

    Attributes:
        coverage: Promise.
        measured: Of all patients together.
        measured_favorable: Of those with the favorable outcome.
        measured_unfavorable: Of the others.
        groups: By outcome and stratum.
        strata: How a patient's stratum follows from an input; ``None`` where there are none.
    """

    coverage: float
    measured: float
    measured_favorable: float
    measured_unfavorable: float
    groups: tuple[CoverageCell, ...]
    strata: StrataTask | None = None


class TrainingCase(_Strict):
    """Inputs and outcome of one training patient, without identifier, values rounded to four digits."""

    values: tuple[float, ...]
    favorable: bool


class GoldenVector(_Strict):
    """Inputs whose margin must come out again when the model is opened.

    Attributes:
        values: In the units and order of the inputs. Quantiles of the cohort, no patient.
        transformed: The same after the transforms; reproduced to 1e-6.
        margin: Log-odds before calibration; reproduced to 1e-9.
        ensemble_mean: Mean probability of the ensemble; reproduced to 1e-6.
    """

    values: tuple[float, ...]
    transformed: tuple[float, ...]
    margin: float
    ensemble_mean: float


class ResponseDocument(_Strict):
    """Contents of ``response.json``.

    Attributes:
        inputs: In the order the booster sees them.
        training: Distribution of each input, same order.
        max_depth: Depth of the trees, chosen by inner cross-validation.
        rounds: Number of trees, chosen likewise.
        calibration: Margin to probability.
        conformal: Promise of the conformal sets.
        calls: How often each kind of call was right in nested validation, and whether it is made; favorable first.
        interval: Interval of the probability.
        distance: Distance from the training data.
        baseline: Logistic regression shown beside.
        start: Logistic regression the trees start from; ``None`` where they start from zero log-odds.
        cases: Training patients without identifier, for the nearest ones; empty where the task says so.
        dropped_inputs: Declared inputs that were not robust enough, with their intraclass correlation.
        golden_vectors: Checked whenever the model is opened.
        limits: Plain sentences made from the evaluation.
        seed: Seed of everything.
        training_patients: Number of patients.
        training_favorable: How many had the favorable outcome.
        training_data_sha256: Over inputs and outcomes, identifiers left out.
        task_sha256: Of ``task.yaml``.
        radiomics_settings_sha256: Of the model's radiomics settings at training; ``None`` when there were none.
        extraction: How the features of the training patients were computed; ``None`` where nobody declared it, and for
            a model without features.
        booster_sha256: Of ``booster.ubj``.
        ensemble_sha256: Of ``ensemble.zip``.
        library_versions: Versions of the libraries that fitted the model.
    """

    inputs: tuple[ResponseInput, ...]
    training: tuple[TrainingDistribution, ...]
    max_depth: int
    rounds: int
    calibration: CalibrationDocument
    conformal: ConformalDocument
    calls: tuple[CallFigures, CallFigures]
    interval: IntervalDocument
    distance: DistanceDocument
    baseline: BaselineDocument
    start: BaselineDocument | None = None
    cases: tuple[TrainingCase, ...] = ()
    dropped_inputs: dict[str, float] = {}
    golden_vectors: tuple[GoldenVector, ...] = Field(min_length=1)
    limits: tuple[str, ...]
    seed: int
    training_patients: int
    training_favorable: int
    training_data_sha256: str
    task_sha256: str
    radiomics_settings_sha256: str | None
    extraction: ExtractionIdentity | None = None
    booster_sha256: str
    ensemble_sha256: str
    library_versions: dict[str, str]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.training) != len(self.inputs):
            raise ValueError("Each input needs its training distribution.")
        return self

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(entry.name for entry in self.inputs)

    def strata_of(self, transformed: FloatArray) -> IntArray:
        """Int (patients,): the stratum of transformed inputs (patients, inputs)."""
        return stratum_of(self.conformal.strata, self.inputs, transformed)


class MeasuresOnlyDocument(_Strict):
    """Contents of ``response.json`` of a model without evidence for a prediction: it measures and does not predict.

    Training writes it when validation does not meet the declared rule. A model folder that was never meant to predict
    may hold one written by hand, with ``evidence`` and ``statement`` alone.

    Attributes:
        evidence: Always ``none``.
        statement: Why, in one sentence.
        inputs: What the outcome was sought in.
        candidate_boosters: SHA-256 of the boosters that were refused.
        limits: Plain sentences made from the evaluation.
        training_patients: Number of patients of the validation.
        training_favorable: How many had the favorable outcome.
        training_data_sha256: Over inputs and outcomes, identifiers left out.
        task_sha256: Of ``task.yaml``.
        radiomics_settings_sha256: Of the model's radiomics settings at training.
        extraction: How the features of the training patients were computed.
        seed: Seed of the validation.
        library_versions: Versions of the libraries that made it.
    """

    evidence: Literal["none"]
    statement: str = Field(min_length=1)
    inputs: tuple[ResponseInput, ...] = ()
    candidate_boosters: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    training_patients: int | None = None
    training_favorable: int | None = None
    training_data_sha256: str | None = None
    task_sha256: str | None = None
    radiomics_settings_sha256: str | None = None
    extraction: ExtractionIdentity | None = None
    seed: int | None = None
    library_versions: dict[str, str] = {}


def read_document(content: bytes) -> ResponseDocument | MeasuresOnlyDocument:
    """``response.json`` of a model with or without evidence for a prediction.

    Raises:
        ValidationError: It is neither.
    """
    try:
        return MeasuresOnlyDocument.model_validate_json(content)
    except ValidationError:
        return ResponseDocument.model_validate_json(content)
