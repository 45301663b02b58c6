"""When the tracer was injected (DICOM PS3.3 C.8.9.2), on the timeline of the scan."""

from __future__ import annotations

from datetime import timedelta

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.dicom.date_times import DAY, clock_difference, local_offset, moment, timed_text, zoned_moment
from oncoresponse.dicom.scan_times import AGREEMENT, LONGEST_UPTAKE, Stated, Timeline, contradiction
from oncoresponse.errors import ImplausibleSuvInput

_USUAL_UPTAKE = (timedelta(minutes=30), timedelta(minutes=150))


def injection(dataset: Dataset, information: Dataset, timeline: Timeline, scan: timedelta) -> Stated:
    """The moment of the injection.

    Radiopharmaceutical Start DateTime (0018,1078) and Start Time (0018,1072) must agree where both are given. With
    a time of day alone, or a date that does not fit, it is the last such time of day before the scan.

    Raises:
        MissingAttribute: No time, or a time in a zone that cannot be compared with the scan's.
        ContradictoryTimes: The two contradict each other, or the date contradicts the scan's.
        ImplausibleSuvInput: Not within the four hours before the scan.
    """
    clock = moment(information, None, "RadiopharmaceuticalStartTime")
    text = timed_text(information, "RadiopharmaceuticalStartDateTime")
    complete = zoned_moment(text, "RadiopharmaceuticalStartDateTime", local_offset(dataset)) if text else None
    if complete is not None and complete.has_unknown_zone and clock is None:
        raise attributes.missing("TimezoneOffsetFromUTC")
    if clock is not None and complete is not None and abs(clock_difference(clock, complete)) > AGREEMENT:
        raise contradiction(
            "RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime of the PET contradict each other"
            + (", or TimezoneOffsetFromUTC is missing" if complete.has_unknown_zone else "")
            + ". Correct them at the source and send the series again.",
            "RadiopharmaceuticalStartDateTime",
        )
    stated = complete or clock
    if stated is None:
        raise attributes.missing("RadiopharmaceuticalStartTime")
    keyword = "RadiopharmaceuticalStartTime" if complete is None else "RadiopharmaceuticalStartDateTime"
    # The last moment before the scan with this time of day.
    uptake = (scan - stated.clock) % DAY
    warnings = _check_uptake(uptake, keyword)
    if complete is not None and timeline.origin.day is not None and complete.day is not None:
        days = round((timeline.origin.day - complete.day + scan - complete.clock - uptake) / DAY)
        is_at_night = (scan % DAY) < timedelta(hours=6) or (scan % DAY) < uptake
        if days and clock is None and not (abs(days) == 1 and is_at_night):
            raise contradiction(
                "The date in RadiopharmaceuticalStartDateTime of the PET does not fit the scan's, and no "
                "RadiopharmaceuticalStartTime confirms its time of day. Correct it at the source and send the series "
                "again.",
                keyword,
            )
        if days:
            # De-identification shifts dates and often forgets this one; scanners do not advance it at midnight.
            warnings.append("The date of injection does not fit the scan; its time of day was used.")
    return Stated(scan - uptake, keyword, tuple(warnings))


def _check_uptake(uptake: timedelta, keyword: str) -> list[str]:
    if not timedelta(0) < uptake <= LONGEST_UPTAKE:
        raise ImplausibleSuvInput(
            f"The injection ({keyword}) is not within the four hours before the scan (SeriesTime, AcquisitionTime): "
            "one of them is wrong, or was rewritten. Correct it at the source and send the series again.",
            keyword=keyword,
        )
    if not _USUAL_UPTAKE[0] <= uptake <= _USUAL_UPTAKE[1]:
        return ["The time from injection to scan is outside 30 to 150 minutes."]
    return []
