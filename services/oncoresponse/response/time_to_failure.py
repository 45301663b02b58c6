"""When a failure came: an accelerated failure time booster (XGBoost ``survival:aft``) and its concordance.

Patients without a failure are right-censored at their last follow-up. Barnwal, Cho and Hocking 2022,
doi:10.1080/10618600.2022.2067548; concordance: Harrell et al. 1982, doi:10.1001/jama.1982.03320430047030.
"""

from __future__ import annotations

import numpy as np
import xgboost
from pydantic import BaseModel, ConfigDict

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.response.cohort import FloatArray, FollowUp, IntArray
from oncoresponse.response.figures_of_merit import Estimate, estimate
from oncoresponse.response.pipeline import fit_baseline, patient_folds
from oncoresponse.response.task import ResponseTask, TimeToFailureTask

_SAMPLES = 1000
_BOOTSTRAP_SEED = 7_006


class TimeToFailureFigures(BaseModel):
    """How well the order of failures was predicted in patients kept out.

    Attributes:
        patients: Patients.
        failures: Patients with a failure; the others are censored.
        concordance: Share of comparable pairs in which the patient who failed earlier was given the shorter time.
        concordance_baseline: The same with the probability of the logistic regression on the outcome.
        longest_follow_up: In the unit of the task.
        sentence: The same in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    patients: int
    failures: int
    concordance: Estimate
    concordance_baseline: Estimate
    longest_follow_up: float
    sentence: str


def fit_time_to_failure(task: ResponseTask, inputs: FloatArray, follow_up: FollowUp) -> xgboost.Booster:
    """Fit the booster to transformed inputs (patients, inputs).

    A sign that physiology gives to the favorable outcome holds for the time to failure too.

    Raises:
        ModelFolderInvalid: The task declares no time to failure.
    """
    declared = _declared(task)
    data = xgboost.DMatrix(inputs, feature_names=list(task.input_names), nthread=1)
    data.set_float_info("label_lower_bound", follow_up.time)
    data.set_float_info("label_upper_bound", np.where(follow_up.failed == 1, follow_up.time, np.inf))
    parameters = {
        "objective": "survival:aft",
        "aft_loss_distribution": declared.distribution,
        "aft_loss_distribution_scale": declared.scale,
        # The median time of all patients, so that few trees need not climb from 0.
        "base_score": float(np.median(follow_up.time)),
        "tree_method": "exact",
        "max_depth": declared.max_depth,
        "eta": declared.learning_rate,
        "lambda": task.booster.l2_penalty,
        "monotone_constraints": "(" + ",".join(str(entry.favorable_sign) for entry in task.inputs) + ")",
        "nthread": 1,
        "seed": task.seed,
        "verbosity": 0,
    }
    return xgboost.train(parameters, data, num_boost_round=declared.rounds)


def median_times(booster: xgboost.Booster, names: tuple[str, ...], inputs: FloatArray) -> FloatArray:
    """Median time to failure (patients,) in the unit of the task; both distributions are symmetric in log time."""
    data = xgboost.DMatrix(inputs, feature_names=list(names), nthread=1)
    return np.asarray(booster.predict(data), dtype=np.float64)


def concordance(time: FloatArray, failed: IntArray, predicted: FloatArray, weights: FloatArray | None = None) -> float:
    """Harrell's concordance of predicted times.

    Args:
        time: Float (patients,).
        failed: Int (patients,).
        predicted: Float (patients,); larger means later.
        weights: Float (patients,), how often each patient counts; once when not given.

    Returns:
        0.5 is chance, 1 perfect; ties of the prediction count half. NaN when no pair is comparable.
    """
    counts = np.ones(len(time)) if weights is None else weights
    # A pair is comparable when the one with the shorter time failed.
    pairs = (time[:, None] < time[None, :]) & (failed[:, None] == 1)
    pair_weights = pairs * counts[:, None] * counts[None, :]
    right = (predicted[:, None] < predicted[None, :]) + 0.5 * (predicted[:, None] == predicted[None, :])
    total = pair_weights.sum()
    return float((pair_weights * right).sum() / total) if total > 0 else float("nan")


def validate_time_to_failure(
    task: ResponseTask, inputs: FloatArray, favorable: IntArray, follow_up: FollowUp
) -> TimeToFailureFigures:
    """Repeated cross-validation; the settings are fixed in the task, so nothing is chosen."""
    predicted = np.empty((task.validation.repeats, len(favorable)))
    baseline = np.empty_like(predicted)
    for repeat in range(task.validation.repeats):
        folds = patient_folds(favorable, np.arange(len(favorable)), task.validation.folds, task.seed + 100 * repeat)
        for test in folds:
            train = np.setdiff1d(np.arange(len(favorable)), test)
            known = FollowUp(follow_up.time[train], follow_up.failed[train])
            booster = fit_time_to_failure(task, inputs[train], known)
            predicted[repeat, test] = median_times(booster, task.input_names, inputs[test])
            baseline[repeat, test] = fit_baseline(task, inputs[train], favorable[train]).probability(inputs[test])
    figure, figure_baseline = _estimate(task, follow_up, predicted), _estimate(task, follow_up, baseline)
    return TimeToFailureFigures(
        patients=len(favorable),
        failures=int(follow_up.failed.sum()),
        concordance=figure,
        concordance_baseline=figure_baseline,
        longest_follow_up=float(follow_up.time.max()),
        sentence=f"Of two patients, the one who failed earlier was given the shorter time in {figure.value:.0%} of "
        f"pairs (concordance {figure.text}; logistic regression on the outcome {figure_baseline.text}"
        + (")." if figure.value > figure_baseline.value else ", which orders them better)."),
    )


def _estimate(task: ResponseTask, follow_up: FollowUp, predicted: FloatArray) -> Estimate:
    value = np.mean([concordance(follow_up.time, follow_up.failed, row) for row in predicted])
    random = np.random.default_rng(task.seed + _BOOTSTRAP_SEED)
    patients = len(follow_up.time)
    samples: list[float] = []
    while len(samples) < _SAMPLES:
        counts = np.bincount(random.integers(0, patients, patients), minlength=patients).astype(np.float64)
        row = predicted[len(samples) % len(predicted)]
        sample = concordance(follow_up.time, follow_up.failed, row, counts)
        if np.isfinite(sample):
            samples.append(sample)
    return estimate(float(value), np.array(samples))


def _declared(task: ResponseTask) -> TimeToFailureTask:
    if task.time_to_failure is None:
        raise ModelFolderInvalid("The task declares no time to failure. Train the model again with one.")
    return task.time_to_failure
