"""One DICOM file to an :class:`Instance`: whole, decodable, its header at hand.

Pixel data is read a second time when a series is converted, so that a study of thousands of files needs
memory for the headers only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.case.study_description import PatientIdentity
from oncoresponse.case.study_index import PixelDataPlace
from oncoresponse.dicom import attributes
from oncoresponse.dicom.file_kind import is_dicom, is_media_directory
from oncoresponse.dicom.file_parsing import lenient_uid, parse_file, require_limit, truncated
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.pixel_admission import require_all_pixels, require_decodable
from oncoresponse.dicom.pixel_values import stored_values
from oncoresponse.errors import DicomError

__all__ = [
    "ENHANCED_SOP_CLASSES",
    "RTSTRUCT_SOP_CLASS",
    "SEGMENTATION_SOP_CLASSES",
    "SLICE_SOP_CLASSES",
    "Instance",
    "header_instance",
    "instance_of_dataset",
    "is_dicom",
    "is_media_directory",
    "parse_source",
    "read_instance",
    "read_pixels",
    "read_whole",
    "same_content",
    "whole_instance",
]

SLICE_SOP_CLASSES = {"CT": CTImageStorage, "PT": PositronEmissionTomographyImageStorage, "MR": MRImageStorage}
ENHANCED_SOP_CLASSES = frozenset(
    {
        EnhancedCTImageStorage,
        EnhancedPETImageStorage,
        EnhancedMRImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
    }
)
RTSTRUCT_SOP_CLASS = RTStructureSetStorage
# Segmentation Storage and Label Map Segmentation Storage (PS3.4 B.5), of which pydicom 3.0 has no name for the latter.
SEGMENTATION_SOP_CLASSES = frozenset({SegmentationStorage, UID("1.2.840.10008.5.1.4.1.1.66.7")})
# Objects whose pixels this service may have to decode. A video or a scanned form in a transfer syntax we
# cannot decode does no harm beside them.
_DECODED_SOP_CLASSES = frozenset({*SLICE_SOP_CLASSES.values(), *SEGMENTATION_SOP_CLASSES})


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM instance without its pixel data.

    Attributes:
        path: Where the file lies; its name means nothing. ``None`` when only bytes were checked, or with ``fetch``.
        sha256: Lower-case hexadecimal digest of the whole file.
        sop_class_uid: (0008,0016).
        sop_instance_uid: (0008,0018).
        study_instance_uid: (0020,000D).
        series_instance_uid: (0020,000E).
        frame_of_reference_uid: (0020,0052) or ``None``.
        modality: (0008,0060), upper case.
        image_type: (0008,0008), upper case.
        patient: Patient Module; protected health information.
        dataset: The header, for :mod:`oncoresponse.dicom.attributes`.
        limits: What it was admitted under, and may take to decode.
        is_partial: Whether ``dataset`` is that of a study index and leaves out what only the use of the object needs,
            such as the points of contours; see :func:`whole_instance`.
        pixel_data: Where the pixel data of an indexed image lies in its file.
        fetch: Gives the file of an indexed instance, which is opened only when it is needed.
    """

    path: Path | None
    sha256: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str | None
    modality: str
    image_type: tuple[str, ...]
    patient: PatientIdentity
    dataset: Dataset
    limits: DicomLimits = DEFAULT_LIMITS
    is_partial: bool = False
    pixel_data: PixelDataPlace | None = None
    fetch: Callable[[], Path] | None = None

    @property
    def file(self) -> Path:
        """The file, fetched where it has to be.

        Raises:
            ArtifactNotFound, ChecksumMismatch: The store lost it, or holds something else.
        """
        path = self.path if self.fetch is None else self.fetch()
        if path is None:
            raise ValueError("an instance that was read from bytes has no file to take pixels from")
        return path


def read_instance(source: Path | bytes, limits: DicomLimits = DEFAULT_LIMITS) -> Instance:
    """Read one DICOM file and make sure that it is whole.

    Args:
        source: A file, or its bytes. The name of the file is never looked at.
        limits: How large the file may be and become.

    Raises:
        NotDicom: The bytes do not begin as DICOM.
        DicomLimitExceeded: The file is, or claims to become, larger than allowed.
        TruncatedFile: The file ends early: in an element, or before all pixels its header promises.
        UnsupportedTransferSyntax: A CT, PET, MR or SEG whose pixels no installed codec decodes.
        MissingAttribute: A UID or the modality is absent.
        InvalidAttribute: The file is damaged in a way that is not mere shortness, or a compressed image has another
            size than its header says.
    """
    data, dataset = parse_source(source, limits)
    return instance_of_dataset(dataset, data, source if isinstance(source, Path) else None, limits)


def parse_source(source: Path | bytes, limits: DicomLimits) -> tuple[bytes, FileDataset]:
    """The bytes of a file and its data set, untouched; raises as :func:`~.file_parsing.parse_file`."""
    if isinstance(source, Path):
        require_limit("file_bytes", source.stat().st_size, limits, "The DICOM file has {found} bytes")
    data = source.read_bytes() if isinstance(source, Path) else source
    return data, parse_file(data, limits)


def instance_of_dataset(dataset: FileDataset, data: bytes, path: Path | None, limits: DicomLimits) -> Instance:
    """What :func:`read_instance` gives, from a data set that was parsed; takes the pixel data out of it."""
    sop_class = attributes.text(dataset, "SOPClassUID") or attributes.text(dataset.file_meta, "MediaStorageSOPClassUID")
    if sop_class is None:
        raise attributes.missing("SOPClassUID")
    _require_complete(dataset, sop_class, limits)
    dataset.pop("PixelData", None)
    return header_instance(dataset, hashlib.sha256(data).hexdigest(), sop_class, path, limits)


def header_instance(
    dataset: Dataset, sha256: str, sop_class: str, path: Path | None, limits: DicomLimits = DEFAULT_LIMITS
) -> Instance:
    """An instance from a header that needs no check any more.

    Raises:
        MissingAttribute: A UID or the modality is absent.
    """
    return Instance(
        path=path,
        sha256=sha256,
        sop_class_uid=sop_class,
        sop_instance_uid=attributes.required_text(dataset, "SOPInstanceUID"),
        study_instance_uid=attributes.required_text(dataset, "StudyInstanceUID"),
        series_instance_uid=attributes.required_text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=attributes.text(dataset, "FrameOfReferenceUID"),
        modality=attributes.required_text(dataset, "Modality").upper(),
        image_type=tuple(part.upper() for part in attributes.texts(dataset, "ImageType")),
        patient=_patient(dataset),
        dataset=dataset,
        limits=limits,
    )


def whole_instance(instance: Instance) -> Instance:
    """The instance with everything that its file holds, read now where a study index left something out."""
    return read_instance(instance.file, instance.limits) if instance.is_partial else instance


def read_pixels(instance: Instance) -> npt.NDArray[np.integer[Any]]:
    """Stored pixel values of a slice, shape (rows, columns), before any rescale.

    Raises:
        TruncatedFile: The pixel data is damaged or incomplete.
        DicomLimitExceeded: It takes too long, or too much memory, to decode.
        MissingAttribute: An attribute that describes the pixels is absent.
        InvalidAttribute: Such an attribute contradicts the pixels, see
            :func:`~oncoresponse.dicom.pixel_values.stored_values`.
    """
    place = instance.pixel_data
    dataset = read_whole(instance) if place is None else _with_pixel_data(instance, place)
    return stored_values(dataset, instance.limits)


def read_whole(instance: Instance) -> FileDataset:
    """The data set of an instance with its pixel data, not decoded."""
    return parse_file(instance.file.read_bytes(), instance.limits)


def _with_pixel_data(instance: Instance, place: PixelDataPlace) -> FileDataset:
    """The header at hand and the pixel data from its place in the file; the header is not parsed again."""
    with instance.file.open("rb") as file:
        file.seek(place.offset_bytes)
        value = file.read(place.size_bytes)
    if len(value) < place.size_bytes:
        raise truncated()
    header = instance.dataset
    implicit, little_endian = header.original_encoding
    elements: dict[BaseTag, RawDataElement | DataElement] = {tag: header.get_item(tag) for tag in header.keys()}  # noqa: SIM118
    tag = BaseTag(0x7FE00010)
    length = 0xFFFFFFFF if place.encapsulated else place.size_bytes
    elements[tag] = RawDataElement(
        tag, place.vr or None, length, value, place.offset_bytes, bool(implicit), bool(little_endian)
    )
    meta = header.file_meta
    return FileDataset(BytesIO(), elements, None, meta, bool(implicit), bool(little_endian))


def same_content(first: Instance, second: Instance) -> bool:
    """Whether two files of one SOP Instance UID hold the same data set, whatever their file meta information."""
    if first.sha256 == second.sha256:
        return True
    if any(found.path is None and found.fetch is None for found in (first, second)):
        return False
    one, other = read_whole(first), read_whole(second)
    with without_pydicom_messages():
        return bool(one == other)


def _require_complete(dataset: FileDataset, sop_class: str, limits: DicomLimits) -> None:
    syntax = attributes.required_text(dataset.file_meta, "TransferSyntaxUID")
    is_image = "Image Storage" in lenient_uid(sop_class).name or sop_class in _DECODED_SOP_CLASSES
    if not is_image:
        return
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise truncated()
    if sop_class in _DECODED_SOP_CLASSES:
        require_decodable(dataset, syntax, limits)
    if "PixelData" in dataset and not lenient_uid(syntax).is_private and not lenient_uid(syntax).is_encapsulated:
        require_all_pixels(dataset)


def _patient(dataset: Dataset) -> PatientIdentity:
    return PatientIdentity(
        patient_id=attributes.text(dataset, "PatientID"),
        issuer_of_patient_id=attributes.text(dataset, "IssuerOfPatientID"),
        name=attributes.text(dataset, "PatientName"),
        birth_date=attributes.text(dataset, "PatientBirthDate"),
        sex=(attributes.text(dataset, "PatientSex") or "").upper() or None,
        age_years=_age_years(attributes.text(dataset, "PatientAge")),
        weight_kg=_weight_kg(dataset),
    )


def _weight_kg(dataset: Dataset) -> float | None:
    # Whether the weight can be believed is decided where it is used; here it is a line of the report.
    try:
        weight = attributes.number(dataset, "PatientWeight")
    except DicomError:
        return None
    return weight if weight and weight > 0 else None


def _age_years(value: str | None) -> float | None:
    """DICOM Age String (PS3.5 6.2, nnnD/W/M/Y) in years."""
    years_of = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
    if value is None or len(value) != 4 or not value[:3].isdigit() or value[3] not in years_of:
        return None
    return int(value[:3]) * years_of[value[3]]
