"""DICOM dates and times (PS3.5 section 6.2: DA, TM, DT) as naive local ``datetime`` values.

Everything that is compared comes from one study and one scanner, so local time is enough; an offset
is used only to bring a DT to the offset of its data set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.errors import InvalidAttribute

# The forms with colons and dots are those of ACR-NEMA, which DICOM asks readers to accept.
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_DATE_TIME = re.compile(r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)([+-]\d{4})?")
DAY = timedelta(days=1)
_DATE_ALONE = re.compile(r"\d{4}(?:\d{2}){0,2}(?:[+-]\d{4})?")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")


def date_and_time(dataset: Dataset, date_keyword: str, time_keyword: str) -> datetime | None:
    """A pair of DA and TM; ``None`` when either is absent.

    Raises:
        InvalidAttribute: A value is no date or no time.
    """
    date, time = attributes.text(dataset, date_keyword), attributes.text(dataset, time_keyword)
    if date is None or time is None:
        return None
    return _day(date, date_keyword) + _time_of_day(time, time_keyword)


@dataclass(frozen=True)
class Moment:
    """A time of day, and its date where that is known.

    Attributes:
        clock: Since midnight.
        day: Midnight of the date; ``None`` when unknown.
        has_unknown_zone: It is given in a time zone, and that of the data set is not known.
    """

    clock: timedelta
    day: datetime | None = None
    has_unknown_zone: bool = False


def clock_difference(later: Moment, earlier: Moment) -> timedelta:
    """Difference of two times of day around the clock, at least -12 and below 12 hours."""
    return (later.clock - earlier.clock + DAY / 2) % DAY - DAY / 2


def moment(dataset: Dataset, date_keyword: str | None, time_keyword: str) -> Moment | None:
    """A TM with its DA where there is one; ``None`` when the time is absent.

    Raises:
        InvalidAttribute: A value is no date or no time.
    """
    time = attributes.text(dataset, time_keyword)
    date = attributes.text(dataset, date_keyword) if date_keyword else None
    day = _day(date, date_keyword) if date and date_keyword else None
    return None if time is None else Moment(_time_of_day(time, time_keyword), day)


def timed_text(dataset: Dataset, keyword: str) -> str | None:
    """A DT with a time of day; ``None`` when it is absent, or stops at the date as PS3.5 6.2 allows."""
    value = attributes.text(dataset, keyword)
    return None if value is None or _DATE_ALONE.fullmatch(value) else value


def zoned_moment(value: str, keyword: str, local: timedelta | None) -> Moment:
    """A DT to the hour or finer, brought to the clock of its data set.

    Args:
        value: The DT.
        keyword: DICOM keyword, for the message.
        local: Offset from UTC of the data set; ``None`` when unknown: then the DT is taken as it is written, and
            says whether it holds a zone.

    Raises:
        InvalidAttribute: The value is no date and time.
    """
    match = _DATE_TIME.fullmatch(value)
    if match is None:
        raise _invalid(keyword)
    when = _day(match[1], keyword) + _time_of_day(match[2], keyword)
    own = _offset(match[3], keyword)
    if own is not None and local is not None:
        when += local - own
    day = datetime(when.year, when.month, when.day)
    return Moment(when - day, day, own is not None and local is None)


def local_offset(dataset: Dataset) -> timedelta | None:
    """Offset from UTC of the times of a data set; ``None`` when unknown.

    Timezone Offset From UTC (0008,0201) says it; else the zone of an Acquisition DateTime whose clock shows the
    Acquisition Time.

    Raises:
        InvalidAttribute: A value is no offset, date or time.
    """
    stated = attributes.text(dataset, "TimezoneOffsetFromUTC")
    if stated is not None:
        return _offset(stated, "TimezoneOffsetFromUTC")
    complete = timed_text(dataset, "AcquisitionDateTime")
    match = _DATE_TIME.fullmatch(complete or "")
    time = moment(dataset, None, "AcquisitionTime")
    if match is None or time is None or _time_of_day(match[2], "AcquisitionDateTime") != time.clock:
        return None
    return _offset(match[3], "AcquisitionDateTime")


def _offset(value: str | None, keyword: str) -> timedelta | None:
    if value is None:
        return None
    match = _OFFSET.fullmatch(value)
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        raise _invalid(keyword)
    size = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return size if match[1] == "+" else -size


def _day(value: str, keyword: str) -> datetime:
    match = _DATE.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        return datetime(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        raise _invalid(keyword) from None


def _time_of_day(value: str, keyword: str) -> timedelta:
    match = _TIME.fullmatch(value)
    if match is None:
        raise _invalid(keyword)
    hours, minutes, seconds = (int(match[n] or 0) for n in (1, 2, 3))
    # Second 60 is DICOM's leap second.
    if hours > 23 or minutes > 59 or seconds > 60:
        raise _invalid(keyword)
    return timedelta(
        hours=hours, minutes=minutes, seconds=seconds, microseconds=int((match[4] or "").ljust(6, "0") or 0)
    )


def _invalid(keyword: str) -> InvalidAttribute:
    return InvalidAttribute(
        f"DICOM attribute {keyword} is not a valid date or time. Correct it at the source.", keyword=keyword
    )
