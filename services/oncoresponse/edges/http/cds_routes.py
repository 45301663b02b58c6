"""Answers the routes below ``/cds-services``: discovery, the two hooks, and feedback (CDS Hooks 2.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.cds_request import card_request, feedback_of, json_body, selects
from oncoresponse.edges.http.identity import origin_metadata
from oncoresponse.edges.http.problem import Refusal
from oncoresponse.errors import InvalidRequest, NotAuthenticated
from oncoresponse.rpc.access_control import AUTHORIZATION
from oncoresponse.rpc.cds_settings import CdsHooksSettings
from oncoresponse.v1 import card_pb2, card_pb2_grpc

PATH = "/cds-services"
_ANSWERS_WITHIN_SECONDS = 30.0
_ORDER_SELECT = "order-select"
_HOOKS = {
    "imaging-response": ("patient-view", "The newest imaging reports of the patient, with their uncertainty."),
    "imaging-response-order": (_ORDER_SELECT, "The newest imaging reports of the patient, when imaging is ordered."),
}
"""Services by id: the hook of each, and what it gives."""
_PREFETCH = {"patient": "Patient/{{context.patientId}}"}
_RESEARCH = "Research use only"
_USAGE = "Needs the prefetch 'patient', with an identifier of a system that both sides have agreed on."
_Read = TypeVar("_Read")


class CdsRoutes:
    """The handlers.

    Args:
        front_door: Where tokens are checked and cards come from.
        channel: To it.
        settings: Of CDS Hooks; ``None`` where it is not offered.
    """

    def __init__(self, front_door: FrontDoor, channel: grpc.aio.Channel, settings: CdsHooksSettings | None) -> None:
        self._front_door = front_door
        self._stub = card_pb2_grpc.CardServiceStub(channel)
        self._settings = settings
        self._order_codes = frozenset(() if settings is None else settings.order_codes)

    async def discovery(self, request: Request) -> Response:
        """The services."""
        await self._require(request, self._client(request, PATH))
        services = [
            {
                "hook": hook,
                "id": name,
                "title": "OncoResponse: imaging and therapy response",
                "description": f"{description} {_RESEARCH}.",
                "prefetch": _PREFETCH,
                "usageRequirements": _USAGE,
            }
            for name, (hook, description) in _HOOKS.items()
        ]
        return JSONResponse({"services": services})

    async def cards(self, request: Request) -> Response:
        """Cards for the patient of a hook."""
        service = request.path_params["service"]
        client = self._client(request, f"{PATH}/{service}")

        async def read() -> tuple[card_pb2.GetCardsRequest, bool]:
            hook, _ = self._service(service)
            body = await json_body(request)
            wanted = card_request(body, hook, client)
            return wanted, hook != _ORDER_SELECT or selects(body, self._order_codes)

        wanted, is_relevant = await self._read(request, client, read)
        if not is_relevant:
            await self._require(request, client)
            return JSONResponse({"cards": []})
        answer = await self._stub.GetCards(wanted, **self._call(request))
        if not answer.patient_known:
            # CDS Hooks 2.0, "HTTP Status Codes": what the service needs is lacking.
            raise Refusal(
                412,
                InvalidRequest(
                    "The request brings no patient whose identifier is of a system in the settings "
                    "(cds_hooks.patient_identifiers). Send the prefetch 'patient'."
                ),
            )
        return JSONResponse({"cards": [self._card(each) for each in answer.cards]})

    async def feedback(self, request: Request) -> Response:
        """What physicians did with cards."""
        service = request.path_params["service"]
        client = self._client(request, f"{PATH}/{service}/feedback")

        async def read() -> card_pb2.RecordCardFeedbackRequest:
            self._service(service)
            said = feedback_of(await json_body(request))
            return card_pb2.RecordCardFeedbackRequest(client=client, feedback=said)

        await self._stub.RecordCardFeedback(await self._read(request, client, read), **self._call(request))
        return Response(status_code=200)

    def _service(self, name: str) -> tuple[str, str]:
        if name not in _HOOKS:
            raise Refusal(404, InvalidRequest(f"The services are {', '.join(_HOOKS)}."))
        return _HOOKS[name]

    async def _read(
        self, request: Request, client: card_pb2.CardClientToken, read: Callable[[], Awaitable[_Read]]
    ) -> _Read:
        """What the request says. What is wrong with it learns only who shows a token that is right."""
        try:
            return await read()
        except (InvalidRequest, Refusal):
            await self._require(request, client)
            raise

    async def _require(self, request: Request, client: card_pb2.CardClientToken) -> None:
        """Check the token where nothing else is called, which would."""
        await self._stub.CheckCardClient(card_pb2.CheckCardClientRequest(client=client), **self._call(request))

    def _client(self, request: Request, path: str) -> card_pb2.CardClientToken:
        scheme, _, token = request.headers.get(AUTHORIZATION, "").partition(" ")
        if self._settings is None or scheme.lower() != "bearer" or not token.isascii() or not 0 < len(token) <= 16384:
            raise NotAuthenticated("An EHR shows a signed token with each call (CDS Hooks): 'Bearer TOKEN'.")
        return card_pb2.CardClientToken(token=token, endpoint=f"{self._settings.base_url}{path}")

    def _call(self, request: Request) -> dict[str, Any]:
        """The edge calls for itself, and says from where it was asked."""
        metadata = (*self._front_door.own_metadata, *origin_metadata(request, self._front_door))
        return {"metadata": metadata, "timeout": _ANSWERS_WITHIN_SECONDS}

    def _card(self, card: card_pb2.Card) -> dict[str, Any]:
        source = {"label": f"OncoResponse, {_RESEARCH.lower()}"}
        if self._settings is not None and self._settings.source_url:
            source["url"] = self._settings.source_url
        made: dict[str, Any] = {
            "uuid": card.uuid,
            "summary": card.summary,
            "detail": card.detail,
            "indicator": "warning" if card.unfavorable else "info",
            "source": source,
        }
        if card.override_reasons:
            made["overrideReasons"] = [
                {"code": each.code, "system": each.system, "display": each.display} for each in card.override_reasons
            ]
        if link := self._link(card):
            made["links"] = [{**link, "type": "absolute"}]
        return made

    def _link(self, card: card_pb2.Card) -> dict[str, str]:
        """Where the report is, or where the judgement is given that is awaited before; empty for nowhere."""
        settings = self._settings
        if settings is None:
            return {}
        if card.judgement_awaited:
            url = settings.judgement_url.replace("{id}", card.assessment)
            return {"label": "Give your own judgement", "url": url} if url else {}
        url = settings.report_url or f"{settings.base_url}/fhir/DiagnosticReport/{{id}}"
        return {"label": "Open the report", "url": url.replace("{id}", card.report)}
