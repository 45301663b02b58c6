"""Tells a URL that something happened, signed as Standard Webhooks 1.0 says: names and no patient data.

The receiver compares the signature with its own, over id, time and body, and takes an id once: a repeat has the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence

from oncoresponse.edges.delivery.http_exchange import exchange, require_success
from oncoresponse.edges.delivery.sending import (
    AttemptEnded,
    FileOutcome,
    Outcome,
    Parcel,
    events_of,
    tells_what_happened,
)
from oncoresponse.errors import ConfigurationError, DeliveryRefused, OncoResponseError
from oncoresponse.http_client.metered_connections import Meter
from oncoresponse.http_client.one_way_session import OneWaySession
from oncoresponse.http_client.server_login import secret_of
from oncoresponse.rpc.ehr_settings import WebhookDestination
from oncoresponse.v1 import delivery_pb2

_PREFIX = "whsec_"
_GONE = 410
_ACCEPTED = (200, 201, 202, 204)


class WebhookSender:
    """See :class:`~oncoresponse.edges.delivery.sending.DeliverySender`.

    Args:
        destination: Where to, and which events.
        clock: Seconds since 1970.
    """

    def __init__(self, destination: WebhookDestination, clock: Callable[[], float] = time.time) -> None:
        self._destination = destination
        self._clock = clock

    def takes(self, file: delivery_pb2.DeliveryFile) -> bool:
        """From these it is known what happened; none of them is sent."""
        return tells_what_happened(file)

    def send(self, delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> Outcome:
        """Tell it, each event by itself; the same ids at each attempt."""
        done = {parcel.file_name: FileOutcome(stored=True) for parcel in parcels}
        events = events_of(delivery, parcels)
        if all(parcel.stored for parcel in parcels):
            return Outcome(done)
        try:
            for number, event in enumerate(events):
                if event in self._destination.events:
                    self._told(delivery, event, delivery.name.replace("/", "_") + (f"_{number}" if number else ""))
        except AttemptEnded as ended:
            return ended.outcome()
        except OncoResponseError as error:
            return Outcome({}, error)
        return Outcome(done)

    def _told(self, delivery: delivery_pb2.Delivery, event: str, name: str) -> None:
        destination = self._destination
        secrets = secrets_of(secret_of(destination.secret_file, "destinations"))
        body = json.dumps(
            {
                "type": event,
                "timestamp": delivery.create_time.ToJsonString(),
                "data": {
                    "assessment": delivery.assessment,
                    "report_version": delivery.report_version,
                    **({"report": f"DiagnosticReport/{delivery.report}"} if delivery.report else {}),
                },
            }
        ).encode()
        seconds = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": seconds,
            "webhook-signature": " ".join(signature(each, name, seconds, body) for each in secrets),
        }
        idle = destination.idle_seconds
        with OneWaySession(Meter(2 * idle, idle), destination.tls_authority) as session:
            if destination.tls_certificate is not None and destination.tls_key is not None:
                session.cert = (str(destination.tls_certificate), str(destination.tls_key))
            answer = exchange(
                session,
                "POST",
                destination.url,
                timeouts=(destination.connect_seconds, idle),
                headers=headers,
                body=body,
            )
        if answer.status == _GONE:
            raise AttemptEnded(
                DeliveryRefused("The webhook's URL says that it is gone (HTTP status 410).", http_status=_GONE),
                permanent=True,
            )
        if answer.status not in _ACCEPTED:
            require_success(answer, "the webhook")


def signature(secret: bytes, name: str, seconds: str, body: bytes) -> str:
    """Standard Webhooks 1.0, "Signature scheme": HMAC-SHA256 over id, time and body."""
    signed = b".".join((name.encode(), seconds.encode(), body))
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


def secrets_of(text: str) -> list[bytes]:
    """Secrets, one a line, ``whsec_`` and base64; several while they are changed.

    Raises:
        ConfigurationError: One is none, or has less than 24 bytes.
    """
    found = []
    for line in text.split():
        try:
            secret = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if not 24 <= len(secret) <= 64:
            raise ConfigurationError(
                "A secret of a webhook is 'whsec_' and 24 to 64 bytes in base64, one a line.", setting="destinations"
            )
        found.append(secret)
    return found
