"""De-identification of data sets: PS3.15 Annex E, Basic Application Level Confidentiality Profile, with two options.

- Retain Longitudinal Temporal Information With Modified Dates (E.3.6): all dates of a patient are moved by the same
  number of days. Times of the day stay, so that intervals do, and with them the decay correction of a PET.
- Retain Patient Characteristics (E.3.7): sex, age (90 and above as 90), size and weight stay. Without the weight there
  is no SUV.

Beyond the profile: every UID that no standard registers is replaced; free text (LT, ST, UT, UC), names (PN), addresses
(UR) and unknown elements (UN) go also where the table does not list them; labels of contours become numbers; and no
element keeps the name or a number of the patient that stood in another one.
"""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from oncoresponse.export.site_pseudonyms import SitePseudonyms

METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
"""Codes of CID 7050 (PS3.16), coding scheme DCM."""

_KEPT = frozenset(("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "TimezoneOffsetFromUTC"))
_KEPT_TEXT = r"[MFO]?|[+-]\d{4}"
_DATES_THAT_GO = frozenset(("PatientBirthDate", "PatientBirthTime"))
_FREE_TEXT = frozenset(("LT", "ST", "UT", "UC", "UR", "UN", "PN"))
_TEXT = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
# Labels of contours, and the number beside each.
_LABELS = {
    "ROIName": ("ROI", "ROINumber"),
    "SegmentLabel": ("Segment", "SegmentNumber"),
    "ROIObservationLabel": ("Observation", "ObservationNumber"),
}
_NAMING = ("PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "AccessionNumber")
_SHORTEST_NAMING = 4
_OLDEST_YEARS = 90
_DAY_DIGITS = 8
_LONG_GONE = "19000101"
_DUMMY_BYTES = b"\0\0"
_DUMMIES: dict[str, object] = {
    **dict.fromkeys(("AE", "CS", "LO", "SH"), "REMOVED"),
    **dict.fromkeys(("LT", "ST", "UT", "UC", "PN"), "REMOVED"),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL"), 0.0),
    **dict.fromkeys(("SS", "US", "SL", "UL", "SV", "UV"), 0),
    **dict.fromkeys(("OB", "OW", "UN"), _DUMMY_BYTES),
    "AS": "000Y",
    "UR": "http://removed.invalid",
    "DA": _LONG_GONE,
    "DT": _LONG_GONE,
    "TM": "000000",
}


def deidentified(dataset: Dataset, pseudonyms: SitePseudonyms) -> Dataset:
    """A copy of a data set without what names the patient, the staff or the place; the file meta header not included.

    Pixel data stay as they are. Whether anything is burned in has been asked before, see
    :func:`~oncoresponse.export.pixel_rules.why_left_out`.
    """
    patient = str(dataset.get("PatientID", "")), str(dataset.get("IssuerOfPatientID", ""))
    naming = tuple(_naming_texts(dataset))
    cleaned = _Cleaning(pseudonyms, pseudonyms.shift_days(*patient), naming).of(dataset)
    pseudonym = pseudonyms.patient(*patient)
    cleaned.PatientID = pseudonym
    cleaned.PatientName = pseudonym
    cleaned.PatientBirthDate = ""
    cleaned.PatientIdentityRemoved = "YES"
    cleaned.DeidentificationMethod = [meaning for _, meaning in METHODS]
    cleaned.DeidentificationMethodCodeSequence = Sequence([_code(value, meaning) for value, meaning in METHODS])
    cleaned.LongitudinalTemporalInformationModified = "MODIFIED"
    return cleaned


@cache
def profile_actions() -> dict[int, str]:
    """Action codes of table E.1-1 for the Basic Profile (DICOM 2026c) by tag; repeating groups not included."""
    table = (files("oncoresponse.export") / "basic_profile.csv").read_text(encoding="utf-8")
    return {int(row["tag"], 16): row["action"] for row in csv.DictReader(table.splitlines())}


class _Cleaning:
    def __init__(self, pseudonyms: SitePseudonyms, shift_days: int, naming: tuple[str, ...]) -> None:
        self._pseudonyms = pseudonyms
        self._shift = datetime.timedelta(days=shift_days)
        self._naming = naming

    def of(self, dataset: Dataset) -> Dataset:
        cleaned = Dataset()
        for element in dataset:
            if (kept := self._element(element, dataset)) is not None:
                cleaned.add(kept)
        return cleaned

    def _element(self, element: DataElement, around: Dataset) -> DataElement | None:
        """What stays of an element; ``None`` for nothing."""
        tag, keyword = element.tag, element.keyword
        action = profile_actions().get(int(tag), "")
        if _goes_by_group(tag) or not keyword_for_tag(tag):
            return None
        if keyword in _LABELS:
            label, number = _LABELS[keyword]
            return _with(element, f"{label} {around.get(number, '')}".strip())
        if keyword == "PatientAge":
            return _with(element, _age(str(element.value or "")))
        if element.VR == "SQ":
            # X/Z/U* and sequences that the table does not list hold references, which stay with their UIDs replaced.
            if action and action != "X/Z/U*":
                return None
            return _with(element, Sequence([self.of(item) for item in element.value]))
        if element.VR in ("DA", "DT") and keyword not in _DATES_THAT_GO:
            return self._dated(element, action)
        if element.VR == "TM" and keyword not in _DATES_THAT_GO:
            return element
        if element.VR == "UI":
            return _with(element, _each(element.value, self._uid))
        if keyword in _KEPT:
            # A kept attribute holds what its name says and no text.
            return element if element.VR == "DS" or re.fullmatch(_KEPT_TEXT, str(element.value or "")) else None
        if action:
            return _by_action(element, action)
        if element.VR in _FREE_TEXT:
            return None
        return None if self._names_the_patient(element) else element

    def _dated(self, element: DataElement, action: str) -> DataElement | None:
        moved = _each(element.value, self._moved)
        if moved is None or "" in (moved if isinstance(moved, list) else [moved]):
            return None if action.startswith("X") or not action else _by_action(element, action)
        return _with(element, moved)

    def _moved(self, value: object) -> str:
        text = str(value)
        if not re.match(r"\d{8}", text):
            # Of a year or a month alone nobody knows what it becomes.
            return ""
        try:
            day = datetime.datetime.strptime(text[:_DAY_DIGITS], "%Y%m%d") + self._shift
        except (ValueError, OverflowError):
            return ""
        return f"{day:%Y%m%d}{text[_DAY_DIGITS:]}"

    def _uid(self, value: object) -> str:
        uid = str(value)
        # A registered one has a name (PS3.6 annex A).
        return uid if not uid or UID(uid).name != uid else self._pseudonyms.uid(uid)

    def _names_the_patient(self, element: DataElement) -> bool:
        if element.VR not in _TEXT:
            return False
        text = str(element.value).casefold()
        return any(name in text for name in self._naming)


def _goes_by_group(tag: BaseTag) -> bool:
    """Private elements (PS3.5 7.8), curves (50xx), overlays (60xx) and padding."""
    return tag.is_private or tag.group & 0xFF00 in (0x5000, 0x6000) or tag.group in (0x0002, 0xFFFC)


def _by_action(element: DataElement, action: str) -> DataElement | None:
    """E.1.1: of several letters the first that keeps the object valid whatever the type of the attribute is."""
    if action in ("X", "X/Z"):
        return None if action == "X" else _with(element, "" if element.VR in _TEXT else None)
    if action == "Z":
        return _with(element, "" if element.VR in _TEXT else None)
    return _with(element, _DUMMIES.get(element.VR))


def _with(element: DataElement, value: object) -> DataElement:
    return DataElement(element.tag, element.VR, value)


def _each(value: object, change: Callable[[object], str]) -> object:
    if value is None or value == "":
        return value
    if isinstance(value, MultiValue | list):
        return [change(item) for item in value]
    return change(value)


def _age(text: str) -> str:
    years = re.fullmatch(r"(\d{3})Y", text.strip())
    return f"{_OLDEST_YEARS:03d}Y" if years and int(years[1]) > _OLDEST_YEARS else text


def _naming_texts(dataset: Dataset) -> Iterator[str]:
    for keyword in _NAMING:
        value = dataset.get(keyword)
        items: Iterable[object] = value if isinstance(value, MultiValue) else [value]
        for item in items:
            for text in (str(item or ""), *re.split(r"[\^=,\s]+", str(item or ""))):
                if len(text.strip()) >= _SHORTEST_NAMING:
                    yield text.strip().casefold()


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
