"""The parts of a multipart/related body (RFC 2387) as they come, each on disk once it is larger than a little."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from oncoresponse.edges.http.problem import Refusal
from oncoresponse.errors import InvalidRequest

_IN_MEMORY_BYTES = 256 * 1024
_MOST_HEADERS = 16
_LONGEST_HEADER_BYTES = 4096
# RFC 2046 section 5.1.1 says 70; Orthanc sends 73.
_LONGEST_BOUNDARY = 100
_MOST_PARTS = 100_000


def _temporary_file() -> SpooledTemporaryFile[bytes]:
    return SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)


@dataclass
class Part:
    """One part.

    Attributes:
        content_type: Media type, lower case, without parameters; empty where the part has none.
        file: The bytes; at most as many as a part may have.
        size_bytes: How many came, those beyond the limit included.
        sha256: Of all that came.
        cut: Whether more came than a part may have.
    """

    content_type: str = ""
    file: SpooledTemporaryFile[bytes] = field(default_factory=_temporary_file)
    size_bytes: int = 0
    sha256: str = ""
    cut: bool = False

    def close(self) -> None:
        """Give the disk back."""
        self.file.close()


def boundary_of(content_type: str, wanted: str) -> bytes:
    """The boundary of a multipart/related body whose parts are of the wanted media type.

    Raises:
        Refusal: It is something else (415), or has no usable boundary (400).
    """
    media_type, options = parse_options_header(content_type)
    if media_type.lower() != b"multipart/related" or options.get(b"type", b"").lower() != wanted.encode():
        raise Refusal(
            415, InvalidRequest(f'The body is not of the type multipart/related; type="{wanted}". Send it so.')
        )
    boundary = options.get(b"boundary", b"")
    well_formed = boundary.isascii() and all(c >= 32 for c in boundary) and not boundary.endswith(b" ")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not well_formed:
        raise Refusal(400, InvalidRequest("The header Content-Type gives no boundary of the parts that can be used."))
    return boundary


async def parts_of(body: AsyncIterator[bytes], boundary: bytes, largest_bytes: int) -> AsyncIterator[Part]:
    """The parts in their order. Whoever takes one closes it. What is of no part is passed over.

    Args:
        body: As it comes; it is read to the end.
        boundary: Between the parts.
        largest_bytes: Of a part; what it has more is counted, and not kept.

    Raises:
        Refusal: The body is no multipart message, or ends in the middle of one.
    """
    builder = _Builder(boundary, largest_bytes)
    try:
        async for block in body:
            # Disk and digest, away from the event loop.
            await asyncio.to_thread(builder.take, block)
            for part in builder.finished():
                yield part
        builder.require_ended()
    finally:
        builder.close()


class _Builder:
    """Makes parts of what the parser says."""

    def __init__(self, boundary: bytes, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes
        self._part: Part | None = None
        self._digest = hashlib.sha256()
        self._name = self._value = b""
        self._done: deque[Part] = deque()
        self._count = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._all,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_LONGEST_HEADER_BYTES,
        )

    def take(self, block: bytes) -> None:
        if self._ended:
            return
        try:
            self._parser.write(block)
        except FormParserError:
            raise _malformed() from None

    def finished(self) -> Iterator[Part]:
        while self._done:
            yield self._done.popleft()

    def require_ended(self) -> None:
        if not self._ended:
            raise _malformed()

    def close(self) -> None:
        for part in (*self._done, *([self._part] if self._part is not None else ())):
            part.close()

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MOST_PARTS:
            raise _malformed()
        self._part, self._digest = Part(), hashlib.sha256()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._part is not None and self._name.lower() == b"content-type":
            self._part.content_type = parse_options_header(self._value)[0].decode("latin-1").lower()
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is None:
            return
        self._part.size_bytes += end - start
        if self._part.size_bytes > self._largest_bytes:
            self._part.cut = True
            self._part.file.truncate(0)
            return
        block = data[start:end]
        self._digest.update(block)
        self._part.file.write(block)

    def _end(self) -> None:
        if self._part is not None:
            self._part.sha256 = self._digest.hexdigest()
            self._done.append(self._part)
            self._part = None

    def _all(self) -> None:
        self._ended = True


def _malformed() -> Refusal:
    return Refusal(
        400,
        InvalidRequest(
            "The body of the request is no multipart message, or breaks off in the middle of one. What came before "
            "is stored; send all of it again, which does no harm."
        ),
    )
