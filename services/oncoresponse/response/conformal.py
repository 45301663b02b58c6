"""Class-conditional cross-conformal prediction sets.

For each outcome the p-value of a new patient is the share of training patients with that outcome whose out-of-fold
margin is at least as unusual (Vovk 2015, "Cross-conformal predictors", doi:10.1007/s10472-013-9368-4;
class-conditional, or Mondrian: Vovk, Gammerman and Shafer 2005). An outcome whose p-value does not exceed
``1 - coverage`` is ruled out. The margin is used as it is: within a class the p-value depends only on the order, which
monotone calibration keeps. The coverage is exact for split conformal prediction; cross-conformal sets reach it in
practice, and the worst case is ``1 - 2 (1 - coverage)``. The measured coverage is reported beside the promise.
"""

from __future__ import annotations

import numpy as np

from oncoresponse.response.cohort import FloatArray, IntArray

FAVORABLE = 1
UNFAVORABLE = 0


def conformal_p_values(
    out_of_fold: FloatArray, favorable: IntArray, margin: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """P-values of both outcomes.

    Args:
        out_of_fold: Float (repeats, patients), margins of training patients from boosters that had not seen them.
        favorable: Int (patients,).
        margin: Float (new patients,).

    Returns:
        P-values of the favorable and of the unfavorable outcome, each (new patients,), averaged over repeats.
    """
    low_is_strange = out_of_fold[:, favorable == FAVORABLE]
    high_is_strange = out_of_fold[:, favorable == UNFAVORABLE]
    as_low = (low_is_strange[:, :, None] <= margin[None, None, :]).sum(axis=1)
    as_high = (high_is_strange[:, :, None] >= margin[None, None, :]).sum(axis=1)
    return (
        ((as_low + 1) / (low_is_strange.shape[1] + 1)).mean(axis=0),
        ((as_high + 1) / (high_is_strange.shape[1] + 1)).mean(axis=0),
    )


def conformal_sets(p_favorable: FloatArray, p_unfavorable: FloatArray, coverage: float) -> IntArray:
    """Int (patients, 2): columns favorable and unfavorable, 1 where the outcome cannot be ruled out."""
    # Rounding keeps a p-value of exactly 1 - coverage (4 of 20) on the same side everywhere.
    error = round(1 - coverage, 12)
    kept = np.column_stack([p_favorable, p_unfavorable]).round(12) > error
    return kept.astype(np.int64)
