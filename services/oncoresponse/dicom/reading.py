"""One DICOM file to an :class:`Instance`: whole, decodable, its header at hand.

Pixel data is read a second time when a series is converted, so that a study of thousands of files needs
memory for the headers only.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    RTStructureSetStorage,
    SegmentationStorage,
)

from oncoresponse.dicom import attributes
from oncoresponse.errors import (
    DicomError,
    InvalidAttribute,
    NotDicom,
    TruncatedFile,
    UnsupportedTransferSyntax,
)
from oncoresponse.pydicom_messages import without_pydicom_messages
from oncoresponse.study_description import PatientIdentity

SLICE_SOP_CLASSES = {"CT": CTImageStorage, "PT": PositronEmissionTomographyImageStorage, "MR": MRImageStorage}
ENHANCED_SOP_CLASSES = frozenset(
    {
        EnhancedCTImageStorage,
        EnhancedPETImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
    }
)
RTSTRUCT_SOP_CLASS = RTStructureSetStorage
# Segmentation Storage and Label Map Segmentation Storage (PS3.4 B.5), of which pydicom 3.0 has no name for the latter.
SEGMENTATION_SOP_CLASSES = frozenset({SegmentationStorage, UID("1.2.840.10008.5.1.4.1.1.66.7")})
# Objects whose pixels this service may have to decode. A video or a scanned form in a transfer syntax we
# cannot decode does no harm beside them.
_DECODED_SOP_CLASSES = frozenset({*SLICE_SOP_CLASSES.values(), *SEGMENTATION_SOP_CLASSES})

_PREAMBLE_LENGTH = 128
_PARSE_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM instance without its pixel data.

    Attributes:
        path: Where the file lies; its name means nothing. ``None`` when only bytes were checked.
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


class _LastRead(BytesIO):
    """Remembers whether the last read got only a part of what it asked for."""

    fell_short = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.fell_short = size is not None and 0 < len(data) < size
        return data


def read_instance(source: Path | bytes) -> Instance:
    """Read one DICOM Part 10 file and make sure that it is whole.

    Args:
        source: A file, or its bytes. The name of the file is never looked at.

    Raises:
        NotDicom: No Part 10 preamble (PS3.10 section 7.1).
        TruncatedFile: The file ends early: in an element, or before all pixels its header promises.
        UnsupportedTransferSyntax: A CT, PET, MR or SEG whose pixels no installed codec decodes.
        MissingAttribute: A UID or the modality is absent.
        InvalidAttribute: The file is damaged in a way that is not mere shortness.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    dataset = _parse(data)
    meta = dataset.file_meta
    sop_class = attributes.text(dataset, "SOPClassUID") or attributes.text(meta, "MediaStorageSOPClassUID")
    if sop_class is None:
        raise attributes.missing("SOPClassUID")
    _require_complete(dataset, sop_class)
    dataset.pop("PixelData", None)
    return Instance(
        path=source if isinstance(source, Path) else None,
        sha256=hashlib.sha256(data).hexdigest(),
        sop_class_uid=sop_class,
        sop_instance_uid=attributes.required_text(dataset, "SOPInstanceUID"),
        study_instance_uid=attributes.required_text(dataset, "StudyInstanceUID"),
        series_instance_uid=attributes.required_text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=attributes.text(dataset, "FrameOfReferenceUID"),
        modality=attributes.required_text(dataset, "Modality").upper(),
        image_type=tuple(part.upper() for part in attributes.texts(dataset, "ImageType")),
        patient=_patient(dataset),
        dataset=dataset,
    )


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM Part 10 file."""
    return data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4] == b"DICM"


def is_media_directory(data: bytes) -> bool:
    """Whether the bytes are a DICOMDIR (PS3.10 section 8), which lists instances and is none itself."""
    return b"1.2.840.10008.1.3.10" in data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 400]


def read_pixels(instance: Instance) -> npt.NDArray[np.integer[Any]]:
    """Stored pixel values, shape (rows, columns), before any rescale.

    Bits above Bits Stored, where older scanners kept overlays, are cleared and the sign is extended.

    Raises:
        TruncatedFile: The compressed pixel data is damaged or incomplete.
        MissingAttribute: An attribute that describes the pixels is absent.
        InvalidAttribute: Such an attribute contradicts the pixels.
    """
    if instance.path is None:
        raise ValueError("an instance that was read from bytes has no file to take pixels from")
    dataset = _parse(instance.path.read_bytes())
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        attributes.required_number(dataset, keyword)
    try:
        with without_pydicom_messages():
            pixels: npt.NDArray[Any] = dataset.pixel_array
            compressed = _uid(dataset.file_meta.TransferSyntaxUID).is_compressed
            allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    except AttributeError:
        raise InvalidAttribute(
            "The attributes that describe the pixels are incomplete. Export the series again."
        ) from None
    except (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError, OSError, EOFError):
        raise TruncatedFile(
            "The pixel data of an image cannot be decoded: it is damaged or incomplete. Send the file again."
        ) from None
    if pixels.ndim != 2:
        raise InvalidAttribute(
            "An image of the series is not a single gray-value slice. Send single-frame CT or PET images.",
            keyword="NumberOfFrames",
        )
    unused = allocated - stored
    if not compressed and unused > 0 and np.issubdtype(pixels.dtype, np.integer):
        # Shift up and down again: an arithmetic shift extends the sign of signed types.
        pixels = np.right_shift(np.left_shift(pixels, unused), unused)
    return pixels


def same_content(first: Instance, second: Instance) -> bool:
    """Whether two files of one SOP Instance UID hold the same data set, whatever their file meta information."""
    if first.sha256 == second.sha256:
        return True
    if first.path is None or second.path is None:
        return False
    with without_pydicom_messages():
        return bool(_parse(first.path.read_bytes()) == _parse(second.path.read_bytes()))


def _parse(data: bytes) -> FileDataset:
    if not is_dicom(data):
        raise NotDicom("The file is not DICOM: it lacks the Part 10 preamble. Send DICOM files only.")
    stream = _LastRead(data)
    try:
        with without_pydicom_messages():
            dataset = dcmread(stream)
            # Values of short elements are taken as they come; compare with the length the file announces.
            cut = any(
                isinstance(element, RawDataElement)
                and element.value is not None
                and element.length != 0xFFFFFFFF
                and len(element.value) < element.length
                for element in map(dataset.get_item, dataset.keys())
            )
    except InvalidDicomError:
        raise NotDicom("The file is not DICOM. Send DICOM files only.") from None
    except (EOFError, OSError, struct.error, zlib.error):
        _require_known_transfer_syntax(data)
        raise _truncated() from None
    except _PARSE_ERRORS:
        _require_known_transfer_syntax(data)
        if stream.tell() >= len(data):
            raise _truncated() from None
        raise InvalidAttribute("The DICOM file is damaged and cannot be read. Export it again at the source.") from None
    if cut or not dataset or (stream.fell_short and "PixelData" not in dataset):
        _require_known_transfer_syntax(data)
        raise _truncated()
    if not attributes.text(dataset.file_meta, "TransferSyntaxUID"):
        raise attributes.missing("TransferSyntaxUID")
    return dataset


def _require_known_transfer_syntax(data: bytes) -> None:
    """Say that the transfer syntax is unknown rather than that the file is damaged, where that is the cause."""
    try:
        with without_pydicom_messages():
            meta = read_partial(BytesIO(data), stop_when=lambda _tag, _vr, _length: True).file_meta
    except (EOFError, OSError, struct.error, zlib.error, *_PARSE_ERRORS):
        return
    end_of_meta = _PREAMBLE_LENGTH + 16 + (attributes.number(meta, "FileMetaInformationGroupLength") or 0)
    syntax = attributes.text(meta, "TransferSyntaxUID")
    if (
        syntax is not None
        and len(data) >= end_of_meta
        and (_uid(syntax).is_private or not _uid(syntax).is_transfer_syntax)
    ):
        raise _unsupported(syntax)


def _require_complete(dataset: FileDataset, sop_class: str) -> None:
    syntax = attributes.required_text(dataset.file_meta, "TransferSyntaxUID")
    is_image = "Image Storage" in _uid(sop_class).name or sop_class in _DECODED_SOP_CLASSES
    if not is_image:
        return
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise _truncated()
    if sop_class in _DECODED_SOP_CLASSES and not _is_decodable(syntax):
        raise _unsupported(syntax)
    if "PixelData" in dataset and not _uid(syntax).is_private and not _uid(syntax).is_compressed:
        sizes = [attributes.number(dataset, name) for name in ("Rows", "Columns", "BitsAllocated")]
        if all(size is not None for size in sizes):
            samples = attributes.number(dataset, "SamplesPerPixel") or 1
            frames = attributes.number(dataset, "NumberOfFrames") or 1
            bits = np.prod([size for size in sizes if size is not None]) * samples * frames
            with without_pydicom_messages():
                subsampled = str(dataset.get("PhotometricInterpretation", "")) == "YBR_FULL_422"
                length = len(dataset.PixelData or b"")
            if not subsampled and length * 8 < bits:
                raise _truncated()
    elif "PixelData" in dataset and sop_class in _DECODED_SOP_CLASSES:
        _require_complete_codestream(dataset, syntax)


def _require_complete_codestream(dataset: FileDataset, syntax: str) -> None:
    # Some decoders fill up what is missing without a word, so the end marker is looked for here. JPEG, JPEG-LS
    # and JPEG 2000 share it (FFD9); RLE has none, but its decoder counts.
    frames = attributes.number(dataset, "NumberOfFrames")
    if syntax == RLELossless or not _uid(syntax).is_encapsulated or frames not in (None, 1):
        return
    try:
        with without_pydicom_messages():
            frame = next(generate_frames(dataset.PixelData or b"", number_of_frames=1))
    except (StopIteration, ValueError, struct.error, EOFError):
        raise _truncated() from None
    if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise _truncated()


def _uid(value: str) -> UID:
    return UID(value, validation_mode=config.IGNORE)


def _is_decodable(syntax: str) -> bool:
    if _uid(syntax).is_private:
        return False
    try:
        with without_pydicom_messages():
            return bool(get_decoder(_uid(syntax)).is_available)
    except NotImplementedError:
        return False


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


def _truncated() -> TruncatedFile:
    return TruncatedFile("The DICOM file ends before its data does. Send the complete file again.")


def _unsupported(syntax: str) -> UnsupportedTransferSyntax:
    known = _uid(syntax)
    name = known.name if known.is_transfer_syntax and not known.is_private else "a private or unknown one"
    return UnsupportedTransferSyntax(
        f"The transfer syntax of the image ({name}) cannot be decoded. "
        "Send it uncompressed or as JPEG, JPEG-LS, JPEG 2000 or RLE.",
        transfer_syntax=name,
    )
