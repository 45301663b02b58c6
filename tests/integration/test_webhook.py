"""Webhooks, told to a receiver that checks the signature as the specification says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.edges.delivery.sending import Outcome, Parcel, events_of, settlement
from oncoresponse.edges.delivery.webhook import WebhookSender, secrets_of, signature
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.ehr_settings import WebhookDestination
from oncoresponse.v1 import delivery_pb2
from pydantic import ValidationError

from tests.integration.loopback_http import serving
from tests.integration.orthanc_server import free_port

REPORT, CANDIDATES = Parcel("report.json", b'{"patient": "Doe"}'), Parcel("lesion-candidates.json", b"[]")
EVENTS = {
    delivery_pb2.DELIVERY_EVENT_COMPLETED: "report.ready",
    delivery_pb2.DELIVERY_EVENT_SIGNED: "report.signed",
    delivery_pb2.DELIVERY_EVENT_AMENDED: "report.amended",
    delivery_pb2.DELIVERY_EVENT_WITHDRAWN: "report.withdrawn",
}


class Receiver:
    """Takes what is signed with one of its secrets; keeps it by id.

    Attributes:
        statuses: Answers to come; 204 when there is none left.
    """

    def __init__(self) -> None:
        self.secrets = [secrets.token_bytes(32)]
        self.statuses: list[int] = []
        self.taken: dict[str, dict[str, Any]] = {}
        self.came: list[bytes] = []

    def take(self, headers: Any, body: bytes) -> int:
        self.came.append(body)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        given = headers["webhook-signature"].split()
        wanted = [
            "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
            for secret in self.secrets
        ]
        if not set(given) & set(wanted):
            return 401
        status = self.statuses.pop(0) if self.statuses else 204
        if status < 300:
            self.taken[headers["webhook-id"]] = json.loads(body)
        return status


@contextmanager
def receiving(receiver: Receiver) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = receiver.take(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield f"{url}/hook?board=1"


def delivery_of(event: int = delivery_pb2.DELIVERY_EVENT_COMPLETED, version: int = 1) -> delivery_pb2.Delivery:
    made = delivery_pb2.Delivery(
        name=f"deliveries/{version}", assessment="assessments/a", report_version=version, event=event
    )
    made.create_time.FromJsonString("2026-11-27T12:00:00Z")
    made.report = "r1"
    return made


def write_secrets(path: Path, *values: bytes) -> Path:
    path.write_text("\n".join(f"whsec_{base64.b64encode(value).decode()}" for value in values))
    path.chmod(0o600)
    return path


def told(outcome: Outcome) -> tuple[str, bool]:
    failure = settlement(delivery_pb2.LeasedDelivery(delivery=delivery_of()), outcome).failure
    return failure.reason, failure.permanent


def test_the_worked_example_of_the_specification() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_is_told_once_and_names_no_patient(tmp_path: Path, event: int) -> None:
    receiver = Receiver()
    with receiving(receiver) as url:
        file = write_secrets(tmp_path / "secret", *receiver.secrets)
        sender = WebhookSender(WebhookDestination(kind="webhook", url=url, secret_file=file))
        for _ in range(2):
            assert told(sender.send(delivery_of(event), [REPORT])) == ("", False)
    (body,) = receiver.taken.values()
    assert body["type"] == EVENTS[event] and body["timestamp"] == "2026-11-27T12:00:00Z"
    assert body["data"] == {"assessment": "assessments/a", "report_version": 1, "report": "DiagnosticReport/r1"}
    assert not any(b"Doe" in each for each in receiver.came)


def summary_of(name: str, review_reasons: Sequence[str] = ()) -> Parcel:
    fields = {"method": "automatic", "volume_ml": 9, "component_count": 1, "touches_border": False, "device": "cpu"}
    review = {"needs_review": bool(review_reasons), "review_reasons": review_reasons}
    return Parcel(name, SegmentationSummary.model_validate(fields | review).model_dump_json().encode())


def test_a_physician_has_to_choose() -> None:
    assert events_of(delivery_of(), [CANDIDATES]) == ("physician.needed",)


def test_a_physician_has_to_look_at_a_contour(tmp_path: Path) -> None:
    """Beside the report, under an id of its own; where one was refused, both come again, under the same ids."""
    plain, asking = summary_of("segmentation-1.json"), summary_of("segmentation-2.json", review_reasons=["unsure"])
    assert events_of(delivery_of(), [REPORT, plain]) == ("report.ready",)
    receiver = Receiver()
    receiver.statuses = [204, 503]
    with receiving(receiver) as url:
        file = write_secrets(tmp_path / "secret", *receiver.secrets)
        sender = WebhookSender(WebhookDestination(kind="webhook", url=url, secret_file=file))
        sent = [REPORT, plain, asking]
        assert told(sender.send(delivery_of(), sent)) == ("PEER_UNAVAILABLE", False)
        assert told(sender.send(delivery_of(), sent)) == ("", False)
        signed = delivery_of(delivery_pb2.DELIVERY_EVENT_SIGNED, 2)
        assert told(sender.send(signed, sent)) == ("", False)
    assert [each["type"] for each in receiver.taken.values()] == ["report.ready", "physician.needed", "report.signed"]
    assert len(receiver.came) == 5


def test_only_wanted_events_are_told(tmp_path: Path) -> None:
    receiver = Receiver()
    with receiving(receiver) as url:
        file = write_secrets(tmp_path / "secret", *receiver.secrets)
        wanted = WebhookDestination(kind="webhook", url=url, secret_file=file, events=("physician.needed",))
        sender = WebhookSender(wanted)
        assert told(sender.send(delivery_of(), [REPORT])) == ("", False)
        assert told(sender.send(delivery_of(), [CANDIDATES])) == ("", False)
    assert [each["type"] for each in receiver.taken.values()] == ["physician.needed"]


def test_secrets_are_changed_without_a_pause(tmp_path: Path) -> None:
    """Both sign until the receiver knows the new one; one that is of neither is refused there."""
    receiver, new = Receiver(), secrets.token_bytes(32)
    with receiving(receiver) as url:
        file = write_secrets(tmp_path / "secret", *receiver.secrets, new)
        sender = WebhookSender(WebhookDestination(kind="webhook", url=url, secret_file=file))
        assert told(sender.send(delivery_of(), [REPORT])) == ("", False)
        receiver.secrets = [new]
        assert told(sender.send(delivery_of(version=2), [REPORT])) == ("", False)
        write_secrets(file, secrets.token_bytes(32))
        assert told(sender.send(delivery_of(version=3), [REPORT])) == ("DESTINATION_ACCESS_DENIED", False)
    assert len(receiver.taken) == 2


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (200, ("", False)),
        (202, ("", False)),
        (410, ("DELIVERY_REFUSED", True)),
        (400, ("DELIVERY_REFUSED", True)),
        (302, ("DELIVERY_REFUSED", True)),
        (429, ("PEER_UNAVAILABLE", False)),
        (500, ("PEER_UNAVAILABLE", False)),
    ],
)
def test_answers(tmp_path: Path, status: int, wanted: tuple[str, bool]) -> None:
    receiver = Receiver()
    receiver.statuses = [status]
    with receiving(receiver) as url:
        file = write_secrets(tmp_path / "secret", *receiver.secrets)
        sender = WebhookSender(WebhookDestination(kind="webhook", url=url, secret_file=file))
        assert told(sender.send(delivery_of(), [REPORT])) == wanted


def test_a_receiver_that_is_away_and_a_secret_that_is_none(tmp_path: Path) -> None:
    file = write_secrets(tmp_path / "secret", secrets.token_bytes(32))
    given = {"kind": "webhook", "url": f"http://127.0.0.1:{free_port()}/", "secret_file": file, "connect_seconds": 2.0}
    sender = WebhookSender(WebhookDestination(**given))
    assert told(sender.send(delivery_of(), [REPORT])) == ("PEER_UNAVAILABLE", False)
    for text in ("short", "whsec_" + base64.b64encode(bytes(8)).decode(), "whsec_???"):
        with pytest.raises(ConfigurationError):
            secrets_of(text)
    with pytest.raises(ConfigurationError, match="https"):
        WebhookDestination(kind="webhook", url="http://board.example/", secret_file=file).require_safe_sending(
            allow_insecure_network=False
        )
    with pytest.raises(ValidationError):
        WebhookDestination(**{**given, "url": "ftp://board.example/"})
