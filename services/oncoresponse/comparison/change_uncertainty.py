"""How sure a change is: from the intervals of both contours and from the published repeatability of the measurement.

Zhao et al. (Radiology 2009;252:263) measured 32 lung cancers twice within 15 minutes: with the same tumor in both
scans, 95 % of the changes lay between -7.3 and +6.2 % in diameter and between -12.1 and +13.4 % in volume. A smaller
change is noise, even with a perfect contour. Both sources are taken as independent and normal on the scale of the
logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from pydantic import BaseModel, ConfigDict

from oncoresponse.comparison.answer import percent_change, require_size
from oncoresponse.errors import InvalidRequest


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Repeatability(_Frozen):
    """Changes between two scans of an unchanged tumor.

    Attributes:
        low_percent: Lower 95 % limit of agreement.
        high_percent: Upper one.
        source: Where from, and for what.
    """

    low_percent: float
    high_percent: float
    source: str


DIAMETER_CT = Repeatability(
    low_percent=-7.3,
    high_percent=6.2,
    source="longest diameter of lung cancers on thin-slice CT, repeated the same day (Zhao 2009)",
)
VOLUME_CT = Repeatability(
    low_percent=-12.1,
    high_percent=13.4,
    source="volume of lung cancers on thin-slice CT, repeated the same day (Zhao 2009)",
)


class Measured(_Frozen):
    """A size and what its contour leaves open.

    Attributes:
        value: In any unit, the same in both scans.
        low: Lower end of the interval of the contour; ``value`` where none is known.
        high: Upper end.
        level: Of that interval, 0 to 1.
    """

    value: float
    low: float
    high: float
    level: float = 0.9


class Change(_Frozen):
    """A change with its intervals.

    Attributes:
        percent: From the earlier to the later size.
        low_percent: Lower end of the interval from contours and repeatability together, at ``level``.
        high_percent: Upper end.
        contour_low_percent: Lower end of the interval from the contours alone, at ``level``.
        contour_high_percent: Upper end.
        level: Of the intervals.
        beyond_measurement_error: Whether the interval leaves out no change.
        sentence: The same in words.
    """

    percent: float
    low_percent: float
    high_percent: float
    contour_low_percent: float
    contour_high_percent: float
    level: float
    beyond_measurement_error: bool
    sentence: str


def change_interval(earlier: Measured, later: Measured, repeatability: Repeatability, *, level: float = 0.95) -> Change:
    """Interval of the change from one size to the next.

    Raises:
        InvalidRequest: A size is not above 0, an interval does not hold its value, or a level is not between 0 and 1.
    """
    for measured in (earlier, later):
        for name in ("low", "value", "high"):
            require_size(name, getattr(measured, name), above_zero=True)
        if not measured.low <= measured.value <= measured.high:
            raise InvalidRequest("The interval of a size does not hold the size. Give low, value and high in order.")
    if not all(0 < value < 1 for value in (level, earlier.level, later.level)):
        raise InvalidRequest("A level has to lie between 0 and 1.", field="level")
    center = math.log(later.value / earlier.value)
    # Spread towards a smaller change: the later size smaller, or the earlier one larger.
    down = math.hypot(_spread(later.low, later.value, later.level), _spread(earlier.value, earlier.high, earlier.level))
    up = math.hypot(_spread(later.value, later.high, later.level), _spread(earlier.low, earlier.value, earlier.level))
    # What was measured is the true change and the noise of a repeated scan: where noise reads high, the truth is lower.
    noise_down = _spread(1, 1 + repeatability.high_percent / 100, 0.95)
    noise_up = _spread(1 + repeatability.low_percent / 100, 1, 0.95)
    width = _quantile(level)
    ends = [
        100 * math.expm1(center + width * spread)
        for spread in (-math.hypot(down, noise_down), math.hypot(up, noise_up), -down, up)
    ]
    percent = percent_change(earlier.value, later.value)
    beyond = ends[0] > 0 or ends[1] < 0
    interval = f"{percent:+.1f} % (from {ends[0]:+.1f} to {ends[1]:+.1f} % at {level:.0%})"
    sentence = f"Changed by {interval}." if beyond else f"No change beyond measurement error: {interval}."
    return Change(
        percent=percent,
        low_percent=ends[0],
        high_percent=ends[1],
        contour_low_percent=ends[2],
        contour_high_percent=ends[3],
        level=level,
        beyond_measurement_error=beyond,
        sentence=sentence,
    )


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _spread(low: float, high: float, level: float) -> float:
    """Standard deviation of the logarithm of which ``low`` to ``high`` is one side of an interval."""
    return math.log(high / low) / _quantile(level)


class CategoryStability(_Frozen):
    """Whether a category would be another one within the intervals of the change.

    Attributes:
        category: With the sizes as they are.
        with_contour: Every category within the interval of the contours.
        with_measurement: Every category within the interval of contours and repeatability.
        hangs_on_contour: Whether another contour would change the category.
        sentence: The same in words.
    """

    category: str
    with_contour: tuple[str, ...]
    with_measurement: tuple[str, ...]
    hangs_on_contour: bool
    sentence: str


def category_stability(change: Change, category_of: Callable[[float], str]) -> CategoryStability:
    """Whether a category hangs on the contour.

    Args:
        change: From :func:`change_interval`.
        category_of: Category of a change in percent; monotone in it, as all criteria by size are.
    """
    category = category_of(change.percent)

    def within(low: float, high: float) -> tuple[str, ...]:
        steps = [low + (high - low) * step / 200 for step in range(201)]
        return tuple(dict.fromkeys(category_of(value) for value in (*steps, change.percent)))

    contour = within(change.contour_low_percent, change.contour_high_percent)
    measurement = within(change.low_percent, change.high_percent)
    if len(contour) > 1:
        sentence = (
            f"{category} hangs on the contour: within its interval it would also be {_others(contour, category)}."
        )
    elif len(measurement) > 1:
        sentence = (
            f"{category} hangs on measurement error: a repeated scan could give {_others(measurement, category)}."
        )
    else:
        sentence = f"{category} holds within contour and measurement error."
    return CategoryStability(
        category=category,
        with_contour=contour,
        with_measurement=measurement,
        hangs_on_contour=len(contour) > 1,
        sentence=sentence,
    )


def _others(categories: tuple[str, ...], category: str) -> str:
    return " or ".join(other for other in categories if other != category)
