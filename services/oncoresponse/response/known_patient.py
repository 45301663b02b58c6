"""What follows from the inputs of one patient once all of them are known, and the answer it allows."""

from __future__ import annotations

from dataclasses import dataclass

from oncoresponse.case.prediction import AbstainReason, Answer, ConformalOutcome, ContourInterval
from oncoresponse.case.readable_numbers import percent
from oncoresponse.response.arrays import FloatArray


@dataclass(frozen=True)
class KnownPatient:
    """What follows from finite inputs."""

    log_odds: float
    probability: float
    interval_low: float
    interval_high: float
    includes_favorable: bool
    includes_unfavorable: bool
    shapley: FloatArray
    base: float

    def interval(self, contours: ContourInterval | None) -> tuple[float, float]:
        """The one interval to show: what another sample of patients or another contour would have given."""
        if contours is None:
            return self.interval_low, self.interval_high
        return min(self.interval_low, contours.low), max(self.interval_high, contours.high)

    def text(self, level: float, contours: ContourInterval | None) -> str:
        """``72 % (90 % interval 51 % to 86 %)``."""
        low, high = map(percent, self.interval(contours))
        return f"{percent(self.probability)} ({percent(level)} interval {low} to {high})"

    @property
    def conformal_set(self) -> tuple[ConformalOutcome, ...]:
        """Outcomes that cannot be ruled out."""
        kept: list[ConformalOutcome] = []
        if self.includes_favorable:
            kept.append(Answer.FAVORABLE)
        if self.includes_unfavorable:
            kept.append(Answer.UNFAVORABLE)
        return tuple(kept)


def conformal_reasons(known: KnownPatient) -> list[AbstainReason]:
    """Why the conformal set allows no call; empty when it does."""
    if known.includes_favorable and known.includes_unfavorable:
        return [AbstainReason(code="CONFORMAL_BOTH", text="Neither outcome can be ruled out for this patient.")]
    if not known.includes_favorable and not known.includes_unfavorable:
        return [
            AbstainReason(
                code="CONFORMAL_NEITHER",
                text="The patient lies between the two groups of training patients and fits neither well.",
            )
        ]
    if known.includes_favorable != (known.probability >= 0.5):
        return [
            AbstainReason(
                code="SET_DISAGREES_WITH_PROBABILITY",
                text="The prediction set and the probability point to different outcomes.",
            )
        ]
    return []


def answer_of(is_outside: bool, reasons: list[AbstainReason], known: KnownPatient | None) -> Answer:
    """The call that the rule gives, or why there is none."""
    if is_outside:
        return Answer.OUT_OF_DISTRIBUTION
    if reasons or known is None:
        return Answer.INDETERMINATE
    return Answer.FAVORABLE if known.includes_favorable else Answer.UNFAVORABLE
