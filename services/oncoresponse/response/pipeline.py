"""Everything that is fitted to patients, in one function: start, hyper-parameters, booster, calibration, scores.

Validation calls :func:`fit_pipeline` on the training side of each fold and on nothing else, so a step can only leak by
being written outside this module.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import xgboost
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.booster import fit_booster, is_constant, margins
from oncoresponse.response.calibration import Sigmoid, choose_calibration
from oncoresponse.response.fit_checkpoint import booster_from_text, booster_to_text, current_fits, fit_key
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.task_settings import CalibrationMethod

_CALIBRATION_SEED = 31


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

    def contributions(self, inputs: FloatArray) -> FloatArray:
        """Log-odds (patients, baseline inputs) that each input adds to the intercept.

        These are the Shapley values of a linear model whose background is the mean training patient.
        """
        return np.asarray((inputs[:, list(self.columns)] - self.center) / self.scale * self.coefficients)

    def margin(self, inputs: FloatArray) -> FloatArray:
        """Log-odds of the favorable outcome (patients,) of transformed inputs (patients, inputs)."""
        return np.asarray(self.contributions(inputs).sum(axis=1) + self.intercept)

    def probability(self, inputs: FloatArray) -> FloatArray:
        """Probability of the favorable outcome (patients,) of transformed inputs (patients, inputs)."""
        return np.asarray(expit(self.margin(inputs)), dtype=np.float64)


def fit_baseline(task: ResponseTask, inputs: FloatArray, favorable: IntArray) -> LogisticBaseline:
    """Fit the baseline: L2 penalty of 1 on standardized inputs, scikit-learn's default, nothing tuned."""
    chosen = inputs[:, list(task.baseline_columns)]
    center = chosen.mean(axis=0)
    spread = chosen.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    fitted = LogisticRegression(max_iter=1000).fit((chosen - center) / scale, favorable)
    return LogisticBaseline(task.baseline_columns, center, scale, fitted.coef_[0], float(fitted.intercept_[0]))


def fit_start(task: ResponseTask, inputs: FloatArray, favorable: IntArray) -> LogisticBaseline | None:
    """Where the trees start: the baseline without inputs whose sign contradicts physiology; ``None`` for zero."""
    if task.booster.start == "zero":
        return None
    kept = list(task.baseline_inputs)
    signs = {entry.name: entry.favorable_sign for entry in task.inputs}
    while True:
        fitted = fit_baseline(task.model_copy(update={"baseline_inputs": tuple(kept)}), inputs, favorable)
        wrong = [
            (abs(float(coefficient)), name)
            for name, coefficient in zip(kept, fitted.coefficients, strict=True)
            if signs[name] * float(coefficient) < 0
        ]
        if not wrong:
            return fitted
        if len(kept) == 1:
            return replace(fitted, coefficients=np.zeros(1), intercept=float(logit(favorable.mean())))
        kept.remove(max(wrong)[1])


@dataclass(frozen=True)
class ScoringModel:
    """What turns transformed inputs into a probability: start, trees, calibration.

    Attributes:
        start: Where the trees start; ``None`` for zero log-odds.
        booster: The trees.
        sigmoid: Calibration of margins.
        names: Inputs, in order.
    """

    start: LogisticBaseline | None
    booster: xgboost.Booster
    sigmoid: Sigmoid
    names: tuple[str, ...]

    def margin(self, inputs: FloatArray) -> FloatArray:
        """Log-odds before calibration (patients,) of transformed inputs (patients, inputs)."""
        trees = margins(self.booster, self.names, inputs)
        return trees if self.start is None else self.start.margin(inputs) + trees

    def probability(self, inputs: FloatArray) -> FloatArray:
        """Calibrated probability of the favorable outcome (patients,)."""
        return self.sigmoid.probability(self.margin(inputs))


@dataclass(frozen=True)
class FittedPipeline(ScoringModel):
    """A scoring model with what it was fitted to.

    Attributes:
        max_depth: Chosen depth.
        rounds: Chosen number of trees.
        calibration: Chosen method.
        out_of_fold: Float (inner repeats, patients), margins from boosters that had not seen the patient.
        favorable: Int (patients,).
    """

    max_depth: int
    rounds: int
    calibration: CalibrationMethod
    out_of_fold: FloatArray
    favorable: IntArray

    def is_constant(self, inputs: FloatArray) -> bool:
        """Whether the trees answer the same for all of ``inputs``."""
        return is_constant(margins(self.booster, self.names, inputs))


def patient_folds(favorable: IntArray, groups: IntArray, folds: int, seed: int) -> list[IntArray]:
    """Row indices of each test fold; the rows of a patient stay together, outcomes are spread evenly.

    Args:
        favorable: Int (rows,).
        groups: Int (rows,), the patient of each row.
        folds: Number of folds.
        seed: Seed of the shuffle.
    """
    patients, first = np.unique(groups, return_index=True)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    split = splitter.split(patients.reshape(-1, 1), favorable[first])
    return [np.flatnonzero(np.isin(groups, patients[test])) for _, test in split]


def fit_pipeline(
    task: ResponseTask,
    inputs: FloatArray,
    favorable: IntArray,
    *,
    seed: int,
    inner_repeats: int | None = None,
    groups: IntArray | None = None,
) -> FittedPipeline:
    """Choose hyper-parameters by inner cross-validation, fit the booster, calibrate on the inner out-of-fold margins.

    The start, where the task declares one, is fitted to the training side of each inner fold like everything else.

    Args:
        task: The task.
        inputs: Float (rows, inputs), transformed.
        favorable: Int (rows,).
        seed: Seed of the inner folds.
        inner_repeats: Replaces that of the task where time matters more than smoothness.
        groups: Int (rows,), the patient of each row; by default each row is a patient.
    """
    groups = np.arange(len(favorable)) if groups is None else groups
    repeats = task.validation.inner_repeats if inner_repeats is None else inner_repeats
    if (kept := current_fits()) is None:
        return _fit_pipeline(task, inputs, favorable, groups, seed, repeats)
    key = fit_key(task, inputs, favorable, groups, seed, repeats)
    if (known := kept.get(key)) is not None:
        return _from_bytes(known, task, favorable)
    fitted = _fit_pipeline(task, inputs, favorable, groups, seed, repeats)
    kept.keep(key, _to_bytes(fitted))
    return fitted


def _fit_pipeline(
    task: ResponseTask, inputs: FloatArray, favorable: IntArray, groups: IntArray, seed: int, repeats: int
) -> FittedPipeline:
    grid = [(depth, rounds) for depth in sorted(task.booster.max_depth) for rounds in sorted(task.booster.rounds)]
    found = np.zeros((len(grid), repeats, len(favorable)))
    for repeat in range(repeats):
        for test in patient_folds(favorable, groups, task.validation.folds, seed + repeat):
            train = np.setdiff1d(np.arange(len(favorable)), test)
            start = fit_start(task, inputs[train], favorable[train])
            before = 0.0 if start is None else start.margin(inputs[test])
            for depth in task.booster.max_depth:
                booster = _fit_trees(
                    task, inputs[train], favorable[train], start, max_depth=depth, rounds=max(task.booster.rounds)
                )
                for position, (of_depth, rounds) in enumerate(grid):
                    if of_depth == depth:
                        added = margins(booster, task.input_names, inputs[test], rounds)
                        found[position, repeat, test] = before + added
    # argmin takes the first of equals: the shallower and shorter booster.
    best = int(np.argmin([_log_loss(candidate, favorable) for candidate in found]))
    depth, rounds = grid[best]
    start = fit_start(task, inputs, favorable)
    method, sigmoid = choose_calibration(
        task.uncertainty.calibration, found[best], favorable, groups, seed=seed + _CALIBRATION_SEED
    )
    return FittedPipeline(
        start=start,
        booster=_fit_trees(task, inputs, favorable, start, max_depth=depth, rounds=rounds),
        sigmoid=sigmoid,
        names=task.input_names,
        max_depth=depth,
        rounds=rounds,
        calibration=method,
        out_of_fold=found[best],
        favorable=favorable,
    )


def _to_bytes(fitted: FittedPipeline) -> bytes:
    """A fit as JSON; its numbers come back to the last bit."""
    start = fitted.start
    content = {
        "start": None
        if start is None
        else {
            "columns": list(start.columns),
            "center": start.center.tolist(),
            "scale": start.scale.tolist(),
            "coefficients": start.coefficients.tolist(),
            "intercept": start.intercept,
        },
        "booster": booster_to_text(fitted.booster),
        "sigmoid": [fitted.sigmoid.slope, fitted.sigmoid.intercept],
        "max_depth": fitted.max_depth,
        "rounds": fitted.rounds,
        "calibration": fitted.calibration,
        "out_of_fold": fitted.out_of_fold.tolist(),
    }
    return json.dumps(content).encode()


def _from_bytes(raw: bytes, task: ResponseTask, favorable: IntArray) -> FittedPipeline:
    content = json.loads(raw)
    start = content["start"]
    return FittedPipeline(
        start=None
        if start is None
        else LogisticBaseline(
            tuple(start["columns"]),
            np.array(start["center"]),
            np.array(start["scale"]),
            np.array(start["coefficients"]),
            start["intercept"],
        ),
        booster=booster_from_text(content["booster"]),
        sigmoid=Sigmoid(*content["sigmoid"]),
        names=task.input_names,
        max_depth=content["max_depth"],
        rounds=content["rounds"],
        calibration=content["calibration"],
        out_of_fold=np.array(content["out_of_fold"]),
        favorable=favorable,
    )


def _fit_trees(
    task: ResponseTask,
    inputs: FloatArray,
    favorable: IntArray,
    start: LogisticBaseline | None,
    *,
    max_depth: int,
    rounds: int,
) -> xgboost.Booster:
    before = None if start is None else start.margin(inputs)
    return fit_booster(task, inputs, favorable, max_depth=max_depth, rounds=rounds, start=before)


def _log_loss(margin: FloatArray, favorable: IntArray) -> float:
    sign = np.where(favorable == 1, 1.0, -1.0)
    # Rounded, so that a difference in the last bit cannot choose the model.
    return round(float(-np.log(expit(sign * margin)).mean()), 9)
