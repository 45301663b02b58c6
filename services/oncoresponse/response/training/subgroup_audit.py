"""The evaluation again in each subgroup, with the sentence that says where a group is too small to say.

The predictions are the out-of-fold ones of the whole cohort: nothing is fitted to a subgroup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.figures_of_merit import (
    Estimate,
    area_under_curve,
    bootstrap_auc,
    bootstrap_calibration_intercept,
    bootstrap_weights,
    estimate,
    wilson_interval,
)

SMALLEST_OUTCOME = 10
"""Patients of each outcome below which a group is too small to say anything about ranking."""

_COMPUTED_FROM = 3
_SAMPLES = 1000


class SubgroupFigures(BaseModel):
    """One subgroup.

    Attributes:
        group: Title of the audit group.
        subgroup: Its value or band.
        patients: How many.
        favorable: How many had the favorable outcome.
        predicted: Mean predicted probability.
        auc: Area under the curve; ``None`` with fewer than three patients of an outcome.
        auc_baseline: The same of the logistic regression.
        calibration_intercept: Calibration-in-the-large, ideal 0; ``None`` likewise.
        coverage: Share of patients whose outcome is in their conformal set, Wilson interval.
        decided: Share of patients whose set allows a call.
        too_small: Fewer than ten patients of an outcome.
        sentence: What can be said, in plain words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    group: str
    subgroup: str
    patients: int
    favorable: int
    predicted: float
    auc: Estimate | None
    auc_baseline: Estimate | None
    calibration_intercept: Estimate | None
    coverage: Estimate
    decided: float
    too_small: bool
    sentence: str


def audit_subgroups(
    subgroups: Mapping[str, Sequence[str]],
    booster: FloatArray,
    baseline: FloatArray,
    sets: IntArray,
    favorable: IntArray,
    *,
    promised: float,
    seed: int,
) -> tuple[SubgroupFigures, ...]:
    """Figures of every subgroup.

    Args:
        subgroups: By title of the audit group, the subgroup of each patient.
        booster: Float (repeats, patients), out-of-fold probabilities.
        baseline: The same of the logistic regression.
        sets: Int (repeats, patients, 2), conformal sets.
        favorable: Int (patients,).
        promised: Promised coverage.
        seed: Seed of the bootstrap.
    """
    found = []
    for group, values in subgroups.items():
        array = np.array(values)
        # In the order of the cohort's numbers where the names are bands: "below 40 a" has to come first.
        for subgroup in sorted(set(values), key=_band_order):
            chosen = array == subgroup
            found.append(
                _figures(
                    group,
                    subgroup,
                    booster[:, chosen],
                    baseline[:, chosen],
                    sets[:, chosen],
                    favorable[chosen],
                    promised,
                    seed,
                )
            )
    return tuple(found)


def _figures(
    group: str,
    subgroup: str,
    booster: FloatArray,
    baseline: FloatArray,
    sets: IntArray,
    favorable: IntArray,
    promised: float,
    seed: int,
) -> SubgroupFigures:
    patients, events = len(favorable), int(favorable.sum())
    smallest = min(events, patients - events)
    auc = auc_baseline = intercept = None
    if smallest >= _COMPUTED_FROM:
        weights = bootstrap_weights(favorable, _SAMPLES, seed)
        auc = estimate(area_under_curve(booster, favorable), bootstrap_auc(booster, favorable, weights))
        auc_baseline = estimate(area_under_curve(baseline, favorable), bootstrap_auc(baseline, favorable, weights))
        intercept = bootstrap_calibration_intercept(booster, favorable, weights[:200])
    held = np.where(favorable == 1, sets[:, :, 0], sets[:, :, 1])
    share = float(held.mean())
    low, high = wilson_interval(share, patients)
    coverage = Estimate(value=round(share, 6), low=round(low, 6), high=round(high, 6))
    too_small = smallest < SMALLEST_OUTCOME
    return SubgroupFigures(
        group=group,
        subgroup=subgroup,
        patients=patients,
        favorable=events,
        predicted=round(float(booster.mean()), 6),
        auc=auc,
        auc_baseline=auc_baseline,
        calibration_intercept=intercept,
        coverage=coverage,
        decided=round(float((sets.sum(axis=2) == 1).mean()), 6),
        too_small=too_small,
        sentence=_sentence(group, subgroup, patients, events, auc, coverage, promised, too_small=too_small),
    )


def _sentence(
    group: str,
    subgroup: str,
    patients: int,
    events: int,
    auc: Estimate | None,
    coverage: Estimate,
    promised: float,
    *,
    too_small: bool,
) -> str:
    who = f"{group}, {subgroup}"
    if too_small or auc is None:
        counted = "1 patient" if patients == 1 else f"{patients} patients"
        return (
            f"{who}: {counted}, {events} with the favorable outcome; too few to say whether the model works for them."
        )
    covers = (
        "as promised"
        if coverage.low <= promised <= coverage.high
        else "less often than promised"
        if coverage.high < promised
        else "more often than promised"
    )
    ranks = "ranks better than chance" if auc.low > 0.5 else "does not rank better than chance"
    return f"{who}: the model {ranks} (AUC {auc.text}) and its prediction sets hold the true outcome {covers}."


def _band_order(name: str) -> tuple[int, float, str]:
    if name.startswith("below "):
        return (0, 0.0, name)
    first = name.split(" ")[0]
    try:
        return (1, float(first), name)
    except ValueError:
        return (2 if name != "not recorded" else 3, 0.0, name)
