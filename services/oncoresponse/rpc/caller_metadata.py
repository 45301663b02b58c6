"""Metadata that a synchronous client sends with every call: who calls, and why where that has to be said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import grpc

from oncoresponse.rpc.access_control import AUTHORIZATION, CORRELATION_ID, EMERGENCY_REASON


class _Details(NamedTuple):
    """gRPC asks for an object with these fields and has no class for it."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str], ...]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class CallerMetadata(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
):
    """Adds token, correlation id and reason for emergency access to each call of a channel.

    Args:
        token: Of the caller; empty for none.
        correlation_id: Of all calls; empty to let the server choose one for each.
        emergency_reason: Why the caller has to see what is closed to it; empty for usual calls.
    """

    def __init__(self, token: str = "", correlation_id: str = "", emergency_reason: str = "") -> None:
        self._metadata = tuple(
            (name, value)
            for name, value in (
                (AUTHORIZATION, f"Bearer {token}" if token else ""),
                (CORRELATION_ID, correlation_id),
                (EMERGENCY_REASON, quote(emergency_reason)),
            )
            if value
        )

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """One request, one answer."""
        return continuation(self._with_metadata(details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """One request, many answers."""
        return continuation(self._with_metadata(details), request)

    def intercept_stream_unary(self, continuation: Callable[..., Any], details: Any, request_iterator: Any) -> Any:
        """Many requests, one answer."""
        return continuation(self._with_metadata(details), request_iterator)

    def _with_metadata(self, details: Any) -> _Details:
        return _Details(
            details.method,
            details.timeout,
            (*(details.metadata or ()), *self._metadata),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
