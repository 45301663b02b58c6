"""Notifies a subscriber of a FHIR topic: R4 Subscriptions Backport 1.1, ``rest-hook`` with payload ``id-only``.

A notification names the report by its id in the read API and nothing of the patient. Before the first one of a process
comes the handshake, by which the subscriber says that it is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from oncoresponse.case.subscription_status import PROFILES, status_resource
from oncoresponse.edges.delivery.fhir_client import FhirClient
from oncoresponse.edges.delivery.http_exchange import Json, require_success
from oncoresponse.edges.delivery.sending import (
    AttemptEnded,
    FileOutcome,
    Outcome,
    Parcel,
    events_of,
    tells_what_happened,
)
from oncoresponse.edges.delivery.smart_login import SmartLogin
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.ehr_settings import SubscriptionDestination
from oncoresponse.v1 import delivery_pb2

_NAMESPACE = uuid.UUID("5c5a0b6e-6a7c-5a0c-8d0f-0b9a4a6c2f11")
_NOTIFICATION_PROFILE = f"{PROFILES}/backport-subscription-notification-r4"


class SubscriptionSender:
    """See :class:`~oncoresponse.edges.delivery.sending.DeliverySender`.

    Args:
        name: Of the destination, and of the Subscription.
        destination: Whom to notify, and how to log in there.
        smart: Tokens, where there is such a login.
    """

    def __init__(self, name: str, destination: SubscriptionDestination, smart: SmartLogin | None) -> None:
        self._name = name
        self._destination = destination
        self._smart = smart
        self._shaken = False

    def takes(self, file: delivery_pb2.DeliveryFile) -> bool:
        """From these it is known what is to be told; none of them is sent."""
        return tells_what_happened(file)

    def send(self, delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> Outcome:
        """Notify; the same notification at each attempt."""
        done = {parcel.file_name: FileOutcome(stored=True) for parcel in parcels}
        events = events_of(delivery, parcels)
        if all(parcel.stored for parcel in parcels) or not set(events) & set(self._destination.events):
            return Outcome(done)
        try:
            with FhirClient(self._destination, self._smart) as client:
                if not self._shaken:
                    handshake = notification(self._name, self._destination, delivery, "handshake")
                    require_success(client.call("POST", resource=handshake), "the handshake of the subscription")
                    self._shaken = True
                told = notification(self._name, self._destination, delivery, "event-notification")
                require_success(client.call("POST", resource=told), "the notification")
        except AttemptEnded as ended:
            # Who comes back says first that it is there.
            self._shaken = False
            return ended.outcome()
        except OncoResponseError as error:
            return Outcome({}, error)
        return Outcome(done)


def notification(name: str, destination: SubscriptionDestination, delivery: delivery_pb2.Delivery, kind: str) -> Json:
    """The Bundle of a notification.

    Args:
        name: Of the Subscription.
        destination: Says topic and base URL.
        delivery: What happened.
        kind: ``handshake`` or ``event-notification``.
    """
    base = destination.fhir_url.rstrip("/")
    subscription = f"{base}/Subscription/{name}"
    is_event = kind == "event-notification"
    # Before its first event nothing has happened since the subscription began.
    count = delivery.number if is_event else max(delivery.number - 1, 0)
    time = delivery.create_time.ToJsonString()
    report = f"{base}/DiagnosticReport/{delivery.report}" if delivery.report else ""
    events: list[list[Json]] = []
    if is_event:
        event: list[Json] = [
            {"name": "event-number", "valueString": str(delivery.number)},
            {"name": "timestamp", "valueInstant": time},
        ]
        if report:
            event.append({"name": "focus", "valueReference": {"reference": report}})
        events.append(event)
    identity = str(uuid.uuid5(_NAMESPACE, f"{name}\n{delivery.name}\n{kind}"))
    status = status_resource(identity, subscription, destination.topic, kind, count, events, failing=False)
    entries: list[Json] = [
        {
            "fullUrl": f"urn:uuid:{status['id']}",
            "resource": status,
            "request": {"method": "GET", "url": f"{subscription}/$status"},
            "response": {"status": "200"},
        }
    ]
    if is_event and report:
        changed = {"method": "PUT", "url": f"DiagnosticReport/{delivery.report}"}
        entries.append({"fullUrl": report, "request": changed, "response": {"status": "200"}})
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid5(_NAMESPACE, f"bundle\n{name}\n{delivery.name}\n{kind}")),
        "meta": {"profile": [_NOTIFICATION_PROFILE]},
        "type": "history",
        "timestamp": time,
        "entry": entries,
    }
