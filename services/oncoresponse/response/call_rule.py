"""Which calls are made: the rule for one patient, and how often each kind of call was right when it was validated.

What a prediction set promises is how rarely it leaves out the true outcome. That is not how often the one outcome that
is left is right: where an outcome is rare, most calls of it may be wrong although the set keeps its promise. So the
very rule that makes calls (one outcome in the set, the probability on the same side, not out of distribution) is itself
applied inside the outer folds, to patients it had not seen, and each kind of call is judged by itself.

The unit is the patient: in repeated cross-validation a patient to whom a share of the repeats gave the call counts with
that share, so that repeats do not pretend to be patients. The interval of the share is that of Clopper and Pearson
(1934), doi:10.1093/biomet/26.4.404, whose beta form takes such numbers.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import beta

from oncoresponse.case.readable_numbers import percent
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.task import CallRule

CALL_FAVORABLE = 1
CALL_UNFAVORABLE = 0
NO_CALL = -1


class CallFigures(BaseModel):
    """One kind of call in nested validation; see :class:`~oncoresponse.case.prediction.CallEvidence`.

    Attributes:
        favorable: The outcome called.
        patients: Patients who were given the call, in proportion to the repeats that gave it.
        all_patients: Patients of the validation.
        right: Share of calls that were right; ``None`` when nobody was given it.
        right_low: Lower end of its interval.
        level: Of that two-sided interval.
        reference: The better of chance and the share of patients with that outcome.
        required: Smallest ``right``.
        allowed: Whether such calls are made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    favorable: bool
    patients: float
    all_patients: int
    right: float | None
    right_low: float | None
    level: float
    reference: float
    required: float
    allowed: bool

    @property
    def text(self) -> str:
        """The measured error in one sentence."""
        if self.right is None or self.right_low is None:
            return f"In cross-validation this call was given to none of {self.all_patients} patients."
        found = (
            f"In cross-validation on {self.all_patients} patients this call was given to {self.patients:.0f} and right "
            f"for {percent(self.right)} of them ({percent(self.level)} interval from {percent(self.right_low)})"
        )
        if self.allowed:
            return f"{found}."
        required = "all" if self.required >= 1 else f"at least {percent(self.required)}"
        return (
            f"{found}; such calls are made only if {required} are right and the interval lies above "
            f"{percent(self.reference)}."
        )


def calls_of_sets(sets: IntArray, probability: FloatArray, outside: IntArray) -> IntArray:
    """The call of each patient, before it is asked whether calls of that kind are made.

    Args:
        sets: Int (patients, 2), conformal sets, columns favorable and unfavorable.
        probability: Float (patients,).
        outside: Int (patients,), 1 where the patient is out of distribution.

    Returns:
        Int (patients,): :data:`CALL_FAVORABLE`, :data:`CALL_UNFAVORABLE` or :data:`NO_CALL`.
    """
    favorable, unfavorable = sets[:, 0] == 1, sets[:, 1] == 1
    agrees = favorable == (probability >= 0.5)
    made = (favorable != unfavorable) & agrees & (outside == 0)
    return np.where(made, np.where(favorable, CALL_FAVORABLE, CALL_UNFAVORABLE), NO_CALL).astype(np.int64)


def judge_calls(calls: IntArray, favorable: IntArray, rule: CallRule) -> tuple[CallFigures, CallFigures]:
    """Both kinds of call, favorable first, from calls (repeats, patients) of patients kept out."""
    first, second = (_judge(calls, favorable, rule, outcome) for outcome in (CALL_FAVORABLE, CALL_UNFAVORABLE))
    return first, second


def lower_bound(right: float, cases: float, level: float) -> float:
    """Lower end of the two-sided Clopper-Pearson interval of ``right`` of ``cases``, which need not be whole."""
    if right <= 0:
        return 0.0
    return float(beta.ppf((1 - level) / 2, right, cases - right + 1))


def _judge(calls: IntArray, favorable: IntArray, rule: CallRule, outcome: int) -> CallFigures:
    share = (calls == outcome).mean(axis=0)
    patients, right = float(share.sum()), float(share[favorable == outcome].sum())
    reference = max(0.5, float((favorable == outcome).mean()))
    found = right / patients if patients > 0 else None
    low = lower_bound(right, patients, rule.level) if patients > 0 else None
    return CallFigures(
        favorable=outcome == CALL_FAVORABLE,
        patients=round(patients, 4),
        all_patients=len(favorable),
        right=None if found is None else round(found, 6),
        right_low=None if low is None else round(low, 6),
        level=rule.level,
        reference=round(reference, 6),
        required=rule.lowest_right,
        allowed=found is not None and low is not None and found >= rule.lowest_right and low > reference,
    )
