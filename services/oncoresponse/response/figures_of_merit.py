"""Discrimination and calibration of out-of-fold predictions, with intervals by patient bootstrap."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.calibration import calibration_slope_and_intercept

_LOW, _HIGH = 2.5, 97.5
_ROWS_AT_ONCE = 500


class Estimate(BaseModel):
    """A figure with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Such as ``0.81 [0.66, 0.93]``."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


class FiguresOfMerit(BaseModel):
    """How good a set of out-of-fold probabilities is (TRIPOD+AI items 12e, 23a).

    Attributes:
        auc: Area under the ROC curve, mean over repeats of the cross-validation.
        brier: Mean squared error of the probability, mean over repeats.
        scaled_brier: 1 minus Brier over the Brier of always predicting the prevalence; 1 is perfect, 0 useless.
        calibration_slope: Ideal 1; below 1 the probabilities are too extreme.
        calibration_intercept: Calibration-in-the-large on the log-odds scale; ideal 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    auc: Estimate
    brier: Estimate
    scaled_brier: Estimate
    calibration_slope: Estimate
    calibration_intercept: Estimate


def pairwise_wins(probability: FloatArray, favorable: IntArray) -> FloatArray:
    """Float (favorable patients, unfavorable patients): how often the first got the higher probability, ties half.

    Args:
        probability: Float (repeats, patients).
        favorable: Int (patients,).
    """
    first = probability[:, favorable == 1][:, :, None]
    second = probability[:, favorable == 0][:, None, :]
    return np.asarray(((first > second) + 0.5 * (first == second)).mean(axis=0))


def area_under_curve(probability: FloatArray, favorable: IntArray) -> float:
    """Mean over repeats of the area under the ROC curve; ``probability`` is (repeats, patients)."""
    return float(pairwise_wins(probability, favorable).mean())


def bootstrap_weights(favorable: IntArray, samples: int, seed: int) -> FloatArray:
    """Float (samples, patients): how often each patient is drawn; each sample holds both outcomes."""
    random = np.random.default_rng(seed)
    patients = len(favorable)
    kept: list[FloatArray] = []
    while sum(map(len, kept)) < samples:
        drawn = random.integers(0, patients, size=(_ROWS_AT_ONCE, patients))
        counts = np.zeros((_ROWS_AT_ONCE, patients))
        np.add.at(counts, (np.arange(_ROWS_AT_ONCE)[:, None], drawn), 1.0)
        positives = counts[:, favorable == 1].sum(axis=1)
        kept.append(counts[(positives > 0) & (positives < patients)])
    return np.concatenate(kept)[:samples]


def bootstrap_auc(probability: FloatArray, favorable: IntArray, weights: FloatArray) -> FloatArray:
    """AUC of each bootstrap sample (samples,)."""
    wins = pairwise_wins(probability, favorable)
    first, second = weights[:, favorable == 1], weights[:, favorable == 0]
    return np.asarray(np.einsum("sp,pn,sn->s", first, wins, second) / (first.sum(axis=1) * second.sum(axis=1)))


def figures_of_merit(probability: FloatArray, favorable: IntArray, weights: FloatArray) -> FiguresOfMerit:
    """All figures of out-of-fold probabilities.

    The intervals answer "had other patients of this kind been predicted by these models"; they hold the fitted models
    fixed, so the spread from training on other patients comes on top.

    Args:
        probability: Float (repeats, patients).
        favorable: Int (patients,).
        weights: Bootstrap samples from :func:`bootstrap_weights`.
    """
    patients = len(favorable)
    squared = ((probability - favorable) ** 2).mean(axis=0)
    brier = weights @ squared / patients
    prevalence = weights @ favorable / patients
    slope, intercept = calibration_slope_and_intercept(
        probability.ravel(), np.tile(favorable, len(probability)).astype(np.int64)
    )
    slopes, intercepts = _bootstrap_calibration(probability, favorable, weights[:_ROWS_AT_ONCE])
    share = float(favorable.mean())
    return FiguresOfMerit(
        auc=estimate(area_under_curve(probability, favorable), bootstrap_auc(probability, favorable, weights)),
        brier=estimate(float(squared.mean()), brier),
        scaled_brier=estimate(
            1 - float(squared.mean()) / (share * (1 - share)), 1 - brier / (prevalence * (1 - prevalence))
        ),
        calibration_slope=estimate(slope, slopes),
        calibration_intercept=estimate(intercept, intercepts),
    )


def auc_difference(first: FloatArray, second: FloatArray, favorable: IntArray, weights: FloatArray) -> Estimate:
    """AUC of ``first`` minus that of ``second``, both (repeats, patients), on the same bootstrap samples."""
    return estimate(
        area_under_curve(first, favorable) - area_under_curve(second, favorable),
        bootstrap_auc(first, favorable, weights) - bootstrap_auc(second, favorable, weights),
    )


def _bootstrap_calibration(
    probability: FloatArray, favorable: IntArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    found = np.empty((len(weights), 2))
    for row, counts in enumerate(weights.astype(np.int64)):
        drawn = np.repeat(np.arange(len(favorable)), counts)
        # One repeat a sample: the repeats take part in turn, so their spread is in the interval too.
        found[row] = calibration_slope_and_intercept(probability[row % len(probability), drawn], favorable[drawn])
    return found[:, 0], found[:, 1]


def bootstrap_calibration_intercept(probability: FloatArray, favorable: IntArray, weights: FloatArray) -> Estimate:
    """Calibration-in-the-large of (repeats, patients) with its interval."""
    _, intercept = calibration_slope_and_intercept(probability.ravel(), np.tile(favorable, len(probability)))
    return estimate(intercept, _bootstrap_calibration(probability, favorable, weights)[1])


def wilson_interval(share: float, cases: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    quantile = 1.959964
    center = (share + quantile**2 / (2 * cases)) / (1 + quantile**2 / cases)
    half = quantile / (1 + quantile**2 / cases) * np.sqrt(share * (1 - share) / cases + quantile**2 / (4 * cases**2))
    return center - float(half), center + float(half)


def estimate(value: float, samples: FloatArray) -> Estimate:
    """A figure with the 2.5th and 97.5th percentile of its bootstrap samples."""
    low, high = np.percentile(samples, [_LOW, _HIGH])
    return Estimate(value=round(value, 6), low=round(float(low), 6), high=round(float(high), 6))
