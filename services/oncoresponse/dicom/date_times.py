"""DICOM dates and times (PS3.5 section 6.2: DA, TM, DT) as naive local ``datetime`` values.

Everything that is compared here comes from one study and one scanner, so local time is enough; an offset
is used only to bring a DT to the offset of its data set.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.errors import InvalidAttribute

# The forms with colons and dots are those of ACR-NEMA, which DICOM asks readers to accept.
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_DATE_TIME = re.compile(r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)([+-]\d{4})?")
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


def time_of_day(dataset: Dataset, keyword: str) -> timedelta | None:
    """A TM as time since midnight; ``None`` when absent.

    Raises:
        InvalidAttribute: The value is no time.
    """
    value = attributes.text(dataset, keyword)
    return None if value is None else _time_of_day(value, keyword)


def date_time(dataset: Dataset, keyword: str, *, offset: str | None) -> datetime | None:
    """A DT to the hour or finer; ``None`` when absent.

    Args:
        dataset: Where to look.
        keyword: DICOM keyword.
        offset: Timezone Offset From UTC (0008,0201) of the whole data set.

    Raises:
        InvalidAttribute: The value is no date and time.
    """
    value = attributes.text(dataset, keyword)
    return None if value is None else parse_date_time(value, keyword, offset=offset)


def parse_date_time(value: str, keyword: str, *, offset: str | None) -> datetime:
    """As :func:`date_time`, for a value at hand."""
    match = _DATE_TIME.fullmatch(value)
    if match is None:
        raise _invalid(keyword)
    local = _day(match[1], keyword) + _time_of_day(match[2], keyword)
    own, common = _offset(match[3]), _offset(offset)
    return local if own is None or common is None else local - own + common


def _offset(value: str | None) -> timedelta | None:
    match = _OFFSET.fullmatch(value or "")
    if match is None:
        return None
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
