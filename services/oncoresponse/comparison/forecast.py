"""Size of a lesion at the next visit: the last value, with an interval that was checked on trials left out.

Nested validation by trial found no better point than the last value carried forward (docs/follow-up.md); a straight
line is worse. What can be said is how far the next value may lie from it: two quantile regressions (10 and 90 %) of the
difference on the last size, the elapsed time and the last change, with conformal margins for each range of elapsed
time, so that the interval holds as often as it promises on trials it was not fitted to. What the regressions look at
was chosen with the figures of those trials in sight, which flatters them a little. A lesion too small to measure is
left-censored at 5 mm, never missing. ``forecast.json`` holds the constants, what they were fitted to, and the figures
of the validation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oncoresponse.comparison.growth import Visit
from oncoresponse.comparison.recist import TOO_SMALL_MM
from oncoresponse.errors import InvalidRequest, ModelFolderInvalid, ModelHashMismatch

CONSTANTS_FILE = "forecast.json"
REFERENCE_DAYS = 42.0
"""Elapsed time that counts as one unit: six weeks, the usual distance of visits."""
SCALE_MM = 1.0
SCALE_SHARE = 0.1
"""Margins are in units of 1 mm plus a tenth of the last size."""

FROM_ONE = "From one measurement: nothing is known of a trend."

Known = Literal["one", "several"]
"""How many earlier visits there are: from one nothing is known of a trend."""
Point = Literal["last value", "damped trend"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Frozen):
    """Constants of the interval for patients with one, or with several earlier visits.

    Attributes:
        lower: Coefficients of the lower quantile on :func:`features`.
        upper: Of the upper one.
        margins: By range of elapsed time, in units of 1 mm plus a tenth of the last size; below 0 narrows.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    margins: tuple[float, ...]


class Figures(_Frozen):
    """What nested validation found on visits of patients whose trial was not fitted to.

    Attributes:
        visits: Visits forecast from two or more earlier ones.
        last_value_mm: Mean absolute error of the last value carried forward; of a lesion then too small to measure,
            what the forecast exceeds 5 mm by.
        straight_line_mm: Of a straight line through the last two visits.
        damped_trend_mm: Of the last value plus a share of the last growth, the share fitted on the other trials.
        coverage: Share of visits within the interval.
        width_mm: Mean width of the interval.
        median_width_mm: Its median.
        plain_coverage: Share of visits within the last value plus and minus a conformal share of it.
        plain_width_mm: Mean width of that.
        first_visits: Visits forecast from the baseline alone.
        first_coverage: Share of them within the interval.
        first_width_mm: Mean width of the interval.
    """

    visits: int
    last_value_mm: float
    straight_line_mm: float
    damped_trend_mm: float
    coverage: float
    width_mm: float
    median_width_mm: float
    plain_coverage: float
    plain_width_mm: float
    first_visits: int
    first_coverage: float
    first_width_mm: float


class ForecastConstants(_Frozen):
    """Contents of ``forecast.json``.

    Attributes:
        level: Of the interval.
        point: What is forecast.
        trend_share: Share of the last growth that is added to the last value; 0 where the point is the last value.
        elapsed_days: Borders between the ranges of elapsed time, ascending.
        longest_days: Longest elapsed time that was validated.
        usual_days: Until the next visit, where nothing else is known.
        intervals: By the number of earlier visits.
        figures: By trial left out, and ``all``.
        damped_minus_last_mm: 95 % interval (patient bootstrap) of the difference of the mean absolute errors of damped
            trend and last value; the trend is used only where it lies below 0.
        cohort: The data, in words, with licence.
        table_sha256: Of the table it was fitted to.
        patients: Patients in it.
        command: What wrote the file.
        sha256: Of all the rest of the file.
    """

    level: float = Field(gt=0, lt=1)
    point: Point
    trend_share: float
    elapsed_days: tuple[float, ...]
    longest_days: float
    usual_days: float
    intervals: Mapping[Known, Interval]
    figures: Mapping[str, Figures]
    damped_minus_last_mm: tuple[float, float]
    cohort: str
    table_sha256: str
    patients: int
    command: str
    sha256: str = ""

    def content_sha256(self) -> str:
        """SHA-256 of everything but itself."""
        content = json.dumps(self.model_dump(mode="json", exclude={"sha256"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def sealed(self) -> ForecastConstants:
        """The same with its SHA-256."""
        return self.model_copy(update={"sha256": self.content_sha256()})


def read_constants(path: Path) -> ForecastConstants:
    """Read constants that ``oncoresponse train forecast`` wrote.

    Raises:
        ModelFolderInvalid: The file cannot be read or does not follow its schema.
        ModelHashMismatch: It was changed after it was sealed.
    """
    try:
        return _checked(path.read_bytes())
    except OSError as error:
        raise ModelFolderInvalid("The constants of the forecast cannot be read. Check the path.") from error


@cache
def shipped_constants() -> ForecastConstants:
    """The constants that come with the software."""
    return _checked(files(__package__).joinpath(CONSTANTS_FILE).read_bytes())


def _checked(content: bytes) -> ForecastConstants:
    try:
        constants = ForecastConstants.model_validate_json(content)
    except ValidationError as error:
        raise ModelFolderInvalid(
            "The constants of the forecast do not follow their schema. Write them with 'oncoresponse train forecast'."
        ) from error
    if constants.sha256 != constants.content_sha256():
        raise ModelHashMismatch(
            "The constants of the forecast were changed after they were sealed. Install them again, or train anew."
        )
    return constants


class Forecast(_Frozen):
    """A forecast of one size.

    Attributes:
        day: Of the visit.
        estimate_mm: The size.
        low_mm: Lower end of the interval; 0 where the lesion may be gone or too small to measure.
        high_mm: Upper end.
        level: Of the interval.
        note: What limits it; empty where nothing does.
    """

    day: float
    estimate_mm: float
    low_mm: float
    high_mm: float
    level: float
    note: str


def forecast(visits: Sequence[Visit], day: float, constants: ForecastConstants | None = None) -> Forecast:
    """Forecast the size at a later day.

    Args:
        visits: Earlier ones, in any order; those at or after ``day`` are not looked at. Several at one day count as
            their mean.
        day: Of the visit wanted.
        constants: Those that come with the software when not given.

    Raises:
        InvalidRequest: There is no visit before ``day``.
    """
    constants = shipped_constants() if constants is None else constants
    earlier = one_a_day([visit for visit in visits if visit.day < day])
    if not earlier:
        raise InvalidRequest("Not evaluable: there is no measurement before the day of the forecast.")
    last = earlier[-1]
    elapsed = day - last.day
    low, high = interval_mm(history_of(earlier, day)[None, :], constants)
    size = TOO_SMALL_MM if last.diameter_mm is None else last.diameter_mm
    growth = max(history_of(earlier, day)[2], 0.0)
    estimate = size + constants.trend_share * growth
    notes = []
    if len(earlier) == 1:
        notes.append(FROM_ONE)
    if elapsed > constants.longest_days:
        notes.append(
            f"More than {constants.longest_days:g} days ahead was not validated; take the interval as too narrow."
        )
    if last.diameter_mm is None:
        notes.append("The last lesion was too small to measure and counts as 5 mm.")
    return Forecast(
        day=day,
        estimate_mm=estimate,
        low_mm=float(low[0]),
        high_mm=max(float(high[0]), estimate),
        level=constants.level,
        note=" ".join(notes),
    )


def one_a_day(visits: Sequence[Visit]) -> list[Visit]:
    """Visits by day, several at one day as their mean; too small to measure where all of that day are."""
    by_day: dict[float, list[float | None]] = {}
    for visit in visits:
        by_day.setdefault(visit.day, []).append(visit.diameter_mm)
    found = []
    for day, sizes in sorted(by_day.items()):
        measured = [TOO_SMALL_MM if size is None else size for size in sizes]
        small = all(size is None for size in sizes)
        found.append(Visit(day=day, diameter_mm=None if small else sum(measured) / len(measured)))
    return found


def history_of(earlier: Sequence[Visit], day: float) -> NDArray[np.float64]:
    """What a forecast looks at: last size (mm), elapsed time (d), last change (mm), number of visits.

    The last change is scaled to the elapsed time, as a straight line would go on; 0 with one visit.
    """
    sizes = [TOO_SMALL_MM if visit.diameter_mm is None else visit.diameter_mm for visit in earlier]
    elapsed = day - earlier[-1].day
    change = (sizes[-1] - sizes[-2]) / (earlier[-1].day - earlier[-2].day) * elapsed if len(earlier) > 1 else 0.0
    return np.array([sizes[-1], elapsed, change, float(len(earlier))])


def features(history: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of the quantile regressions (mm): 1, last size, last size by root of elapsed time, growth, shrinkage."""
    last, elapsed, change = history[:, 0], history[:, 1], history[:, 2]
    return np.column_stack(
        [
            np.ones_like(last),
            last,
            last * np.sqrt(elapsed / REFERENCE_DAYS),
            np.maximum(change, 0.0),
            np.minimum(change, 0.0),
        ]
    )


def scale_mm(history: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit of the margins."""
    return SCALE_MM + SCALE_SHARE * history[:, 0]


def interval_mm(
    history: NDArray[np.float64], constants: ForecastConstants
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends for rows of :func:`history_of`, around the last value, never below 0."""
    several = history[:, 3] > 1
    low, high = np.empty(len(history)), np.empty(len(history))
    ranges = np.searchsorted(constants.elapsed_days, history[:, 1], side="right")
    for known, rows in (("one", ~several), ("several", several)):
        part: Interval = constants.intervals[known]  # type: ignore[index]
        used = features(history[rows])
        margin = np.array(part.margins)[ranges[rows]] * scale_mm(history[rows])
        low[rows] = history[rows, 0] + used @ np.array(part.lower) - margin
        high[rows] = history[rows, 0] + used @ np.array(part.upper) + margin
    return around_last(low, high, history)


def around_last(
    low: NDArray[np.float64], high: NDArray[np.float64], history: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends that hold the last value, never below 0; from 0 on where the lesion is 5 mm or less, so may soon be gone."""
    last = history[:, 0]
    low = np.where(last <= TOO_SMALL_MM, 0.0, np.clip(np.minimum(low, last), 0.0, None))
    return low, np.maximum(high, last)
