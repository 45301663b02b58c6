"""What every criterion answers with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from oncoresponse.errors import InvalidRequest

NOT_EVALUABLE = "NOT_EVALUABLE"
"""Category of an answer where something is missing that only a person or another image could supply."""

_RELATIVE_TOLERANCE = 1e-9


class CriterionAnswer(BaseModel):
    """An answer by one criterion at one time point.

    Attributes:
        criterion: Such as ``RECIST 1.1``.
        category: In the words of its paper (``PR``, ``iUPD``, ``PMR``), or :data:`NOT_EVALUABLE`.
        sums: What was compared, by name; the unit ends the name.
        thresholds: Where the category would change, by name; the unit ends the name.
        sentence: Why, in one or two sentences.
        proposed: Always true: a physician confirms or changes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    criterion: str
    category: str
    sums: Mapping[str, float] = {}
    thresholds: Mapping[str, float] = {}
    sentence: str
    proposed: Literal[True] = True


def at_least(value: float, limit: float) -> bool:
    """``value >= limit``, where a difference that only binary fractions make counts as equal (70 is 30 % below 100)."""
    return value >= limit or math.isclose(value, limit, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-12)


def at_most(value: float, limit: float) -> bool:
    """``value <= limit``, as :func:`at_least`."""
    return at_least(-value, -limit)


def percent_change(earlier: float, later: float) -> float:
    """Change from ``earlier`` (above 0) to ``later`` in percent."""
    return 100.0 * (later - earlier) / earlier


def require_size(name: str, value: float | None, *, above_zero: bool = False) -> None:
    """Refuse a size that cannot be true.

    Raises:
        InvalidRequest: ``value`` is not finite, is negative, or is 0 where ``above_zero``.
    """
    if value is None:
        return
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        limit = "above 0" if above_zero else "0 or more"
        raise InvalidRequest(f"{name} has to be a number, {limit}. Correct it.", field=name)
