"""Checks of an image's pixel data before any of it is decoded: size, completeness, and what the codestreams claim."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.dicom import attributes
from oncoresponse.dicom.codestreams import Codestream, read_codestream
from oncoresponse.dicom.file_parsing import lenient_uid, require_limit, truncated, unsupported
from oncoresponse.dicom.limits import DicomLimits
from oncoresponse.dicom.pixel_decoding import is_decodable
from oncoresponse.errors import InvalidAttribute


def require_decodable(dataset: Dataset, transfer_syntax: str, limits: DicomLimits) -> None:
    """Refuse an image that is too large, or whose pixels cannot be decoded, or whose frames claim another size.

    Raises:
        UnsupportedTransferSyntax: No codec is installed.
        DicomLimitExceeded: More rows, columns, frames or bytes than allowed.
        TruncatedFile: A compressed frame is damaged or missing.
        InvalidAttribute: The codestream of a frame has another size than Rows, Columns or Samples per Pixel say.
    """
    syntax = lenient_uid(transfer_syntax)
    compressed = syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated
    if syntax.is_private or not syntax.is_transfer_syntax or (compressed and not is_decodable(transfer_syntax)):
        raise unsupported(transfer_syntax)
    require_image_within_limits(dataset, limits)
    if compressed and "PixelData" in dataset:
        for frame in compressed_frames(dataset):
            _require_same_size(dataset, read_codestream(frame, transfer_syntax))


def require_image_within_limits(dataset: Dataset, limits: DicomLimits) -> None:
    """Refuse an image whose header claims more than allowed.

    Raises:
        DicomLimitExceeded: More rows, columns, frames or bytes than allowed.
        InvalidAttribute: An attribute is no number.
    """
    names = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "SamplesPerPixel")
    with without_pydicom_messages():
        sizes = {name: attributes.number(dataset, name) for name in names}
    for keyword, limit in (("Rows", "rows"), ("Columns", "columns"), ("NumberOfFrames", "frames")):
        require_limit(limit, sizes[keyword] or 0, limits, f"{keyword} of an image is {{found}}")
    samples = sizes["SamplesPerPixel"] or 1
    pixels = (sizes["Rows"] or 0) * (sizes["Columns"] or 0) * (sizes["NumberOfFrames"] or 1) * samples
    require_limit(
        "decoded_bytes",
        pixels * (sizes["BitsAllocated"] or 16) / 8,
        limits,
        "The pixels of an image take {found} bytes",
    )


def require_all_pixels(dataset: Dataset) -> None:
    """Refuse uncompressed pixel data that is shorter than the header promises (PS3.5 8.1.1).

    Raises:
        TruncatedFile: It is shorter.
        InvalidAttribute: An attribute is no number.
    """
    sizes = [attributes.number(dataset, name) for name in ("Rows", "Columns", "BitsAllocated")]
    if any(size is None for size in sizes):
        return
    samples = attributes.number(dataset, "SamplesPerPixel") or 1
    frames = attributes.number(dataset, "NumberOfFrames") or 1
    bits = samples * frames
    for size in sizes:
        bits *= size or 0
    with without_pydicom_messages():
        subsampled = str(dataset.get("PhotometricInterpretation", "")) == "YBR_FULL_422"
        length = len(dataset.PixelData or b"")
    if not subsampled and length * 8 < bits:
        raise truncated()


def compressed_frames(dataset: Dataset) -> Iterator[bytes]:
    """The codestream of each frame, fragments joined (PS3.5 A.4).

    Raises:
        TruncatedFile: The fragments are damaged, or there are fewer frames than Number of Frames says.
    """
    announced = max(int(attributes.number(dataset, "NumberOfFrames") or 1), 1)
    found = 0
    try:
        with without_pydicom_messages():
            data = dataset.PixelData or b""
            offsets, lengths = (dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
            extended = (offsets, lengths) if offsets and lengths else None
            frames = generate_frames(data, number_of_frames=announced, extended_offsets=extended)
        while found < announced:
            with without_pydicom_messages():
                frame = next(frames)
            found += 1
            yield frame
    except (StopIteration, ValueError, TypeError, LookupError, ArithmeticError, struct.error, EOFError, AttributeError):
        raise truncated() from None


def _require_same_size(dataset: Dataset, codestream: Codestream) -> None:
    for keyword, found in (
        ("Rows", codestream.rows),
        ("Columns", codestream.columns),
        ("SamplesPerPixel", codestream.samples),
    ):
        announced = attributes.number(dataset, keyword)
        if found is not None and announced is not None and found != announced:
            raise InvalidAttribute(
                f"{keyword} of an image is not what its compressed pixel data says. Export the series again.",
                keyword=keyword,
            )
