"""Answers the routes below ``/fhir``: read, version read, search, metadata, and where tokens come from."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

import grpc
from starlette.requests import Request
from starlette.responses import Response

from oncoresponse.access.oidc_settings import OidcSettings
from oncoresponse.case.subscription_status import SUBSCRIPTION
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.fhir.capability import capability_statement
from oncoresponse.edges.http.fhir.outcome import FHIR_JSON, information
from oncoresponse.edges.http.fhir.search_url import SearchUrl, search_of, takes_json
from oncoresponse.edges.http.fhir.smart_configuration import SmartConfiguration
from oncoresponse.edges.http.identity import allowed_asker, call_metadata
from oncoresponse.edges.http.problem import Refusal
from oncoresponse.edges.http.route_rules import ROUTE_RULES
from oncoresponse.errors import InvalidRequest
from oncoresponse.v1 import resource_pb2, resource_pb2_grpc

_BASE = "/fhir"
_ANSWERS_WITHIN_SECONDS = 30.0
_FORM = "application/x-www-form-urlencoded"
_TAKEN = ("*/*", "application/*", FHIR_JSON, "application/json", "text/json")
_MOST_PARAMETERS = 100
# What a browser would run or draw as part of a page is only ever saved.
_SHOWN = ("application/pdf", "image/png", "image/jpeg", "text/plain")


class FhirRoutes:
    """The handlers.

    Args:
        front_door: Where tokens are checked.
        channel: To it.
        public_url: Of this HTTP server, without the path; empty to take it from each request.
        oidc: Settings of the issuer of tokens.
    """

    def __init__(
        self, front_door: FrontDoor, channel: grpc.aio.Channel, public_url: str, oidc: OidcSettings | None
    ) -> None:
        self._front_door = front_door
        self._channel = channel
        self._stub = resource_pb2_grpc.ResourceServiceStub(channel)
        self._public_url = public_url.rstrip("/")
        self._smart = SmartConfiguration(oidc)
        self._began = datetime.now(UTC).replace(microsecond=0).isoformat()

    async def metadata(self, request: Request) -> Response:
        """The CapabilityStatement; for everybody."""
        if not _wants_json(request):
            raise _not_acceptable()
        return _json(capability_statement(self._base(request), self._began))

    async def smart_configuration(self, request: Request) -> Response:
        """Where tokens come from; for everybody."""
        del request
        return Response(json.dumps(await self._smart.document()), media_type="application/json")

    async def read(self, request: Request) -> Response:
        """A resource, or the bytes of a Binary."""
        return await self._read(request, 0)

    async def read_version(self, request: Request) -> Response:
        """A resource of a version, if that is the newest."""
        text = request.path_params["version"]
        # A version that is no number is none of ours.
        return await self._read(request, int(text[:9]) if text.isascii() and text.isdigit() and int(text[:9]) else -1)

    async def subscription_status(self, request: Request) -> Response:
        """How a Subscription stands."""
        return await self._read(request, 0, status_of=SUBSCRIPTION)

    async def search(self, request: Request) -> Response:
        """A page of a search, by GET."""
        parameters = list(request.query_params.multi_items())
        return await self._search(request, parameters)

    async def search_by_form(self, request: Request) -> Response:
        """A page of a search, by POST: what is asked stays out of URLs."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != _FORM:
            await self._require_caller(request)
            raise Refusal(415, InvalidRequest(f"The body of _search is {_FORM}."))
        try:
            text = (await request.body()).decode()
            posted = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        except ValueError as error:
            await self._require_caller(request)
            raise InvalidRequest("The body of _search is not a form in UTF-8.") from error
        return await self._search(request, [*request.query_params.multi_items(), *posted])

    async def _read(self, request: Request, version: int, status_of: str = "") -> Response:
        kind = status_of or request.path_params["type"]
        raw = kind == "Binary" and not _asks_for_fhir(request)
        if not raw and not _wants_json(request):
            await self._require_caller(request)
            raise _not_acceptable()
        wanted = resource_pb2.ReadResourceRequest(
            type=kind, id=request.path_params["id"], version=max(version, 0), status=bool(status_of)
        )
        answer = await self._stub.ReadResource(
            wanted, metadata=call_metadata(request, self._front_door), timeout=_ANSWERS_WITHIN_SECONDS
        )
        found = answer.resource
        if version < 0:
            raise Refusal(404, InvalidRequest(f"There is no such version. The newest is {found.version}."))
        if not found.version:
            # Of the settings: there are no versions of it.
            return Response(found.content, media_type=FHIR_JSON)
        tag = f'W/"{found.version}"'
        updated = found.last_updated.ToDatetime(UTC).replace(microsecond=0)
        headers = {"ETag": tag, "Last-Modified": format_datetime(updated, usegmt=True)}
        known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
        if tag in known or "*" in known:
            return Response(None, 304, headers)
        if raw:
            return _bytes(json.loads(found.content), headers)
        return Response(found.content, 200, headers, media_type=FHIR_JSON)

    async def _search(self, request: Request, parameters: list[tuple[str, str]]) -> Response:
        if not _wants_json(request, parameters):
            await self._require_caller(request)
            raise _not_acceptable()
        strict = "handling=strict" in request.headers.get("prefer", "").replace(" ", "").lower()
        try:
            if len(parameters) > _MOST_PARAMETERS:
                raise InvalidRequest(f"A search has at most {_MOST_PARAMETERS} parameters.")
            search = search_of(request.path_params["type"], parameters, strict=strict)
        except InvalidRequest:
            await self._require_caller(request)
            raise
        answer = await self._stub.SearchResources(
            search.request, metadata=call_metadata(request, self._front_door), timeout=_ANSWERS_WITHIN_SECONDS
        )
        return _json(_bundle(search, answer, self._base(request)))

    async def _require_caller(self, request: Request) -> None:
        """Who may not read anyway learns nothing else."""
        await allowed_asker(request, ROUTE_RULES["GET", "/fhir/{type}"], self._front_door, self._channel)

    def _base(self, request: Request) -> str:
        return f"{self._public_url or str(request.base_url).rstrip('/')}{_BASE}"


def _bundle(search: SearchUrl, answer: resource_pb2.SearchResourcesResponse, base: str) -> dict[str, Any]:
    ignored = list(answer.ignored_parameters)
    links = [{"relation": "self", "url": search.link(base, ignored, search.request.page_token)}]
    if answer.next_page_token:
        links.append({"relation": "next", "url": search.link(base, ignored, answer.next_page_token)})
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if answer.HasField("total"):
        bundle["total"] = answer.total
    bundle["link"] = links
    entries = [_entry(each, base, "match") for each in answer.matches]
    entries += [_entry(each, base, "include") for each in answer.included]
    if notes := _notes(answer):
        entries.append({"resource": information(notes), "search": {"mode": "outcome"}})
    if entries:
        bundle["entry"] = entries
    return bundle


def _entry(found: resource_pb2.Resource, base: str, mode: str) -> dict[str, Any]:
    full_url = f"{base}/{found.type}/{found.id}"
    return {"fullUrl": full_url, "resource": json.loads(found.content), "search": {"mode": mode}}


def _notes(answer: resource_pb2.SearchResourcesResponse) -> list[tuple[str, str]]:
    notes = [("warning", f"The parameter {name} is not known and was ignored.") for name in answer.ignored_parameters]
    if answer.included_incomplete:
        notes.append(("warning", "Not everything that was to be included is here: there is too much. Ask for less."))
    if answer.index_incomplete:
        notes.append(
            ("information", "Reports of an earlier release are still being made readable; some may be missing.")
        )
    return notes


def _wants_json(request: Request, parameters: list[tuple[str, str]] | None = None) -> bool:
    """Whether JSON is what the sender takes; ``_format`` goes before the header (R4 section 3.1.0.1.11)."""
    formats = [value for name, value in parameters or request.query_params.multi_items() if name == "_format"]
    if formats:
        return takes_json(formats[-1])
    asked = request.headers.get("accept", "*/*")
    return any(item.split(";")[0].strip().lower() in _TAKEN for item in asked.split(","))


def _asks_for_fhir(request: Request) -> bool:
    """Whether a Binary is wanted as a resource and not as its bytes (R4 section 2.41)."""
    if "_format" in request.query_params:
        return takes_json(request.query_params["_format"])
    asked = [item.split(";")[0].strip().lower() for item in request.headers.get("accept", "").split(",")]
    return any(item in (FHIR_JSON, "application/json", "text/json") for item in asked)


def _bytes(binary: dict[str, Any], headers: dict[str, str]) -> Response:
    try:
        data = base64.b64decode(binary.get("data", ""), validate=True)
    except binascii.Error:
        data = b""
    media_type = str(binary.get("contentType", "application/octet-stream"))
    if media_type.partition(";")[0] not in _SHOWN:
        headers = {**headers, "Content-Disposition": "attachment"}
    return Response(data, 200, {**headers, "Content-Type": media_type})


def _json(content: dict[str, Any]) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), media_type=FHIR_JSON)


def _not_acceptable() -> Refusal:
    return Refusal(406, InvalidRequest(f"Answers are {FHIR_JSON}. Accept it, or leave _format out."))
