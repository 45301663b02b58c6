"""What the headers of a study say, written down once when the study is complete, so that no header is read again.

Elements are kept as they stand in the file: value representation and bytes, not interpreted. Whoever makes a data set
of them finds what he would find in the file, damage included. What all objects of a series share is kept once.

The patient's identity is in here. It never goes into a log, an error or a metric.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Literal, Self

from pydantic import Field

from oncoresponse.case.document import Tolerant, VersionedDocument

_ACCESSION_NUMBER = "00080050"
Completeness = Literal["whole", "partial", "none"]


Header = dict[str, str]
"""Elements (DICOM PS3.5 section 7.1) as :func:`element_text` writes them, by tag: eight hexadecimal digits, upper
case."""


def element_text(vr: str | None, value: bytes | None) -> str:
    """Value representation (none in Implicit VR) and value of an element as text.

    ``DS:3.27`` where the bytes of the value are printable ASCII, ``OB=AAE=`` (base64) where they are not, ``DS`` where
    there is no value. A sequence is kept as its bytes.
    """
    if value is None:
        return vr or ""
    if value.isascii() and value.decode("ascii").isprintable():
        return f"{vr or ''}:{value.decode('ascii')}"
    return f"{vr or ''}={b64encode(value).decode('ascii')}"


def element_value(text: str) -> tuple[str | None, bytes | None]:
    """Inverse of :func:`element_text`."""
    start = 0 if text[:1] in (":", "=") else 2
    vr, sign, rest = text[:start] or None, text[start : start + 1], text[start + 1 :]
    if not sign:
        return vr, None
    return vr, rest.encode("ascii") if sign == ":" else b64decode(rest)


class PixelDataPlace(Tolerant):
    """Where the value of Pixel Data (7FE0,0010) lies in the file.

    Attributes:
        vr: Value representation; empty where the file has none.
        offset_bytes: Of the first byte of the value.
        size_bytes: Length of the value, without a sequence delimiter.
        encapsulated: Whether the element has an undefined length, as compressed pixels have.
    """

    vr: str = ""
    offset_bytes: int
    size_bytes: int
    encapsulated: bool = False


class IndexedObject(Tolerant):
    """One DICOM object.

    Attributes:
        sha256: Digest of the file, which finds it in the artifact store.
        sop_class_uid: (0008,0016).
        sop_instance_uid: (0008,0018).
        completeness: ``whole``: everything but pixels and other bulk. ``partial``: enough to list the object, not to
            use it. ``none``: nothing could be kept, and the file has to be read.
        pixel_data: Of an image whose pixels can be read from the file by place.
        header: Elements that not all objects of the series share.
    """

    sha256: str
    sop_class_uid: str
    sop_instance_uid: str
    completeness: Completeness = "whole"
    pixel_data: PixelDataPlace | None = None
    header: Header = Field(default_factory=dict)


class IndexedPatient(Tolerant):
    """Who a patient is to the archive; empty where the files do not say."""

    patient_id: str = ""
    issuer_of_patient_id: str = ""


class SeriesValues(Tolerant):
    """What holds for all objects of one group.

    Attributes:
        study_instance_uid: (0020,000D).
        series_instance_uid: (0020,000E).
        frame_of_reference_uid: (0020,0052), empty when absent.
        modality: (0008,0060), upper case.
        transfer_syntax_uid: (0002,0010).
        implicit_vr, little_endian: How the elements are encoded.
    """

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str = ""
    modality: str
    transfer_syntax_uid: str
    implicit_vr: bool
    little_endian: bool


class ObjectHeader(VersionedDocument):
    """What is kept of one object from its only parsing until the study is complete.

    Attributes:
        series: Where it belongs.
        study_date: (0008,0020), YYYYMMDD, empty when absent or not a date.
        patient: Whose it is.
        entry: The object, with all elements of its header.
    """

    series: SeriesValues
    study_date: str = ""
    patient: IndexedPatient
    entry: IndexedObject


class IndexedSeries(SeriesValues):
    """Objects of one series that have frame of reference and encoding in common.

    Attributes:
        common: Elements that all of them share.
        objects: Ordered by digest.
    """

    common: Header = Field(default_factory=dict)
    objects: tuple[IndexedObject, ...]


class StudyIndex(VersionedDocument):
    """All objects of a study; equal objects give an equal index.

    Attributes:
        patients: All that the objects name; more than one makes the study unfit for an assessment.
        study_date: The earliest Study Date, YYYYMMDD, empty when none is given.
        series: Ordered by UID.
    """

    patients: tuple[IndexedPatient, ...]
    study_date: str = ""
    series: tuple[IndexedSeries, ...]

    @classmethod
    def of(cls, objects: Iterable[ObjectHeader]) -> Self:
        """Put the objects of one study together."""
        found = sorted(objects, key=lambda item: item.entry.sha256)
        groups: dict[str, list[ObjectHeader]] = defaultdict(list)
        for item in found:
            groups[item.series.model_dump_json()].append(item)
        series = [_series(group) for group in groups.values()]
        return cls(
            patients=_patients([item.patient for item in found]),
            study_date=min((item.study_date for item in found if item.study_date), default=""),
            series=tuple(sorted(series, key=lambda item: (item.series_instance_uid, item.objects[0].sha256))),
        )

    @cached_property
    def accession_numbers(self) -> tuple[str, ...]:
        """DICOM Accession Numbers (0008,0050) that objects name, in alphabetical order."""
        headers = [each for item in self.series for each in (item.common, *(entry.header for entry in item.objects))]
        elements = {header[_ACCESSION_NUMBER] for header in headers if _ACCESSION_NUMBER in header}
        values = ((element_value(each)[1] or b"").decode("utf-8", "replace").strip(" \0") for each in elements)
        return tuple(sorted({*values} - {""}))

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """DICOM modalities, in alphabetical order."""
        return tuple(sorted({item.modality for item in self.series}))


def _patients(found: Iterable[IndexedPatient]) -> tuple[IndexedPatient, ...]:
    known = {(item.patient_id, item.issuer_of_patient_id) for item in found if item.patient_id}
    # An object that leaves the issuer out is of the same patient as one that names it.
    with_issuer = {patient_id for patient_id, issuer in known if issuer}
    return tuple(
        IndexedPatient(patient_id=patient_id, issuer_of_patient_id=issuer)
        for patient_id, issuer in sorted(known)
        if issuer or patient_id not in with_issuer
    )


def _series(group: list[ObjectHeader]) -> IndexedSeries:
    first = group[0]
    common = {
        tag: element
        for tag, element in first.entry.header.items()
        if all(item.entry.header.get(tag) == element for item in group)
    }
    objects = [
        item.entry.model_copy(
            update={"header": {tag: each for tag, each in item.entry.header.items() if tag not in common}}
        )
        for item in group
    ]
    return IndexedSeries(**first.series.model_dump(), common=common, objects=tuple(objects))
