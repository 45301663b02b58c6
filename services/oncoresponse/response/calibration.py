"""Calibration of log-odds, and the two figures that say whether probabilities are calibrated.

None, a shift, or Platt's two-parameter sigmoid; which, is chosen by cross-validation over patients. Not isotonic
regression, because it overfits below about a thousand cases (Niculescu-Mizil and Caruana 2005,
doi:10.1145/1102351.1102430), and because contributions in log-odds would no longer add up to the calibrated prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from sklearn.model_selection import StratifiedKFold

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.task_settings import CalibrationMethod

_STEPS = 100
_CALIBRATION_FOLDS = 5
_PROBABILITY_FLOOR = 1e-6


@dataclass(frozen=True)
class Sigmoid:
    """Probability of the favorable outcome = expit(slope x margin + intercept), slope never negative."""

    slope: float
    intercept: float

    def probability(self, margin: FloatArray) -> FloatArray:
        """Probabilities for margins, same shape."""
        return np.asarray(expit(self.slope * margin + self.intercept), dtype=np.float64)


def fit_logistic_line(
    score: FloatArray, target: FloatArray, *, offset: FloatArray | None = None, with_slope: bool = True
) -> tuple[float, float]:
    """Maximum-likelihood slope and intercept of ``target`` on ``score`` by Newton's method.

    Args:
        score: Float (cases,).
        target: Float (cases,), 0 to 1.
        offset: Float (cases,) added to the linear predictor.
        with_slope: Fit the slope; otherwise it is 0.

    Returns:
        Slope and intercept, each held within -50 to 50, where separable data would have driven them without end.
    """
    columns = [score, np.ones_like(score)] if with_slope else [np.ones_like(score)]
    design = np.column_stack(columns)
    shift = np.zeros_like(score) if offset is None else offset
    coefficients = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        predicted = expit(design @ coefficients + shift)
        weight = np.maximum(predicted * (1 - predicted), 1e-10)
        # The ridge of 1e-9 only keeps a constant score solvable.
        hessian = design.T @ (design * weight[:, None]) + 1e-9 * np.eye(design.shape[1])
        step = np.linalg.solve(hessian, design.T @ (target - predicted))
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        coefficients = np.clip(coefficients + step, -50.0, 50.0)
        if float(np.abs(step).max()) < 1e-10:
            break
    slope = float(coefficients[0]) if with_slope else 0.0
    return slope, float(coefficients[-1])


def fit_platt(margin: FloatArray, favorable: IntArray) -> Sigmoid:
    """Platt's sigmoid with his smoothed targets (Platt 1999), fitted to margins of patients not in the fit.

    A negative slope would turn the model round; it means that there is nothing to calibrate, and gives a constant.
    """
    positives = float(favorable.sum())
    negatives = float(len(favorable) - positives)
    target = np.where(favorable == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, intercept = fit_logistic_line(margin, target)
    if slope <= 0 or float(np.ptp(margin)) == 0:
        slope, intercept = fit_logistic_line(margin, target, with_slope=False)
    return Sigmoid(slope, intercept)


def fit_calibration(method: CalibrationMethod, margin: FloatArray, favorable: IntArray) -> Sigmoid:
    """Fit one method to margins (cases,) of patients not in the fit of the booster."""
    if method == "none":
        return Sigmoid(1.0, 0.0)
    if method == "platt":
        return fit_platt(margin, favorable)
    _, intercept = fit_logistic_line(margin, favorable.astype(np.float64), offset=margin, with_slope=False)
    return Sigmoid(1.0, intercept)


def choose_calibration(
    methods: Sequence[CalibrationMethod], margin: FloatArray, favorable: IntArray, groups: IntArray, *, seed: int
) -> tuple[CalibrationMethod, Sigmoid]:
    """The method with the smallest log loss on patients left out of its fit, fitted to all of them.

    Args:
        methods: Candidates; of equal ones the earlier wins.
        margin: Float (repeats, rows), by boosters that had not seen the patient.
        favorable: Int (rows,).
        groups: Int (rows,), the patient of each row.
        seed: Seed of the folds.
    """
    repeats = len(margin)
    chosen = methods[0]
    if len(methods) > 1:
        patients, first = np.unique(groups, return_index=True)
        splitter = StratifiedKFold(_CALIBRATION_FOLDS, shuffle=True, random_state=seed)
        losses = np.zeros(len(methods))
        for _, test in splitter.split(patients.reshape(-1, 1), favorable[first]):
            left_out = np.isin(groups, patients[test])
            fitting, judging = margin[:, ~left_out].ravel(), margin[:, left_out]
            outcome = np.tile(favorable[~left_out], repeats)
            sign = np.where(favorable[left_out] == 1, 1.0, -1.0)
            for index, method in enumerate(methods):
                fitted = fit_calibration(method, fitting, outcome)
                losses[index] += np.logaddexp(0, -sign * (fitted.slope * judging + fitted.intercept)).sum()
        # Rounded, so that a difference in the last bit cannot choose.
        chosen = methods[int(np.argmin(np.round(losses, 6)))]
    return chosen, fit_calibration(chosen, margin.ravel(), np.tile(favorable, repeats))


def calibration_slope_and_intercept(probability: FloatArray, favorable: IntArray) -> tuple[float, float]:
    """Cox's calibration slope (ideal 1) and calibration-in-the-large (ideal 0).

    The slope is that of the outcome on the log-odds of the prediction; the intercept is fitted with the slope held at 1
    (Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7).
    """
    log_odds = np.asarray(logit(np.clip(probability, _PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)))
    target = favorable.astype(np.float64)
    slope, _ = fit_logistic_line(log_odds, target)
    _, intercept = fit_logistic_line(log_odds, target, offset=log_odds, with_slope=False)
    return slope, intercept
