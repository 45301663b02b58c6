"""Headers to a study index, at the one time that they are parsed, and back without opening a file.

>>> kept = [read_object(path) for path in paths]                               # doctest: +SKIP
>>> study = study_from_index(StudyIndex.of(kept), lambda sha256: file_of[sha256])   # doctest: +SKIP
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.case.study_index import (
    Completeness,
    Header,
    IndexedObject,
    IndexedPatient,
    IndexedSeries,
    ObjectHeader,
    PixelDataPlace,
    SeriesValues,
    StudyIndex,
    element_text,
    element_value,
)
from oncoresponse.dicom import attributes, rtstruct, segmentation_object
from oncoresponse.dicom.file_parsing import PARSE_ERRORS, lenient_uid
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.reading import (
    RTSTRUCT_SOP_CLASS,
    SEGMENTATION_SOP_CLASSES,
    Instance,
    header_instance,
    instance_of_dataset,
    parse_source,
    read_instance,
)
from oncoresponse.dicom.series import without_repeats
from oncoresponse.dicom.study import DicomStudy
from oncoresponse.errors import DicomError, NoImages

_PIXEL_DATA = Tag("PixelData")
_ROI_CONTOURS = Tag("ROIContourSequence")
_FRAMES = Tag("PerFrameFunctionalGroupsSequence")
_SOURCE_IMAGES = Tag("SourceImageSequence")
# Pixels, curves, waveforms, spectra, overlays, trailing padding; pictures of pictures; documents; report trees.
_BULK_GROUPS = frozenset({0x7FE0, 0x5400, 0x5600, 0xFFFC}) | frozenset(range(0x5000, 0x5020, 2))
_BULK = frozenset({_FRAMES, Tag("IconImageSequence"), Tag("EncapsulatedDocument"), Tag("ContentSequence")})
_OVERLAY_DATA = 0x3000
# The private elements that are read here (scale factors, times) are short numbers.
_LONGEST_PRIVATE_BYTES = 1024
# Of an object that is neither image nor contour, a word of patient, study and series is enough.
_BRIEF_GROUPS = frozenset({0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x0054})
_LONGEST_BRIEF = 1024
# What an instance says of itself beside its UID; where no object of a series has its own, all say the same.
_DESCRIBING = frozenset(
    f"{Tag(keyword):08X}"
    for keyword in (
        "SpecificCharacterSet",
        "ImageType",
        "Modality",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "PatientWeight",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
    )
)
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")


def read_object(source: Path | bytes, limits: DicomLimits = DEFAULT_LIMITS) -> ObjectHeader:
    """Check a file as :func:`~oncoresponse.dicom.reading.read_instance` does, and keep its header.

    Raises:
        DicomError: As :func:`~oncoresponse.dicom.reading.read_instance`.
    """
    data, dataset = parse_source(source, limits)
    # Once around all of it, and not around each attribute.
    with without_pydicom_messages():
        return _object_header(dataset, data, source if isinstance(source, Path) else None, limits)


def _object_header(dataset: FileDataset, data: bytes, path: Path | None, limits: DicomLimits) -> ObjectHeader:
    # Taken before anything is looked at: a value that was looked at is not the file's own any more.
    elements, place = _elements(dataset), _place(dataset)
    implicit, little_endian = map(bool, dataset.original_encoding)
    instance = instance_of_dataset(dataset, data, path, limits)
    completeness: Completeness = "partial"
    if elements is None:
        completeness, elements = "none", {}
    elif instance.sop_class_uid == RTSTRUCT_SOP_CLASS or instance.sop_class_uid in SEGMENTATION_SOP_CLASSES:
        listed = _without_contours(instance, elements)
        completeness, elements = ("none", {}) if listed is None else ("partial", listed)
        place = None
    elif place is not None and _FRAMES not in dataset:
        completeness = "whole"
    else:
        elements, place = _brief(elements), None
    syntax = attributes.required_text(dataset.file_meta, "TransferSyntaxUID")
    patient = instance.patient
    return ObjectHeader(
        series=SeriesValues(
            study_instance_uid=instance.study_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            frame_of_reference_uid=instance.frame_of_reference_uid or "",
            modality=instance.modality,
            transfer_syntax_uid=syntax,
            implicit_vr=implicit,
            little_endian=little_endian,
        ),
        study_date=_study_date(dataset),
        patient=IndexedPatient(
            patient_id=_plain(patient.patient_id), issuer_of_patient_id=_plain(patient.issuer_of_patient_id)
        ),
        entry=IndexedObject(
            sha256=instance.sha256,
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            completeness=completeness,
            # What is deflated has no place of its own in the file.
            pixel_data=None if syntax == DeflatedExplicitVRLittleEndian else place,
            header=elements,
        ),
    )


def study_from_index(
    index: StudyIndex, file_of: Callable[[str], Path], limits: DicomLimits = DEFAULT_LIMITS
) -> DicomStudy:
    """The study that :func:`~oncoresponse.dicom.study.read_study` gives, from its index.

    A file is opened only where pixels are read or a contour is used, where an object of the index has no header, and
    where two objects have one SOP Instance UID.

    Args:
        index: Of the whole study.
        file_of: Gives the file of a digest; may fetch it.
        limits: How large a file may be and become.

    Raises:
        NoImages: The index is empty.
        DuplicateSlices: Two files hold different data under one SOP Instance UID.
        DicomError: A file without header in the index cannot be read.
    """
    instances = []
    for series in index.series:
        common = _raw_elements(series, series.common)
        alike: Instance | None = None
        for entry in series.objects:
            if entry.completeness == "none":
                instances.append(read_instance(file_of(entry.sha256), limits))
                continue
            dataset = _dataset(series, common, entry)
            if alike is None or not _DESCRIBING.isdisjoint(entry.header):
                found = header_instance(dataset, entry.sha256, entry.sop_class_uid, None, limits)
            else:
                found = replace(
                    alike,
                    sha256=entry.sha256,
                    sop_class_uid=entry.sop_class_uid,
                    sop_instance_uid=entry.sop_instance_uid,
                    dataset=dataset,
                )
            found = replace(
                found,
                is_partial=entry.completeness == "partial",
                pixel_data=entry.pixel_data,
                fetch=_fetch(file_of, entry.sha256),
            )
            instances.append(found)
            if _DESCRIBING.isdisjoint(entry.header):
                alike = found
    if not instances:
        raise NoImages("There is no DICOM file. Send the DICOM files of the study.")
    return DicomStudy(without_repeats(instances))


def datasets_of_series(index: StudyIndex, series_instance_uid: str) -> dict[str, Dataset]:
    """Headers of the images of a series by the digest of their file, without pixel data; no file is opened.

    Each data set is the caller's own.
    """
    return {
        entry.sha256: _dataset(series, _raw_elements(series, series.common), entry)
        for series in index.series
        if series.series_instance_uid == series_instance_uid
        for entry in series.objects
        if entry.completeness == "whole"
    }


def _fetch(file_of: Callable[[str], Path], sha256: str) -> Callable[[], Path]:
    return lambda: file_of(sha256)


def _elements(dataset: FileDataset) -> Header | None:
    """Every element that is no bulk, as it stands in the file; ``None`` where one cannot be kept."""
    found: Header = {}
    for tag, element in dataset.items():
        if _is_bulk(tag):
            continue
        if isinstance(element, RawDataElement):
            vr, value = element.VR, element.value
        elif element.VR == "SQ":
            if tag.is_private:
                continue
            vr, value = "SQ", _sequence_bytes(dataset, element)
            if value is None:
                return None
        else:
            # pydicom has looked at the character set already, and at what is empty.
            vr, value = element.VR, _text_bytes(element)
        if not tag.is_private or len(value or b"") <= _LONGEST_PRIVATE_BYTES:
            found[f"{tag:08X}"] = element_text(vr, value)
    return found


def _is_bulk(tag: BaseTag) -> bool:
    is_overlay = tag.group & 0xFF00 == 0x6000 and tag.element == _OVERLAY_DATA
    return tag.group in _BULK_GROUPS or tag in _BULK or is_overlay


def _text_bytes(element: DataElement) -> bytes | None:
    if element.is_empty:
        return None
    parts = element.value if isinstance(element.value, MultiValue | list) else [element.value]
    return "\\".join(map(str, parts)).encode("ascii", "replace")


def _sequence_bytes(dataset: Dataset, element: DataElement) -> bytes | None:
    """A sequence of undefined length, which pydicom has taken apart already, as bytes again."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = map(bool, dataset.original_encoding)
    try:
        with without_pydicom_messages():
            encodings = convert_encodings(dataset.original_character_set)
            write_sequence(stream, element, encodings)
    except (*PARSE_ERRORS, OSError, EOFError):
        return None
    return stream.getvalue()


def _place(dataset: FileDataset) -> PixelDataPlace | None:
    element = dataset.get_item(_PIXEL_DATA) if _PIXEL_DATA in dataset else None
    if not isinstance(element, RawDataElement) or element.value is None:
        return None
    return PixelDataPlace(
        vr=element.VR or "",
        offset_bytes=element.value_tell,
        size_bytes=len(element.value),
        encapsulated=element.length == 0xFFFFFFFF,
    )


def _without_contours(instance: Instance, elements: Header) -> Header | None:
    """The header of an RTSTRUCT or SEG without points and frames; which images these lie on stays."""
    is_rtstruct = instance.sop_class_uid == RTSTRUCT_SOP_CLASS
    module = rtstruct if is_rtstruct else segmentation_object
    try:
        images = [_reference(uid) for uid in sorted(module.referenced_instance_uids(instance.dataset))]
        if is_rtstruct:
            if f"{_ROI_CONTOURS:08X}" not in elements:
                return elements
            contour, region = Dataset(), Dataset()
            contour.ContourImageSequence = images
            region.ContourSequence = [contour]
            tag, items = _ROI_CONTOURS, [region]
        else:
            tag, items = _SOURCE_IMAGES, images
        value = _sequence_bytes(instance.dataset, DataElement(tag, "SQ", Sequence(items)))
    except (DicomError, *PARSE_ERRORS):
        return None
    return None if value is None else {**elements, f"{tag:08X}": element_text("SQ", value)}


def _reference(sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPInstanceUID = lenient_uid(sop_instance_uid)
    return item


def _brief(elements: Header) -> Header:
    return {
        tag: element
        for tag, element in elements.items()
        if int(tag[:4], 16) in _BRIEF_GROUPS and element[:2] != "SQ" and len(element) <= _LONGEST_BRIEF
    }


def _plain(value: str | None) -> str:
    # PostgreSQL has no NUL in texts.
    return (value or "").replace("\0", "")


def _study_date(dataset: Dataset) -> str:
    try:
        match = _DATE.fullmatch(attributes.text(dataset, "StudyDate") or "")
    except DicomError:
        return ""
    return "" if match is None else "".join(match.groups())


def _raw_elements(series: IndexedSeries, header: Header) -> dict[BaseTag, RawDataElement]:
    found = {}
    for key, element in header.items():
        tag, (vr, value) = BaseTag(int(key, 16)), element_value(element)
        found[tag] = RawDataElement(tag, vr, len(value or b""), value, 0, series.implicit_vr, series.little_endian)
    return found


def _dataset(series: IndexedSeries, common: dict[BaseTag, RawDataElement], entry: IndexedObject) -> Dataset:
    dataset = Dataset({**common, **_raw_elements(series, entry.header)})
    with without_pydicom_messages():
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = lenient_uid(series.transfer_syntax_uid)
        dataset.set_original_encoding(series.implicit_vr, series.little_endian)
    return dataset
