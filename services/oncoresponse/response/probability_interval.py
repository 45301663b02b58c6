"""The interval of a predicted probability: patient bootstraps of the whole pipeline, widened until it holds.

Each member of the ensemble is a scoring model with its own start and calibration, fitted by
:func:`~oncoresponse.response.pipeline.fit_pipeline` to a bootstrap of patients. Percentiles of the members show how
much the answer depends on who happened to be in the cohort, but not the pull of regularization, so at tens of patients
they are too narrow. Therefore cohorts of the same size with a known truth are simulated and the interval is stretched,
on the log-odds scale around the prediction, by the factor that makes it hold the true probability as often as it says.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

import numpy as np
import xgboost
from pydantic import BaseModel, ConfigDict
from scipy.special import expit, logit

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.calibration import Sigmoid
from oncoresponse.response.pipeline import LogisticBaseline, ScoringModel, fit_baseline, fit_pipeline
from oncoresponse.response.progress import Progress, no_progress
from oncoresponse.response.task import ResponseTask

_ENSEMBLE_SEED = 7_003
_SIMULATION_SEED = 7_004
_SIMULATED_MEMBERS = 30
_SIMULATED_PATIENTS = 25
_SMOOTHING = 0.3
_PROBABILITY_FLOOR = 1e-4
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_MEMBERS_FILE = "members.json"


@dataclass(frozen=True)
class Ensemble:
    """Scoring models, one for each bootstrap of patients."""

    members: tuple[ScoringModel, ...]

    def probabilities(self, inputs: FloatArray) -> FloatArray:
        """Float (members, patients) of transformed inputs (patients, inputs)."""
        return np.stack([member.probability(inputs) for member in self.members])

    def interval(
        self, inputs: FloatArray, probability: FloatArray, level: float, widening: float
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends (patients,), always around ``probability``.

        Args:
            inputs: Float (patients, inputs), transformed.
            probability: Float (patients,), the prediction itself.
            level: Such as 0.9.
            widening: Factor on the log-odds scale, from :func:`simulate_interval_coverage`.
        """
        found = self.probabilities(inputs)
        ends = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
        middle = _log_odds(probability)
        low = middle - widening * np.maximum(middle - _log_odds(ends[0]), 0)
        high = middle + widening * np.maximum(_log_odds(ends[1]) - middle, 0)
        return np.minimum(expit(low), probability), np.maximum(expit(high), probability)

    def to_bytes(self) -> bytes:
        """A ZIP of one UBJ booster a member and one JSON of their starts and calibrations; the same bytes each time."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_entry(_MEMBERS_FILE), json.dumps([_plain(member) for member in self.members]))
            for index, member in enumerate(self.members):
                archive.writestr(_entry(f"booster-{index:03d}.ubj"), bytes(member.booster.save_raw("ubj")))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, names: tuple[str, ...]) -> Ensemble:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ModelFolderInvalid: The content is not such an archive.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = []
                for index, plain in enumerate(json.loads(archive.read(_MEMBERS_FILE))):
                    booster = xgboost.Booster({"nthread": 1})
                    booster.load_model(bytearray(archive.read(f"booster-{index:03d}.ubj")))
                    sigmoid = Sigmoid(float(plain["slope"]), float(plain["intercept"]))
                    members.append(ScoringModel(_start(plain["start"]), booster, sigmoid, names))
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, xgboost.core.XGBoostError) as error:
            raise ModelFolderInvalid("The ensemble of the response model cannot be read. Install it again.") from error
        return cls(tuple(members))


class IntervalCoverage(BaseModel):
    """What the simulation found.

    Attributes:
        simulated_cohorts: Cohorts with a known truth, of the size of the training cohort.
        level: Promised level.
        widening: Factor on the log-odds scale, chosen on the first half of the cohorts.
        covered_without_widening: Share of true probabilities inside the plain bootstrap interval, second half.
        covered: Share inside the widened interval, second half.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    simulated_cohorts: int
    level: float
    widening: float
    covered_without_widening: float
    covered: float


def fit_ensemble(
    task: ResponseTask,
    inputs: FloatArray,
    favorable: IntArray,
    *,
    members: int,
    seed: int,
    progress: Progress = no_progress,
) -> Ensemble:
    """Refit the pipeline to bootstraps of patients; copies of a patient share a fold."""
    fitted: list[ScoringModel] = []
    for index, drawn in enumerate(bootstrap_draws(favorable, task.validation.folds, members=members, seed=seed)):
        member = fit_pipeline(task, inputs[drawn], favorable[drawn], seed=seed + index, inner_repeats=1, groups=drawn)
        fitted.append(ScoringModel(member.start, member.booster, member.sigmoid, member.names))
        progress("interval ensemble", (index + 1) / members)
    return Ensemble(tuple(fitted))


def bootstrap_draws(favorable: IntArray, folds: int, *, members: int, seed: int) -> list[IntArray]:
    """Row indices of the bootstrap of each member of an ensemble."""
    random = np.random.default_rng(seed)
    return [_bootstrap(random, favorable, folds) for _ in range(members)]


def simulate_interval_coverage(
    task: ResponseTask, inputs: FloatArray, favorable: IntArray, progress: Progress = no_progress
) -> IntervalCoverage:
    """Choose the widening factor on simulated cohorts, and measure the coverage on others.

    The truth is the logistic baseline of the cohort; inputs of a simulated cohort are a smoothed bootstrap of the real
    ones, outcomes are drawn from the truth, and the interval is made for new patients of the same kind.
    """
    level = task.uncertainty.interval_level
    truth = fit_baseline(task, inputs, favorable)
    random = np.random.default_rng(task.seed + _SIMULATION_SEED)
    cohorts = task.validation.simulated_cohorts
    members = min(_SIMULATED_MEMBERS, task.uncertainty.ensemble_members)
    needed = np.empty((cohorts, _SIMULATED_PATIENTS))
    for index in range(cohorts):
        cohort, outcome = _simulated_cohort(task, random, inputs, truth)
        seed = task.seed + 10_000 + 100 * index
        fitted = fit_pipeline(task, cohort, outcome, seed=seed, inner_repeats=1)
        ensemble = fit_ensemble(task, cohort, outcome, members=members, seed=seed)
        patients = _smoothed_bootstrap(random, inputs, _SIMULATED_PATIENTS)
        probability = fitted.probability(patients)
        low, high = ensemble.interval(patients, probability, level, 1.0)
        needed[index] = _factor_needed(truth.probability(patients), probability, low, high)
        progress("interval simulation", (index + 1) / cohorts)
    half = cohorts // 2
    widening = max(1.0, float(np.quantile(needed[:half], level, method="higher")))
    return IntervalCoverage(
        simulated_cohorts=cohorts,
        level=level,
        widening=round(widening, 3),
        covered_without_widening=round(float((needed[half:] <= 1).mean()), 4),
        covered=round(float((needed[half:] <= widening).mean()), 4),
    )


def ensemble_seed(task: ResponseTask) -> int:
    """Seed of the ensemble that ships."""
    return task.seed + _ENSEMBLE_SEED


def _factor_needed(truth: FloatArray, probability: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Factor by which each interval must be stretched to reach the truth."""
    middle, target = _log_odds(probability), _log_odds(truth)
    reach = np.where(target > middle, _log_odds(high) - middle, middle - _log_odds(low))
    return np.abs(target - middle) / np.maximum(reach, 1e-6)


def _simulated_cohort(
    task: ResponseTask, random: np.random.Generator, inputs: FloatArray, truth: LogisticBaseline
) -> tuple[FloatArray, IntArray]:
    while True:
        cohort = _smoothed_bootstrap(random, inputs, len(inputs))
        outcome = (random.random(len(cohort)) < truth.probability(cohort)).astype(np.int64)
        # Bootstraps of the cohort still need a patient of each outcome in every fold.
        if min(int(outcome.sum()), int((1 - outcome).sum())) >= 2 * task.validation.folds:
            return cohort, outcome


def _smoothed_bootstrap(random: np.random.Generator, inputs: FloatArray, patients: int) -> FloatArray:
    drawn = inputs[random.integers(0, len(inputs), patients)]
    covariance = np.atleast_2d(np.cov(inputs, rowvar=False))
    noise = random.multivariate_normal(np.zeros(inputs.shape[1]), covariance, patients)
    center = inputs.mean(axis=0)
    # Shrinking toward the mean keeps the spread of the cohort (Silverman and Young 1987).
    return np.asarray(center + (drawn - center + _SMOOTHING * noise) / np.sqrt(1 + _SMOOTHING**2))


def _bootstrap(random: np.random.Generator, favorable: IntArray, folds: int) -> IntArray:
    """Row indices of a bootstrap with enough different patients of each outcome for the inner folds."""
    while True:
        drawn = np.sort(random.integers(0, len(favorable), len(favorable)))
        different = favorable[np.unique(drawn)]
        if min(int(different.sum()), int((1 - different).sum())) >= folds:
            return drawn


def _log_odds(probability: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(probability, _PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)))


def _plain(member: ScoringModel) -> dict[str, object]:
    start = member.start
    return {
        "slope": member.sigmoid.slope,
        "intercept": member.sigmoid.intercept,
        "start": None
        if start is None
        else {
            "columns": list(start.columns),
            "center": [float(value) for value in start.center],
            "scale": [float(value) for value in start.scale],
            "coefficients": [float(value) for value in start.coefficients],
            "intercept": float(start.intercept),
        },
    }


def _start(plain: dict[str, list[float]] | None) -> LogisticBaseline | None:
    if plain is None:
        return None
    columns = tuple(int(column) for column in plain["columns"])
    center, scale, coefficients = (np.array(plain[name]) for name in ("center", "scale", "coefficients"))
    return LogisticBaseline(columns, center, scale, coefficients, float(plain["intercept"]))  # type: ignore[arg-type]


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _FIXED_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
