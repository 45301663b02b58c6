"""The bytes of a DICOM file to a pydicom data set, within limits and without a word in logs (PS3.10 chapter 7)."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from pydicom import config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.dicom import attributes
from oncoresponse.dicom.data_set_size import LONG_VRS, require_limited_size
from oncoresponse.dicom.file_kind import is_dicom, meta_start
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.errors import (
    DicomLimitExceeded,
    InvalidAttribute,
    NotDicom,
    TruncatedFile,
    UnsupportedTransferSyntax,
)

PARSE_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What pydicom raises on damaged bytes, beside the errors of shortness."""


class _LastRead(BytesIO):
    """Remembers whether the last read got only a part of what it asked for."""

    fell_short = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.fell_short = size is not None and 0 < len(data) < size
        return data


def parse_file(data: bytes, limits: DicomLimits = DEFAULT_LIMITS) -> FileDataset:
    """Read a whole file, pixel data included but not decoded.

    The file meta information names the transfer syntax. Where it is absent, Implicit VR Little Endian or Explicit VR
    Little Endian is assumed, whichever the first element is written in (PS3.5 section 10.1).

    Raises:
        NotDicom: The bytes do not begin as DICOM.
        DicomLimitExceeded: The file is, or would become, larger than allowed.
        TruncatedFile: The file ends early.
        UnsupportedTransferSyntax: The transfer syntax is private or unknown, and cannot be read.
        MissingAttribute: The pixels are compressed and nothing says how.
        InvalidAttribute: The file is damaged in a way that is not mere shortness.
    """
    if not is_dicom(data):
        raise NotDicom("The file is not DICOM. Send DICOM files only.")
    require_limit("file_bytes", len(data), limits, "The DICOM file has {found} bytes")
    start = meta_start(data)
    data_set_start, syntax = _meta_end(data, start)
    if data_set_start > len(data) or data[data_set_start : data_set_start + 2] == b"\0\0":
        # An element reaches past the end; or a message's command set, which no file holds (PS3.10 section 7.1).
        _require_known_transfer_syntax(data)
        raise truncated()
    implied = _implied_syntax(data, data_set_start) if syntax is None else ""
    deflated = syntax == DeflatedExplicitVRLittleEndian
    if deflated:
        data = _inflated(data, start, data_set_start, limits)
    require_limited_size(
        data,
        data_set_start,
        implicit=(syntax or implied) == ImplicitVRLittleEndian,
        big_endian=syntax == ExplicitVRBigEndian,
        limits=limits,
    )
    dataset = _parse(data, start)
    if deflated:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    if not attributes.text(dataset.file_meta, "TransferSyntaxUID"):
        if not implied or _is_encapsulated(dataset):
            raise attributes.missing("TransferSyntaxUID")
        dataset.file_meta.TransferSyntaxUID = UID(implied)
    return dataset


def require_limit(limit: str, found: float, limits: DicomLimits, what: str) -> None:
    """Refuse what is larger than a setting allows.

    Args:
        limit: Name of a field of :class:`DicomLimits`.
        found: What the file has or claims.
        limits: What is allowed.
        what: Begin of the message; ``{found}`` stands for the number.

    Raises:
        DicomLimitExceeded: It is larger.
    """
    allowed: int = getattr(limits, limit)
    if found > allowed:
        raise DicomLimitExceeded(
            f"{what.format(found=int(found))}, and {allowed} are allowed. Leave the file out, or ask the administrator "
            f"to raise dicom_limits.{limit}.",
            limit=limit,
            allowed=allowed,
        )


def truncated() -> TruncatedFile:
    """The error for a file that ends early."""
    return TruncatedFile("The DICOM file ends before its data does. Send the complete file again.")


def unsupported(syntax: str) -> UnsupportedTransferSyntax:
    """The error for pixels that nothing here decodes."""
    known = lenient_uid(syntax)
    name = known.name if known.is_transfer_syntax and not known.is_private else "a private or unknown one"
    return UnsupportedTransferSyntax(
        f"The transfer syntax of the image ({name}) cannot be decoded. "
        "Send it uncompressed or as JPEG, JPEG-LS, JPEG 2000 or RLE.",
        transfer_syntax=name,
    )


def lenient_uid(value: str) -> UID:
    """A UID that may break the rules for UIDs."""
    return UID(value, validation_mode=config.IGNORE)


def _parse(data: bytes, start: int) -> FileDataset:
    stream = _LastRead(data)
    try:
        with without_pydicom_messages():
            dataset = dcmread(stream, force=start == 0)
            # Values of short elements are taken as they come; compare with the length the file announces.
            cut = any(
                isinstance(element, RawDataElement)
                and element.value is not None
                and element.length != 0xFFFFFFFF
                and len(element.value) < element.length
                for element in dataset.values()
            )
    except InvalidDicomError:
        raise NotDicom("The file is not DICOM. Send DICOM files only.") from None
    except (EOFError, OSError, struct.error, zlib.error):
        _require_known_transfer_syntax(data)
        raise truncated() from None
    except PARSE_ERRORS:
        _require_known_transfer_syntax(data)
        if stream.tell() >= len(data):
            raise truncated() from None
        raise InvalidAttribute("The DICOM file is damaged and cannot be read. Export it again at the source.") from None
    if cut or not dataset or (stream.fell_short and "PixelData" not in dataset):
        _require_known_transfer_syntax(data)
        raise truncated()
    return dataset


def _meta_end(data: bytes, position: int) -> tuple[int, str | None]:
    """Where the data set begins, and the transfer syntax, ``None`` where nothing names one.

    The file meta information (PS3.10 section 7.1) is Explicit VR Little Endian; implicit elements are tolerated.
    """
    syntax = None
    while data[position : position + 2] == b"\2\0" and position + 8 <= len(data):
        vr, is_syntax = data[position + 4 : position + 6], data[position + 2 : position + 4] == b"\x10\0"
        if not (vr.isalpha() and vr.isupper()):
            length, header = int.from_bytes(data[position + 4 : position + 8], "little"), 8
        elif vr in LONG_VRS:
            length, header = int.from_bytes(data[position + 8 : position + 12], "little"), 12
        else:
            length, header = int.from_bytes(data[position + 6 : position + 8], "little"), 8
        if is_syntax:
            value = data[position + header : position + header + length]
            syntax = value.decode("ascii", "replace").strip(" \0") or None
        position += header + length
    return position, syntax


def _implied_syntax(data: bytes, start: int) -> str:
    vr = data[start + 4 : start + 6]
    return ExplicitVRLittleEndian if vr.isalpha() and vr.isupper() else ImplicitVRLittleEndian


def _inflated(data: bytes, start: int, data_set_start: int, limits: DicomLimits) -> bytes:
    """The same file as Explicit VR Little Endian, which is what a deflated data set is inside (PS3.5 A.5)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data_set = inflater.decompress(data[data_set_start:], limits.inflated_bytes + 1)
    except zlib.error:
        raise truncated() from None
    require_limit(
        "inflated_bytes", len(data_set), limits, "The deflated DICOM file would grow to {found} bytes or more"
    )
    if not inflater.eof:
        raise truncated()
    plain = str(ExplicitVRLittleEndian).encode()
    deflated = str(DeflatedExplicitVRLittleEndian).encode()
    meta = data[start:data_set_start].replace(deflated, plain.ljust(len(deflated), b"\0"))
    return data[:start] + meta + data_set


def _is_encapsulated(dataset: FileDataset) -> bool:
    element = dataset.get_item("PixelData")
    return element is not None and getattr(element, "length", 0) == 0xFFFFFFFF


def _require_known_transfer_syntax(data: bytes) -> None:
    """Say that the transfer syntax is unknown rather than that the file is damaged, where that is the cause."""
    start = meta_start(data)
    end_of_meta, syntax = _meta_end(data, start)
    announced = start + 12 + int.from_bytes(data[start + 8 : start + 12], "little")
    if syntax is None or len(data) < max(end_of_meta, announced):
        return
    if lenient_uid(syntax).is_private or not lenient_uid(syntax).is_transfer_syntax:
        raise unsupported(syntax)
