"""Compressed frames are decoded in child processes, with limits on time and memory.

A damaged frame makes codecs abort, panic, hang or ask for all memory; in a child each of these is an error with a
reason code. Uncompressed pixels stay in this process: their bytes, whose number is checked, are looked at as numbers
by numpy, and no codec sees them.

Children are started when first needed, at most one a core, and used for one frame after another, so that a series
pays for the start once. They hold no file open and start no process; they end with their standard input, that is with
this process however it ends, and at the latest when the time for a frame is up.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oncoresponse.dicom.limits import DicomLimits
from oncoresponse.dicom.pixel_decoding_child import LENGTHS, codec_of
from oncoresponse.errors import DicomLimitExceeded, InternalError, TruncatedFile

_START_SECONDS = 60.0
# A child ends by itself after twice this time.
_IDLE_SECONDS = 300.0
_PIPE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class FrameFormat:
    """What a decoder has to be told of a frame (PS3.3 C.7.6.3)."""

    transfer_syntax: str
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    photometric_interpretation: str
    planar_configuration: int = 0

    @property
    def frame_bytes(self) -> int:
        """Size of one frame, uncompressed."""
        return self.rows * self.columns * self.samples_per_pixel * max(self.bits_allocated, 8) // 8


def is_decodable(transfer_syntax: str) -> bool:
    """Whether a codec is installed for a compressed transfer syntax."""
    return codec_of(transfer_syntax) is not None


def decode_frames(frames: Iterable[bytes], form: FrameFormat, limits: DicomLimits) -> Iterator[npt.NDArray[Any]]:
    """Decode compressed frames one after another, each (rows, columns) or (rows, columns, samples).

    Args:
        frames: The codestream of each frame.
        form: Of all of them.
        limits: ``decode_seconds`` is the time for one frame.

    Raises:
        TruncatedFile: A frame cannot be decoded.
        DicomLimitExceeded: Decoding takes too long or too much memory.
    """
    for frame in frames:
        with _decoders.child() as child:
            pixels = child.decode(frame, form, limits)
        yield pixels


def close_decoders() -> None:
    """End the children that wait for work. They start again when they are needed."""
    _decoders.close()


class _Child:
    """One decoding process."""

    def __init__(self) -> None:
        # Not to import a module from the working directory, nor to warn about what a library does at its import.
        options = ["-P", "-W", "ignore"]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.used = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *options, "-m", "oncoresponse.dicom.pixel_decoding_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **threads},
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        try:
            self._exchange(b"", time.monotonic() + _START_SECONDS, 1)
        except (TimeoutError, OSError, EOFError):
            self.stop()
            raise InternalError(
                "The process that decodes pixel data does not start. Check the installation and the free memory."
            ) from None

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def is_fresh(self) -> bool:
        """Whether it may still be used; the rest ends by itself soon, or has ended."""
        return self._process.poll() is None and time.monotonic() - self.used < _IDLE_SECONDS

    def decode(self, frame: bytes, form: FrameFormat, limits: DicomLimits) -> npt.NDArray[Any]:
        options = {key: value for key, value in vars(form).items() if key != "transfer_syntax"}
        request = {
            "transfer_syntax": form.transfer_syntax,
            "options": options,
            "frame_bytes": form.frame_bytes,
            "seconds": limits.decode_seconds,
        }
        head = json.dumps(request).encode()
        deadline = time.monotonic() + limits.decode_seconds
        try:
            lengths = self._exchange(LENGTHS.pack(len(head), len(frame)) + head + frame, deadline, LENGTHS.size)
            head_length, body_length = LENGTHS.unpack(lengths)
            answer = json.loads(self._exchange(b"", deadline, head_length))
            body = self._exchange(b"", deadline, body_length)
        except TimeoutError:
            self.stop()
            raise _limit("decode_seconds", f"took longer than {limits.decode_seconds} s to decode") from None
        except (OSError, EOFError):
            self.stop()
            raise _undecodable() from None
        except BaseException:
            # An interrupted exchange would leave an answer in the pipe.
            self.stop()
            raise
        self.used = time.monotonic()
        if answer.get("error") == "memory":
            raise _limit("decoded_bytes", "needs more memory to decode than its size allows")
        if "error" in answer:
            raise _undecodable()
        return np.frombuffer(body, np.dtype(answer["dtype"])).reshape(answer["shape"])

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _exchange(self, request: bytes, deadline: float, length: int) -> bytearray:
        """Write, and read so many bytes; both may have to wait for the child."""
        rest, answer = memoryview(request), bytearray()
        while rest or len(answer) < length:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            poll = select.poll()
            poll.register(self._answers, select.POLLIN)
            if rest:
                poll.register(self._requests, select.POLLOUT)
            for descriptor, _ in poll.poll(left * 1000):
                if descriptor == self._requests:
                    with contextlib.suppress(BlockingIOError):
                        rest = rest[os.write(self._requests, rest[:_PIPE_BYTES]) :]
                else:
                    part = os.read(self._answers, min(length - len(answer), _PIPE_BYTES) or 1)
                    if not part:
                        raise EOFError
                    answer += part
        return answer


class _Decoders:
    """The children of this process, shared by its threads."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._idle: list[_Child] = []
        self._busy = 0
        self._most = os.cpu_count() or 1

    @contextlib.contextmanager
    def child(self) -> Iterator[_Child]:
        found: _Child | None = None
        with self._condition:
            self._condition.wait_for(lambda: self._busy < self._most)
            self._busy += 1
            if self._idle:
                found = self._idle.pop()
        try:
            if found is not None and not found.is_fresh:
                found.stop()
                found = None
            if found is None:
                found = _Child()
            yield found
        finally:
            with self._condition:
                self._busy -= 1
                if found is not None and found.is_fresh:
                    self._idle.append(found)
                self._condition.notify()

    def close(self) -> None:
        with self._condition:
            idle, self._idle = self._idle, []
        for child in idle:
            child.stop()

    @property
    def process_ids(self) -> tuple[int, ...]:
        with self._condition:
            return tuple(child.process_id for child in self._idle)


def _undecodable() -> TruncatedFile:
    return TruncatedFile(
        "The pixel data of an image cannot be decoded: it is damaged or incomplete. Send the file again."
    )


def _limit(limit: str, what: str) -> DicomLimitExceeded:
    return DicomLimitExceeded(
        f"The pixel data of an image {what}. It may be damaged: send the file again, or uncompressed.", limit=limit
    )


_decoders = _Decoders()
atexit.register(close_decoders)


def _forget_children() -> None:
    # A fork has copies of the pipes and must not write into them.
    global _decoders
    _decoders = _Decoders()


os.register_at_fork(after_in_child=_forget_children)
