"""``HOST:PORT`` as it stands in settings."""

from __future__ import annotations


def host_of(address: str) -> str:
    """The host, an IPv6 address without its brackets."""
    return address.rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether a host, as an address or as a name, is this machine's loopback, or a Unix socket (``unix``)."""
    return host in ("localhost", "::1", "unix") or host.startswith("127.")
