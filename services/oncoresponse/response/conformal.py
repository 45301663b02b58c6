"""Cross-conformal prediction sets by outcome and stratum.

For each outcome the p-value of a new patient is the share of training patients with that outcome, in the patient's
stratum, whose out-of-fold margin is at least as unusual (Vovk 2015, "Cross-conformal predictors", doi:10.1007/
s10472-013-9368-4; conditional on a group, or Mondrian: Vovk, Gammerman and Shafer 2005). An outcome whose p-value does
not exceed ``1 - coverage`` is ruled out. The margin is used as it is: within a group the p-value depends only on the
order, which monotone calibration keeps. The coverage is exact for split conformal prediction; cross-conformal sets
reach it in practice, and the worst case is ``1 - 2 (1 - coverage)``. The measured coverage is reported beside the
promise, for each outcome in each stratum.

A group of fewer than :data:`SMALLEST_GROUP` training patients is too small to rule its outcome out: that outcome then
stays in every set of the stratum, which keeps the promise and costs the call.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.figures_of_merit import Estimate, wilson_interval
from oncoresponse.response.task import ResponseInput, ResponseTask, StrataTask

FAVORABLE = 1
UNFAVORABLE = 0

SMALLEST_GROUP = 10
"""Training patients of one outcome in one stratum below which the outcome is never ruled out there."""


class CoverageCell(BaseModel):
    """Coverage of the sets among patients of one outcome in one stratum.

    Attributes:
        stratum: Its name; empty where there are none.
        favorable: The outcome.
        patients: Patients of the training data.
        covered: Share whose outcome is in their set, Wilson interval with the patients as unit.
        too_small: Whether the group is too small to rule the outcome out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stratum: str
    favorable: bool
    patients: int
    covered: Estimate
    too_small: bool


def conformal_p_values(
    out_of_fold: FloatArray,
    favorable: IntArray,
    margin: FloatArray,
    strata: IntArray | None = None,
    new_strata: IntArray | None = None,
    smallest_group: int = SMALLEST_GROUP,
) -> tuple[FloatArray, FloatArray]:
    """P-values of both outcomes.

    Args:
        out_of_fold: Float (repeats, patients), margins of training patients from boosters that had not seen them.
        favorable: Int (patients,).
        margin: Float (new patients,).
        strata: Int (patients,), the stratum of each training patient; one for all when not given.
        new_strata: Int (new patients,), that of each new patient.
        smallest_group: Training patients below which an outcome is not ruled out.

    Returns:
        P-values of the favorable and of the unfavorable outcome, each (new patients,), averaged over repeats; 1 where
        the group of training patients is too small.
    """
    strata = np.zeros(len(favorable), dtype=np.int64) if strata is None else strata
    new_strata = np.zeros(len(margin), dtype=np.int64) if new_strata is None else new_strata
    found = np.ones((2, len(margin)))
    for stratum in np.unique(new_strata):
        new = new_strata == stratum
        for column, outcome in enumerate((FAVORABLE, UNFAVORABLE)):
            known = out_of_fold[:, (favorable == outcome) & (strata == stratum)]
            if known.shape[1] < smallest_group:
                continue
            # A low margin is strange in a favorable outcome, a high one in an unfavorable.
            sign = 1 if outcome == FAVORABLE else -1
            ranks = (sign * known[:, :, None] <= sign * margin[new][None, None, :]).sum(axis=1)
            found[column, new] = ((ranks + 1) / (known.shape[1] + 1)).mean(axis=0)
    return found[0], found[1]


def conformal_sets(p_favorable: FloatArray, p_unfavorable: FloatArray, coverage: float) -> IntArray:
    """Int (patients, 2): columns favorable and unfavorable, 1 where the outcome cannot be ruled out."""
    # Rounding keeps a p-value of exactly 1 - coverage (4 of 20) on the same side everywhere.
    error = round(1 - coverage, 12)
    kept = np.column_stack([p_favorable, p_unfavorable]).round(12) > error
    return kept.astype(np.int64)


def stratum_of(strata: StrataTask | None, inputs: tuple[ResponseInput, ...], transformed: FloatArray) -> IntArray:
    """Int (patients,): the stratum of transformed inputs (patients, inputs); 0 where the task declares none."""
    if strata is None:
        return np.zeros(len(transformed), dtype=np.int64)
    column = [entry.name for entry in inputs].index(strata.input)
    limits = [inputs[column].transformed(limit) for limit in strata.limits]
    return np.asarray(np.digitize(transformed[:, column], limits), dtype=np.int64)


def coverage_by_group(
    task: ResponseTask, sets: IntArray, favorable: IntArray, strata: IntArray
) -> tuple[CoverageCell, ...]:
    """Coverage of conformal sets (repeats, patients, 2) in each outcome and stratum that has a patient."""
    names = ("",) if task.strata is None else task.strata.names
    cells = []
    for index, name in enumerate(names):
        for column, outcome in enumerate((FAVORABLE, UNFAVORABLE)):
            chosen = (strata == index) & (favorable == outcome)
            if not chosen.any():
                continue
            share, patients = float(sets[:, chosen, column].mean()), int(chosen.sum())
            low, high = wilson_interval(share, patients)
            cells.append(
                CoverageCell(
                    stratum=name,
                    favorable=outcome == FAVORABLE,
                    patients=patients,
                    covered=Estimate(value=round(share, 6), low=round(low, 6), high=round(high, 6)),
                    too_small=patients < SMALLEST_GROUP,
                )
            )
    return tuple(cells)
