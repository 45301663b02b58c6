"""FHIR and authorization servers that are no help: away, slow, refusing, answering with what is no answer."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from oncoresponse.edges.delivery.fhir_push import FhirSender
from oncoresponse.edges.delivery.sending import Outcome, Parcel, settlement
from oncoresponse.edges.delivery.smart_login import SmartLogin
from oncoresponse.rpc.ehr_settings import FhirDestination, SmartBackend
from oncoresponse.v1 import delivery_pb2

from tests.integration.loopback_http import serving
from tests.integration.orthanc_server import free_port

Json = dict[str, Any]
OF_PATIENT = "Doe-4711"
SYSTEM = "urn:mrn"
SUBJECT = {"type": "Patient", "identifier": {"system": SYSTEM, "value": OF_PATIENT}}
REPORT = {
    "resourceType": "DiagnosticReport",
    "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1"}],
    "status": "preliminary",
    "code": {"text": "report"},
    "subject": SUBJECT,
}
ENTRY = {"fullUrl": "urn:uuid:2", "resource": REPORT, "request": {"method": "POST", "url": "DiagnosticReport"}}
BUNDLE = {"resourceType": "Bundle", "type": "transaction", "entry": [ENTRY]}
PARCEL = Parcel("report.json", json.dumps(BUNDLE).encode())
DELIVERY = delivery_pb2.Delivery(
    name="deliveries/1", assessment="assessments/a", report_version=1, event=delivery_pb2.DELIVERY_EVENT_COMPLETED
)
OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [
        {"severity": "error", "code": "value", "diagnostics": f"Patient {OF_PATIENT} is not known"},
        {"severity": "error", "code": OF_PATIENT},
        "no issue",
    ],
}


class Peer:
    """Answers as the test says; keeps what it was asked.

    Attributes:
        answers: By path, or method and path: status, body, headers; the last of several goes on for ever.
        asked: Method, path and headers of each request.
        seconds: It takes so long for each.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes, dict[str, str]]]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""
        self.seconds = 0.0

    def on(self, path: str, status: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(path, []).append((status, data, named))


@contextmanager
def running() -> Iterator[Peer]:
    peer, never = Peer(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            peer.asked.append((self.command, self.path, dict(self.headers)))
            answers = peer.answers.get(f"{self.command} {path}") or peer.answers.get(path, [(404, b"", {})])
            status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
            never.wait(peer.seconds)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as peer.url:
        yield peer


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "key.pem"
    secret = ec.generate_private_key(ec.SECP384R1())
    file.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    return file


def sender_to(url: str, smart: SmartBackend | None = None, **fields: Any) -> FhirSender:
    given = {"patient": "as-sent", "connect_seconds": 2.0, "idle_seconds": 5.0, **fields}
    login = None if smart is None else SmartLogin(smart, url, (2.0, given["idle_seconds"]))
    return FhirSender(FhirDestination(kind="fhir", url=url, smart=smart, **given), login)


def told(outcome: Outcome) -> delivery_pb2.SettleDeliveryRequest:
    return settlement(delivery_pb2.LeasedDelivery(delivery=DELIVERY), outcome)


def seen(outcome: Outcome) -> tuple[str, bool]:
    failure = told(outcome).failure
    assert OF_PATIENT not in failure.message
    return failure.reason, failure.permanent


def response(*statuses: str, kind: str = "transaction-response") -> Json:
    location = "DiagnosticReport/17/_history/1"
    entries = [{"response": {"status": status, "location": location}} for status in statuses]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


@pytest.mark.parametrize(
    ("status", "body", "wanted", "permanent"),
    [
        (200, response("201 Created"), "", False),
        (200, response("200"), "", False),
        # No evidence that anything is there.
        (200, b"", "DESTINATION_ANSWER_REFUSED", False),
        (200, b"<html>Log in</html>", "DESTINATION_ANSWER_REFUSED", False),
        (200, {}, "DESTINATION_ANSWER_REFUSED", False),
        (200, [1, 2], "DESTINATION_ANSWER_REFUSED", False),
        (200, b"[" * 100_000, "DESTINATION_ANSWER_REFUSED", False),
        (200, OUTCOME, "DESTINATION_ANSWER_REFUSED", False),
        (200, response(), "DESTINATION_ANSWER_REFUSED", False),
        (200, response("201", "201"), "DESTINATION_ANSWER_REFUSED", False),
        (200, response("422 Unprocessable"), "DESTINATION_ANSWER_REFUSED", False),
        (200, response("201", kind="batch-response"), "DESTINATION_ANSWER_REFUSED", False),
        (200, {**response("201"), "entry": [7]}, "DESTINATION_ANSWER_REFUSED", False),
        (200, {**response("201"), "entry": [{"response": {"status": 201}}]}, "DESTINATION_ANSWER_REFUSED", False),
        (200, json.dumps(response("201")).encode()[:-9], "DESTINATION_ANSWER_REFUSED", False),
        (200, bytes(17 * 1024**2), "DESTINATION_ANSWER_REFUSED", False),
        (202, b"", "DESTINATION_ANSWER_REFUSED", False),
        (301, b"", "DELIVERY_REFUSED", True),
        (307, b"", "DELIVERY_REFUSED", True),
        (400, OUTCOME, "DELIVERY_REFUSED", True),
        (401, OUTCOME, "DESTINATION_ACCESS_DENIED", False),
        (403, OUTCOME, "DESTINATION_ACCESS_DENIED", False),
        (404, OUTCOME, "DELIVERY_REFUSED", True),
        (405, OUTCOME, "DELIVERY_REFUSED", True),
        (408, b"", "PEER_UNAVAILABLE", False),
        (409, OUTCOME, "DELIVERY_REFUSED", False),
        (412, OUTCOME, "DELIVERY_REFUSED", True),
        (413, b"", "DELIVERY_REFUSED", True),
        (422, OUTCOME, "DELIVERY_REFUSED", True),
        (422, {"resourceType": "OperationOutcome", "issue": {"code": "value"}}, "DELIVERY_REFUSED", True),
        (429, b"", "PEER_UNAVAILABLE", False),
        (500, OUTCOME, "PEER_UNAVAILABLE", False),
        (503, b"", "PEER_UNAVAILABLE", False),
    ],
    ids=range(33),
)
def test_answers_to_a_transaction(
    peer: Peer, caplog: pytest.LogCaptureFixture, status: int, body: Any, wanted: str, permanent: bool
) -> None:
    """What the server says of patients is neither told nor logged; a redirect is not followed."""
    caplog.set_level(logging.DEBUG)
    with running() as elsewhere:
        peer.on("/fhir", status, body, Retry_After="7", Location=f"{elsewhere.url}/fhir")
        outcome = sender_to(f"{peer.url}/fhir/").send(DELIVERY, [PARCEL])
        assert elsewhere.asked == []
    assert seen(outcome) == (wanted, permanent)
    assert outcome.retry_after_seconds == (7.0 if status in (408, 409, 429, 500, 503) else None)
    assert OF_PATIENT not in caplog.text
    if wanted:
        assert outcome.files == {}
    else:
        assert outcome.receipt == {"DiagnosticReport": "DiagnosticReport/17"}
    if status == 422:
        assert ("(value)" in told(outcome).failure.message) == isinstance(body["issue"], list)


def test_a_date_to_come_back_at(peer: Peer) -> None:
    peer.on("/fhir", 503, Retry_After=format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True))
    peer.on("/fhir", 503, Retry_After="soon")
    peer.on("/fhir", 503, Retry_After="9" * 30)
    sender = sender_to(f"{peer.url}/fhir")
    found = [sender.send(DELIVERY, [PARCEL]).retry_after_seconds for _ in range(3)]
    assert 590 < found[0] <= 600
    assert found[1:] == [None, 86_400.0]


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (200, {"resourceType": "Bundle", "type": "searchset"}, "PATIENT_NOT_FOUND_AT_DESTINATION"),
        (200, b"<html>", "DESTINATION_ANSWER_REFUSED"),
        (200, {"resourceType": "Bundle", "type": "collection"}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"resourceType": "Patient", "id": "1"}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"resourceType": "Bundle", "type": "searchset", "entry": {}}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"resourceType": "Bundle", "type": "searchset", "entry": [7]}, "PATIENT_NOT_FOUND_AT_DESTINATION"),
        (400, OUTCOME, "DELIVERY_REFUSED"),
        (403, OUTCOME, "DESTINATION_ACCESS_DENIED"),
        (503, OUTCOME, "PEER_UNAVAILABLE"),
    ],
    ids=range(9),
)
def test_answers_to_the_search_for_a_patient(peer: Peer, status: int, body: Any, wanted: str) -> None:
    """Nothing is sent without a patient."""
    peer.on("/fhir/Patient", status, body)
    outcome = sender_to(f"{peer.url}/fhir", patient="search").send(DELIVERY, [PARCEL])
    assert seen(outcome)[0] == wanted
    assert [method for method, _, _ in peer.asked] == ["GET"]


def searchset(*patients: Json, **more: Any) -> Json:
    entries = [{"resource": {"resourceType": "Patient", **each}} for each in patients]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries, **more}


def test_a_server_that_ignores_what_it_does_not_know(peer: Peer) -> None:
    """Everybody is no answer to a search for one: those that do not hold the identifier do not count."""
    own = {"system": SYSTEM, "value": OF_PATIENT}
    others = [
        {"id": "1", "identifier": [{"system": SYSTEM, "value": "1"}]},
        {"id": "2", "identifier": [{"system": "urn:other", "value": OF_PATIENT}]},
        {"id": "3", "identifier": [{"value": OF_PATIENT}], "name": [{"text": OF_PATIENT}]},
        {"id": "4", "identifier": "none"},
    ]
    path = f"{peer.url}/fhir"
    more = {"link": [{"relation": "next", "url": f"{peer.url}/more"}]}
    for answer, wanted in (
        (searchset(*others), "PATIENT_NOT_FOUND_AT_DESTINATION"),
        (searchset(*others, {"id": "5", "identifier": [own]}, **more), "PATIENT_AMBIGUOUS_AT_DESTINATION"),
        (
            searchset({"id": "5", "identifier": [own]}, {"id": "6", "identifier": [own]}),
            "PATIENT_AMBIGUOUS_AT_DESTINATION",
        ),
        (searchset({"id": "../5", "identifier": [own]}), "DESTINATION_ANSWER_REFUSED"),
    ):
        peer.answers.pop("/fhir/Patient", None)
        peer.on("/fhir/Patient", 200, answer)
        outcome = sender_to(path, patient="search").send(DELIVERY, [PARCEL])
        assert seen(outcome) == (wanted, False)
        assert told(outcome).failure.hold == wanted.startswith("PATIENT")
    assert {method for method, _, _ in peer.asked} == {"GET"}
    peer.answers.clear()
    peer.on("/fhir/Patient", 200, searchset(*others, {"id": "5", "identifier": [own]}))
    peer.on("/fhir", 200, response("201"))
    assert seen(sender_to(path, patient="search").send(DELIVERY, [PARCEL])) == ("", False)


def test_signs_of_a_search_in_an_identifier(peer: Peer) -> None:
    r"""``,``, ``|``, ``$`` and ``\`` of a value are no signs of the search."""
    value = "4711,4712|x$y\\z&_count=0"
    bundle = json.loads(PARCEL.data)
    bundle["entry"][0]["resource"]["subject"] = {"identifier": {"system": SYSTEM, "value": value}, "type": "Patient"}
    peer.on("/fhir/Patient", 200, searchset({"id": "5", "identifier": [{"system": SYSTEM, "value": value}]}))
    peer.on("/fhir", 200, response("201"))
    sender = sender_to(f"{peer.url}/fhir", patient="search")
    assert seen(sender.send(DELIVERY, [Parcel("report.json", json.dumps(bundle).encode())])) == ("", False)
    query = peer.asked[0][1].partition("?")[2]
    assert "identifier=urn%3Amrn%7C4711%5C%2C4712%5C%7Cx%5C%24y%5C%5Cz%26_count%3D0&" in query


@pytest.mark.parametrize("what", ["header", "body", "cut", "closed", "endless header"])
def test_a_server_that_drips_or_breaks_off(what: str) -> None:
    stopped = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            if what == "closed":
                return
            start = (
                b"HTTP/1.1 200 OK\r\nX-Slow: "
                if "header" in what
                else b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"
            )
            connection.sendall(start)
            if what == "cut":
                return
            while not stopped.wait(0 if what == "endless header" else 0.05):
                try:
                    connection.sendall(b"a" * 65536 if what == "endless header" else b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        sender = sender_to(f"http://127.0.0.1:{server.getsockname()[1]}", idle_seconds=0.4)
        outcome = sender.send(DELIVERY, [PARCEL])
        stopped.set()
        thread.join()
    wanted = "DESTINATION_ANSWER_REFUSED" if what == "endless header" else "PEER_UNAVAILABLE"
    assert seen(outcome) == (wanted, False)


def test_a_server_that_is_slow(peer: Peer) -> None:
    """Each answer has its time: several together may take longer."""
    own = {"system": SYSTEM, "value": OF_PATIENT}
    peer.on("/fhir/Patient", 200, searchset({"id": "5", "identifier": [own]}))
    peer.on("/fhir", 200, response("201"))
    peer.seconds = 0.5
    sender = sender_to(f"{peer.url}/fhir", patient="search", idle_seconds=0.9)
    assert seen(sender.send(DELIVERY, [PARCEL])) == ("", False)
    peer.seconds = 1.5
    assert seen(sender.send(DELIVERY, [PARCEL])) == ("PEER_UNAVAILABLE", False)


def test_a_server_that_is_away(key: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert seen(sender_to(url).send(DELIVERY, [PARCEL])) == ("PEER_UNAVAILABLE", False)
    smart = SmartBackend(client_id="a", key_file=key, scope="s", token_url=f"{url}/token")
    assert seen(sender_to(url, smart).send(DELIVERY, [PARCEL])) == ("PEER_UNAVAILABLE", False)


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (200, b"<html>", "DESTINATION_ANSWER_REFUSED"),
        (200, {}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"access_token": "a"}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"access_token": "a", "token_type": "mac"}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"access_token": "", "token_type": "bearer"}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"access_token": "a\r\nX-Evil: 1", "token_type": "bearer"}, "DESTINATION_ANSWER_REFUSED"),
        (200, {"access_token": 7, "token_type": "bearer"}, "DESTINATION_ANSWER_REFUSED"),
        (302, b"", "DELIVERY_REFUSED"),
        (400, {"error": "invalid_scope", "error_description": OF_PATIENT}, "DESTINATION_ACCESS_DENIED"),
        (400, {"error": OF_PATIENT}, "DESTINATION_ACCESS_DENIED"),
        (401, b"", "DESTINATION_ACCESS_DENIED"),
        (429, b"", "PEER_UNAVAILABLE"),
        (503, b"", "PEER_UNAVAILABLE"),
    ],
    ids=range(13),
)
def test_answers_to_an_assertion(peer: Peer, key: Path, status: int, body: Any, wanted: str) -> None:
    """Without a token nothing is sent; the assertion goes nowhere else."""
    with running() as elsewhere:
        peer.on("/token", status, body, Location=f"{elsewhere.url}/token", Retry_After="9")
        smart = SmartBackend(client_id="a", key_file=key, scope="s", token_url=f"{peer.url}/token")
        outcome = sender_to(f"{peer.url}/fhir", smart).send(DELIVERY, [PARCEL])
        assert elsewhere.asked == []
    assert seen(outcome)[0] == wanted
    assert [path for _, path, _ in peer.asked] == ["/token"]
    assert outcome.retry_after_seconds == (9.0 if status in (429, 503) else None)


@pytest.mark.parametrize("expires_in", [None, True, -1, "soon", 1e300, 0.001])
def test_a_token_whose_life_is_not_said(peer: Peer, key: Path, expires_in: Any) -> None:
    peer.on("/token", 200, {"access_token": "abc", "token_type": "Bearer", "expires_in": expires_in})
    peer.on("/fhir", 200, response("201"))
    smart = SmartBackend(client_id="a", key_file=key, scope="s", token_url=f"{peer.url}/token")
    assert seen(sender_to(f"{peer.url}/fhir", smart).send(DELIVERY, [PARCEL])) == ("", False)
    assert peer.asked[-1][2]["Authorization"] == "Bearer abc"


def test_other_logins(peer: Peer, tmp_path: Path) -> None:
    """Of the settings, and none of the environment."""
    secret = tmp_path / "secret"
    secret.write_text("abc")
    secret.chmod(0o600)
    peer.on("/fhir", 200, response("201"))
    url = f"{peer.url}/fhir"
    for fields, shown in (
        ({"token_file": secret}, "Bearer abc"),
        ({"user": "a", "password_file": secret}, "Basic YTphYmM="),
        ({}, None),
    ):
        assert seen(sender_to(url, **fields).send(DELIVERY, [PARCEL])) == ("", False)
        assert peer.asked[-1][2].get("Authorization") == shown
    secret.chmod(0o644)
    assert seen(sender_to(url, token_file=secret).send(DELIVERY, [PARCEL])) == ("CONFIGURATION_INVALID", False)


STUDY = {"resourceType": "ImagingStudy", "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2"}]}
STUDY_ENTRY = {
    "fullUrl": "urn:uuid:3",
    "resource": {**STUDY, "status": "available", "series": [{"uid": "1.2.1"}]},
    "request": {"method": "POST", "url": "ImagingStudy", "ifNoneExist": "identifier=urn:dicom:uid|urn:oid:1.2"},
}
WITH_STUDY = [Parcel("report.json", json.dumps({**BUNDLE, "entry": [ENTRY, STUDY_ENTRY]}).encode())]


@pytest.mark.parametrize(
    ("status", "found", "answer", "wanted"),
    [
        # Read and updated; changed in between, and tried again.
        (200, [{**STUDY, "id": "8", "meta": {"versionId": "3"}}], 200, ("", False)),
        (200, [{**STUDY, "id": "8", "meta": {"versionId": "3"}}], 412, ("DELIVERY_REFUSED", False)),
        # Not offered, not there, another, twice: as it is, and a refusal is about something else.
        (403, [], 200, ("", False)),
        (200, [], 412, ("DELIVERY_REFUSED", True)),
        (200, [{**STUDY, "identifier": [], "id": "8"}], 412, ("DELIVERY_REFUSED", True)),
        (200, [{**STUDY, "id": "8"}, {**STUDY, "id": "9"}], 412, ("DELIVERY_REFUSED", True)),
        (200, [7], 200, ("DESTINATION_ANSWER_REFUSED", False)),
        (503, [], 200, ("PEER_UNAVAILABLE", False)),
        (401, [], 200, ("DESTINATION_ACCESS_DENIED", False)),
    ],
    ids=range(9),
)
def test_answers_to_the_search_for_the_study(
    peer: Peer, status: int, found: list[Any], answer: int, wanted: tuple[str, bool]
) -> None:
    entries = [{"resource": each} for each in found]
    peer.on("GET /fhir/ImagingStudy", status, {"resourceType": "Bundle", "type": "searchset", "entry": entries})
    peer.on("POST /fhir", answer, response("201", "200") if answer == 200 else OUTCOME)
    assert seen(sender_to(f"{peer.url}/fhir").send(DELIVERY, WITH_STUDY)) == wanted


DOCUMENT = [PARCEL, Parcel("report.pdf", b"%PDF")]
FOUND_NONE = {"resourceType": "Bundle", "type": "searchset"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "wanted"),
    [
        (201, b"", {"Location": "https://ehr.example/fhir/DocumentReference/9/_history/1"}, ""),
        (200, {"resourceType": "DocumentReference", "id": "9"}, {}, ""),
        (200, b"<html>", {}, "DESTINATION_ANSWER_REFUSED"),
        (201, {"resourceType": "Patient", "id": "9"}, {}, "DESTINATION_ANSWER_REFUSED"),
        (412, OUTCOME, {}, "DELIVERY_REFUSED"),
    ],
    ids=range(5),
)
def test_answers_to_a_document(peer: Peer, status: int, body: Any, headers: dict[str, str], wanted: str) -> None:
    peer.on("GET /fhir/DocumentReference", 200, FOUND_NONE)
    peer.on("POST /fhir/DocumentReference", status, body, **headers)
    outcome = sender_to(f"{peer.url}/fhir", form="document").send(DELIVERY, DOCUMENT)
    assert seen(outcome)[0] == wanted
    assert peer.asked[1][2]["If-None-Exist"].startswith("identifier=urn:ietf:rfc:3986|urn:uuid:")
    assert outcome.receipt == ({} if wanted else {"DocumentReference": "DocumentReference/9"})


@pytest.mark.parametrize(("status", "permanent"), [(409, False), (412, False), (403, False), (405, True), (503, False)])
def test_a_document_that_cannot_be_superseded(peer: Peer, status: int, permanent: bool) -> None:
    """The new one is there; the delivery says what is lacking, and a repeat does the rest."""
    second = delivery_pb2.Delivery()
    second.CopyFrom(DELIVERY)
    second.report_version, second.event = 2, delivery_pb2.DELIVERY_EVENT_SIGNED
    sender = sender_to(f"{peer.url}/fhir", form="document")
    with running() as probe:
        # The identifier of version 1, as the sender makes it.
        probe.on("GET /fhir/DocumentReference", 200, FOUND_NONE)
        sender_to(f"{probe.url}/fhir", form="document").send(DELIVERY, DOCUMENT)
        identifier = probe.asked[1][2]["If-None-Exist"].partition("|")[2]
    before = {"resourceType": "DocumentReference", "id": "8", "status": "current", "meta": {"versionId": "3"}}
    before["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": identifier}]
    found = {**FOUND_NONE, "entry": [{"resource": before}]}
    peer.on("GET /fhir/DocumentReference", 200, found)
    peer.on("POST /fhir/DocumentReference", 200, {"resourceType": "DocumentReference", "id": "9"})
    peer.on("/fhir/DocumentReference/8", status, OUTCOME)
    peer.on("/fhir/DocumentReference/8", 200, before)
    outcome = sender.send(second, DOCUMENT)
    assert seen(outcome)[1] == permanent and seen(outcome)[0] != ""
    assert seen(sender.send(second, DOCUMENT)) == ("", False)
    updates = [headers for method, _, headers in peer.asked if method == "PUT"]
    assert [headers["If-Match"] for headers in updates] == ['W/"3"'] * 2


@pytest.mark.parametrize(
    "entry",
    [7, {}, {"resource": {"resourceType": "DocumentReference", "id": 8}}, {"resource": None}],
    ids=range(4),
)
def test_answers_to_a_search_for_documents(peer: Peer, entry: Any) -> None:
    withdrawn = delivery_pb2.Delivery()
    withdrawn.CopyFrom(DELIVERY)
    withdrawn.report_version, withdrawn.event = 2, delivery_pb2.DELIVERY_EVENT_WITHDRAWN
    peer.on("/fhir/DocumentReference", 200, {**FOUND_NONE, "entry": [entry]})
    outcome = sender_to(f"{peer.url}/fhir", form="document").send(withdrawn, DOCUMENT)
    assert seen(outcome) == ("DESTINATION_ANSWER_REFUSED", False)


def test_artifacts_that_are_none(peer: Peer) -> None:
    sender = sender_to(f"{peer.url}/fhir")
    for data in (b"", b"[]", b"{}", b'{"resourceType": "Bundle"}'):
        assert seen(sender.send(DELIVERY, [Parcel("report.json", data)])) == ("DELIVERY_REFUSED", True)
    assert seen(sender_to(f"{peer.url}/fhir", form="document").send(DELIVERY, [PARCEL])) == ("DELIVERY_REFUSED", True)
    assert peer.asked == []
