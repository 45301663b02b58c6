"""What every object takes over from the study it belongs to: patient, study, time zone; and when it was made."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName, validate_value

from oncoresponse.errors import InvalidAttribute, MissingAttribute

_NEEDED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
)
OF_STUDY = (
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
"""Of Patient, General Study and Patient Study (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)."""
# What a result takes over from the study it belongs to. Nothing else of the source is copied, so no blemish
# elsewhere can spoil the result.
_COPIED = (
    *_NEEDED,
    *OF_STUDY,
    "Modality",
    "Laterality",
    "PositionReferenceIndicator",
    "TimezoneOffsetFromUTC",
)
_IDENTIFYING = frozenset({"PatientID", "PatientName"})
_MAY_BE_EMPTY = frozenset(
    {
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "PositionReferenceIndicator",
    }
)


def clean_copy(dataset: Dataset) -> Dataset:
    """The attributes that a result takes over; a value that breaks its VR is left empty, never shortened to fit.

    Texts are Unicode (ISO_IR 192) whatever the source was written in: writers and viewers stumble over code extensions.

    Raises:
        MissingAttribute: An image lacks what a reference to it needs.
        InvalidAttribute: The identity of the patient breaks DICOM's rules.
    """
    missing = [keyword for keyword in _NEEDED if dataset.get(keyword) in (None, "")]
    if missing:
        raise MissingAttribute(
            f"A source image has no {missing[0]}, so no result can refer to it. Send the original images.",
            keyword=missing[0],
        )
    copy = Dataset()
    for keyword in _COPIED:
        if keyword not in dataset:
            continue
        element = dataset[keyword]
        if keyword in _NEEDED or _is_valid(element):
            # A PersonName keeps the bytes it was read from; a new one is encoded anew.
            is_name = element.VR == "PN" and element.value
            copy.add_new(element.tag, element.VR, PersonName(str(element.value)) if is_name else element.value)
        elif keyword in _IDENTIFYING:
            raise InvalidAttribute(
                f"{keyword} of the source images breaks DICOM's rules, so no result can carry it. "
                "Correct it in the archive.",
                keyword=keyword,
            )
        elif keyword in _MAY_BE_EMPTY:
            setattr(copy, keyword, None)
    for keyword in _MAY_BE_EMPTY - set(copy.dir()):
        setattr(copy, keyword, None)
    copy.SpecificCharacterSet = "ISO_IR 192"
    return copy


def _is_valid(element: pydicom.DataElement) -> bool:
    value = element.value
    if value is None or value == "":
        return True
    values = value if isinstance(value, MultiValue | list) else [value]
    try:
        for item in values:
            # Numbers keep the text they were read from, which may be longer than DS or IS allows. Names keep bytes, of
            # which there are more than the characters that are counted.
            kept = getattr(item, "original_string", None)
            text = kept if isinstance(kept, str) and kept else str(item)
            validate_value(element.VR, text, pydicom.config.RAISE)
    except (ValueError, TypeError):
        return False
    return True


def set_times(made: Dataset, issued: datetime, offset: str | None) -> bool:
    """Give an object the time of issue, in the time zone that the study states, in place of the moment's clock.

    Timezone Offset From UTC (0008,0201) holds for every date and time of an object (PS3.3 C.12.1.1), the study's own
    included. So where the study states none, none is claimed for it, and our times are in UTC.

    Args:
        made: The object; content and series times are set where it has them, that of its creation always.
        issued: With a time zone.
        offset: Of the study, as (0008,0201) has it.

    Returns:
        Whether the object states the zone of its times.
    """
    zone = _time_zone(offset)
    date, time = date_and_time(issued, offset)
    made.InstanceCreationDate, made.InstanceCreationTime = date, time
    for kind in ("Content", "Series"):
        if f"{kind}Date" in made:
            setattr(made, f"{kind}Date", date)
            setattr(made, f"{kind}Time", time)
    for item in made.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = f"{date}{time}{issued.astimezone(zone or UTC).strftime('%z')}"
    if zone is not None:
        made.TimezoneOffsetFromUTC = offset
    return zone is not None


def date_and_time(moment: datetime, offset: str | None) -> tuple[str, str]:
    """A moment as DA and TM in the zone of the study, or in UTC where it states none."""
    there = moment.astimezone(_time_zone(offset) or UTC)
    return there.strftime("%Y%m%d"), there.strftime("%H%M%S.%f")


def _time_zone(offset: str | None) -> timezone | None:
    match = re.fullmatch(r"([+-])(\d{2})(\d{2})", str(offset or "").strip())
    if match is None:
        return None
    minutes = 60 * int(match[2]) + int(match[3])
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
