"""The application: the routes of the table, each with what answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oncoresponse.edges.http.cds_routes import PATH as CDS_PATH
from oncoresponse.edges.http.problem import Refusal
from oncoresponse.edges.http.protection import ROUTE, Answered, Protection
from oncoresponse.edges.http.route_rules import ROUTE_RULES, RouteRule
from oncoresponse.errors import InvalidRequest
from oncoresponse.rpc.access_control import CORRELATION_ID
from oncoresponse.rpc.edge_settings import HttpSettings

Handler = Callable[[Request], Awaitable[Response]]


def application(
    settings: HttpSettings,
    handlers: Mapping[tuple[str, str], Handler],
    answered: Answered,
    cds_origins: Sequence[str] = (),
) -> ASGIApp:
    """The application with everything that protects it.

    Args:
        settings: The limits.
        handlers: What answers, by method and path.
        answered: Is told of each request how it ended.
        cds_origins: Of the web applications that may call the routes of CDS Hooks.

    Raises:
        LookupError: A route has no line in the table, or none that answers it.
    """
    if set(handlers) != set(ROUTE_RULES):
        raise LookupError("every route has a line in ROUTE_RULES and a handler")
    routes = [
        Route(path, _Endpoint(handlers[method, path], path, rule, settings), methods=[method])
        for (method, path), rule in ROUTE_RULES.items()
    ]
    open_paths = [path for (_, path), rule in ROUTE_RULES.items() if rule.is_open]
    protected = Protection(_Routed(Router(routes, redirect_slashes=False)), settings, open_paths, answered)
    return _CdsOrigins(protected, cds_origins) if cds_origins else protected


class _CdsOrigins:
    """Lets pages of some origins call CDS Hooks and read the answers, errors too (CORS); other paths stay as they are.

    The token in the header of a call is no credential in the sense of CORS: no cookie is ever taken.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._shared = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type"),
            expose_headers=("Retry-After", CORRELATION_ID),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_cds = scope["type"] == "http" and f"{scope['path']}/".startswith(f"{CDS_PATH}/")
        await (self._shared if is_cds else self._app)(scope, receive, send)


class _Routed:
    """The routes alone: Starlette's own application would answer errors before the protection sees them."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # By this the router knows that its errors are caught.
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            if error.status_code == 405:
                wrong = InvalidRequest("This path does not take that method.")
                raise Refusal(405, wrong, dict(error.headers or {})) from None
            raise Refusal(404, InvalidRequest("Nothing is served at this path. Check the URL.")) from None


class _Endpoint:
    """What answers a route, with the limits of its body."""

    def __init__(self, handler: Handler, path: str, rule: RouteRule, settings: HttpSettings) -> None:
        self._handler = handler
        self._path = path
        self._largest = settings.upload_bytes if rule.is_upload else settings.body_bytes
        by_settings = settings.upload_seconds if rule.is_upload else settings.idle_seconds
        self._seconds = by_settings if rule.seconds is None else rule.seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self._path
        declared = [value for name, value in scope["headers"] if name == b"content-length"]
        if declared and int(declared[0]) > self._largest:
            raise self._too_large()
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                raise self._too_large()
            return message

        try:
            async with asyncio.timeout(self._seconds):
                response = await self._handler(Request(scope, limited))
        except TimeoutError:
            raise Refusal(408, InvalidRequest("The request took longer than it may. Send less at a time.")) from None
        await response(scope, limited, send)

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            InvalidRequest(
                f"The body of the request is larger than {self._largest} bytes. Send less at a time.",
                limit_bytes=self._largest,
            ),
        )
