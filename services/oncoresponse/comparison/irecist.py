"""iRECIST (Seymour et al., Lancet Oncol 2017;18:e143): progression is unconfirmed until a later scan confirms it.

Unconfirmed progression (iUPD) is confirmed (iCPD) at the next assessment, 4 to 8 weeks later, when (table 2)

- what was iUPD got worse: the target sum by 5 mm or more, non-targets by any further increase a person saw, new lesions
  by number, by 5 mm or more in the sum of the measured ones, or by any increase of the others; or
- another kind of lesion, which had not progressed before, now progresses by RECIST 1.1.

When shrinkage to iSD, iPR or iCR follows instead, the iUPD is reset: progression has to occur and be confirmed anew.
Where nothing changed, iUPD stays. A new lesion that persists does not prevent iPR or iSD, if targets have shrunk to
another category since (working group, EORTC, scenarios B and F); it prevents iCR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncoresponse.comparison.answer import NOT_EVALUABLE, CriterionAnswer, at_least, require_size
from oncoresponse.comparison.recist import (
    NonTarget,
    Target,
    TimePoint,
    in_order,
    overall_response,
    target_response,
    target_sum,
)
from oncoresponse.errors import InvalidRequest

CRITERION = "iRECIST"
CONFIRMING_INCREASE_MM = 5.0
CONFIRMATION_DAYS = (28.0, 56.0)
"""4 to 8 weeks. Earlier nothing is confirmed; later it is, and the sentence says so."""


class ImmuneTimePoint(TimePoint):
    """A scan under immunotherapy.

    Attributes:
        non_targets_increased: Whether a person saw non-targets grow since the scan before, unequivocally or not.
        new_lesion_count: New lesions since baseline that are seen now.
        new_target_sum_mm: Sum of diameters of the measured new ones (at most 5, 2 an organ).
        new_non_targets_increased: Whether a person saw the other new ones grow since the scan before.
    """

    non_targets_increased: bool = False
    new_lesion_count: int = 0
    new_target_sum_mm: float = 0.0
    new_non_targets_increased: bool = False


@dataclass
class _Pending:
    """An iUPD that waits: since when, by what kind of lesion, the last measures since, and the target category then."""

    day: float
    kinds: set[str]
    target_mm: float | None
    new_count: int
    new_mm: float
    target_rank: int


_RANK = {"CR": 0, "PR": 1, "SD": 2, "PD": 3, NOT_EVALUABLE: 3}


def assess(baseline: Mapping[str, Target], time_points: Sequence[ImmuneTimePoint]) -> tuple[CriterionAnswer, ...]:
    """iRECIST response at every time point, in the order of their days.

    Args:
        baseline: Targets at baseline; empty for a patient with non-target disease only.
        time_points: Later scans, in any order.

    Raises:
        InvalidRequest: See :func:`.recist.target_response`; or the new lesions contradict one another.
    """
    ordered = in_order(time_points)
    answers: list[CriterionAnswer] = []
    pending: _Pending | None = None
    confirmed: float | None = None
    response_before = False
    for index, point in enumerate(ordered):
        _check_new_lesions(point)
        part = (
            target_response(
                baseline, [p.targets for p in ordered[:index]], point.targets, partial_response_before=response_before
            )
            if baseline
            else None
        )
        if confirmed is not None:
            category, sentence = "iCPD", f"Progression was confirmed at day {confirmed:g}."
        else:
            category, sentence, pending = _step(part, point, pending)
        confirmed = point.day if category == "iCPD" and confirmed is None else confirmed
        response_before = category in ("iPR", "iCR") or (response_before and category in ("iUPD", NOT_EVALUABLE))
        answers.append(
            CriterionAnswer(
                criterion=CRITERION,
                category=category,
                sums={} if part is None else {**part.sums, "new_targets_mm": point.new_target_sum_mm},
                thresholds={} if part is None else part.thresholds,
                sentence=sentence if part is None else f"{sentence} Targets: {part.sentence}",
            )
        )
    return tuple(answers)


def _check_new_lesions(point: ImmuneTimePoint) -> None:
    require_size("new_target_sum_mm", point.new_target_sum_mm)
    if point.new_lesion_count < 0 or (point.new_lesion_count == 0 and point.new_target_sum_mm > 0):
        raise InvalidRequest(
            "new_lesion_count contradicts the sum of new lesions. Count every new lesion that is seen."
        )
    if point.new_lesions is not None and point.new_lesions != (point.new_lesion_count > 0):
        raise InvalidRequest("new_lesions contradicts new_lesion_count. Say of every time point which is right.")


def _step(
    part: CriterionAnswer | None, point: ImmuneTimePoint, pending: _Pending | None
) -> tuple[str, str, _Pending | None]:
    target = None if part is None else part.category
    kinds = _progressed_kinds(target, point)
    if pending is None:
        if kinds:
            first = _Pending(
                point.day,
                kinds,
                target_sum(point.targets),
                point.new_lesion_count,
                point.new_target_sum_mm,
                _RANK.get(target or "SD", 3),
            )
            return "iUPD", f"Unconfirmed progression ({_words(kinds)}).", first
        return (*_immune(overall_response(target, point.non_targets, point.new_lesions)), None)
    waited = point.day - pending.day
    worse = _worse(pending, kinds, point)
    if worse and at_least(waited, CONFIRMATION_DAYS[0]):
        late = f" It comes later than 8 weeks ({waited:g} days)." if waited > CONFIRMATION_DAYS[1] else ""
        return "iCPD", f"Progression is confirmed: {worse}.{late}", pending
    if worse:
        return "iUPD", f"Still unconfirmed: {worse}, but only {waited:g} days later instead of 28 or more.", pending
    if point.new_lesions is None and not kinds:
        return NOT_EVALUABLE, "Not evaluable: nobody said whether there are new lesions.", pending
    if target == NOT_EVALUABLE and not kinds:
        return NOT_EVALUABLE, "Not evaluable: target lesions were not evaluated; the progression stays open.", pending
    lasting = kinds - {"new lesions"}
    improved = target in _RANK and _RANK[target] < pending.target_rank
    if not lasting and (not kinds or (improved and target != "CR")):
        category, reason = _immune(overall_response(target, point.non_targets, False))
        if category == NOT_EVALUABLE:
            return category, reason, pending
        return category, f"The unconfirmed progression is reset. {reason}", None
    if not lasting and improved and target == "CR":
        return "iPR", "The unconfirmed progression is reset. All targets are gone, a new lesion is not.", None
    return "iUPD", f"Still unconfirmed ({_words(kinds)}): no further increase that would confirm it.", pending


def _progressed_kinds(target: str | None, point: ImmuneTimePoint) -> set[str]:
    found = set()
    if target == "PD":
        found.add("targets")
    if point.non_targets is NonTarget.PROGRESSION:
        found.add("non-targets")
    if point.new_lesion_count > 0:
        found.add("new lesions")
    return found


def _worse(pending: _Pending, kinds: set[str], point: ImmuneTimePoint) -> str:
    """What confirms the progression; empty where nothing does."""
    if other := kinds - pending.kinds:
        return f"{_words(other)} progressed, which had not before"
    now = target_sum(point.targets)
    if (
        {"targets"} <= pending.kinds & kinds
        and now is not None
        and pending.target_mm is not None
        and at_least(now - pending.target_mm, CONFIRMING_INCREASE_MM)
    ):
        return f"the target sum is {now - pending.target_mm:.4g} mm larger than at the unconfirmed progression"
    if "non-targets" in pending.kinds and point.non_targets_increased:
        return "non-target lesions grew further"
    if "new lesions" in pending.kinds:
        if point.new_lesion_count > pending.new_count:
            return "there are more new lesions"
        if at_least(point.new_target_sum_mm - pending.new_mm, CONFIRMING_INCREASE_MM):
            return f"new lesions are {point.new_target_sum_mm - pending.new_mm:.4g} mm larger"
        if point.new_non_targets_increased:
            return "new lesions grew further"
    return ""


def _words(kinds: set[str]) -> str:
    return ", ".join(sorted(kinds))


def _immune(response: tuple[str, str]) -> tuple[str, str]:
    category, reason = response
    return (category if category == NOT_EVALUABLE else f"i{category}"), reason


_BEST = {"iCR": 1, "iPR": 2, "iSD": 3, "iNON_CR_NON_PD": 4, "iCPD": 5, "iUPD": 6, NOT_EVALUABLE: 7}


def best_overall_response(responses: Sequence[tuple[float, str]]) -> CriterionAnswer:
    """Best overall response (table 3), where complete and partial response need no confirmation.

    Args:
        responses: Day and category of each time point, in any order. What follows an iCPD does not count.

    Raises:
        InvalidRequest: An unknown category.
    """
    ordered = sorted(responses)
    if unknown := {category for _, category in ordered} - _BEST.keys():
        raise InvalidRequest(f"Category '{sorted(unknown)[0]}' is none of iRECIST. Correct it.")
    end = next((index for index, (_, category) in enumerate(ordered) if category == "iCPD"), len(ordered))
    counted = ordered[: end + 1]
    if not counted:
        return CriterionAnswer(criterion=CRITERION, category=NOT_EVALUABLE, sentence="Not evaluable: no assessment.")
    day, best = min(counted, key=lambda item: (_BEST[item[1]], item[0]))
    return CriterionAnswer(
        criterion=CRITERION, category=best, sentence=f"Best overall response {best}, first at day {day:g}."
    )
