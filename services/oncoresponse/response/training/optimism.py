"""Optimism-corrected figures: what a model loses when it meets patients it was not fitted to (Harrell's bootstrap).

The whole pipeline is fitted to bootstraps of patients. The usual difference between its figure on its own bootstrap
and on the original patients is the optimism; the apparent figure of the model fitted to everybody, less the optimism,
is the corrected one (Harrell, Lee and Mark 1996, doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import roc_auc_score

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.calibration import calibration_slope_and_intercept
from oncoresponse.response.pipeline import FittedPipeline, fit_baseline
from oncoresponse.response.probability_interval import Ensemble, bootstrap_draws
from oncoresponse.response.task import ResponseTask


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CorrectedFigure(_Strict):
    """One figure: on the patients it was fitted to, and corrected."""

    apparent: float
    optimism: float
    corrected: float


class OptimismCorrection(_Strict):
    """Corrected figures of the model and of the logistic regression.

    Attributes:
        bootstraps: Refits of the whole pipeline.
        auc: Area under the curve.
        brier: Brier score.
        calibration_slope: Calibration slope.
        auc_baseline: Of the logistic regression.
        brier_baseline: Of the logistic regression.
        calibration_slope_baseline: Of the logistic regression.
    """

    bootstraps: int
    auc: CorrectedFigure
    brier: CorrectedFigure
    calibration_slope: CorrectedFigure
    auc_baseline: CorrectedFigure
    brier_baseline: CorrectedFigure
    calibration_slope_baseline: CorrectedFigure


def correct_optimism(
    task: ResponseTask,
    inputs: FloatArray,
    favorable: IntArray,
    fitted: FittedPipeline,
    ensemble: Ensemble,
    *,
    seed: int,
) -> OptimismCorrection:
    """Correct with the members of the interval's ensemble, each of which is such a refit.

    Args:
        task: The task.
        inputs: Float (patients, inputs), transformed.
        favorable: Int (patients,).
        fitted: The model fitted to everybody.
        ensemble: From :func:`~oncoresponse.response.probability_interval.fit_ensemble` with the same seed.
        seed: Seed of the ensemble.
    """
    draws = bootstrap_draws(favorable, task.validation.folds, members=len(ensemble.members), seed=seed)
    pairs = [
        (member.probability, fit_baseline(task, inputs[drawn], favorable[drawn]).probability)
        for member, drawn in zip(ensemble.members, draws, strict=True)
    ]
    found = []
    for which, everybody in enumerate((fitted.probability, fit_baseline(task, inputs, favorable).probability)):
        apparent = _figures(everybody, inputs, favorable)
        losses = [
            _figures(pair[which], inputs[drawn], favorable[drawn]) - _figures(pair[which], inputs, favorable)
            for pair, drawn in zip(pairs, draws, strict=True)
        ]
        # The median, because the slope of a bootstrap without overlap between the outcomes has no limit.
        optimism = np.median(np.array(losses), axis=0)
        found.append(
            [
                CorrectedFigure(
                    apparent=round(float(value), 6),
                    optimism=round(float(loss), 6),
                    corrected=round(float(value - loss), 6),
                )
                for value, loss in zip(apparent, optimism, strict=True)
            ]
        )
    model, baseline = found
    return OptimismCorrection(
        bootstraps=len(draws),
        auc=model[0],
        brier=model[1],
        calibration_slope=model[2],
        auc_baseline=baseline[0],
        brier_baseline=baseline[1],
        calibration_slope_baseline=baseline[2],
    )


def _figures(predict: Callable[[FloatArray], FloatArray], inputs: FloatArray, favorable: IntArray) -> FloatArray:
    probability = predict(inputs)
    slope, _ = calibration_slope_and_intercept(probability, favorable)
    brier = float(((probability - favorable) ** 2).mean())
    return np.array([float(roc_auc_score(favorable, probability)), brier, slope])
