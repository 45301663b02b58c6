"""How much one caller may ask for, so that no one of them takes the service away from the others."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field

from oncoresponse.access.caller import Caller
from oncoresponse.errors import RateLimited

_MOST_KEYS = 10_000
_MINUTE, _HOUR = 60.0, 3600.0
_IPV6_NETWORK_BITS = 64


class CallerLimits(BaseModel):
    """Of each caller; 0 for no limit.

    Attributes:
        calls_per_minute: RPCs, an upload or a watch being one. So many may come at once.
        streams: Uploads and watches at the same time.
        bytes_per_hour: Uploaded bytes.
        failed_authentications_per_minute: Of one network address (IPv6: of one /64), of callers who are not recognized.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls_per_minute: int = Field(default=600, ge=0)
    streams: int = Field(default=100, ge=0)
    bytes_per_hour: int = Field(default=100 * 1024**3, ge=0)
    failed_authentications_per_minute: int = Field(default=30, ge=0)


class _Buckets:
    """Token buckets by key, each full at first and filled up evenly; the least used go when there are too many.

    Not safe among threads by itself.
    """

    def __init__(self, capacity: float, seconds: float, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._per_second = capacity / seconds
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, amount: float) -> float:
        """Take out; gives 0, or after how many seconds there will be enough, and takes nothing then.

        An amount beyond the capacity is let through by a full bucket, which is in debt afterwards.
        """
        if not self._capacity:
            return 0.0
        now = self._clock()
        level, at = self._levels.get(key, (self._capacity, now))
        level = min(self._capacity, level + (now - at) * self._per_second)
        missing = min(amount, self._capacity) - level
        self._levels[key] = (level - amount if missing <= 0 else level, now)
        self._levels.move_to_end(key)
        while len(self._levels) > _MOST_KEYS:
            self._levels.popitem(last=False)
        return max(missing, 0.0) / self._per_second


class CallerLimiter:
    """Counts what callers do. Any thread may call it.

    The services of the installation among themselves, and the one person of an installation without callers
    (allow_anonymous, on the loopback address), are not limited.

    Args:
        limits: Of each caller.
        clock: Seconds that only grow.
    """

    def __init__(self, limits: CallerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._calls = _Buckets(limits.calls_per_minute, _MINUTE, clock)
        self._bytes = _Buckets(limits.bytes_per_hour, _HOUR, clock)
        self._failures = _Buckets(limits.failed_authentications_per_minute, _MINUTE, clock)
        self._streams: Counter[str] = Counter()

    def admit(self, caller: Caller, address: str = "") -> None:  # noqa: ARG002 - of the protocol; a caller is one wherever it calls from
        """Count a call.

        Raises:
            RateLimited: It is one too many.
        """
        if caller.is_person_or_system:
            self._require(self._calls, caller.name, 1, "calls a minute", self._limits.calls_per_minute)

    def refused(self, address: str) -> None:
        """Count a call of somebody who was not recognized. Callers of the same address who are recognized are let in
        all the same, so that nobody can lock others out.

        Raises:
            RateLimited: It is one too many from there.
        """
        limit = self._limits.failed_authentications_per_minute
        self._require(self._failures, _network(address), 1, "refused calls a minute", limit)

    def received(self, caller: Caller, size: int) -> None:
        """Count uploaded bytes, as they come.

        Raises:
            RateLimited: They are too many.
        """
        if caller.is_person_or_system:
            self._require(self._bytes, caller.name, size, "bytes an hour", self._limits.bytes_per_hour)

    @contextmanager
    def stream(self, caller: Caller) -> Iterator[None]:
        """Count a stream for as long as the block lasts.

        Raises:
            RateLimited: The caller has too many open.
        """
        limit = self._limits.streams
        if not limit or not caller.is_person_or_system:
            yield
            return
        with self._lock:
            if self._streams[caller.name] >= limit:
                raise _too_much("streams at the same time", limit, 1.0)
            self._streams[caller.name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams[caller.name] -= 1
                if not self._streams[caller.name]:
                    del self._streams[caller.name]

    def _require(self, buckets: _Buckets, key: str, amount: float, what: str, limit: int) -> None:
        with self._lock:
            seconds = buckets.take(key, amount)
        if seconds > 0:
            raise _too_much(what, limit, seconds)


def _too_much(what: str, limit: int, seconds: float) -> RateLimited:
    error = RateLimited(
        f"This is more than one caller may: {limit} {what}. Go on later, or ask the administrator (caller_limits).",
        limit=limit,
    )
    error.retry_after_seconds = max(seconds, 0.001)
    return error


def _network(address: str) -> str:
    """Of IPv6 the /64, which one machine has all addresses of (RFC 4291 section 2.5.4); else the address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, _IPV6_NETWORK_BITS), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
