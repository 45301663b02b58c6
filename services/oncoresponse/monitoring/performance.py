"""How good the predictions turned out to be, on the patients whose outcome was recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import binomtest

from oncoresponse.response.figures_of_merit import FiguresOfMerit, bootstrap_weights, figures_of_merit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST_OF_EACH_OUTCOME = 10
"""Below this many patients of the rarer outcome no discrimination or calibration is given."""

_BOOTSTRAP_SAMPLES = 500
_SEED = 20261124
_CALIBRATION_BINS = 5


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Share(_Document):
    """``count`` of ``total``, with Wilson's 95 % interval; ``value`` and interval are ``None`` of nobody."""

    count: int
    total: int
    value: float | None
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """Such as ``12 of 40 (30 %, 18 to 45)``."""
        if self.value is None or self.low is None or self.high is None:
            return "0 of 0"
        return f"{self.count} of {self.total} ({100 * self.value:.0f} %, {100 * self.low:.0f} to {100 * self.high:.0f})"


class CalibrationBin(_Document):
    """Patients of similar probability: what was predicted, and what share had the favorable outcome."""

    predicted: float
    observed: Share


class Performance(_Document):
    """Probabilities against recorded outcomes.

    Attributes:
        patients: With a probability and a known outcome.
        favorable: Of these, with the favorable outcome.
        expected_favorable: Sum of their probabilities; ideal: equal to ``favorable``.
        figures: AUC, Brier score and calibration with 95 % intervals by patient bootstrap; ``None`` when too few.
        baseline: The same of the logistic regression beside the booster, on the same patients.
        calibration: Fifths of the patients by probability; empty when too few.
        too_few: Why ``figures`` is missing, in a plain sentence; else ``None``.
    """

    patients: int
    favorable: int
    expected_favorable: float
    figures: FiguresOfMerit | None
    baseline: FiguresOfMerit | None
    calibration: tuple[CalibrationBin, ...]
    too_few: str | None


def share(count: int, total: int) -> Share:
    """A share with Wilson's 95 % interval."""
    if total == 0:
        return Share(count=count, total=total, value=None, low=None, high=None)
    interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
    return Share(count=count, total=total, value=count / total, low=float(interval.low), high=float(interval.high))


def performance(probability: FloatArray, favorable: IntArray, baseline: FloatArray) -> Performance:
    """Compare probabilities with outcomes.

    Args:
        probability: Float (patients,) of the favorable outcome.
        favorable: Int (patients,), 1 where it occurred.
        baseline: Float (patients,), the logistic regression's probability; NaN where there is none.
    """
    events = int(favorable.sum())
    rarer = min(events, len(favorable) - events)
    enough = rarer >= FEWEST_OF_EACH_OUTCOME
    figures = beside = None
    if enough:
        weights = bootstrap_weights(favorable, _BOOTSTRAP_SAMPLES, _SEED)
        figures = figures_of_merit(probability[None, :], favorable, weights)
        if np.isfinite(baseline).all():
            beside = figures_of_merit(baseline[None, :], favorable, weights)
    return Performance(
        patients=len(favorable),
        favorable=events,
        expected_favorable=float(probability.sum()),
        figures=figures,
        baseline=beside,
        calibration=_calibration(probability, favorable) if enough else (),
        too_few=None if enough else _too_few(len(favorable), rarer),
    )


def _calibration(probability: FloatArray, favorable: IntArray) -> tuple[CalibrationBin, ...]:
    fifths = np.array_split(np.argsort(probability, kind="stable"), _CALIBRATION_BINS)
    return tuple(
        CalibrationBin(predicted=float(probability[rows].mean()), observed=share(int(favorable[rows].sum()), len(rows)))
        for rows in fifths
    )


def _too_few(patients: int, rarer: int) -> str:
    if patients == 0:
        return "No outcome is recorded, so nothing can be said about how good the predictions were."
    return (
        f"Outcomes recorded: {patients}, of the rarer kind {rarer}; at least {FEWEST_OF_EACH_OUTCOME} of each kind are "
        "needed before discrimination and calibration say anything."
    )
