"""Everything that is fitted to patients, in one function: hyper-parameters, booster, calibration, conformal scores.

Validation calls :func:`fit_pipeline` on the training side of each fold and on nothing else, so a step can only leak by
being written outside this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xgboost
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from oncoresponse.response.booster import fit_booster, is_constant, margins
from oncoresponse.response.calibration import Sigmoid, fit_platt
from oncoresponse.response.cohort import FloatArray, IntArray
from oncoresponse.response.task import ResponseTask


@dataclass(frozen=True)
class FittedPipeline:
    """A booster with its calibration.

    Attributes:
        booster: Fitted to all patients given.
        max_depth: Chosen depth.
        rounds: Chosen number of trees.
        sigmoid: Platt calibration of margins.
        out_of_fold: Float (inner repeats, patients), margins from boosters that had not seen the patient.
        favourable: Int (patients,).
        names: Inputs, in order.
    """

    booster: xgboost.Booster
    max_depth: int
    rounds: int
    sigmoid: Sigmoid
    out_of_fold: FloatArray
    favourable: IntArray
    names: tuple[str, ...]

    def margin(self, inputs: FloatArray) -> FloatArray:
        """Log-odds before calibration (patients,) of transformed inputs (patients, inputs)."""
        return margins(self.booster, self.names, inputs)

    def probability(self, inputs: FloatArray) -> FloatArray:
        """Calibrated probability of the favourable outcome (patients,)."""
        return self.sigmoid.probability(self.margin(inputs))

    def is_constant(self, inputs: FloatArray) -> bool:
        """Whether the booster answers the same for all of ``inputs``."""
        return is_constant(self.margin(inputs))


def patient_folds(favourable: IntArray, groups: IntArray, folds: int, seed: int) -> list[IntArray]:
    """Row indices of each test fold; the rows of a patient stay together, outcomes are spread evenly.

    Args:
        favourable: Int (rows,).
        groups: Int (rows,), the patient of each row.
        folds: Number of folds.
        seed: Seed of the shuffle.
    """
    patients, first = np.unique(groups, return_index=True)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    split = splitter.split(patients.reshape(-1, 1), favourable[first])
    return [np.flatnonzero(np.isin(groups, patients[test])) for _, test in split]


def fit_pipeline(
    task: ResponseTask,
    inputs: FloatArray,
    favourable: IntArray,
    *,
    seed: int,
    inner_repeats: int | None = None,
    groups: IntArray | None = None,
) -> FittedPipeline:
    """Choose hyper-parameters by inner cross-validation, fit the booster, calibrate on the inner out-of-fold margins.

    Args:
        task: The task.
        inputs: Float (rows, inputs), transformed.
        favourable: Int (rows,).
        seed: Seed of the inner folds.
        inner_repeats: Replaces that of the task where time matters more than smoothness.
        groups: Int (rows,), the patient of each row; by default each row is a patient.
    """
    groups = np.arange(len(favourable)) if groups is None else groups
    repeats = task.validation.inner_repeats if inner_repeats is None else inner_repeats
    grid = [(depth, rounds) for depth in sorted(task.booster.max_depth) for rounds in sorted(task.booster.rounds)]
    found = np.zeros((len(grid), repeats, len(favourable)))
    for repeat in range(repeats):
        for test in patient_folds(favourable, groups, task.validation.folds, seed + repeat):
            train = np.setdiff1d(np.arange(len(favourable)), test)
            for depth in task.booster.max_depth:
                booster = fit_booster(
                    task, inputs[train], favourable[train], max_depth=depth, rounds=max(task.booster.rounds)
                )
                for position, (of_depth, rounds) in enumerate(grid):
                    if of_depth == depth:
                        found[position, repeat, test] = margins(booster, task.input_names, inputs[test], rounds)
    # argmin takes the first of equals: the shallower and shorter booster.
    best = int(np.argmin([_log_loss(candidate, favourable) for candidate in found]))
    depth, rounds = grid[best]
    return FittedPipeline(
        booster=fit_booster(task, inputs, favourable, max_depth=depth, rounds=rounds),
        max_depth=depth,
        rounds=rounds,
        sigmoid=fit_platt(found[best].ravel(), np.tile(favourable, repeats)),
        out_of_fold=found[best],
        favourable=favourable,
        names=task.input_names,
    )


def _log_loss(margin: FloatArray, favourable: IntArray) -> float:
    sign = np.where(favourable == 1, 1.0, -1.0)
    # Rounded, so that a difference in the last bit cannot choose the model.
    return round(float(-np.log(expit(sign * margin)).mean()), 9)


@dataclass(frozen=True)
class LogisticBaseline:
    """Plain logistic regression on standardized transformed inputs.

    Attributes:
        columns: Positions of its inputs among the inputs of the task.
        center: Mean of each (baseline inputs,).
        scale: Standard deviation of each.
        coefficients: Log-odds for one standard deviation.
        intercept: Log-odds at the mean.
    """

    columns: tuple[int, ...]
    center: FloatArray
    scale: FloatArray
    coefficients: FloatArray
    intercept: float

    def probability(self, inputs: FloatArray) -> FloatArray:
        """Probability of the favourable outcome (patients,) of transformed inputs (patients, inputs)."""
        scaled = (inputs[:, list(self.columns)] - self.center) / self.scale
        return np.asarray(expit(scaled @ self.coefficients + self.intercept), dtype=np.float64)


def fit_baseline(task: ResponseTask, inputs: FloatArray, favourable: IntArray) -> LogisticBaseline:
    """Fit the baseline: L2 penalty of 1 on standardized inputs, scikit-learn's default, nothing tuned."""
    chosen = inputs[:, list(task.baseline_columns)]
    center = chosen.mean(axis=0)
    spread = chosen.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    fitted = LogisticRegression(max_iter=1000).fit((chosen - center) / scale, favourable)
    return LogisticBaseline(task.baseline_columns, center, scale, fitted.coef_[0], float(fitted.intercept_[0]))
