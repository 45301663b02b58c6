"""``HOST:PORT`` as it stands in settings."""

from __future__ import annotations

_LAST_PORT = 65535


def host_of(address: str) -> str:
    """The host, an IPv6 address without its brackets."""
    return address.rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether a host, as an address or as a name, is this machine's loopback, or a Unix socket (``unix``)."""
    return host in ("localhost", "::1", "unix") or host.startswith("127.")


def require_address(text: str) -> str:
    """``HOST:PORT`` as a setting may be written.

    Raises:
        ValueError: It is not.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
        raise ValueError("an address is HOST:PORT, for instance 127.0.0.1:50051")
    return text
