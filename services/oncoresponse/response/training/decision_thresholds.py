"""What a decision at a threshold would have been worth: sensitivity, specificity, net benefit.

Net benefit at threshold ``t``: true positives / n - false positives / n x t / (1 - t), where "positive" is a predicted
probability of the favorable outcome of ``t`` or more (Vickers and Elkin 2006, doi:10.1177/0272989X06295361).
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.figures_of_merit import Estimate, estimate

CURVE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ThresholdFigures(_Strict):
    """Figures at one threshold, declared in the task before the fit.

    Attributes:
        threshold: Probability of the favorable outcome from which the prediction counts as favorable.
        sensitivity: Share of favorable outcomes predicted as such.
        specificity: Share of unfavorable outcomes predicted as such.
        sensitivity_baseline: The same of the logistic regression.
        specificity_baseline: The same.
    """

    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    sensitivity_baseline: Estimate
    specificity_baseline: Estimate


class DecisionCurve(_Strict):
    """Net benefit by threshold.

    Attributes:
        thresholds: Probabilities of the favorable outcome.
        booster: Net benefit of acting on the model.
        baseline: Of acting on the logistic regression.
        everybody: Of counting every patient as favorable; counting nobody is 0.
    """

    thresholds: tuple[float, ...]
    booster: tuple[float, ...]
    baseline: tuple[float, ...]
    everybody: tuple[float, ...]


def threshold_figures(
    booster: FloatArray, baseline: FloatArray, favorable: IntArray, thresholds: tuple[float, ...], weights: FloatArray
) -> tuple[ThresholdFigures, ...]:
    """Figures at each threshold; probabilities are (repeats, patients), ``weights`` bootstrap samples of patients."""
    found = []
    for threshold in thresholds:
        sensitivity, specificity = _shares(booster, favorable, threshold, weights)
        sensitivity_baseline, specificity_baseline = _shares(baseline, favorable, threshold, weights)
        found.append(
            ThresholdFigures(
                threshold=threshold,
                sensitivity=sensitivity,
                specificity=specificity,
                sensitivity_baseline=sensitivity_baseline,
                specificity_baseline=specificity_baseline,
            )
        )
    return tuple(found)


def decision_curve(booster: FloatArray, baseline: FloatArray, favorable: IntArray) -> DecisionCurve:
    """Net benefit at :data:`CURVE_THRESHOLDS`, mean over repeats; probabilities are (repeats, patients)."""
    return DecisionCurve(
        thresholds=CURVE_THRESHOLDS,
        booster=tuple(net_benefit(booster, favorable, threshold) for threshold in CURVE_THRESHOLDS),
        baseline=tuple(net_benefit(baseline, favorable, threshold) for threshold in CURVE_THRESHOLDS),
        everybody=tuple(net_benefit(np.ones_like(booster), favorable, threshold) for threshold in CURVE_THRESHOLDS),
    )


def net_benefit(probability: FloatArray, favorable: IntArray, threshold: float) -> float:
    """Net benefit of counting patients with at least ``threshold`` as favorable; (repeats, patients)."""
    positive = probability >= threshold
    true = (positive & (favorable == 1)).mean()
    false = (positive & (favorable == 0)).mean()
    return round(float(true - false * threshold / (1 - threshold)), 6)


def _shares(
    probability: FloatArray, favorable: IntArray, threshold: float, weights: FloatArray
) -> tuple[Estimate, Estimate]:
    positive = (probability >= threshold).mean(axis=0)
    ill, well = favorable == 1, favorable == 0
    sensitivities = weights[:, ill] @ positive[ill] / weights[:, ill].sum(axis=1)
    specificities = weights[:, well] @ (1 - positive[well]) / weights[:, well].sum(axis=1)
    return (
        estimate(float(positive[ill].mean()), sensitivities),
        estimate(float((1 - positive[well]).mean()), specificities),
    )
