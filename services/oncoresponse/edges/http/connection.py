"""One HTTP connection: how long it may take to send a header, how many there are, and whose certificate it shows."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from oncoresponse.rpc.edge_settings import HttpSettings

CERTIFICATE_NAMES = "certificate_names"
"""Key of the state of a request: the names in the client certificate that TLS has verified."""


def connection_class(settings: HttpSettings) -> type[H11Protocol]:
    """uvicorn's protocol with the limits of the settings."""

    class Connection(H11Protocol):
        """A connection; uvicorn itself waits for a header for ever."""

        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """See :class:`asyncio.Protocol`."""
            super().connection_made(transport)
            if len(self.connections) > settings.connections:
                transport.abort()
                return
            names = _names(transport.get_extra_info("ssl_object"))
            self.app_state = {**self.app_state, CERTIFICATE_NAMES: names}
            self._await_header()

        def data_received(self, data: bytes) -> None:
            """See :class:`asyncio.Protocol`."""
            if self._waiting is None and self.conn.their_state is h11.IDLE:
                self._await_header()
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            """See :class:`asyncio.Protocol`."""
            self._stop_waiting()
            super().connection_lost(exc)

        def _await_header(self) -> None:
            self._waiting = self.loop.call_later(settings.request_seconds, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return Connection


def _names(connection: ssl.SSLObject | None) -> tuple[str, ...]:
    """Common name and subject alternative names of the peer's certificate; empty without one."""
    certificate: dict[str, Any] = (connection.getpeercert() if connection is not None else None) or {}
    subject = (item for part in certificate.get("subject", ()) for item in part)
    common = [value for key, value in subject if key == "commonName"]
    alternative = [value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str)]
    return tuple(dict.fromkeys([*common, *alternative]))
