"""What a subscription is and how it stands: R4 Subscriptions Backport 1.1, for notifications and for who asks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
SUBSCRIPTION = "Subscription"
_NAMESPACE = uuid.UUID("0a4d5c5e-5b1e-5f5c-9f0e-7d2a0c6b3e41")
PROFILES = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"


def subscription_resource(name: str, endpoint: str, topic: str, *, failing: bool) -> Json:
    """The Subscription, without the login at its subscriber: no header is shown.

    Args:
        name: Of the destination in the settings.
        endpoint: URL of the subscriber; settings take none with a user or a query.
        topic: Canonical URL of the topic.
        failing: What it was to be told last was given up.
    """
    return {
        "resourceType": SUBSCRIPTION,
        "id": name,
        "meta": {"profile": [f"{PROFILES}/backport-subscription"]},
        "status": _status(failing),
        "reason": "In the settings of this installation",
        "criteria": topic,
        "channel": {
            "type": "rest-hook",
            "endpoint": endpoint,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{PROFILES}/backport-payload-content", "valueCode": "id-only"}]},
        },
    }


def status_resource(
    identity: str,
    subscription: str,
    topic: str,
    kind: str,
    count: int,
    events: Sequence[Sequence[Json]] = (),
    *,
    failing: bool,
) -> Json:
    """The Parameters that say how a subscription stands.

    Args:
        identity: Id of the resource.
        subscription: Reference to the Subscription.
        topic: Canonical URL of its topic.
        kind: ``handshake``, ``event-notification`` or ``query-status``.
        count: Number of the last event.
        events: Parts of each event that is told.
        failing: What it was to be told last was given up.
    """
    return {
        "resourceType": "Parameters",
        "id": identity,
        "meta": {"profile": [f"{PROFILES}/backport-subscription-status-r4"]},
        "parameter": [
            {"name": "subscription", "valueReference": {"reference": subscription}},
            {"name": "topic", "valueCanonical": topic},
            {"name": "status", "valueCode": _status(failing)},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": str(count)},
            *({"name": "notification-event", "part": event} for event in events),
        ],
    }


def status_bundle(name: str, base: str, topic: str, count: int, *, failing: bool) -> Json:
    """The answer to ``$status``: a searchset with the Parameters.

    Args:
        name: Of the Subscription.
        base: Base URL of the read API, as the subscriber calls it.
        topic: Canonical URL of its topic.
        count: Number of the last event.
        failing: What it was to be told last was given up.
    """
    reference = f"{base.rstrip('/')}/{SUBSCRIPTION}/{name}"
    identity = str(uuid.uuid5(_NAMESPACE, f"{reference}\n{count}\n{failing}"))
    status = status_resource(identity, reference, topic, "query-status", count, failing=failing)
    entry = {"fullUrl": f"urn:uuid:{identity}", "resource": status, "search": {"mode": "match"}}
    return {"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [entry]}


def _status(failing: bool) -> str:
    return "error" if failing else "active"
