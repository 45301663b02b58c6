"""Decay and regrowth of a tumor's size over time, fitted to one patient, with intervals.

Two published curves of the sum of diameters ``y`` (mm) at day ``t`` since treatment:

- Stein et al. (Oncologist 2008;13:1046): ``y = y0 (exp(-d t) + exp(g t) - 1)``, decay ``d`` and growth ``g`` (1/day);
- Claret et al. (J Clin Oncol 2009;27:4103) at constant exposure: ``y = y0 exp(g t - (k/r) (1 - exp(-r t)))``, growth
  ``g``, drug kill ``k``, and resistance ``r`` by which it wears off (1/day).

The time to growth is when the curve turns, where its derivative is 0: ``(log d - log g)/(d + g)`` and
``(log k - log g)/r``. A lesion too small to measure is left-censored. Intervals are profile likelihoods: with few
visits they are wide, and where the data set no end within what was searched there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import chi2

from oncoresponse.comparison.recist import TOO_SMALL_MM
from oncoresponse.errors import InvalidRequest

GrowthCurve = Literal["Stein", "Claret"]

RATE_LIMITS = (1e-5, 0.1)
"""Rates searched (1/day): a doubling in 190 years, and one in a week."""
ERROR_MM = 1.0
ERROR_SHARE = 0.05
"""Standard deviation of a measured sum, independent of and in proportion to it: about the limits of a same-day repeat
(7 % of a diameter at 95 %, :mod:`.change_uncertainty`), with something for the reader and the choice of the slice."""

_MOST_GRIDS = 12

_RATES: dict[str, tuple[str, ...]] = {"Stein": ("decay", "growth"), "Claret": ("kill", "growth", "resistance")}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Visit(_Frozen):
    """A sum of diameters, or the diameter of one lesion, at one visit.

    Attributes:
        day: Days from the start of treatment; before it below 0.
        diameter_mm: ``None`` where the lesion was seen but too small to measure: below 5 mm.
    """

    day: float
    diameter_mm: float | None


class Estimate(_Frozen):
    """A fitted number.

    Attributes:
        value: The best one.
        low: Lower end of its profile-likelihood interval; ``None`` where the data set none within what was searched.
        high: Upper end; the same.
    """

    value: float
    low: float | None
    high: float | None


class Growth(_Frozen):
    """A fitted curve.

    Attributes:
        curve: Which.
        baseline_mm: Size at day 0.
        rates: By name (1/day).
        days_to_growth: When the curve turns; 0 where it grows from the start.
        level: Of the intervals.
        sentence: The growth in words.
        proposed: Always true.
    """

    curve: GrowthCurve
    baseline_mm: float
    rates: dict[str, Estimate]
    days_to_growth: Estimate
    level: float
    sentence: str
    proposed: Literal[True] = True

    def size_mm(self, day: float) -> float:
        """Size on the curve at a day; before day 0 that of day 0."""
        values = [self.rates[name].value for name in _RATES[self.curve]]
        return self.baseline_mm * float(_relative_size(self.curve, np.array(float(day)), [np.array(v) for v in values]))


def fit_growth(visits: Sequence[Visit], curve: GrowthCurve = "Stein", *, level: float = 0.8) -> Growth:
    """Fit a curve to the visits of one patient by weighted least squares.

    Args:
        visits: In any order; at least one more than the curve has parameters (Stein 4, Claret 5).
        curve: Which.
        level: Of the intervals.

    Raises:
        InvalidRequest: Too few visits, two at one day, a size that cannot be true, or all too small to measure.
    """
    ordered = _checked(visits, curve)
    fits = _Fits(curve, ordered)
    names = _RATES[curve]
    limits = [(math.log(RATE_LIMITS[0]), math.log(RATE_LIMITS[1]))] * len(names)
    axes, loss, sizes = _nested_grids(fits, limits, float(chi2.ppf(level, 1)))
    best = np.unravel_index(int(np.argmin(loss)), loss.shape)
    allowed = float(loss[best]) + float(chi2.ppf(level, 1))
    rates = {
        name: _profile(axes[index], loss.min(axis=tuple(set(range(len(names))) - {index})), allowed, limits[index])
        for index, name in enumerate(names)
    }
    values = [float(np.exp(axes[index][position])) for index, position in enumerate(best)]
    turn = _turn(curve, axes, loss <= allowed, values, rates)
    begins = "from the start" if turn.value == 0 else f"at day {turn.value:.0f}"
    return Growth(
        curve=curve,
        baseline_mm=float(sizes[best]),
        rates=rates,
        days_to_growth=turn,
        level=level,
        sentence=(
            f"Growth rate {100 * rates['growth'].value:.2g} % a day ({_interval(rates['growth'])} at {level:.0%}); by "
            f"the {curve} curve growth begins {begins}. From {len(ordered)} visits."
        ),
    )


def _interval(rate: Estimate) -> str:
    if rate.low is None and rate.high is None:
        return "the data set no limit"
    if rate.low is None or rate.high is None:
        end = rate.high if rate.low is None else rate.low
        return f"{'at most' if rate.low is None else 'at least'} {100 * (end or 0.0):.2g} %"
    return f"{100 * rate.low:.2g} to {100 * rate.high:.2g} %"


def _checked(visits: Sequence[Visit], curve: GrowthCurve) -> list[Visit]:
    needed = len(_RATES[curve]) + 2
    if len(visits) < needed:
        raise InvalidRequest(
            f"Not evaluable: the {curve} curve needs {needed} visits, there are {len(visits)}. Wait, or use another.",
            needed=needed,
        )
    ordered = sorted(visits, key=lambda visit: visit.day)
    if len({visit.day for visit in ordered}) != len(ordered):
        raise InvalidRequest("Two visits have the same day. Give one a day.")
    if any(visit.diameter_mm is not None and visit.diameter_mm < 0 for visit in ordered):
        raise InvalidRequest("A diameter is below 0. Correct it.", field="diameter_mm")
    if not any(visit.diameter_mm for visit in ordered):
        raise InvalidRequest("Not evaluable: no visit has a size that could be measured.")
    return ordered


def _relative_size(
    curve: GrowthCurve, days: NDArray[np.float64], rates: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Size over that at day 0; treatment begins then, before it nothing changes. Arguments broadcast."""
    time = np.maximum(days, 0.0)
    if curve == "Stein":
        decay, growth = rates
        sizes = np.exp(-decay * time) + np.exp(np.minimum(growth * time, 50.0)) - 1.0
    else:
        kill, growth, resistance = rates
        sizes = np.exp(np.minimum(growth * time + (kill / resistance) * np.expm1(-resistance * time), 50.0))
    return np.asarray(sizes, dtype=np.float64)


def _days_to_growth(curve: GrowthCurve, rates: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    if curve == "Stein":
        decay, growth = rates
        turn = (np.log(decay) - np.log(growth)) / (decay + growth)
    else:
        kill, growth, resistance = rates
        turn = (np.log(kill) - np.log(growth)) / resistance
    return np.maximum(turn, 0.0)


def _turn(
    curve: GrowthCurve,
    axes: Sequence[NDArray[np.float64]],
    allowed: NDArray[np.bool_],
    values: Sequence[float],
    rates: dict[str, Estimate],
) -> Estimate:
    """When the curve turns: over all rates that the data allow; without an end where a rate has none."""
    turns = _days_to_growth(curve, [np.exp(rate) for rate in np.meshgrid(*axes, indexing="ij")])[allowed]
    best = float(_days_to_growth(curve, [np.array(value) for value in values]))
    is_open = any(rate.low is None or rate.high is None for rate in rates.values())
    return Estimate(
        value=best, low=None if is_open else float(turns.min()), high=None if is_open else float(turns.max())
    )


class _Fits:
    """Sum of squared standardized errors of a curve, smallest in the size at day 0, for many rates at once."""

    def __init__(self, curve: GrowthCurve, visits: Sequence[Visit]) -> None:
        self.curve = curve
        self.days = np.array([visit.day for visit in visits], dtype=np.float64)
        self.censored = np.array([visit.diameter_mm is None for visit in visits])
        self.sizes = np.array([TOO_SMALL_MM if visit.diameter_mm is None else visit.diameter_mm for visit in visits])
        self.weights = 1.0 / (ERROR_MM**2 + (ERROR_SHARE * self.sizes) ** 2)

    def loss(self, rates: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Loss and size at day 0 (mm) for arrays of rates that broadcast to one shape."""
        shape = _relative_size(self.curve, self.days, [rate[..., None] for rate in rates])
        # A lesion too small to measure costs nothing while the curve is below 5 mm there.
        counted = np.broadcast_to(~self.censored, shape.shape)
        for _ in range(4):
            weights = np.where(counted, self.weights, 0.0)
            size = (weights * shape * self.sizes).sum(-1) / (weights * shape**2).sum(-1)
            above = size[..., None] * shape > TOO_SMALL_MM
            counted = ~self.censored | above
        error = np.where(counted, self.sizes - size[..., None] * shape, 0.0)
        return (self.weights * error**2).sum(-1), size


def _nested_grids(
    fits: _Fits, limits: Sequence[tuple[float, float]], allowed: float
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64], NDArray[np.float64]]:
    """Loss and size on a grid of log rates, redrawn until what the data allow fills it and does not cross its edge."""
    points = {2: 100, 3: 36}[len(limits)]
    box = list(limits)
    for _ in range(_MOST_GRIDS):
        axes = [np.linspace(low, high, points) for low, high in box]
        loss, sizes = fits.loss([np.exp(rate) for rate in np.meshgrid(*axes, indexing="ij")])
        kept = np.nonzero(loss <= loss.min() + allowed)
        redrawn = [
            _redrawn(axis, int(where.min()), int(where.max()), limit)
            for axis, where, limit in zip(axes, kept, limits, strict=True)
        ]
        if redrawn == box:
            break
        box = redrawn
    return axes, loss, sizes


def _redrawn(axis: NDArray[np.float64], first: int, last: int, limits: tuple[float, float]) -> tuple[float, float]:
    """A range with the allowed part in its middle half or so; the same one where it fits already."""
    step = float(axis[1] - axis[0])
    margin = max(last - first, 2) / 4 * step
    clear = (first > 1 or axis[0] == limits[0]) and (last < len(axis) - 2 or axis[-1] == limits[1])
    if clear and last - first >= len(axis) / 3:
        return float(axis[0]), float(axis[-1])
    return max(float(axis[first]) - margin, limits[0]), min(float(axis[last]) + margin, limits[1])


def _profile(
    axis: NDArray[np.float64], loss: NDArray[np.float64], allowed: float, limits: tuple[float, float]
) -> Estimate:
    """Interval of one rate from its profile: where the loss, smallest in the others, stays within what is allowed."""
    inside = np.flatnonzero(loss <= allowed)

    def end(index: int, step: int) -> float | None:
        if axis[index] in limits:
            return None
        outside = index + step
        if not 0 <= outside < len(axis):
            return None
        share = (allowed - loss[index]) / (loss[outside] - loss[index])
        return float(np.exp(axis[index] + share * (axis[outside] - axis[index])))

    return Estimate(
        value=float(np.exp(axis[int(np.argmin(loss))])), low=end(int(inside[0]), -1), high=end(int(inside[-1]), 1)
    )
