"""The outcome as a censored time: concordance with the time to failure, and how long patients were followed.

"No failure at last follow-up" says less of a patient who was followed for one year than of one who was followed for
five. The concordance asks only pairs of patients whose order is known, and Uno's version weighs them so that the
censoring does not decide (Uno et al. 2011, doi:10.1002/sim.4154; Harrell et al. 1982, doi:10.1001/jama.1982.
03320430047030).
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from oncoresponse.case.readable_numbers import spoken_value
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.figures_of_merit import Estimate, estimate
from oncoresponse.response.task import FollowUpTask
from oncoresponse.response.training.cohort import FollowUp


class FollowUpFigures(BaseModel):
    """How long the patients were followed.

    Attributes:
        patients: Patients.
        failures: How many of them failed.
        last_failure: Time of the latest failure, in ``unit``.
        median_without_failure: Median follow-up of patients without failure.
        shortest_without_failure: Shortest.
        longest_without_failure: Longest.
        horizon: Declared horizon.
        short_of_horizon: Patients without failure who were followed for less.
        unit: UCUM.
        sentence: The same in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    patients: int
    failures: int
    last_failure: float
    median_without_failure: float
    shortest_without_failure: float
    longest_without_failure: float
    horizon: float
    short_of_horizon: int
    unit: str
    sentence: str


def describe_follow_up(declared: FollowUpTask, follow_up: FollowUp) -> FollowUpFigures:
    """Count and time of failures and of patients without."""
    failed, free = follow_up.time[follow_up.failed == 1], follow_up.time[follow_up.failed == 0]
    short = int((free < declared.horizon).sum())
    return FollowUpFigures(
        patients=len(follow_up.time),
        failures=len(failed),
        last_failure=float(failed.max()),
        median_without_failure=float(np.median(free)),
        shortest_without_failure=float(free.min()),
        longest_without_failure=float(free.max()),
        horizon=declared.horizon,
        short_of_horizon=short,
        unit=declared.unit,
        sentence=f"{len(failed)} of {len(follow_up.time)} patients failed; of the {len(free)} without failure {short} "
        f"were followed for less than {spoken_value(declared.horizon, declared.unit)} from {declared.origin} (shortest "
        f"{spoken_value(float(free.min()), declared.unit)}, median "
        f"{spoken_value(float(np.median(free)), declared.unit)}), so some of them may have failed later.",
    )


def kaplan_meier_censoring(time: FloatArray, failed: IntArray, counts: FloatArray | None = None) -> FloatArray:
    """Probability (patients,) of not having been censored just before the time of each patient.

    The Kaplan-Meier estimate of the censoring time, a failure counting as censored, evaluated just before ``time``.

    Args:
        time: Float (patients,).
        failed: Int (patients,), 1 where ``time`` is that of a failure.
        counts: Float (patients,), how often each patient counts; once when not given.
    """
    weights = np.ones(len(time)) if counts is None else counts
    steps = np.unique(time)
    at_risk = np.array([weights[time >= step].sum() for step in steps])
    censored = np.array([weights[(time == step) & (failed == 0)].sum() for step in steps])
    kept = np.where(at_risk > 0, 1 - censored / np.maximum(at_risk, 1e-12), 1.0)
    before = np.concatenate([[1.0], np.cumprod(kept)[:-1]])
    return np.asarray(before[np.searchsorted(steps, time)])


def concordance(
    follow_up: FollowUp, risk: FloatArray, horizon: float | None = None, counts: FloatArray | None = None
) -> float:
    """Share of comparable pairs in which the patient who failed earlier had the higher risk, ties half.

    Args:
        follow_up: Times of failure or last follow-up.
        risk: Float (patients,); larger means earlier failure.
        horizon: Uno's concordance: failures before it count, weighed by the inverse square of the probability of not
            having been censored by then. ``None``: Harrell's, each pair the same.
        counts: Float (patients,), how often each patient counts; once when not given.

    Returns:
        0.5 is chance, 1 perfect; NaN when no pair is comparable.
    """
    time, failed = follow_up.time, follow_up.failed
    weights = np.ones(len(time)) if counts is None else counts
    pairs = (time[:, None] < time[None, :]) & (failed[:, None] == 1)
    weighed = pairs * weights[:, None] * weights[None, :]
    if horizon is not None:
        known = kaplan_meier_censoring(time, failed, counts)
        inverse = np.where((time < horizon) & (known > 0), 1 / np.maximum(known, 1e-12) ** 2, 0.0)
        weighed = weighed * inverse[:, None]
    right = (risk[:, None] > risk[None, :]) + 0.5 * (risk[:, None] == risk[None, :])
    total = weighed.sum()
    return float((weighed * right).sum() / total) if total > 0 else float("nan")


def concordance_estimate(probability: FloatArray, follow_up: FollowUp, horizon: float, weights: FloatArray) -> Estimate:
    """Uno's concordance of out-of-fold probabilities of no failure, with its 95 % interval by patient bootstrap.

    Args:
        probability: Float (repeats, patients), of the favorable outcome.
        follow_up: Times.
        horizon: See :func:`concordance`.
        weights: Float (samples, patients), bootstrap samples of patients.
    """
    value = np.mean([concordance(follow_up, -row, horizon) for row in probability])
    # One repeat a sample: the repeats take part in turn, so their spread is in the interval too.
    samples = np.array(
        [
            concordance(follow_up, -probability[index % len(probability)], horizon, counts)
            for index, counts in enumerate(weights)
        ]
    )
    return estimate(float(value), samples[np.isfinite(samples)])
