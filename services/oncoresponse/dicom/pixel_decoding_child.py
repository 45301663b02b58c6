"""The process that decodes compressed frames for :mod:`oncoresponse.dicom.pixel_decoding`.

Codecs are native code that aborts, panics, hangs or asks for all memory on damaged input. Here that costs nothing but
this process. It imports pydicom and the codecs only, and takes frames from standard input until that ends.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import struct
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom import config
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

LENGTHS = struct.Struct("<LQ")
"""What comes before each message: length of its JSON head, length of its body."""
CODECS = ("pylibjpeg", "pyjpegls", "pillow", "pydicom", "gdcm")
"""pydicom's decoding plugins, best first; GDCM, which aborts on damaged input, where nothing else serves."""

_IDLE_SECONDS = 600.0
# Codecs hold a frame in several forms at once, as 32-bit integers or floats; the rest is for their libraries.
_COPIES_OF_A_FRAME = 16
_MEMORY_BYTES = 256 * 1024**2


def codec_of(transfer_syntax: str) -> str | None:
    """The codec that decodes a transfer syntax; ``None`` where none is installed."""
    try:
        available = get_decoder(UID(transfer_syntax, validation_mode=config.IGNORE)).available_plugins
    except NotImplementedError:
        return None
    return next((codec for codec in CODECS if codec in available), None)


def decode(head: dict[str, Any], frame: bytes) -> npt.NDArray[Any]:
    """One frame, shape (rows, columns) or (rows, columns, samples), as the codec gives it."""
    decoder = get_decoder(UID(head["transfer_syntax"], validation_mode=config.IGNORE))
    codec = codec_of(head["transfer_syntax"]) or ""
    options = {
        **head["options"],
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
        # What stands in unused bits is looked at by the parent.
        "correct_unused_bits": False,
    }
    return decoder.as_array(encapsulate([frame]), index=0, raw=True, decoding_plugin=codec, **options)[0]


def main() -> None:
    """Answer requests until standard input ends, or nothing comes for a long time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    # Whatever a codec prints must not get into the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    requests = os.fdopen(0, "rb")
    answers.write(b"\1")
    while _comes_something(requests) and (lengths := requests.read(LENGTHS.size)):
        head_length, body_length = LENGTHS.unpack(lengths)
        head, frame = json.loads(requests.read(head_length)), requests.read(body_length)
        _limit_memory(int(head["frame_bytes"]))
        # The default action ends the process, whatever its code is busy with, and also when the parent is gone.
        signal.alarm(int(head["seconds"]) + 1)
        answer, body = _answer(head, frame)
        signal.alarm(0)
        written = json.dumps(answer).encode()
        _write(answers, LENGTHS.pack(len(written), len(body)) + written)
        _write(answers, body)


def _answer(head: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        pixels = np.ascontiguousarray(decode(head, frame))
        return {"shape": pixels.shape, "dtype": pixels.dtype.str}, pixels.tobytes()
    except MemoryError:
        return {"error": "memory"}, b""
    except BaseException:  # Rust's panic is no Exception.
        return {"error": "damaged"}, b""


def _comes_something(requests: BinaryIO) -> bool:
    return bool(select.select([requests], [], [], _IDLE_SECONDS)[0])


def _limit_memory(frame_bytes: int) -> None:
    try:
        used = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    except OSError:
        # Not Linux; time and size are limited all the same.
        return
    limit = used + _MEMORY_BYTES + _COPIES_OF_A_FRAME * frame_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _write(answers: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[answers.write(rest) :]


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[func-returns-value]
