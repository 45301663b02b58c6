"""Who is behind a request: passed on to the front door, which decides."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from oncoresponse.access.call import current_correlation_id
from oncoresponse.edges.front_door import FrontDoor, Metadata
from oncoresponse.edges.http.connection import CERTIFICATE_NAMES
from oncoresponse.edges.http.problem import Refusal
from oncoresponse.edges.http.route_rules import RouteRule
from oncoresponse.errors import AccessDenied, InvalidRequest, NotAuthenticated
from oncoresponse.rpc.access_control import AUTHORIZATION, CORRELATION_ID, EMERGENCY_REASON
from oncoresponse.rpc.edge_token import CallerBehind
from oncoresponse.v1 import access_pb2, access_pb2_grpc

_ANSWERS_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class Asker:
    """Whoever sent a request, as the front door knows them.

    Attributes:
        name: Of the caller.
        tenant: Whose studies the caller sees; empty for all.
        metadata: Of every call that is made for them.
    """

    name: str
    tenant: str
    metadata: Metadata


def call_metadata(request: Request, front_door: FrontDoor) -> Metadata:
    """Metadata of a call that is made for the sender of a request: the token they sent, or the certificate they showed.

    Raises:
        NotAuthenticated: The header ``Authorization`` is none that is taken here.
        Refusal: A header that is to be there once is there twice.
    """
    metadata = origin_metadata(request, front_door)
    if (authorization := _only(request, AUTHORIZATION)) is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or not token.isascii() or not token.isprintable():
            raise NotAuthenticated("The header Authorization is not of the form 'Bearer TOKEN'. Send it so, or not.")
        metadata.append((AUTHORIZATION, f"Bearer {token}"))
    if (reason := _only(request, EMERGENCY_REASON)) is not None and reason.isascii() and reason.isprintable():
        metadata.append((EMERGENCY_REASON, reason))
    return tuple(metadata)


def origin_metadata(request: Request, front_door: FrontDoor) -> list[tuple[str, str]]:
    """What a call carries of where its request came from, whoever it is made for."""
    client = request.client.host if request.client is not None else "unix"
    behind = CallerBehind(client, getattr(request.state, CERTIFICATE_NAMES, ()))
    return [(CORRELATION_ID, current_correlation_id()), *behind.metadata(front_door.token)]


async def allowed_asker(request: Request, rule: RouteRule, front_door: FrontDoor, channel: object) -> Asker:
    """Whoever sent a request, once they may use the route; asked of the front door before the body is read.

    Raises:
        NotAuthenticated, AccessDenied: They may not.
        grpc.RpcError: The front door refuses them otherwise, or is away.
    """
    metadata = call_metadata(request, front_door)
    stub = access_pb2_grpc.AccessServiceStub(channel)
    answer = await stub.GetCaller(access_pb2.GetCallerRequest(), metadata=metadata, timeout=_ANSWERS_WITHIN_SECONDS)
    caller = answer.caller
    if not rule.roles & set(caller.roles):
        wanted = " or ".join(sorted(rule.roles))
        raise AccessDenied(
            f"This needs the access role {wanted}, which the caller does not have. Ask your administrator.",
            needed=wanted,
        )
    return Asker(caller.name, caller.tenant, metadata)


def _only(request: Request, name: str) -> str | None:
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise Refusal(400, InvalidRequest(f"The request has the header '{name}' more than once. Send it once."))
    return values[0] if values else None
