"""What holds for every request before its route is looked at: limits, correlation id, headers, the line of the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oncoresponse.access.call import accepted_correlation_id, correlated
from oncoresponse.edges.http.fhir.outcome import operation_outcome
from oncoresponse.edges.http.problem import Refusal, problem
from oncoresponse.errors import Busy, InvalidRequest
from oncoresponse.rpc.access_control import CORRELATION_ID
from oncoresponse.rpc.edge_settings import HttpSettings
from oncoresponse.rpc.process_log import CALL_FIELDS

ROUTE = "oncoresponse.route"
"""Key of the scope: the template of the route, which is what the log may name."""
Answered = Callable[[str, str, int, float], None]
"""Is told method, template of the route (empty for none), status and seconds of a request."""

_NEVER_IN_A_PATH = (b"%2f", b"%5c", b"%00", b"%25", b"%2e")
# Answers are for programs: nothing is to be kept, framed, guessed at or run by a browser.
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_TRANSPORT_SECURITY = (b"strict-transport-security", b"max-age=31536000")
_DRAINED_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class Protection:
    """The outermost part of the application.

    Args:
        app: What answers.
        settings: The limits.
        open_paths: Answered beyond the limit of requests, and logged only when they fail.
        answered: Is told of each request how it ended.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, open_paths: Sequence[str], answered: Answered) -> None:
        self._app = app
        self._settings = settings
        self._open_paths = frozenset(open_paths)
        self._answered = answered
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        given = [value for name, value in scope["headers"] if name == CORRELATION_ID.encode()]
        correlation_id = accepted_correlation_id(given[0].decode("latin-1") if given else "")
        exchange = _Exchange(scope, receive, send, correlation_id, self._settings.idle_seconds)
        counted = scope["path"] not in self._open_paths
        self._running += counted
        began = time.monotonic()
        try:
            with correlated(correlation_id):
                await self._answer(scope, exchange, counted=counted)
                if counted or exchange.status >= 400:
                    _say(scope, exchange.status, began)
        finally:
            self._running -= counted
            self._answered(scope["method"], scope.get(ROUTE, ""), exchange.status, time.monotonic() - began)

    async def _answer(self, scope: Scope, exchange: _Exchange, *, counted: bool) -> None:
        try:
            _require_sound(scope, self._settings)
            if counted and self._running > self._settings.requests:
                raise Busy("The HTTP server has as many requests at work as it may. Send the request again.")
            await self._app(scope, exchange.receive, exchange.send)
        except (ClientDisconnect, _ReaderStopped):
            exchange.status = exchange.status or 499
        except Exception as error:
            if exchange.status:
                # Half an answer has gone: only a broken connection tells that it is not whole.
                _log.warning("an answer broke off: %s", type(error).__name__)
                raise
            tell = operation_outcome if _is_fhir(scope) else problem
            await tell(error, exchange.correlation_id)(scope, exchange.receive, exchange.send)


def _is_fhir(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == "/fhir" or path.startswith("/fhir/")


class _ReaderStopped(Exception):
    """Nobody takes the answer."""


class _Exchange:
    """Receives with patience that ends, and sends with our headers."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, correlation_id: str, idle_seconds: float) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._idle_seconds = idle_seconds
        self._body_ended = False
        self.correlation_id = correlation_id
        self.status = 0

    async def receive(self) -> Message:
        """See ASGI; a sender that stops is refused."""
        if self._body_ended:
            # Waits for the end of the connection, which may take as long as the answer.
            return await self._receive()
        try:
            async with asyncio.timeout(self._idle_seconds):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                408, InvalidRequest("The body of the request stopped coming. Send the request again.")
            ) from None
        self._body_ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """See ASGI; a reader that stops is given up."""
        if message["type"] == "http.response.start":
            await self._drain()
            self.status = message["status"]
            ours = [*_HEADERS, (CORRELATION_ID.encode(), self.correlation_id.encode())]
            if self._scope["scheme"] == "https":
                ours.append(_TRANSPORT_SECURITY)
            if not self._body_ended or _is_framed_twice(self._scope):
                # What still comes of the body belongs to no request.
                ours.append((b"connection", b"close"))
            set_already = {name.lower() for name, _ in message.get("headers", [])}
            headers = [*message.get("headers", []), *(item for item in ours if item[0] not in set_already)]
            message = {**message, "headers": headers}
        try:
            async with asyncio.timeout(self._idle_seconds):
                await self._send(message)
        except TimeoutError:
            raise _ReaderStopped from None

    async def _drain(self) -> None:
        """Take the rest of a small body, so that its sender is there to read the answer."""
        taken = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while not self._body_ended and taken < _DRAINED_BYTES and not _awaits_consent(self._scope):
                    message = await self._receive()
                    taken += len(message.get("body", b""))
                    self._body_ended = not message.get("more_body", False)


def _awaits_consent(scope: Scope) -> bool:
    """Whether the sender asked first (RFC 9110 section 10.1.1)."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _is_framed_twice(scope: Scope) -> bool:
    """Whether the end of the body is told in two ways: a proxy before us may see another request in it.

    RFC 9112 section 6.1: such a request may be refused, and its connection has to be closed after the answer.
    """
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}


def _require_sound(scope: Scope, settings: HttpSettings) -> None:
    """Refuse what servers and proxies read differently.

    Raises:
        Refusal: The header has too many lines or is too large.
        InvalidRequest: The path is ambiguous, or the length of the body.
    """
    if _is_framed_twice(scope):
        raise InvalidRequest("The request has both Content-Length and Transfer-Encoding. Send one of them.")
    if len(scope["headers"]) > settings.header_count:
        raise Refusal(
            431, InvalidRequest(f"The header of the request has more than {settings.header_count} lines. Send fewer.")
        )
    size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in scope["headers"])
    if size > settings.header_bytes:
        # Of a header that comes in one piece, the parser of the connection does not look at the size.
        raise Refusal(
            431, InvalidRequest(f"The header of the request has more than {settings.header_bytes} bytes. Send fewer.")
        )
    raw: bytes = scope["raw_path"]
    ambiguous = any(code in raw.lower() for code in _NEVER_IN_A_PATH) or b"\\" in raw or b"//" in raw
    segments = scope["path"].split("/")
    if ambiguous or "." in segments or ".." in segments or not scope["path"].isprintable():
        raise InvalidRequest("The path of the request can be read in more than one way. Write it plainly.")


def _say(scope: Scope, status: int, began: float) -> None:
    """The line of the log: the template of the route instead of the path, which names studies."""
    method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS") else "OTHER"
    route = scope.get(ROUTE, "unknown route")
    milliseconds = round((time.monotonic() - began) * 1000)
    fields = {"method": f"{method} {route}", "status": str(status), "milliseconds": milliseconds}
    _log.info("%s %s %d %d ms", method, route, status, milliseconds, extra={CALL_FIELDS: fields})
