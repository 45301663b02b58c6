"""Reports sent by MLLP to a receiver built on another library (hl7apy), which checks each message by the standard."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import hl7
import pytest
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message
from oncoresponse.edges.delivery.hl7_messages import PatientInImages, ReportVersion, message_of
from oncoresponse.edges.delivery.hl7_push import Hl7Sender
from oncoresponse.edges.delivery.hl7_segments import add_segment, empty_message, timestamp
from oncoresponse.edges.delivery.sending import Outcome, Parcel, settlement
from oncoresponse.errors import ConfigurationError
from oncoresponse.reporting.compose import Report
from oncoresponse.rpc.ehr_settings import MllpDestination
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import delivery_pb2
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.integration.orthanc_server import free_port
from tests.integration.test_fhir_server import sample, versions_of

pet_series, pet, ct, mask, model = sample.pet_series, sample.pet, sample.ct, sample.mask, sample.model
make_context, report, abstaining_report = sample.make_context, sample.report, sample.abstaining_report
two_lesions, make_two_lesions, two_lesion_report = sample.two_lesions, sample.make_two_lesions, sample.two_lesion_report

Json = dict[str, Any]
PDF = b"%PDF-1.7 " + bytes(range(256)) * 4
LARGE_PDF = PDF * 100
NAME = "Müller-Ørsted^Zoë|O'Brien^Anna & Co~^Dr.^Jr.=山田^太郎"


class Receiver:
    """What came, by MSH-10, and what is answered next.

    Attributes:
        answers: For each message to come: ``AA``, ``AE 207`` and so on, ``lost`` for a connection that is cut when the
            message is filed, or an acknowledgement as it is sent; ``AA`` when there is none left.
        filed: Messages that were filed, by control ID.
        came: How many came.
    """

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.filed: dict[str, str] = {}
        self.faults: list[str] = []
        self.came = 0
        self.port = 0

    def take(self, text: str) -> str:
        self.came += 1
        message = parse_message(text, find_groups=True)
        try:
            message.validate()
        except Exception as fault:
            self.faults.append(str(fault))
            raise
        control_id = message.msh.msh_10.value
        answer = self.answers.pop(0) if self.answers else "AA"
        if answer.startswith("\x0b"):
            return answer
        if answer in ("AA", "CA", "lost"):
            # One that is known already is acknowledged, and not filed twice.
            self.filed.setdefault(control_id, text)
        if answer == "lost":
            raise ConnectionAbortedError
        code, *error = answer.split()
        made = f"MSH|^~\\&|EHR|||| 20261126||ACK^R01^ACK|1|P|2.5.1\rMSA|{code}|{control_id}|Doe, Jane\r"
        if error:
            made += f"ERR||{error[1] if len(error) > 1 else ''}|{error[0]}^text|E||||Doe, Jane\r"
        return f"\x0b{made}\x1c\r"


@contextmanager
def receiving(context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(AbstractHandler):
        def reply(self) -> str:
            return receiver.take(self.incoming_message)

    kinds = ("ORU^R01^ORU_R01", "MDM^T02^MDM_T02", "MDM^T10^MDM_T02", "MDM^T11^MDM_T01")
    server = MLLPServer("127.0.0.1", port, dict.fromkeys(kinds, (Handler,)))
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sender_to(port: int, host: str = "127.0.0.1", **fields: Any) -> Hl7Sender:
    given = {"assigning_authority": "NORTH&1.2.3&ISO", "connect_seconds": 5.0, "idle_seconds": 20.0, **fields}
    return Hl7Sender(MllpDestination(kind="mllp", address=f"{host}:{port}", **given))


def as_delivery(version: int = 1) -> delivery_pb2.Delivery:
    return delivery_pb2.Delivery(
        name=f"deliveries/{version}", assessment="assessments/0190b5c0-assessment", report_version=version
    )


def an_object(name: str) -> bytes:
    """An object of the study, as far as the sender looks at it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.104.1", generate_uid()
    made = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName, made.PatientBirthDate, made.PatientSex, made.AccessionNumber = name, "19500102", "F", "ACC^1"
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def parcels(bundle: Json, pdf: bytes = PDF) -> list[Parcel]:
    return [
        Parcel("encapsulated-report.dcm", an_object(NAME)),
        Parcel("report.json", json.dumps(bundle).encode()),
        Parcel("report.pdf", pdf),
    ]


def told(outcome: Outcome) -> delivery_pb2.SettleDeliveryRequest:
    return settlement(delivery_pb2.LeasedDelivery(delivery=as_delivery()), outcome)


def reason(outcome: Outcome) -> str:
    return told(outcome).failure.reason


@pytest.fixture(scope="module")
def bundles_of() -> dict[int, list[Json]]:
    return {}


@pytest.fixture
def bundles(report: Report, bundles_of: dict[int, list[Json]]) -> list[Json]:
    """Of versions 1 to 4: preliminary, final, amended, withdrawn."""
    if not bundles_of:
        bundles_of[1] = [json.loads(report.bundle_json), *versions_of(report)]
    return bundles_of[1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found
        assert found.faults == []


def fields_of(text: str, name: str) -> list[list[str]]:
    """Segments of a name, field by field, as they stand."""
    return [line.split("|") for line in text.split("\r") if line.startswith(f"{name}|")]


def test_results_arrive_as_they_are(receiver: Receiver, bundles: list[Json]) -> None:
    """Escapes, characters and the page, read by the library that did not write them."""
    outcome = sender_to(receiver.port).send(as_delivery(), parcels(bundles[0], LARGE_PDF))
    assert reason(outcome) == "" and all(file.stored for file in outcome.files.values())
    (text,) = receiver.filed.values()
    message = parse_message(text)
    assert message.msh.msh_9.value == "ORU^R01^ORU_R01"
    assert (message.msh.msh_12.value, message.msh.msh_18.value) == ("2.5.1", "UNICODE UTF-8")
    assert len(message.msh.msh_10.value) == 20
    read = hl7.parse(text)
    (pid,) = fields_of(text, "PID")
    assert pid[3] == "STS_019^^^NORTH&1.2.3&ISO^MR" and pid[7:9] == ["19500102", "F"]
    # Letters beyond ASCII stand for themselves, the others come back by unescaping.
    family, given, middle, suffix, prefix, *_ = (read.unescape(part) for part in pid[5].split("^"))
    assert (family, given, middle) == ("Müller-Ørsted", "Zoë|O'Brien", "Anna & Co~")
    assert (suffix, prefix) == ("Jr.", "Dr.")
    (obr,) = fields_of(text, "OBR")
    assert obr[25] == "P" and read.unescape(obr[18]) == "ACC^1" and obr[24] == "RAD"
    results = fields_of(text, "OBX")
    page = results[0]
    assert page[2] == "ED" and page[3].startswith("18748-4^")
    source, kind, subtype, encoding, data = page[5].split("^")
    assert (source, kind, subtype, encoding) == ("", "AP", "PDF", "Base64")
    assert base64.b64decode(data, validate=True) == LARGE_PDF
    conclusion = next(each for each in results if each[2] == "FT")
    said = next(e["resource"] for e in bundles[0]["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
    assert read.unescape(conclusion[5]).split("\r") == said["conclusion"].strip("\n").split("\n")
    assert {each[11] for each in results} == {"P"}
    values = {each[3].split("^")[0]: each for each in results if each[2] == "NM"}
    probability = values["predicted-response-probability"]
    assert (probability[5], probability[6]) == ("73.4", "%^%^UCUM")
    # Each value stands once for its code and part.
    named = [(each[3], each[4]) for each in results[2:] if not each[3].startswith("121401")]
    assert len(named) == len(set(named)) > 5


@pytest.mark.parametrize("kind", ["abstaining_report", "two_lesion_report"])
def test_reports_without_a_call_and_of_two_lesions(request: pytest.FixtureRequest, kind: str) -> None:
    """Each message is what the standard says; no value stands for a call that was not made, and lesions are apart."""
    bundle = json.loads(request.getfixturevalue(kind).bundle_json)
    version = ReportVersion("deliveries/1", "assessments/a", 1, bundle, PDF, PatientInImages())
    text = message_of(version, MllpDestination(kind="mllp", address="127.0.0.1:1")).decode()
    parse_message(text, find_groups=True).validate()
    (pid,) = fields_of(text, "PID")
    assert pid[5] == "^^^^^^U"
    results = fields_of(text, "OBX")
    (probability,) = (each for each in results if each[3].startswith("predicted-response-probability^"))
    if kind == "abstaining_report":
        assert (probability[2], probability[5], probability[11]) == ("", "", "X")
        return
    volumes = [each for each in results if each[3].startswith("118565006^")]
    assert [each[4] for each in volumes] == ["1", "2"]
    assert ["lesion 1" in each[3] for each in volumes] == [True, False] and "lesion 2" in volumes[1][3]


@pytest.mark.parametrize(
    ("identifier", "authority"),
    [
        ({}, "NORTH&1.2.3&ISO"),
        ({"assigner": {"display": "SOUTH"}}, "S&4.5&ISO"),
        # The same number of another hospital is another patient, so nothing of ours is said of it.
        ({"assigner": {"display": "ELSEWHERE"}}, "ELSEWHERE"),
        ({"assigner": {"display": "ELSEWHERE"}, "system": "urn:oid:7.8"}, "ELSEWHERE&7.8&ISO"),
        (
            {"assigner": {"display": "ELSEWHERE"}, "system": "https://else.example"},
            "ELSEWHERE&https://else.example&URI",
        ),
        ({"system": "urn:oid:7.8"}, "&7.8&ISO"),
        ({"system": "https://mrn.example"}, "NORTH&1.2.3&ISO"),
    ],
)
def test_whose_the_patient_identifier_is(report: Report, identifier: Json, authority: str) -> None:
    bundle = json.loads(report.bundle_json)
    for entry in bundle["entry"]:
        if "subject" in entry["resource"]:
            entry["resource"]["subject"] = {"type": "Patient", "identifier": {"value": "7", **identifier}}
    version = ReportVersion("deliveries/1", "assessments/a", 1, bundle, PDF, PatientInImages())
    settings = {"assigning_authority": "NORTH&1.2.3&ISO", "assigning_authorities": {"SOUTH": "S&4.5&ISO"}}
    text = message_of(version, MllpDestination(kind="mllp", address="127.0.0.1:1", **settings)).decode()
    (pid,) = fields_of(text, "PID")
    assert pid[3] == f"7^^^{authority}^MR"


@pytest.mark.parametrize("form", ["oru", "mdm"])
def test_versions_and_their_statuses(receiver: Receiver, bundles: list[Json], form: str) -> None:
    sender = sender_to(receiver.port, form=form)
    for number, bundle in enumerate(bundles, start=1):
        assert reason(sender.send(as_delivery(number), parcels(bundle))) == ""
    texts = list(receiver.filed.values())
    assert len(texts) == 4
    events = [fields_of(text, "MSH")[0][8] for text in texts]
    if form == "oru":
        assert set(events) == {"ORU^R01^ORU_R01"}
        assert [fields_of(text, "OBR")[0][25] for text in texts] == ["P", "F", "C", "C"]
        assert [{each[11] for each in fields_of(text, "OBX")} for text in texts] == [{"P"}, {"F"}, {"C"}, {"W"}]
        assert len({fields_of(text, "OBR")[0][3] for text in texts}) == 1
        assert "Dr. Ada" in fields_of(texts[1], "OBR")[0][32]
        # Each value that was ever filed is named as wrong, and none remains.
        withdrawn = fields_of(texts[3], "OBX")
        assert [each[2] for each in withdrawn[:2]] == ["ED", "FT"]
        assert {each[5] for each in withdrawn[2:]} == {'""'}
        for text in texts[:3]:
            assert {(each[3], each[4]) for each in fields_of(text, "OBX")} <= {(e[3], e[4]) for e in withdrawn}
        return
    assert events == ["MDM^T02^MDM_T02", "MDM^T10^MDM_T02", "MDM^T10^MDM_T02", "MDM^T11^MDM_T01"]
    documents = [fields_of(text, "TXA")[0] for text in texts]
    assert [each[12].split("^")[0][-2:] for each in documents] == [".1", ".2", ".3", ".3"]
    # What each replaces.
    assert documents[1][13] == documents[0][12] and documents[2][13] == documents[1][12]
    assert [each[17] for each in documents] == ["DO", "AU", "AU", "AU"]
    assert [each[19] for each in documents] == ["AV", "AV", "AV", "CA"]
    assert "Dr. Ada" in documents[1][22]
    assert [len(fields_of(text, "OBX")) for text in texts] == [1, 1, 1, 0]


def test_a_withdrawn_document_may_be_replaced(receiver: Receiver, bundles: list[Json]) -> None:
    outcome = sender_to(receiver.port, form="mdm", withdraw_by="T10").send(as_delivery(4), parcels(bundles[3]))
    assert reason(outcome) == ""
    (text,) = receiver.filed.values()
    assert fields_of(text, "MSH")[0][8] == "MDM^T10^MDM_T02"
    assert [each[11] for each in fields_of(text, "OBX")] == ["W"]


def test_an_acknowledgement_that_is_lost(receiver: Receiver, bundles: list[Json]) -> None:
    """The same bytes again, under the same MSH-10: nothing is doubled."""
    sender = sender_to(receiver.port)
    receiver.answers = ["lost", "lost"]
    for wanted in ("PEER_UNAVAILABLE", "PEER_UNAVAILABLE", ""):
        outcome = sender.send(as_delivery(), parcels(bundles[0]))
        assert (reason(outcome), told(outcome).failure.permanent) == (wanted, False)
    assert receiver.came == 3 and len(receiver.filed) == 1
    destination = MllpDestination(kind="mllp", address="127.0.0.1:1")
    version = ReportVersion("deliveries/1", "assessments/a", 1, bundles[0], PDF, PatientInImages())
    assert message_of(version, destination) == message_of(version, destination)
    # What was acknowledged is not sent again.
    done = [Parcel(each.file_name, each.data, stored=True) for each in parcels(bundles[0])]
    assert reason(sender.send(as_delivery(), done)) == "" and receiver.came == 3


@pytest.mark.parametrize(
    ("answer", "wanted", "permanent", "hold"),
    [
        ("CA", "", False, False),
        ("AE", "DELIVERY_REFUSED", True, False),
        ("CE 101", "DELIVERY_REFUSED", True, False),
        ("AE 207", "PEER_UNAVAILABLE", False, False),
        ("AE 206", "PEER_UNAVAILABLE", False, False),
        ("AE 204 PID^1^3", "PATIENT_NOT_FOUND_AT_DESTINATION", False, True),
        ("AE 204 OBR^1^4", "DELIVERY_REFUSED", True, False),
        ("AR", "PEER_UNAVAILABLE", False, False),
        ("CR 207", "PEER_UNAVAILABLE", False, False),
        ("AR 200", "DELIVERY_REFUSED", True, False),
        ("AR 203", "DELIVERY_REFUSED", True, False),
        ("XX", "DESTINATION_ANSWER_REFUSED", False, False),
        ("\x0bMSH|^~\\&|||||||ACK|1|P|2.5.1\rMSA|AA|another\r\x1c\r", "DESTINATION_ANSWER_REFUSED", False, False),
        ("\x0bMSH|^~\\&|||||||ACK|1|P|2.5.1\r\x1c\r", "DESTINATION_ANSWER_REFUSED", False, False),
        ("\x0bMSA|AA\r\x1c\r", "DESTINATION_ANSWER_REFUSED", False, False),
        ("\x0b\x1c\r", "DESTINATION_ANSWER_REFUSED", False, False),
        ("\x0bMSH|^~\\&|\rMSA|AA|half of it", "PEER_UNAVAILABLE", False, False),
        ("\x0b" + "x" * 2**21, "DESTINATION_ANSWER_REFUSED", False, False),
    ],
    ids=range(18),
)
def test_acknowledgements(
    receiver: Receiver, bundles: list[Json], answer: str, wanted: str, permanent: bool, hold: bool
) -> None:
    receiver.answers = [answer]
    outcome = sender_to(receiver.port).send(as_delivery(), parcels(bundles[0]))
    failure = told(outcome).failure
    assert (failure.reason, failure.permanent, failure.hold) == (wanted, permanent, hold)
    assert "Doe" not in failure.message
    assert all(file.stored for file in outcome.files.values()) and bool(outcome.files) == (not wanted)


def test_receivers_that_are_none(bundles: list[Json]) -> None:
    """Away, silent, and a web server."""
    sent = parcels(bundles[0])
    assert reason(sender_to(free_port()).send(as_delivery(), sent)) == "PEER_UNAVAILABLE"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = sender_to(silent.getsockname()[1], idle_seconds=0.3)
        assert reason(sender.send(as_delivery(), sent)) == "PEER_UNAVAILABLE"

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(64)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\x1c\r")
            while connection.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as web:
        thread = threading.Thread(target=answer, args=(web,))
        thread.start()
        outcome = sender_to(web.getsockname()[1]).send(as_delivery(), sent)
        thread.join()
    assert reason(outcome) in ("DESTINATION_ANSWER_REFUSED", "PEER_UNAVAILABLE")


def test_a_receiver_that_drips(bundles: list[Json]) -> None:
    """One byte now and then is no acknowledgement: the time is that of the whole."""
    stopped = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while not stopped.wait(0.05):
                try:
                    connection.sendall(b"\x0b")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        outcome = sender_to(server.getsockname()[1], idle_seconds=0.4).send(as_delivery(), parcels(bundles[0]))
        stopped.set()
        thread.join()
    assert reason(outcome) == "PEER_UNAVAILABLE"


def test_a_report_without_a_patient_identifier_is_held(receiver: Receiver, bundles: list[Json]) -> None:
    bundle = json.loads(json.dumps(bundles[0]))
    for entry in bundle["entry"]:
        if "subject" in entry["resource"]:
            entry["resource"]["subject"] = {"reference": "Patient/1", "type": "Patient"}
    outcome = sender_to(receiver.port).send(as_delivery(), parcels(bundle))
    assert (reason(outcome), told(outcome).failure.hold) == ("PATIENT_NOT_FOUND_AT_DESTINATION", True)
    assert receiver.came == 0


def test_over_tls(bundles: list[Json], make_authority: Callable[[str], Any]) -> None:
    """A receiver that asks for a certificate; without one, or with another authority, nothing is sent."""
    hospital, elsewhere = make_authority("hospital"), make_authority("elsewhere")
    certificate, key = hospital.issue("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=hospital.file)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = dict(zip(("tls_certificate", "tls_key"), hospital.issue("oncoresponse", usage="client"), strict=True))
    theirs = dict(zip(("tls_certificate", "tls_key"), elsewhere.issue("oncoresponse", usage="client"), strict=True))
    with receiving(context) as receiver:
        sent = parcels(bundles[0])
        good = sender_to(receiver.port, "localhost", tls_authority=hospital.file, **ours)
        assert reason(good.send(as_delivery(), sent)) == "" and receiver.came == 1
        for fields in (
            {"tls_authority": elsewhere.file, **ours},
            {"tls_authority": hospital.file, **theirs},
            {"tls_authority": hospital.file},
            {"tls_authority": hospital.file, "host": "127.0.0.1", **ours},
            {},
        ):
            sender = sender_to(receiver.port, **{"host": "localhost", "idle_seconds": 2.0, **fields})
            assert reason(sender.send(as_delivery(), sent)) in ("TLS_HANDSHAKE_FAILED", "PEER_UNAVAILABLE")
        assert receiver.came == 1


@pytest.mark.parametrize(
    "text",
    ["a|b^c&d~e\\f", "\\.br\\", "\\E\\", "Grüße ≥ 5 µm 太郎 🩺", "tab\tand\x00nul\x1c\x0bgone", "|" * 50, ""],
)
def test_any_text_comes_back(text: str) -> None:
    """But for control characters, which would end a message or a segment."""
    message = empty_message()
    add_segment(message, "NTE", {1: "1", 3: text})
    written = str(message)
    assert written.count("\r") <= 1 and "\x1c" not in written and "\x0b" not in written
    wanted = "".join(letter for letter in text if letter == "\x0b" or letter.isprintable()).replace("\x0b", "\r")
    field = written.rstrip("\r").split("|", 3)[3] if text else ""
    assert "|" not in field
    assert message.unescape(field) == wanted


def test_times() -> None:
    assert timestamp("2026-11-26T08:00:05.123+01:00") == "20261126080005+0100"
    assert [timestamp(each) for each in ("2026-11-26", "2026-11", "2026", "", "soon")] == [
        "20261126",
        "202611",
        "2026",
        "",
        "",
    ]


def test_settings_of_a_receiver() -> None:
    for fields in (
        {"address": "nowhere"},
        {"address": "127.0.0.1:1", "form": "adt"},
        {"address": "127.0.0.1:1", "assigning_authority": "A|B"},
        {"address": "127.0.0.1:1", "sending_facility": "A\rPID"},
        {"address": "127.0.0.1:1", "tls_key": "k"},
        {"address": "127.0.0.1:1", "url": "https://ehr.example"},
    ):
        with pytest.raises(ValueError, match="validation error"):
            ServerSettings(destinations={"engine": {"kind": "mllp", **fields}})
    far = MllpDestination(kind="mllp", address="engine.example:2575")
    with pytest.raises(ConfigurationError, match="unencrypted"):
        far.require_safe_sending(allow_insecure_network=False)
    far.require_safe_sending(allow_insecure_network=True)
