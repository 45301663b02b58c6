"""What tells several series of one modality apart, in words that a log may hold.

Only attributes of scanner, acquisition and reconstruction are looked at, and a text is quoted only if it looks like a
setting. Times are given as distances from the earliest. UIDs, numbers of series and descriptions never appear.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom.datadict import dictionary_VR

from oncoresponse.dicom import attributes
from oncoresponse.dicom.date_times import date_and_time
from oncoresponse.dicom.series import ImageSeries
from oncoresponse.errors import InvalidAttribute

# PS3.3 C.8.2.1 (CT), C.8.9 (PET), C.8.3.1 (MR), C.7.6.2 (plane), C.7.6.1 (image type).
_KEYWORDS = (
    "ImageType",
    "ReconstructionMethod",
    "ConvolutionKernel",
    "FilterType",
    "CorrectedImage",
    "AttenuationCorrectionMethod",
    "ScatterCorrectionMethod",
    "RandomsCorrectionMethod",
    "Units",
    "DecayCorrection",
    "SliceThickness",
    "PixelSpacing",
    "Rows",
    "Columns",
    "KVP",
    "ScanningSequence",
    "SequenceVariant",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "TriggerTime",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "BodyPartExamined",
)
# Value representations (PS3.5 6.2) of what is a term or a number, and never a sentence that somebody typed.
_TERMS = ("CS", "DS", "IS", "FD", "FL", "US", "SS", "UL", "SL")
_SETTING = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,:+/_()-]{0,47}")
_AT_MOST = 4
_ABSENT, _UNREADABLE, _NOT_SHOWN = "absent", "unreadable", "not shown"
_NO_VALUE = (_ABSENT, _UNREADABLE)


def series_differences(series: Sequence[ImageSeries]) -> str:
    """One sentence; the series are numbered in the order they are given, which is that of their UIDs."""
    found = []
    slices = [str(len(member.slices)) for member in series]
    if len(set(slices)) > 1:
        found.append(("number of slices", slices))
    for keyword in _KEYWORDS:
        values = [setting_text(member, keyword) for member in series]
        if len(set(values)) > 1:
            found.append((keyword, values))
    times = _delays(series)
    if len(set(times)) > 1:
        found.append(("time after the first", times))
    if not found:
        return "Nothing but their Series Instance UIDs tells them apart here."
    parts = [
        f"{name} ({', '.join(f'{number}: {value}' for number, value in enumerate(values, start=1))})"
        for name, values in found[:_AT_MOST]
    ]
    return f"In the order of their UIDs they differ in {'; '.join(parts)}."


def found_text(series: Sequence[ImageSeries], keywords: Sequence[str]) -> str:
    """What attributes of series say, in one sentence with a space behind it; empty without keywords.

    Of texts that people type (descriptions, agents, protocol names) it is only said whether they are there: they may
    name the patient.
    """
    found = []
    for keyword in dict.fromkeys(keywords):
        values = sorted({setting_text(member, keyword) for member in series})
        if dictionary_VR(keyword) not in _TERMS:
            values = list(dict.fromkeys(value if value in _NO_VALUE else _NOT_SHOWN for value in values))
        found.append(f"{keyword} ({', '.join(values[:_AT_MOST])}{' and others' * (len(values) > _AT_MOST)})")
    return f"Found: {'; '.join(found)}. " if found else ""


def setting_text(series: ImageSeries, keyword: str) -> str:
    """An attribute of a series as far as it may be shown: its values, ``absent``, ``unreadable`` or ``not shown``."""
    try:
        values = attributes.texts(series.slices[0].dataset, keyword)
    except InvalidAttribute:
        return _UNREADABLE
    text = "/".join(_rounded(value) for value in values if value)
    if not text:
        return _ABSENT
    return text if _SETTING.fullmatch(text) else _NOT_SHOWN


def _rounded(value: str) -> str:
    """A number as it is read, since scanners print 3.27 as 3.26999999999998 too."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


def _delays(series: Sequence[ImageSeries]) -> list[str]:
    starts = []
    for member in series:
        times = []
        for instance in member.slices:
            try:
                times.append(date_and_time(instance.dataset, "AcquisitionDate", "AcquisitionTime"))
            except InvalidAttribute:
                times.append(None)
        known = [time.replace(tzinfo=None) for time in times if time is not None]
        starts.append(min(known, default=None))
    earliest = min((start for start in starts if start is not None), default=None)
    return [
        "unknown" if start is None or earliest is None else f"{(start - earliest).total_seconds():.0f} s"
        for start in starts
    ]
