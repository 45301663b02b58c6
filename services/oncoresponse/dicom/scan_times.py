"""When a PET scan began, from every attribute that says so.

Several attributes state the same moment: Series, Acquisition and Frame Reference Time, Decay Factor and GE's private
scan time. They are compared here, and what does not agree within :data:`AGREEMENT` is refused rather than chosen from.

Sources: DICOM PS3.3 C.8.9.1.1.2 (Series Date, Series Time), C.8.9.2 (PET Isotope), C.8.9.4.1.4 to C.8.9.4.1.6
(Acquisition Time, Frame Reference Time, Actual Frame Duration), C.8.9.4 (Decay Factor); QIBA vendor-neutral
pseudo-code for SUV.

All moments are ``timedelta`` from one origin, midnight before the anchor: the Series Time, or the first slice's
acquisition where there is none. Times of day are compared around the clock, because dates may be blank or not
advanced when a scan runs past midnight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.dicom.date_times import DAY, Moment, clock_difference, local_offset, moment, timed_text, zoned_moment
from oncoresponse.dicom.reading import Instance
from oncoresponse.errors import ContradictoryTimes, UnsupportedDecayCorrection

AGREEMENT = timedelta(seconds=60)
"""How far two statements of one moment may lie apart: 0.6 % of an SUV by the half-life of fluorine-18."""

LONGEST_UPTAKE = timedelta(hours=4)
# Series Time and Acquisition Time of one event may be rounded differently.
_ROUNDING = timedelta(seconds=1)
_ZERO = timedelta(0)
_GE_CREATOR = "GEMS_PETD_01"
_REWRITTEN = "Send the PET as the scanner made it, with its original times and all its slices."


@dataclass(frozen=True)
class Frame:
    """What one slice says about its time.

    Attributes:
        start: Acquisition Date and Time, from the origin.
        duration: Actual Frame Duration in seconds; ``None`` when absent.
        decay_factor: Decay Factor; ``None`` when absent.
        reference: Frame Reference Time in seconds; ``None`` when absent.
    """

    start: timedelta
    duration: float | None
    decay_factor: float | None
    reference: float | None


@dataclass(frozen=True)
class Timeline:
    """The times of one PET series.

    Attributes:
        origin: Date and clock of the origin of all moments; the date may be unknown.
        series: Series Date and Time; ``None`` when absent.
        ge_scan: GE's private scan time (0009,xx0D); ``None`` when absent.
        frames: One for each slice.
        is_ge: Whether the manufacturer is GE, which may write the start of the scan as the Acquisition Time of
            every bed position.
        warnings: Dates that do not fit their times.
    """

    origin: Moment
    series: timedelta | None
    ge_scan: timedelta | None
    frames: tuple[Frame, ...]
    is_ge: bool
    warnings: tuple[str, ...]

    @property
    def first(self) -> timedelta:
        """The earliest acquisition."""
        return min(frame.start for frame in self.frames)

    @property
    def has_one_acquisition_time(self) -> bool:
        """Whether all slices have the same."""
        return max(frame.start for frame in self.frames) - self.first <= _ROUNDING


@dataclass(frozen=True)
class Stated:
    """A moment, which attributes it was taken from, and what was odd."""

    when: timedelta
    source: str
    warnings: tuple[str, ...] = ()


def read_timeline(slices: Sequence[Instance]) -> Timeline:
    """Times of a PET series.

    Raises:
        MissingAttribute: A slice has no acquisition time.
        InvalidAttribute: A value is no date, time or number.
        ContradictoryTimes: Acquisition DateTime is not Acquisition Date and Time, or an image was made before it
            was acquired.
    """
    first = slices[0].dataset
    series = moment(first, "SeriesDate", "SeriesTime")
    acquired = [_acquisition(found.dataset) for found in slices]
    anchor = series or acquired[0]
    origin = Moment(_ZERO, anchor.day)
    warnings: set[str] = set()
    begin = anchor.clock

    def placed(when: Moment) -> timedelta:
        difference, has_wrong_date = _difference(anchor, when)
        if has_wrong_date:
            warnings.add("A date of the PET was not advanced at midnight; its times of day were used.")
        return begin + difference

    private = attributes.private_text(first, 0x0009, _GE_CREATOR, 0x0D)
    frames = tuple(
        Frame(
            placed(when),
            _positive(found.dataset, "ActualFrameDuration", 1e-3),
            attributes.number(found.dataset, "DecayFactor"),
            _milliseconds(found.dataset, "FrameReferenceTime"),
        )
        for found, when in zip(slices, acquired, strict=True)
    )
    _require_made_after(slices, acquired)
    return Timeline(
        origin=origin,
        series=None if series is None else begin,
        ge_scan=placed(zoned_moment(private, "PET scan_datetime", local_offset(first))) if private else None,
        frames=frames,
        is_ge=(attributes.text(first, "Manufacturer") or "").upper().startswith("GE"),
        warnings=tuple(sorted(warnings)),
    )


def scan_start(timeline: Timeline, half_life: float) -> Stated:
    """The moment that Decay Correction START refers to.

    It is Series Time unless that is later than the first acquisition (then a workstation rewrote it), else GE's
    private scan time, else the earliest acquisition. Decay Factor and Frame Reference Time say, together with the
    Acquisition Time of their slice, when the scan began as well; what was chosen has to agree with them. The
    earliest acquisition counts only where one of them shows that no earlier bed position is missing.

    Args:
        timeline: Times of the series.
        half_life: Of the nuclide, in seconds.

    Raises:
        ContradictoryTimes: The start cannot be established.
        UnsupportedDecayCorrection: Decay Factor shows a correction to another moment.
    """
    by_factor = _starts(
        timeline, [_from_factor(frame, half_life) for frame in timeline.frames], half_life, is_reference=False
    )
    by_reference = _starts(timeline, [frame.reference for frame in timeline.frames], half_life, is_reference=True)
    is_scan_time = _is_scan_time(timeline, half_life)
    if by_factor == () and not is_scan_time:
        raise contradiction(
            "Decay Factor and Acquisition Time of the PET slices contradict each other, so the start of the scan, "
            f"which decay was corrected to, cannot be established. {_REWRITTEN}",
            "DecayFactor",
        )
    chosen, source = _candidate(timeline)
    if chosen is not None:
        return _confirmed(timeline, chosen, source, is_scan_time, by_factor, by_reference)
    first = timeline.first
    # Of GE's bed positions with one time none tells whether that is the start of the scan or of the bed.
    is_ambiguous = is_scan_time and not (_agrees(first, by_factor) or _agrees(first, by_reference))
    if is_scan_time and () in (by_factor, by_reference):
        by_factor, is_ambiguous = (first,), False
    if _agrees(first, by_factor) or (by_factor is None and _agrees(first, by_reference)):
        witness = "Decay Factor" if by_factor else "Frame Reference Time"
        return Stated(
            first,
            f"earliest Acquisition Time, confirmed by {witness}",
            ("Series Time is absent or later than the acquisition; the scan began at the earliest Acquisition Time.",),
        )
    common = [when for when in by_factor or () if _agrees(when, by_reference)]
    if common and not is_ambiguous:
        return Stated(
            common[0],
            "Acquisition Time less the time that Decay Factor and Frame Reference Time give",
            ("Series Time is absent or later than the acquisition, and the first bed position is missing.",),
        )
    raise contradiction(
        "Series Time of the PET is absent or later than the acquisition, and nothing shows that the earliest slice "
        f"that is left was the first of the scan. The start of the scan cannot be established. {_REWRITTEN}",
        "SeriesTime",
    )


def acquisition_starts(timeline: Timeline, half_life: float) -> list[timedelta]:
    """Start of each slice's frame, for images without decay correction.

    Raises:
        ContradictoryTimes: Frame Reference Time says that the slices are further apart in time.
    """
    references = [frame.reference for frame in timeline.frames]
    starts = _starts(timeline, references, half_life, is_reference=True)
    is_one_time = timeline.has_one_acquisition_time
    if starts == () or (starts and is_one_time and _range(references) > AGREEMENT.total_seconds()):
        raise contradiction(
            "Acquisition Time and Frame Reference Time of the PET slices contradict each other, so the decay of each "
            f"slice cannot be computed. {_REWRITTEN}",
            "AcquisitionTime",
        )
    return [frame.start for frame in timeline.frames]


def require_correction_to_injection(timeline: Timeline, injected: timedelta, half_life: float) -> None:
    """Refuse Decay Correction ADMIN where Decay Factor shows a correction to another moment.

    Raises:
        UnsupportedDecayCorrection: It does.
    """
    elapsed = [_from_factor(frame, half_life) for frame in timeline.frames]
    if any(value is None for value in elapsed):
        return
    longest = max(frame.duration or 0.0 for frame in timeline.frames)
    slack = AGREEMENT + timedelta(seconds=longest)
    low = timeline.first - injected - slack
    # GE may write the start of the scan as Acquisition Time of every bed position; no scan takes longer than this.
    high = max(frame.start for frame in timeline.frames) - injected + slack + timedelta(hours=1.5)
    if not all(low <= timedelta(seconds=value or 0.0) <= high for value in elapsed):
        raise UnsupportedDecayCorrection(
            "DecayCorrection of the PET is ADMIN, but DecayFactor shows a correction to another moment than the "
            "injection. Send the PET as the scanner made it.",
            keyword="DecayFactor",
        )


def require_no_correction(timeline: Timeline) -> None:
    """Refuse Decay Correction NONE where Decay Factor shows a correction.

    Raises:
        UnsupportedDecayCorrection: It does.
    """
    if any(frame.decay_factor is not None and abs(frame.decay_factor - 1) > 1e-3 for frame in timeline.frames):
        raise UnsupportedDecayCorrection(
            "DecayCorrection of the PET is NONE, but DecayFactor is not 1. Send the PET as the scanner made it.",
            keyword="DecayFactor",
        )


def mean_activity_delay(duration: float, half_life: float) -> float:
    """Seconds from the start of a frame to the moment at which the activity equals the frame's average.

    With decay constant L and duration T it is ln(L T / (1 - exp(-L T))) / L (PS3.3 C.8.9.4.1.5, example 2).
    """
    constant = math.log(2) / half_life
    decays = constant * duration
    return math.log(decays / -math.expm1(-decays)) / constant


def _candidate(timeline: Timeline) -> tuple[timedelta | None, str]:
    if timeline.series is not None and timeline.series <= timeline.first + _ROUNDING:
        return timeline.series, "Series Time"
    if timeline.ge_scan is not None and timeline.ge_scan <= timeline.first + _ROUNDING:
        return timeline.ge_scan, "GE private scan time"
    return None, ""


def _confirmed(
    timeline: Timeline,
    chosen: timedelta,
    source: str,
    is_scan_time: bool,
    by_factor: tuple[timedelta, ...] | None,
    by_reference: tuple[timedelta, ...] | None,
) -> Stated:
    keyword = "SeriesTime" if source == "Series Time" else "AcquisitionTime"
    if timeline.ge_scan is not None and abs(timeline.ge_scan - chosen) > AGREEMENT:
        if by_factor and _agrees(timeline.first, by_factor) and abs(timeline.ge_scan - timeline.first) <= AGREEMENT:
            return _without_series_time(timeline.first, "GE private scan time and Decay Factor")
        raise _not_established(f"{source} and the scanner's private scan time", keyword)
    is_scan_time = is_scan_time and abs(chosen - timeline.first) <= AGREEMENT
    fits_reference = by_reference is not None and (_agrees(chosen, by_reference) or is_scan_time)
    if by_factor is not None:
        if _agrees(chosen, by_factor) or is_scan_time:
            odd = by_reference is not None and not fits_reference
            warnings = ("Frame Reference Time does not fit the other times and was not used.",) if odd else ()
            return Stated(chosen, f"{source}, confirmed by Decay Factor", warnings)
        if _agrees(timeline.first, by_factor) and _agrees(timeline.first, by_reference):
            return _without_series_time(timeline.first, "Decay Factor and Frame Reference Time")
        raise _not_established(f"{source}, Acquisition Time and Decay Factor", keyword)
    if by_reference is not None:
        if fits_reference:
            return Stated(chosen, f"{source}, confirmed by Frame Reference Time")
        raise _not_established(f"{source}, Acquisition Time and Frame Reference Time", keyword)
    if timeline.first - chosen > AGREEMENT and timeline.ge_scan is None:
        raise contradiction(
            "Series Time of the PET is earlier than every Acquisition Time, and neither Decay Factor nor Frame "
            f"Reference Time tells which of them is the start of the scan. {_REWRITTEN}",
            keyword,
        )
    return Stated(chosen, source if timeline.ge_scan is None else f"{source}, confirmed by GE private scan time")


def _without_series_time(first: timedelta, witnesses: str) -> Stated:
    return Stated(
        first,
        f"earliest Acquisition Time, confirmed by {witnesses}",
        ("Series Time is earlier than the scan and was not used.",),
    )


def _not_established(attributes_at_odds: str, keyword: str) -> ContradictoryTimes:
    return contradiction(
        f"{attributes_at_odds} of the PET contradict one another, so the start of the scan cannot be established. "
        f"{_REWRITTEN}",
        keyword,
    )


def _is_scan_time(timeline: Timeline, half_life: float) -> bool:
    """Whether GE gave every slice the start of the scan as its Acquisition Time.

    Decay Factor and Frame Reference Time are then the time from the start of the scan to the slice's frame: they
    agree with each other, or show that the first bed position is there.
    """
    if not (timeline.is_ge and timeline.has_one_acquisition_time):
        return False
    tolerance = AGREEMENT.total_seconds()
    smallest = math.inf
    for frame in timeline.frames:
        elapsed, delay = _from_factor(frame, half_life), _delay(frame, half_life)
        by_factor = None if elapsed is None else elapsed - delay
        if by_factor is not None and frame.reference is not None:
            if min(abs(by_factor - frame.reference), abs(by_factor + delay - frame.reference)) > tolerance:
                return False
            smallest = -tolerance
        else:
            smallest = min(smallest, *(value for value in (by_factor, frame.reference) if value is not None), math.inf)
    return smallest <= tolerance


def _starts(
    timeline: Timeline, elapsed: Sequence[float | None], half_life: float, *, is_reference: bool
) -> tuple[timedelta, ...] | None:
    """Starts of the scan that fit all slices: acquisition less the time elapsed, to the start of the frame or its mean.

    Returns:
        ``None``: the attribute says nothing. Empty: it contradicts the acquisition times.
    """
    known = [value for value in elapsed if value is not None]
    if len(known) < len(elapsed) or (not timeline.has_one_acquisition_time and is_reference and _range(known) == 0):
        return None
    found = []
    for with_delay in (True, False):
        estimates, delays = [], []
        for frame, value in zip(timeline.frames, known, strict=True):
            delays.append(_delay(frame, half_life))
            estimates.append(frame.start.total_seconds() - value + delays[-1] * with_delay)
        # A Decay Factor to the start of the frame is not the standard's: borne where it makes little difference.
        if not with_delay and not is_reference and max(delays) > 2 * AGREEMENT.total_seconds():
            continue
        if _range(estimates) <= AGREEMENT.total_seconds():
            found.append(timedelta(seconds=sorted(estimates)[len(estimates) // 2]))
    return tuple(found)


def _delay(frame: Frame, half_life: float) -> float:
    return mean_activity_delay(frame.duration, half_life) if frame.duration else 0.0


def _from_factor(frame: Frame, half_life: float) -> float | None:
    """Seconds that Decay Factor corrects for."""
    if frame.decay_factor is None:
        return None
    if frame.decay_factor < 1:
        raise attributes.invalid("DecayFactor")
    return math.log2(frame.decay_factor) * half_life


def _agrees(when: timedelta, stated: tuple[timedelta, ...] | None) -> bool:
    return any(abs(when - other) <= AGREEMENT for other in stated or ())


def _range(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else 0.0


def _difference(anchor: Moment, other: Moment) -> tuple[timedelta, bool]:
    """From anchor to other, and whether a date had to be set aside because it was not advanced at midnight."""
    around = clock_difference(other, anchor)
    if anchor.day is None or other.day is None:
        return around, False
    full = other.day - anchor.day + other.clock - anchor.clock
    if full == around:
        return around, False
    crosses = not _ZERO <= anchor.clock + around < DAY
    is_after_midnight = max(anchor.clock, other.clock) < timedelta(hours=6)
    is_one_day = abs(full - around) == DAY
    if is_one_day and abs(around) <= LONGEST_UPTAKE and (crosses or is_after_midnight):
        return around, True
    return full, False


def _acquisition(dataset: Dataset) -> Moment:
    text = timed_text(dataset, "AcquisitionDateTime")
    complete = zoned_moment(text, "AcquisitionDateTime", local_offset(dataset)) if text else None
    parts = moment(dataset, "AcquisitionDate", "AcquisitionTime")
    if parts is None and complete is None:
        raise attributes.missing("AcquisitionTime")
    if parts is None or complete is None:
        if parts is None and complete is not None and complete.has_unknown_zone:
            raise attributes.missing("TimezoneOffsetFromUTC")
        return parts or complete  # type: ignore[return-value]
    if abs(clock_difference(parts, complete)) > _ROUNDING or (
        parts.day is not None and abs(_difference(parts, complete)[0]) > _ROUNDING
    ):
        raise contradiction(
            "AcquisitionDateTime of the PET contradicts AcquisitionDate and AcquisitionTime. Correct them at the "
            "source and send the series again.",
            "AcquisitionDateTime",
        )
    return Moment(parts.clock, parts.day or complete.day)


def _require_made_after(slices: Sequence[Instance], acquired: Sequence[Moment]) -> None:
    """Content Date and Time (PS3.3 C.7.6.1) is when the making of the image began: never before the acquisition.

    Some scanners state the start of the series for all beds, so it is held against the first bed alone.
    """
    pairs = [
        (moment(found.dataset, "ContentDate", "ContentTime"), when)
        for found, when in zip(slices, acquired, strict=True)
    ]
    same_day = [
        (made, when) for made, when in pairs if made is not None and made.day is not None and made.day == when.day
    ]
    if not same_day:
        return
    first_made, first_acquired = min(made.clock for made, _ in same_day), min(when.clock for _, when in same_day)
    if first_acquired - first_made > AGREEMENT:
        raise contradiction(
            "Acquisition Time of the PET is later than Content Time, at which the image was made: the acquisition "
            f"times were rewritten, and the start of the scan cannot be established. {_REWRITTEN}",
            "AcquisitionTime",
        )


def _positive(dataset: Dataset, keyword: str, unit: float) -> float | None:
    value = attributes.number(dataset, keyword)
    return value * unit if value is not None and value > 0 else None


def _milliseconds(dataset: Dataset, keyword: str) -> float | None:
    value = attributes.number(dataset, keyword)
    return None if value is None else value * 1e-3


def contradiction(message: str, keyword: str) -> ContradictoryTimes:
    """The error for times that contradict one another; the keyword is that of the first of them."""
    return ContradictoryTimes(message, keyword=keyword)
