"""RECIST 1.1 (Eisenhauer et al., Eur J Cancer 2009;45:228): targets, response at a time point, best overall response.

Two points the paper leaves open, decided here and tested:

- A partial response stays one until progression, even if a later sum is less than 30 % below baseline (RECIST working
  group, EORTC, frequently asked questions: sums 100, 70, 70, 80, 80, 80 are PR from the first 70 on).
- After all targets were gone, a target that is back is progression.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from oncoresponse.comparison.answer import (
    NOT_EVALUABLE,
    CriterionAnswer,
    at_least,
    at_most,
    percent_change,
    require_size,
)
from oncoresponse.errors import InvalidRequest

CRITERION = "RECIST 1.1"
MAXIMUM_TARGETS = 5
MAXIMUM_TARGETS_AN_ORGAN = 2
MEASURABLE_LONG_AXIS_MM = 10.0
MEASURABLE_NODE_MM = 15.0
PATHOLOGIC_NODE_MM = 10.0
PARTIAL_RESPONSE_PERCENT = -30.0
PROGRESSION_PERCENT = 20.0
PROGRESSION_MM = 5.0
TOO_SMALL_MM = 5.0
"""Diameter that stands for a target that is seen but too small to measure."""


class NonTarget(StrEnum):
    """What a person says about all non-target lesions together; ``NONE``: none at baseline."""

    NONE = "NONE"
    COMPLETE_RESPONSE = "CR"
    PRESENT = "NON_CR_NON_PD"
    PROGRESSION = "PD"
    NOT_EVALUATED = "NE"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BaselineLesion(_Frozen):
    """A lesion at baseline.

    Attributes:
        identifier: Names the lesion at every time point.
        organ: Said by a person; ``None`` where nobody did.
        is_node: Whether it is a lymph node; ``None`` where nobody said so.
        long_axis_mm: Longest diameter in the plane of measurement.
        short_axis_mm: Longest diameter perpendicular to it; needed of a node.
        slice_thickness_mm: Above 5 mm a lesion has to be twice the thickness to be measurable.
    """

    identifier: str
    organ: str | None = None
    is_node: bool | None = None
    long_axis_mm: float
    short_axis_mm: float | None = None
    slice_thickness_mm: float | None = None

    @property
    def diameter_mm(self) -> float | None:
        """What enters the sum: the short axis of a node, the long axis otherwise; ``None`` where that is not known."""
        if self.is_node is None:
            return None
        return self.short_axis_mm if self.is_node else self.long_axis_mm


class TargetSelection(_Frozen):
    """A proposal of targets.

    Attributes:
        targets: Largest first, at most 5 and 2 an organ.
        non_targets: Measurable ones beyond that, and lesions too small to be targets.
        normal_nodes: Nodes below 10 mm, which are no disease.
        not_evaluable: Of which nobody said organ or node, or whose needed diameter is missing; by identifier, why.
        sum_mm: Sum of diameters of the targets.
        proposed: Always true.
    """

    targets: tuple[BaselineLesion, ...]
    non_targets: tuple[BaselineLesion, ...]
    normal_nodes: tuple[BaselineLesion, ...]
    not_evaluable: Mapping[str, str]
    sum_mm: float
    proposed: bool = True


def select_targets(lesions: Sequence[BaselineLesion]) -> TargetSelection:
    """Propose targets among the lesions of a baseline, the largest first.

    Raises:
        InvalidRequest: A diameter cannot be true, or an identifier is given twice.
    """
    if len({lesion.identifier for lesion in lesions}) != len(lesions):
        raise InvalidRequest("A lesion is given twice. Give every lesion a name of its own.")
    targets: list[BaselineLesion] = []
    others: list[BaselineLesion] = []
    normal: list[BaselineLesion] = []
    unknown: dict[str, str] = {}
    organs: Counter[str] = Counter()
    known: list[tuple[float, BaselineLesion]] = []
    for lesion in lesions:
        for name in ("long_axis_mm", "short_axis_mm", "slice_thickness_mm"):
            require_size(name, getattr(lesion, name), above_zero=True)
        if lesion.organ is None or lesion.is_node is None:
            missing = " and ".join(
                text
                for text, value in (("its organ", lesion.organ), ("whether it is a node", lesion.is_node))
                if value is None
            )
            unknown[lesion.identifier] = f"Not evaluable: nobody said {missing}."
        elif lesion.diameter_mm is None:
            unknown[lesion.identifier] = "Not evaluable: a node is measured by its short axis, which is missing."
        else:
            known.append((lesion.diameter_mm, lesion))
    for diameter, lesion in sorted(known, key=lambda item: (-item[0], item[1].identifier)):
        organ = (lesion.organ or "").casefold()
        if lesion.is_node and not at_least(diameter, PATHOLOGIC_NODE_MM):
            normal.append(lesion)
        elif (
            at_least(diameter, _smallest_measurable(lesion))
            and len(targets) < MAXIMUM_TARGETS
            and organs[organ] < MAXIMUM_TARGETS_AN_ORGAN
        ):
            targets.append(lesion)
            organs[organ] += 1
        else:
            others.append(lesion)
    return TargetSelection(
        targets=tuple(targets),
        non_targets=tuple(others),
        normal_nodes=tuple(normal),
        not_evaluable=unknown,
        sum_mm=sum(lesion.diameter_mm or 0.0 for lesion in targets),
    )


def _smallest_measurable(lesion: BaselineLesion) -> float:
    if lesion.is_node:
        return MEASURABLE_NODE_MM
    thickness = lesion.slice_thickness_mm or 0.0
    return 2.0 * thickness if thickness > 5.0 else MEASURABLE_LONG_AXIS_MM


class Target(_Frozen):
    """A target at one time point.

    Attributes:
        is_node: Whether it is a lymph node.
        diameter_mm: Short axis of a node, long axis otherwise; 0 where it is gone, :data:`TOO_SMALL_MM` where it is
            seen but too small to measure, ``None`` where it was not evaluated.
    """

    is_node: bool
    diameter_mm: float | None


class TimePoint(_Frozen):
    """What is known of one later scan.

    Attributes:
        day: Days from any fixed origin.
        targets: By the identifiers of the baseline.
        non_targets: What a person says about the others.
        new_lesions: Whether there are unequivocal new lesions; ``None`` where nobody said so.
    """

    day: float
    targets: Mapping[str, Target]
    non_targets: NonTarget = NonTarget.NONE
    new_lesions: bool | None = None


_Point = TypeVar("_Point", bound=TimePoint)


def target_sum(targets: Mapping[str, Target]) -> float | None:
    """Sum of diameters (mm); ``None`` where one was not evaluated."""
    if any(target.diameter_mm is None for target in targets.values()):
        return None
    return sum(target.diameter_mm or 0.0 for target in targets.values())


def target_response(
    baseline: Mapping[str, Target],
    earlier: Sequence[Mapping[str, Target]],
    now: Mapping[str, Target],
    *,
    partial_response_before: bool = False,
) -> CriterionAnswer:
    """Response of the target lesions alone.

    Args:
        baseline: Targets at baseline; every one measured.
        earlier: Targets at the time points between, in order; the smallest complete sum of them and of the baseline is
            the nadir.
        now: Targets at this time point.
        partial_response_before: Whether a partial response was assigned (and confirmed, where that is asked for).

    Returns:
        ``CR``, ``PR``, ``SD``, ``PD`` or ``NOT_EVALUABLE``.

    Raises:
        InvalidRequest: There is no target, a diameter cannot be true, or the targets are not those of the baseline.
    """
    base = target_sum(baseline)
    for time_point in (baseline, *earlier, now):
        if time_point.keys() != baseline.keys():
            raise InvalidRequest(
                "The targets differ from those of the baseline. Name every target at every time point."
            )
        for target in time_point.values():
            require_size("diameter_mm", target.diameter_mm)
    if not base:
        raise InvalidRequest("Every target needs a diameter above 0 at baseline. Measure it, or make it a non-target.")
    sums = [value for value in map(target_sum, earlier) if value is not None]
    nadir = min([base, *sums])
    total = target_sum(now)
    thresholds = {
        "partial_response_at_most_mm": base * (1 + PARTIAL_RESPONSE_PERCENT / 100),
        "progression_at_least_mm": max(nadir * (1 + PROGRESSION_PERCENT / 100), nadir + PROGRESSION_MM),
    }
    measured = sum(target.diameter_mm or 0.0 for target in now.values())
    found = {"baseline_mm": base, "nadir_mm": nadir, "measured_mm": measured}

    def answer(category: str, sentence: str) -> CriterionAnswer:
        return CriterionAnswer(
            criterion=CRITERION, category=category, sums=found, thresholds=thresholds, sentence=sentence
        )

    progressed = at_least(measured, thresholds["progression_at_least_mm"])
    if total is None and not progressed:
        missing = sum(target.diameter_mm is None for target in now.values())
        return answer(NOT_EVALUABLE, f"{missing} of {len(now)} target lesions were not evaluated.")
    compared = (
        f"the sum of diameters is {measured:.4g} mm, {percent_change(base, measured):+.1f} % from baseline ({base:.4g}"
        " mm)" + (f" and {percent_change(nadir, measured):+.1f} % from the smallest ({nadir:.4g} mm)" if nadir else "")
    )
    if _all_gone(now) and total is not None:
        return answer("CR", f"All target lesions are gone and every node is below {PATHOLOGIC_NODE_MM:g} mm.")
    if any(_all_gone(targets) for targets in earlier):
        return answer("PD", f"A target lesion is back after all were gone; {compared}.")
    if progressed:
        return answer(
            "PD", f"Progression: {compared}; at least {PROGRESSION_PERCENT:g} % and {PROGRESSION_MM:g} mm more."
        )
    if at_most(measured, thresholds["partial_response_at_most_mm"]):
        return answer("PR", f"Partial response: {compared}; at least {-PARTIAL_RESPONSE_PERCENT:g} % less.")
    if partial_response_before:
        return answer("PR", f"Still the partial response assigned before, without progression: {compared}.")
    return answer("SD", f"Neither partial response nor progression: {compared}.")


def _all_gone(targets: Mapping[str, Target]) -> bool:
    return all(
        target.diameter_mm is not None
        and (target.diameter_mm < PATHOLOGIC_NODE_MM if target.is_node else target.diameter_mm == 0)
        for target in targets.values()
    )


def overall_response(target: str | None, non_targets: NonTarget, new_lesions: bool | None) -> tuple[str, str]:
    """Overall response at a time point from its parts.

    Args:
        target: ``CR``, ``PR``, ``SD``, ``PD`` or ``NOT_EVALUABLE``; ``None`` for a patient without target lesions.
        non_targets: What a person says.
        new_lesions: The same.

    Returns:
        Category and the reason.
    """
    if new_lesions:
        return "PD", "New lesions are progression."
    if target == "PD" or non_targets is NonTarget.PROGRESSION:
        what = "target" if target == "PD" else "non-target"
        return "PD", f"Progression of the {what} lesions is progression."
    if new_lesions is None:
        return NOT_EVALUABLE, "Not evaluable: nobody said whether there are new lesions."
    if target is None:
        return {
            NonTarget.COMPLETE_RESPONSE: ("CR", "All non-target lesions are gone."),
            NonTarget.PRESENT: ("NON_CR_NON_PD", "Non-target lesions persist without progression."),
        }.get(non_targets, (NOT_EVALUABLE, "Not evaluable: there are no targets, and nobody judged the non-targets."))
    if target == "CR" and non_targets not in (NonTarget.NONE, NonTarget.COMPLETE_RESPONSE):
        return "PR", "All targets are gone, but not all non-targets, or not all of them were evaluated."
    return target, "The target lesions decide."


def assess(
    baseline: Mapping[str, Target],
    time_points: Sequence[TimePoint],
    *,
    response_needs_confirmation: bool = False,
    confirmation_days: float = 28.0,
) -> tuple[CriterionAnswer, ...]:
    """Overall response at every time point, in the order of their days.

    Args:
        baseline: Targets at baseline; empty for a patient with non-target disease only.
        time_points: Later scans, in any order.
        response_needs_confirmation: Whether a partial response holds on (see the module) only once a second one
            followed.
        confirmation_days: How much later the second one has to be.

    Raises:
        InvalidRequest: See :func:`target_response`; or two time points have the same day.
    """
    ordered = in_order(time_points)
    answers: list[CriterionAnswer] = []
    first_response: float | None = None
    holds_on = False
    for index, point in enumerate(ordered):
        part = (
            target_response(
                baseline,
                [before.targets for before in ordered[:index]],
                point.targets,
                partial_response_before=holds_on,
            )
            if baseline
            else None
        )
        category, reason = overall_response(
            None if part is None else part.category, point.non_targets, point.new_lesions
        )
        answers.append(
            CriterionAnswer(
                criterion=CRITERION,
                category=category,
                sums=part.sums if part else {},
                thresholds=part.thresholds if part else {},
                sentence=f"{reason} {part.sentence}" if part else reason,
            )
        )
        if category in ("PR", "CR"):
            first_response = point.day if first_response is None else first_response
            holds_on |= not response_needs_confirmation or point.day - first_response >= confirmation_days
        elif category != NOT_EVALUABLE:
            first_response = None
    return tuple(answers)


def in_order(time_points: Sequence[_Point]) -> list[_Point]:
    """The time points by day.

    Raises:
        InvalidRequest: Two have the same day.
    """
    ordered = sorted(time_points, key=lambda point: point.day)
    if len({point.day for point in ordered}) != len(ordered):
        raise InvalidRequest("Two time points have the same day. Give one assessment a day.")
    return ordered


_RANKS = {"CR": 1, "PR": 2, "SD": 3, "NON_CR_NON_PD": 4, "PD": 5, NOT_EVALUABLE: 6}


def best_overall_response(
    responses: Sequence[tuple[float, str]],
    *,
    treatment_start_day: float,
    stable_days: float,
    confirmation_days: float | None = None,
    most_not_evaluable_between: int = 1,
    accept_one_stable_between: bool = False,
) -> CriterionAnswer:
    """Best overall response: the best until progression, confirmed where that is asked for.

    Args:
        responses: Day and category of each time point, in any order.
        treatment_start_day: From when the duration of stable disease counts.
        stable_days: Smallest duration of stable disease (the protocol says; RECIST: 6 to 8 weeks).
        confirmation_days: How much later a response has to be seen again; ``None`` where no confirmation is asked for
            (a randomized trial with another primary end point).
        most_not_evaluable_between: Time points without evaluation that may lie between a response and its confirmation.
        accept_one_stable_between: Whether one SD may lie between a PR and its confirmation.

    Raises:
        InvalidRequest: An unknown category.
    """
    ordered = sorted(responses)
    if unknown := {category for _, category in ordered} - _RANKS.keys():
        raise InvalidRequest(f"Category '{sorted(unknown)[0]}' is none of RECIST 1.1. Correct it.")
    progression = next((index for index, (_, category) in enumerate(ordered) if category == "PD"), len(ordered))
    considered = ordered[: progression + 1]
    best, sentence = NOT_EVALUABLE, "Not evaluable: there is no assessment that could be evaluated."
    for index, (day, category) in enumerate(considered):
        counted, reason = category, f"{category} at day {day:g}"
        if category in ("CR", "PR") and confirmation_days is not None:
            if not _confirmed(
                considered[index:], confirmation_days, most_not_evaluable_between, accept_one_stable_between
            ):
                counted, reason = "SD", f"{category} at day {day:g} was not confirmed after {confirmation_days:g} days"
            else:
                reason += f", confirmed after at least {confirmation_days:g} days"
        if counted == "SD" and day - treatment_start_day < stable_days:
            # SD provided its smallest duration is met, otherwise PD where that follows, otherwise NE.
            counted = NOT_EVALUABLE
            reason += f", and less than {stable_days:g} days after the start of treatment"
        if _RANKS[counted] < _RANKS[best] or (counted == best == NOT_EVALUABLE):
            best, sentence = counted, f"Best overall response {counted}: {reason}."
    return CriterionAnswer(
        criterion=CRITERION,
        category=best,
        thresholds={
            "stable_days": stable_days,
            **({} if confirmation_days is None else {"confirmation_days": confirmation_days}),
        },
        sentence=sentence,
    )


def _confirmed(
    following: Sequence[tuple[float, str]], confirmation_days: float, most_missing: int, one_stable: bool
) -> bool:
    """Whether the first of the responses is seen again late enough, with nothing worse between."""
    first_day, first = following[0]
    missing = stable = 0
    complete_before = first == "CR"
    for day, category in following[1:]:
        if category == NOT_EVALUABLE:
            missing += 1
        elif category == "SD" and first == "PR" and one_stable:
            stable += 1
        elif category == "CR" or (category == "PR" and not complete_before):
            complete_before |= category == "CR"
            if day - first_day >= confirmation_days:
                return True
        else:
            # PR after CR is disease that came back, or a CR that was none: neither confirms.
            return False
        if missing > most_missing or stable > 1:
            return False
    return False
