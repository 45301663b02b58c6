"""Notifications of a FHIR topic, taken by a receiver and checked by tools of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import fhirkit
import pytest
from oncoresponse.edges.delivery.sending import Outcome, Parcel, settlement
from oncoresponse.edges.delivery.subscription import SubscriptionSender
from oncoresponse.rpc.ehr_settings import SubscriptionDestination
from oncoresponse.v1 import delivery_pb2

from tests.integration.loopback_http import serving
from tests.integration.test_report_checkers import said_of
from tests.integration.test_webhook import summary_of

Json = dict[str, Any]
FHIR = "https://oncoresponse.hospital.example/fhir"
REPORT = Parcel("report.json", b'{"patient": "Doe"}')


class Subscriber:
    """Keeps what it was told.

    Attributes:
        statuses: Answers to come; 200 when there is none left.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.told: list[Json] = []
        self.logins: list[str] = []

    @contextmanager
    def listening(self) -> Iterator[str]:
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                subscriber.logins.append(self.headers.get("Authorization", ""))
                status = subscriber.statuses.pop(0) if subscriber.statuses else 200
                if status == 200:
                    subscriber.told.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with serving(Handler) as url:
            yield f"{url}/notify"

    @property
    def seen(self) -> list[tuple[str, str]]:
        """Type, and events since the start, of each."""
        return [
            (value(each, "type"), value(each, "events-since-subscription-start")) for each in map(status_of, self.told)
        ]


def status_of(bundle: Json) -> Json:
    status: Json = bundle["entry"][0]["resource"]
    return status


def value(status: Json, name: str) -> str:
    (found,) = (each for each in status["parameter"] if each["name"] == name)
    return next(str(each) for key, each in found.items() if key.startswith("value"))


def delivery_of(number: int = 1, report: str = "r1") -> delivery_pb2.Delivery:
    made = delivery_pb2.Delivery(
        name=f"deliveries/{number}", assessment="assessments/a", report_version=1, number=number, report=report
    )
    made.event = delivery_pb2.DELIVERY_EVENT_COMPLETED
    made.create_time.FromJsonString("2026-11-27T12:00:00Z")
    return made


def sender_to(url: str, **fields: Any) -> SubscriptionSender:
    return SubscriptionSender(
        "board", SubscriptionDestination(kind="subscription", url=url, fhir_url=FHIR, **fields), None
    )


def reason(outcome: Outcome) -> tuple[str, bool]:
    failure = settlement(delivery_pb2.LeasedDelivery(delivery=delivery_of()), outcome).failure
    return failure.reason, failure.permanent


def test_a_handshake_and_then_each_event_with_its_number(tmp_path: Path) -> None:
    subscriber = Subscriber()
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    with subscriber.listening() as url:
        sender = sender_to(url, token_file=token)
        for number in (4, 5):
            assert reason(sender.send(delivery_of(number), [REPORT])) == ("", False)
    assert subscriber.seen == [("handshake", "3"), ("event-notification", "4"), ("event-notification", "5")]
    assert set(subscriber.logins) == {"Bearer secret"}
    notified = subscriber.told[1]
    assert notified["type"] == "history" and "Doe" not in json.dumps(subscriber.told)
    event = next(each for each in status_of(notified)["parameter"] if each["name"] == "notification-event")
    focus = next(each for each in event["part"] if each["name"] == "focus")
    assert focus["valueReference"]["reference"] == notified["entry"][1]["fullUrl"] == f"{FHIR}/DiagnosticReport/r1"
    assert value(status_of(notified), "subscription") == str({"reference": f"{FHIR}/Subscription/board"})


def test_what_is_told_is_right_to_the_checkers(tmp_path: Path) -> None:
    """With and without a report: a physician has to choose a lesion before there is one."""
    subscriber = Subscriber()
    with subscriber.listening() as url:
        sender = sender_to(url)
        sender.send(delivery_of(1), [REPORT])
        sender.send(delivery_of(2, ""), [Parcel("lesion-candidates.json", b"[]")])
    assert len(subscriber.told) == 3
    assert [issue for each in subscriber.told for issue in fhirkit.validate(each)] == []
    told = {f"{number}.json": json.dumps(each).encode() for number, each in enumerate(subscriber.told)}
    said = [each for each in said_of(tmp_path, told) if each["severity"] in ("error", "fatal", "warning")]
    assert said == []


def test_one_that_was_away_says_first_that_it_is_there() -> None:
    """The same notification again, under the same number."""
    subscriber = Subscriber()
    subscriber.statuses = [200, 503, 200, 200]
    with subscriber.listening() as url:
        sender = sender_to(url)
        assert reason(sender.send(delivery_of(1), [REPORT])) == ("PEER_UNAVAILABLE", False)
        assert reason(sender.send(delivery_of(1), [REPORT])) == ("", False)
    assert subscriber.seen == [("handshake", "0"), ("handshake", "0"), ("event-notification", "1")]


def test_one_who_is_told_only_what_needs_a_physician() -> None:
    subscriber = Subscriber()
    with subscriber.listening() as url:
        sender = sender_to(url, events=("physician.needed",))
        assert reason(sender.send(delivery_of(1), [REPORT])) == ("", False)
        assert reason(sender.send(delivery_of(2, ""), [Parcel("lesion-candidates.json", b"[]")])) == ("", False)
        asking = summary_of("segmentation.json", review_reasons=["unsure"])
        assert reason(sender.send(delivery_of(3), [REPORT, asking])) == ("", False)
    assert subscriber.seen == [("handshake", "1"), ("event-notification", "2"), ("event-notification", "3")]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (401, ("DESTINATION_ACCESS_DENIED", False)),
        (400, ("DELIVERY_REFUSED", True)),
        (302, ("DELIVERY_REFUSED", True)),
        (500, ("PEER_UNAVAILABLE", False)),
    ],
)
def test_a_subscriber_that_refuses_the_handshake_gets_nothing(status: int, wanted: tuple[str, bool]) -> None:
    subscriber = Subscriber()
    subscriber.statuses = [status]
    with subscriber.listening() as url:
        assert reason(sender_to(url).send(delivery_of(), [REPORT])) == wanted
    assert subscriber.told == []
