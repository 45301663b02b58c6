"""Answers the routes below ``/cds-services``: discovery, the two hooks, and feedback (CDS Hooks 2.0)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.identity import origin_metadata
from oncoresponse.edges.http.problem import Refusal
from oncoresponse.errors import InvalidRequest, NotAuthenticated
from oncoresponse.rpc.access_control import AUTHORIZATION
from oncoresponse.rpc.cds_settings import CdsHooksSettings
from oncoresponse.v1 import card_pb2, card_pb2_grpc

PATH = "/cds-services"
_ANSWERS_WITHIN_SECONDS = 30.0
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HOOKS = {"imaging-response": "patient-view", "imaging-response-order": "order-select"}
"""Services by id, and the hook of each."""
_PREFETCH = {"patient": "Patient/{{context.patientId}}"}
_CODES = "https://oncoresponse.example/fhir/CodeSystem/oncoresponse"
_OVERRIDE_REASONS = [
    {"code": "judgement-favorable", "system": _CODES, "display": "I expect the favorable outcome"},
    {"code": "judgement-unfavorable", "system": _CODES, "display": "I expect the unfavorable outcome"},
    {"code": "judgement-uncertain", "system": _CODES, "display": "I am uncertain"},
]
_OUTCOMES = {
    "accepted": card_pb2.CARD_OUTCOME_ACCEPTED,
    "overridden": card_pb2.CARD_OUTCOME_OVERRIDDEN,
}
_MOST_FEEDBACK = 20
_RESEARCH = "Research use only"


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

    async def discovery(self, request: Request) -> Response:
        """The services."""
        client = self._client(request, PATH)
        await self._stub.CheckCardClient(card_pb2.CheckCardClientRequest(client=client), **self._call(request))
        services = [
            {
                "hook": hook,
                "id": name,
                "title": "OncoResponse: imaging and therapy response",
                "description": f"The newest imaging report of the patient with its uncertainty. {_RESEARCH}.",
                "prefetch": _PREFETCH,
            }
            for name, hook in _HOOKS.items()
        ]
        return JSONResponse({"services": services})

    async def cards(self, request: Request) -> Response:
        """Cards for the patient of a hook."""
        service = request.path_params["service"]
        client = self._client(request, f"{PATH}/{service}")
        if service not in _HOOKS:
            await self._stub.CheckCardClient(card_pb2.CheckCardClientRequest(client=client), **self._call(request))
            raise Refusal(404, InvalidRequest(f"The services are {', '.join(_HOOKS)}."))
        body = await _body(request)
        context = _map(body, "context")
        wanted = card_pb2.GetCardsRequest(
            client=client,
            hook_instance=str(body.get("hookInstance", "")),
            user=str(context.get("userId", ""))[:200],
            identifiers=_identifiers(body, context),
        )
        if body.get("hook") != _HOOKS[service] or not _UUID.fullmatch(wanted.hook_instance):
            raise InvalidRequest(f"The hook of this service is {_HOOKS[service]}, and hookInstance a UUID.")
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
        body = await _body(request)
        said = body.get("feedback")
        if service not in _HOOKS or not isinstance(said, list) or not 0 < len(said) <= _MOST_FEEDBACK:
            raise InvalidRequest("The body is {'feedback': [...]}, with cards of a service of the discovery.")
        await self._stub.RecordCardFeedback(
            card_pb2.RecordCardFeedbackRequest(client=client, feedback=map(_feedback, said)), **self._call(request)
        )
        return Response(status_code=200)

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
        made: dict[str, Any] = {
            "uuid": card.uuid,
            "summary": card.summary,
            "detail": card.detail,
            "indicator": "warning" if card.unfavorable else "info",
            "source": {"label": f"OncoResponse, {_RESEARCH.lower()}"},
            "overrideReasons": _OVERRIDE_REASONS,
        }
        if self._settings is not None:
            link = self._settings.report_url or f"{self._settings.base_url}/fhir/DiagnosticReport/{{id}}"
            url = link.replace("{id}", card.report)
            made["links"] = [{"label": "Open the report", "url": url, "type": "absolute"}]
        return made


async def _body(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is no JSON.") from error
    if not isinstance(found, dict):
        raise InvalidRequest("The body is no JSON object.")
    return found


def _feedback(said: Any) -> card_pb2.CardFeedback:
    if not isinstance(said, dict) or said.get("outcome") not in _OUTCOMES or not _UUID.fullmatch(str(said.get("card"))):
        raise InvalidRequest("The outcome is accepted or overridden, and card the uuid of the card.")
    reason = _map(said, "overrideReason", lacking={})
    made = card_pb2.CardFeedback(
        card=said["card"],
        outcome=_OUTCOMES[said["outcome"]],
        override_reason=str(_map(reason, "reason", lacking={}).get("code", ""))[:64],
        comment=str(reason.get("userComment", ""))[:1000],
    )
    try:
        made.outcome_time.FromDatetime(datetime.fromisoformat(str(said.get("outcomeTimestamp"))))
    except (ValueError, OverflowError) as error:
        raise InvalidRequest("outcomeTimestamp is no time in the form of ISO 8601.") from error
    return made


def _map(values: Mapping[str, Any], name: str, lacking: dict[str, Any] | None = None) -> dict[str, Any]:
    found = values.get(name, lacking)
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name} is no JSON object.")
    return found


def _identifiers(body: Mapping[str, Any], context: Mapping[str, Any]) -> list[card_pb2.CardPatientIdentifier]:
    """Of the Patient in the prefetch, if it is that of the context; names are never looked at."""
    patient = _map(body, "prefetch", lacking={}).get("patient")
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        return []
    if patient.get("id") != context.get("patientId"):
        raise InvalidRequest("The prefetched Patient is another one than context.patientId.")
    found = patient.get("identifier", [])
    return [
        card_pb2.CardPatientIdentifier(system=str(each.get("system", ""))[:255], value=str(each["value"]))
        for each in (found if isinstance(found, list) else [])
        # What a replaced number led to, it leads to no more.
        if isinstance(each, dict) and 0 < len(str(each.get("value", ""))) <= 64 and each.get("use") != "old"
    ][:50]
