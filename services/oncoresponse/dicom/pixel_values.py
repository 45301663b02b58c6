"""Stored pixel values, and whether they can be what the header says they are (PS3.3 C.7.6.3; PS3.5 8.1.1 and 8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pack_bits
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000TransferSyntaxes

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.dicom import attributes
from oncoresponse.dicom.codestreams import Codestream, read_codestream
from oncoresponse.dicom.file_parsing import lenient_uid
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.pixel_admission import compressed_frames, require_decodable
from oncoresponse.dicom.pixel_decoding import FrameFormat, decode_frames
from oncoresponse.errors import InvalidAttribute, TruncatedFile

_GRAY = ("MONOCHROME1", "MONOCHROME2")
_WHOLE_BYTES = (8, 16, 32)
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


@dataclass(frozen=True)
class PixelDescription:
    """The Image Pixel Macro (PS3.3 table C.7-11c) of an image, free of contradictions.

    Attributes:
        rows, columns: Size of a frame.
        samples_per_pixel: 1 for gray values.
        photometric_interpretation: (0028,0004).
        bits_allocated, bits_stored: Container of a value, and the bits of it that count, from the lowest.
        signed: Whether values are two's complement.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    signed: bool

    @classmethod
    def of(cls, dataset: Dataset) -> PixelDescription:
        """Read and check it.

        Raises:
            MissingAttribute: An attribute is absent.
            InvalidAttribute: An attribute is impossible, alone or beside the others.
        """
        with without_pydicom_messages():
            return cls._of(dataset)

    @classmethod
    def _of(cls, dataset: Dataset) -> PixelDescription:
        names = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
        numbers = {name: attributes.required_number(dataset, name) for name in names}
        for name, value in numbers.items():
            if value != int(value) or value < (name != "PixelRepresentation"):
                raise _contradiction(name, "holds an impossible value")
        allocated, stored = int(numbers["BitsAllocated"]), int(numbers["BitsStored"])
        if allocated not in (1, *_WHOLE_BYTES):
            raise _contradiction("BitsAllocated", "is none of 1, 8, 16 and 32")
        if stored > allocated:
            raise _contradiction("BitsStored", "is larger than BitsAllocated")
        high = attributes.number(dataset, "HighBit")
        if high is not None and high != stored - 1:
            raise _contradiction("HighBit", "is not BitsStored minus one")
        if numbers["PixelRepresentation"] > 1:
            raise _contradiction("PixelRepresentation", "is neither 0 nor 1")
        return cls(
            rows=int(numbers["Rows"]),
            columns=int(numbers["Columns"]),
            samples_per_pixel=int(attributes.number(dataset, "SamplesPerPixel") or 1),
            photometric_interpretation=(attributes.text(dataset, "PhotometricInterpretation") or "MONOCHROME2").upper(),
            bits_allocated=allocated,
            bits_stored=stored,
            signed=numbers["PixelRepresentation"] == 1,
        )


def stored_values(dataset: FileDataset, limits: DicomLimits = DEFAULT_LIMITS) -> npt.NDArray[np.integer[Any]]:
    """Stored values of a single gray-value slice, shape (rows, columns), before any rescale.

    Bits above Bits Stored do not count (PS3.5 8.1.1), be they zero, copies of the sign, an overlay that the header
    declares (PS3.3 C.9.2, retired), or the pixel padding. Anything else in them means that Bits Stored or Pixel
    Representation is wrong. Padding keeps its value, so that the caller finds it.

    Raises:
        MissingAttribute: An attribute that describes the pixels is absent.
        InvalidAttribute: The attributes contradict each other, the compressed pixel data, or the values.
        TruncatedFile: The pixel data is damaged or incomplete.
        DicomLimitExceeded: The image is larger than allowed, or takes too long to decode.
    """
    description = PixelDescription.of(dataset)
    frames = attributes.number(dataset, "NumberOfFrames")
    if frames not in (None, 1):
        raise InvalidAttribute(
            "An image of the series is not a single gray-value slice. Send single-frame CT or PET images.",
            keyword="NumberOfFrames",
        )
    if description.samples_per_pixel != 1 or description.photometric_interpretation not in _GRAY:
        raise _contradiction("PhotometricInterpretation", "is not that of gray values")
    if description.bits_allocated not in _WHOLE_BYTES:
        raise _contradiction("BitsAllocated", "is not that of gray values")
    pixels = _frames(dataset, description, limits)[0]
    return _without_unused_bits(pixels, description, dataset)


def decoded_frames(dataset: FileDataset, limits: DicomLimits = DEFAULT_LIMITS) -> npt.NDArray[Any]:
    """All frames of an image or segmentation, shape (frames, rows, columns) or (frames, rows, columns, samples).

    Compressed frames are decoded in a child process, see :mod:`oncoresponse.dicom.pixel_decoding`. The values are as
    the codec gives them, in the type that Bits Allocated and Pixel Representation say.

    Raises:
        MissingAttribute, InvalidAttribute, TruncatedFile, DicomLimitExceeded: As :func:`stored_values`.
        UnsupportedTransferSyntax: No codec is installed.
    """
    return _frames(dataset, PixelDescription.of(dataset), limits)


def _frames(dataset: FileDataset, description: PixelDescription, limits: DicomLimits) -> npt.NDArray[Any]:
    syntax = attributes.required_text(dataset.file_meta, "TransferSyntaxUID")
    if "PixelData" not in dataset:
        raise attributes.missing("PixelData")
    uid = lenient_uid(syntax)
    if uid.is_private or not uid.is_transfer_syntax or uid.is_encapsulated:
        require_decodable(dataset, syntax, limits)
        return _decompressed(dataset, syntax, description, limits)
    # Uncompressed pixels are never larger than their file.
    try:
        with without_pydicom_messages():
            decoder = get_decoder(lenient_uid(syntax))
            options: dict[str, Any] = {"correct_unused_bits": False}
            pixels: npt.NDArray[Any] = decoder.as_array(dataset, raw=True, **options)[0]
    except AttributeError:
        raise InvalidAttribute(
            "The attributes that describe the pixels are incomplete. Export the series again."
        ) from None
    except (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError, OSError, EOFError):
        raise TruncatedFile(
            "The pixel data of an image cannot be decoded: it is damaged or incomplete. Send the file again."
        ) from None
    frames = int(attributes.number(dataset, "NumberOfFrames") or 1)
    return pixels.reshape(frames, description.rows, description.columns, *pixels.shape[3 if frames > 1 else 2 :])


def with_native_pixels(dataset: FileDataset, limits: DicomLimits = DEFAULT_LIMITS) -> FileDataset:
    """The data set, its pixel data decompressed where it was compressed, for libraries that would decode it here.

    Raises:
        MissingAttribute, InvalidAttribute, TruncatedFile, DicomLimitExceeded: As :func:`decoded_frames`.
    """
    if not lenient_uid(attributes.required_text(dataset.file_meta, "TransferSyntaxUID")).is_encapsulated:
        return dataset
    frames = decoded_frames(dataset, limits)
    packed = pack_bits(frames) if int(dataset.BitsAllocated) == 1 else frames.tobytes()
    with without_pydicom_messages():
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            dataset.pop(keyword, None)
        dataset.PixelData = packed + b"\0" * (len(packed) % 2)
        dataset["PixelData"].VR = "OW" if int(dataset.BitsAllocated) > 8 else "OB"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.set_original_encoding(False, True)
    return dataset


def _decompressed(
    dataset: FileDataset, syntax: str, description: PixelDescription, limits: DicomLimits
) -> npt.NDArray[Any]:
    codestreams = list(compressed_frames(dataset))
    headers = [read_codestream(frame, syntax) for frame in codestreams]
    for header in headers:
        _require_same_values(header, description, is_jpeg_2000=syntax in JPEG2000TransferSyntaxes)
    precision = headers[0].precision or description.bits_stored
    # Codecs choose the container by what the codestream holds.
    allocated = max(8, 1 << (precision - 1).bit_length()) if headers[0].precision else description.bits_allocated
    form = FrameFormat(
        transfer_syntax=syntax,
        rows=description.rows,
        columns=description.columns,
        samples_per_pixel=description.samples_per_pixel,
        bits_allocated=max(allocated, description.bits_allocated, 8),
        bits_stored=description.bits_stored if description.bits_allocated > 1 else precision,
        pixel_representation=int(description.signed),
        photometric_interpretation=description.photometric_interpretation,
    )
    wanted = (description.rows, description.columns)
    kind = np.dtype(f"{'i' if description.signed else 'u'}{max(description.bits_allocated, 8) // 8}")
    result: npt.NDArray[Any] | None = None
    for k, pixels in enumerate(decode_frames(codestreams, form, limits)):
        if pixels.shape[:2] != wanted:
            raise InvalidAttribute(
                "Rows or Columns of an image is not what its pixel data says. Export the series again.", keyword="Rows"
            )
        if result is None:
            result = np.empty((len(codestreams), *pixels.shape), kind)
        if pixels.dtype.itemsize > kind.itemsize and not np.array_equal(pixels.astype(kind), pixels):
            raise _contradiction("BitsAllocated", "is too small for the values of the pixels")
        result[k] = pixels
    if result is None:
        raise TruncatedFile("An image holds no frame. Send the file again.")
    return result


def _require_same_values(header: Codestream, description: PixelDescription, *, is_jpeg_2000: bool) -> None:
    """PS3.5 8.2: what the codestream says controls the decompression, and the attributes shall be consistent with it.

    A precision below Bits Stored loses nothing. A larger one may, and so may the sign that only one of them has.
    """
    if header.precision is not None and header.precision > max(description.bits_stored, 1):
        raise _contradiction("BitsStored", "is smaller than the precision of the compressed pixel data")
    if header.signed is not None and header.signed != description.signed:
        raise _contradiction("PixelRepresentation", "contradicts the sign of the compressed pixel data")
    if (
        description.signed
        and not is_jpeg_2000
        and header.precision is not None
        and header.precision != description.bits_stored
    ):
        raise _contradiction("BitsStored", "is not the precision of the compressed pixel data, so the sign is unknown")


def _without_unused_bits(
    pixels: npt.NDArray[Any], description: PixelDescription, dataset: Dataset
) -> npt.NDArray[np.integer[Any]]:
    unused = 8 * pixels.dtype.itemsize - description.bits_stored
    if unused <= 0:
        return pixels
    # Shift up and down again: an arithmetic shift extends the sign of signed types.
    values: npt.NDArray[Any] = np.right_shift(np.left_shift(pixels, unused), unused)
    changed = values != pixels
    if not changed.any():
        return values
    padding = attributes.stored_value(dataset, "PixelPaddingValue")
    if padding is not None:
        is_padding = pixels == padding
        values[is_padding] = pixels[is_padding]
        changed &= ~is_padding
    above = pixels.view(f"u{pixels.dtype.itemsize}") >> description.bits_stored
    if description.signed:
        # Zero above a negative value is allowed: nothing is promised about unused bits.
        changed &= above != 0
    declared = 0
    for bit in _declared_overlay_bits(dataset):
        if bit >= description.bits_stored:
            declared |= 1 << (bit - description.bits_stored)
    if declared:
        changed &= (above & ~np.array(declared, above.dtype)) != 0
    if changed.any():
        raise _contradiction("BitsStored", "is too small for the values of the pixels")
    return values


def _declared_overlay_bits(dataset: Dataset) -> list[int]:
    found = []
    for group in _OVERLAY_GROUPS:
        with without_pydicom_messages():
            element = dataset.get((group, 0x0102))
            value = None if element is None else element.value
        if isinstance(value, int) and value > 0:
            found.append(value)
    return found


def _contradiction(keyword: str, what: str) -> InvalidAttribute:
    return InvalidAttribute(
        f"{keyword} of an image {what}, so the pixels cannot be read for certain. Export the series again at the "
        "source.",
        keyword=keyword,
    )
