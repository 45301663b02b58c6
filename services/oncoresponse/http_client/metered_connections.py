"""HTTP connections that are cut when the other side drips, or floods with what is no content.

A timeout of a socket begins anew with every byte, and neither http.client nor urllib3 bounds the line that begins a
chunk or the interim answers before the first one. So the bytes are counted where they leave the socket, and the time
that was waited for them.
"""

from __future__ import annotations

import http.client
import io
import time
from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter

from oncoresponse.errors import OncoResponseError, PacsAnswerRefused, PacsTooSlow

_NOT_IDLE_BYTES = 1024
_LARGEST_HEADER_BYTES = 1024**2
# Chunked coding (RFC 9112 section 7.1) of single bytes is six times as long as what it carries.
_LARGEST_OVERHEAD_BYTES = 16 * 1024**2


_TOO_LONG = (
    "The DICOMweb server takes longer for the study than one import may take. Import fewer series at once, or ask the "
    "administrator for more time."
)


class Meter:
    """What an exchange may take of time, and of bytes that are no content.

    Args:
        total_seconds: For all answers together.
        idle_seconds: Longest time to wait for a kibibyte.
        too_long: What to say when it takes longer than that.
    """

    def __init__(self, total_seconds: float, idle_seconds: float, too_long: str = _TOO_LONG) -> None:
        self._too_long = too_long
        self._deadline = time.monotonic() + total_seconds
        self._idle_seconds = idle_seconds
        self._waited_seconds = 0.0
        self._received_bytes = 0
        self._overhead_bytes = 0
        self._in_header = False

    def next_exchange(self) -> None:
        """Another request begins: what was waited for before does not count against its answer."""
        self._received_bytes, self._waited_seconds = 0, 0.0

    def begin_header(self) -> None:
        """An answer is awaited."""
        self._overhead_bytes, self._in_header = 0, True

    def end_header(self) -> None:
        """Its header has come."""
        self._overhead_bytes, self._in_header = 0, False

    def content(self) -> None:
        """A block of content has come out."""
        self._overhead_bytes = 0

    def require_time(self) -> float:
        """Seconds that may be waited for the next bytes.

        Raises:
            PacsTooSlow: None are left.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _too_slow(self._too_long, "dicomweb_total_seconds")
        if self._waited_seconds >= self._idle_seconds:
            raise _too_slow(
                "The DICOMweb server sends nothing, or almost nothing. Try again; if it goes on, check that server.",
                "dicomweb_idle_seconds",
            )
        return min(left, self._idle_seconds - self._waited_seconds)

    def received(self, count: int, seconds: float) -> None:
        """Bytes have come, after so long.

        Raises:
            PacsAnswerRefused: Too many without content.
        """
        self._received_bytes += count
        self._waited_seconds += seconds
        if self._received_bytes >= _NOT_IDLE_BYTES:
            self._received_bytes, self._waited_seconds = 0, 0.0
        self._overhead_bytes += count
        if self._overhead_bytes > (_LARGEST_HEADER_BYTES if self._in_header else _LARGEST_OVERHEAD_BYTES):
            if self._in_header:
                raise _endless_header()
            raise PacsAnswerRefused(
                "The DICOMweb server sends much that holds no content. Check what answers at the URL.", cut="no_content"
            )


class MeteredAdapter(HTTPAdapter):
    """Transport of a :class:`requests.Session`, through proxies too, whose sockets a meter watches."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """See the base class."""
        super().init_poolmanager(*arguments, **named)
        _meter_connections(self.poolmanager, self._meter)

    def proxy_manager_for(self, *arguments: Any, **named: Any) -> Any:
        """See the base class."""
        manager = super().proxy_manager_for(*arguments, **named)
        _meter_connections(manager, self._meter)
        return manager


def _meter_connections(manager: Any, meter: Meter) -> None:
    answer = staticmethod(partial(_MeteredAnswer, meter))
    classes = {}
    for scheme, pool in manager.pool_classes_by_scheme.items():
        connection = type("MeteredConnection", (pool.ConnectionCls,), {"response_class": answer})
        classes[scheme] = type("MeteredPool", (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = classes


class _MeteredAnswer(http.client.HTTPResponse):
    def __init__(self, meter: Meter, socket: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(socket, *arguments, **named)
        self._meter = meter
        self.fp = io.BufferedReader(_MeteredBytes(self.fp.detach(), socket, meter))

    def begin(self) -> None:
        self._meter.begin_header()
        try:
            super().begin()
        except http.client.LineTooLong:
            raise _endless_header() from None
        except http.client.HTTPException as error:
            # Of this class itself only where there are too many lines.
            if type(error) is http.client.HTTPException:
                raise _endless_header() from None
            raise
        self._meter.end_header()


class _MeteredBytes(io.RawIOBase):
    """Reads the socket itself: its file object reads no more once it has waited too long."""

    def __init__(self, file: io.RawIOBase, socket: Any, meter: Meter) -> None:
        self._file, self._socket, self._meter = file, socket, meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            self._socket.settimeout(self._meter.require_time())
            begun = time.monotonic()
            try:
                count = int(self._socket.recv_into(buffer))
            except TimeoutError:
                # The longest wait has passed to the last digit of the clock.
                self._meter.received(0, time.monotonic() - begun + 1e-3)
                continue
            self._meter.received(count, time.monotonic() - begun)
            return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _endless_header() -> OncoResponseError:
    return PacsAnswerRefused(
        "The DICOMweb server sends a header without end. Check what answers at the URL.", cut="header"
    )


def _too_slow(message: str, limit: str) -> OncoResponseError:
    return PacsTooSlow(message, limit=limit)
