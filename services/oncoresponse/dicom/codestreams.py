"""What a compressed frame says of itself, read without decoding it.

JPEG: ITU-T T.81 annex B. JPEG-LS: T.87 annex C. JPEG 2000: T.800 annex A. RLE: DICOM PS3.5 annex G.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.uid import JPEG2000TransferSyntaxes, RLELossless

from oncoresponse.dicom.file_parsing import truncated
from oncoresponse.errors import TruncatedFile

_HTJ2K = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))
_JPEG_2000 = frozenset(map(str, JPEG2000TransferSyntaxes)) | _HTJ2K
# Start of frame: all of C0 to CF but DHT (C4), JPG (C8) and DAC (CC); F7 is JPEG-LS.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_WITHOUT_LENGTH = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
_RLE_HEADER_BYTES = 64
_RLE_SEGMENTS = 15


@dataclass(frozen=True)
class Codestream:
    """Header of one compressed frame.

    Attributes:
        rows, columns: Size, where the codestream says it; RLE does not.
        samples: Components, likewise.
        precision: Bits of a sample, likewise.
        signed: Only JPEG 2000 says it.
    """

    rows: int | None = None
    columns: int | None = None
    samples: int | None = None
    precision: int | None = None
    signed: bool | None = None


def read_codestream(frame: bytes, transfer_syntax: str) -> Codestream:
    """Read the header of a frame and check that the frame is whole, as far as that shows without decoding.

    Decoders fill up what is missing without a word, or abort, so it is looked for here: the end marker that JPEG,
    JPEG-LS and JPEG 2000 share (FFD9), and the lengths of all tile-parts of JPEG 2000.

    Args:
        frame: The fragments of one frame, joined.
        transfer_syntax: UID of an encapsulated transfer syntax.

    Raises:
        TruncatedFile: The frame is damaged or incomplete.
    """
    try:
        if transfer_syntax == RLELossless:
            _require_rle_segments(frame)
            return Codestream()
        if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise truncated()
        return _jpeg_2000(frame) if transfer_syntax in _JPEG_2000 else _jpeg(frame)
    except (struct.error, IndexError):
        raise truncated() from None


def _jpeg(frame: bytes) -> Codestream:
    if frame[:2] != b"\xff\xd8":
        raise _damaged()
    position = 2
    while frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", frame, position + 2)
        if marker in _START_OF_FRAME:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 4)
            return Codestream(rows, columns, samples, precision)
        position += 2 + length
    raise _damaged()


def _jpeg_2000(frame: bytes) -> Codestream:
    position = frame.find(b"\xff\x4f\xff\x51")
    if position < 0:
        raise _damaged()
    x, y, x_offset, y_offset = struct.unpack_from(">4L", frame, position + 8)
    (samples,) = struct.unpack_from(">H", frame, position + 40)
    depth = frame[position + 42]
    if x <= x_offset or y <= y_offset:
        raise _damaged()
    _require_tile_parts(frame, position + 2)
    return Codestream(y - y_offset, x - x_offset, samples, (depth & 0x7F) + 1, bool(depth & 0x80))


def _require_tile_parts(frame: bytes, position: int) -> None:
    while frame[position : position + 2] != b"\xff\x90":
        if frame[position] != 0xFF:
            raise _damaged()
        position += 2 + struct.unpack_from(">H", frame, position + 2)[0]
    while frame[position : position + 2] == b"\xff\x90":
        (length,) = struct.unpack_from(">L", frame, position + 6)
        if length == 0:
            # The last tile-part may leave its length open (T.800 A.4.2).
            return
        if length < 14:
            raise _damaged()
        position += length
    if frame[position : position + 2] != b"\xff\xd9":
        raise _damaged()


def _require_rle_segments(frame: bytes) -> None:
    (count, *offsets) = struct.unpack_from("<16L", frame)
    used = offsets[:count]
    if (
        not 1 <= count <= _RLE_SEGMENTS
        or used[0] != _RLE_HEADER_BYTES
        or used != sorted(set(used))
        or used[-1] >= len(frame)
    ):
        raise _damaged()


def _damaged() -> TruncatedFile:
    return TruncatedFile("The compressed pixel data of an image is damaged or incomplete. Send the file again.")
