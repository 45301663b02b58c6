"""What an EHR sends to the routes of CDS Hooks, read without trust."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request

from oncoresponse.errors import InvalidRequest
from oncoresponse.v1 import card_pb2

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OUTCOMES = {
    "accepted": card_pb2.CARD_OUTCOME_ACCEPTED,
    "overridden": card_pb2.CARD_OUTCOME_OVERRIDDEN,
}
_MOST_FEEDBACK = 20
# Where R4 requests say what they are: ServiceRequest and others, MedicationRequest, DeviceRequest.
_SAY_WHAT = ("category", "code", "medicationCodeableConcept", "codeCodeableConcept")


async def json_body(request: Request) -> dict[str, Any]:
    """The body.

    Raises:
        InvalidRequest: It is no JSON object.
    """
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is no JSON.") from error
    if not isinstance(found, dict):
        raise InvalidRequest("The body is no JSON object.")
    return found


def card_request(body: Mapping[str, Any], hook: str, client: card_pb2.CardClientToken) -> card_pb2.GetCardsRequest:
    """The call of a hook.

    Raises:
        InvalidRequest: It is none of this hook, or not as CDS Hooks has it.
    """
    context = _map(body, "context")
    instance = str(body.get("hookInstance", ""))
    if body.get("hook") != hook or not _UUID.fullmatch(instance):
        raise InvalidRequest(f"The hook of this service is {hook}, and hookInstance a UUID.")
    if not isinstance(context.get("patientId"), str):
        raise InvalidRequest("context.patientId is the id of the Patient.")
    return card_pb2.GetCardsRequest(
        client=client,
        hook_instance=instance,
        user=_text(context.get("userId"), 200),
        identifiers=_identifiers(body, context["patientId"]),
    )


def selects(body: Mapping[str, Any], codes: Collection[str]) -> bool:
    """Whether one of the orders that ``order-select`` says were selected is one of these.

    Args:
        body: Of the call.
        codes: ``SYSTEM|CODE``, or ``SYSTEM|`` for any of a system; none for every order.

    Raises:
        InvalidRequest: The context lacks what the hook brings: ``selections`` and ``draftOrders``.
    """
    context = _map(body, "context")
    selected, entries = context.get("selections"), _map(context, "draftOrders").get("entry", [])
    if not isinstance(selected, list) or not isinstance(entries, list):
        raise InvalidRequest("context.selections is no list of references, or draftOrders no Bundle.")
    orders = [each["resource"] for each in entries if isinstance(each, dict) and isinstance(each.get("resource"), dict)]
    chosen = [each for each in orders if f"{each.get('resourceType')}/{each.get('id')}" in selected]
    return not codes or any(wanted in codes for order in chosen for wanted in _tokens(order))


def _tokens(order: Mapping[str, Any]) -> list[str]:
    """Each coding of what an order is, with its code and for any code of its system."""
    found: list[str] = []
    for name in _SAY_WHAT:
        value = order.get(name)
        for concept in value if isinstance(value, list) else [value]:
            codings = concept.get("coding") if isinstance(concept, dict) else None
            for coding in codings if isinstance(codings, list) else []:
                if isinstance(coding, dict) and coding.get("system"):
                    found += [f"{coding['system']}|{coding.get('code', '')}", f"{coding['system']}|"]
    return found


def feedback_of(body: Mapping[str, Any]) -> list[card_pb2.CardFeedback]:
    """What physicians did with cards.

    Raises:
        InvalidRequest: It is not as CDS Hooks has it.
    """
    said = body.get("feedback")
    if not isinstance(said, list) or not 0 < len(said) <= _MOST_FEEDBACK:
        raise InvalidRequest(f"The body is {{'feedback': [...]}}, with 1 to {_MOST_FEEDBACK} entries.")
    return [_feedback(each) for each in said]


def _feedback(said: Any) -> card_pb2.CardFeedback:
    if not isinstance(said, dict) or said.get("outcome") not in _OUTCOMES or not _UUID.fullmatch(str(said.get("card"))):
        raise InvalidRequest("The outcome is accepted or overridden, and card the uuid of the card.")
    reason = _map(said, "overrideReason", lacking={})
    coding = _map(reason, "reason", lacking={})
    made = card_pb2.CardFeedback(
        card=said["card"],
        outcome=_OUTCOMES[said["outcome"]],
        override_reason=_text(coding.get("code"), 64),
        reason_system=_text(coding.get("system"), 255),
        comment=_text(reason.get("userComment"), 1000),
    )
    try:
        made.outcome_time.FromDatetime(datetime.fromisoformat(str(said.get("outcomeTimestamp"))))
    except (ValueError, OverflowError) as error:
        raise InvalidRequest("outcomeTimestamp is no time in the form of ISO 8601.") from error
    return made


def _text(value: Any, longest: int) -> str:
    """As text that every database and message takes: JSON can say half a character, and one that is none (NUL)."""
    text = "" if value is None else str(value)
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "")[:longest]


def _map(values: Mapping[str, Any], name: str, lacking: dict[str, Any] | None = None) -> dict[str, Any]:
    """A member that is an object; ``lacking`` where there is none, or ``null``."""
    found = values.get(name)
    found = lacking if found is None else found
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name} is no JSON object.")
    return found


def _identifiers(body: Mapping[str, Any], patient_id: str) -> list[card_pb2.CardPatientIdentifier]:
    """Of the Patient in the prefetch, if it is that of the context; names are never looked at."""
    patient = _map(body, "prefetch", lacking={}).get("patient")
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        return []
    if patient.get("id") != patient_id:
        raise InvalidRequest("The prefetched Patient is another one than context.patientId.")
    found = patient.get("identifier", [])
    # What a replaced number led to, it leads to no more.
    current = [
        (str(each.get("system", "")), str(each.get("value", "")))
        for each in (found if isinstance(found, list) else [])
        if isinstance(each, dict) and each.get("use") != "old"
    ]
    return [
        card_pb2.CardPatientIdentifier(system=system, value=value)
        for system, value in current
        # Part of a number is another patient's.
        if value and (_text(system, 255), _text(value, 64)) == (system, value)
    ][:50]
