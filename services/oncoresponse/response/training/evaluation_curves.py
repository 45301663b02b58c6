"""The curves of an evaluation as numbers, so that plots can be drawn again without any patient's data."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import roc_curve

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.figures_of_merit import wilson_interval

_FEW_PATIENTS = 100
_FEW_GROUPS, _MANY_GROUPS = 4, 10


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReceiverOperatingCurve(_Strict):
    """ROC of the probabilities averaged over repeats."""

    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]


class CalibrationPoint(_Strict):
    """Patients of similar prediction: mean prediction, share of favorable outcomes, its 95 % Wilson interval."""

    predicted: float
    observed: float
    low: float
    high: float
    patients: int


class ModelCurves(_Strict):
    """Curves of one model."""

    roc: ReceiverOperatingCurve
    calibration: tuple[CalibrationPoint, ...]


def model_curves(probability: FloatArray, favorable: IntArray) -> ModelCurves:
    """Curves of out-of-fold probabilities (repeats, patients)."""
    mean = probability.mean(axis=0)
    false_positive, true_positive, _ = roc_curve(favorable, mean)
    groups = _FEW_GROUPS if len(favorable) < _FEW_PATIENTS else _MANY_GROUPS
    points = []
    for group in np.array_split(np.argsort(mean, kind="stable"), groups):
        observed = float(favorable[group].mean())
        low, high = wilson_interval(observed, len(group))
        points.append(
            CalibrationPoint(
                predicted=round(float(mean[group].mean()), 6),
                observed=round(observed, 6),
                low=round(max(low, 0.0), 6),
                high=round(min(high, 1.0), 6),
                patients=len(group),
            )
        )
    return ModelCurves(
        roc=ReceiverOperatingCurve(
            false_positive=tuple(round(float(value), 6) for value in false_positive),
            true_positive=tuple(round(float(value), 6) for value in true_positive),
        ),
        calibration=tuple(points),
    )
