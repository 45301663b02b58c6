"""Orders by HL7 v2 and from a FHIR server: a real server, senders and a FHIR server of others."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import hl7
import pydicom
import pytest
import requests
import yaml
from hl7.client import MLLPClient
from oncoresponse.cli.main import app
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.order_client import OrderClient
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, order_pb2, study_pb2, study_pb2_grpc
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from tests.integration.medplum_server import running_fhir_server

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDY = EXAMPLES / "STS_032"
PATIENT = "STS_032"
SYSTEM = "https://hospital.example/mrn"
CODE = "https://hospital.example/codes|THERAPY-RESPONSE"
SECONDS = 60.0
Json = dict[str, Any]
STATES = order_pb2.OrderState


def silent(_message: str, _fraction: float) -> None:
    return None


def until(condition: Callable[[], object], now: Callable[[], object] = lambda: "") -> Any:
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, now()
        time.sleep(0.1)
    return found


@dataclass
class Installation:
    """A server with a listener for HL7 and a FHIR server of others, and a user who may do everything."""

    folder: Path
    serve: Callable[..., Any]
    ehr: str
    token: str = ""
    may_merge: bool = False
    server: Any = None

    def start(self) -> None:
        rules = self.folder / "rules.yaml"
        when = {"modalities": ["CT", "PT"], "order_codes": ["therapy-*"]}
        rules.write_text(yaml.safe_dump({"rules": [{"name": "ordered", "when": when, "model": "sts-petct"}]}))
        settings = self.folder / "settings.yaml"
        hl7_settings = {
            "listen": "127.0.0.1:0",
            "senders": {"EPIC|NORTH": "127.0.0.1", "OTHER|PLACE": "192.0.2.1", "EPIC|SOUTH": "127.0.0.1"},
            "tenants": {"EPIC|SOUTH": "south"},
            "issuers": {"NORTH": ""},
            "message_bytes": 65536,
            "idle_seconds": 5.0,
        }
        orders = {"url": self.ehr, "code": [CODE], "patient_systems": {SYSTEM: ""}, "poll_seconds": 0.3}
        content = {
            "hl7": hl7_settings,
            "fhir_orders": {"ehr": orders},
            "rules": str(rules),
            "model_activation": "installed",
            "edges_may_merge_patients": self.may_merge,
        }
        settings.write_text(yaml.safe_dump(content))
        self.server = self.serve("--data-dir", str(self.folder / "data"), "--listen", "127.0.0.1:0", settings=settings)
        self.server.wait_until_ready()

    def restart(self, number: signal.Signals) -> None:
        self.server.stop(number)
        self.start()

    def client(self) -> OrderClient:
        return OrderClient(self.server.address, token=self.token)

    def order(self, number: str) -> order_pb2.Order | None:
        with closing(self.client()) as client:
            found = [each for each in client.orders(order_pb2.ListOrdersRequest()) if each.order_number == number]
        assert len(found) < 2
        return found[0] if found else None

    def reached(self, number: str, state: str, reason: str = "") -> order_pb2.Order:
        def there() -> order_pb2.Order | None:
            order = self.order(number)
            wanted = order is not None and STATES.Name(order.state) == f"ORDER_STATE_{state}" and order.reason == reason
            return order if wanted else None

        found: order_pb2.Order = until(there, lambda: self.order(number))
        return found

    def assessments(self, study: str) -> list[assessment_pb2.Assessment]:
        with grpc.insecure_channel(self.server.address) as channel:
            stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
            found = stub.ListAssessments(assessment_pb2.ListAssessmentsRequest(), metadata=self.metadata).assessments
        return [each for each in found if each.study == study]

    def studies(self, patient: str) -> list[str]:
        with grpc.insecure_channel(self.server.address) as channel:
            stub = study_pb2_grpc.StudyServiceStub(channel)
            request = study_pb2.ListStudiesRequest(patient_id=patient)
            return [each.name for each in stub.ListStudies(request, metadata=self.metadata).studies]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    def ended(self, name: str) -> int:
        with closing(self.client()) as client:
            return client.watch(name, silent).state

    def say(self, message: str) -> Any:
        """Send it as an interface engine of others does; gives the acknowledgement."""
        host, port = self.server.edges["hl7"].split(":")
        with MLLPClient(host, int(port), encoding="utf-8") as engine:
            return hl7.parse(engine.send_message(message).decode("utf-8").strip("\x0b\x1c\r"))

    def run(self, *words: str) -> str:
        done = CliRunner().invoke(
            app, ["orders", *words, "--server", self.server.address, "--token-file", str(self.folder / "token")]
        )
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture(scope="module")
def ehr() -> Iterator[str]:
    with running_fhir_server() as base:
        yield base


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, serve_for_module: Callable[..., Any], ehr: str) -> Installation:
    folder = tmp_path_factory.mktemp("orders")
    roles = [word for role in ("submit", "read", "sign", "administer") for word in ("--role", role)]
    words = ["users", "add", "doctor", *roles, "--data-dir", str(folder / "data")]
    command = [sys.executable, "-m", "oncoresponse.cli.main", *words]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (folder / "token").write_text(token)
    made = Installation(folder, serve_for_module, ehr, token.strip())
    made.start()
    return made


@pytest.fixture
def study_of(tmp_path: Path) -> Callable[[str, str], Path]:
    """Factory: the sample study as another one, with an accession number, and of a patient."""

    def make(accession: str, patient: str = PATIENT) -> Path:
        folder = tmp_path / f"{accession}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        uids: dict[str, str] = {}
        for number, path in enumerate(sorted(STUDY.glob("*/*.dcm"))):
            if path.parent.name not in ("CT", "PET"):
                continue
            dataset = pydicom.dcmread(path)
            dataset.AccessionNumber, dataset.PatientID = accession, patient
            for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
                setattr(dataset, name, uids.setdefault(str(dataset.get(name)), generate_uid()))
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        return folder

    return make


def upload(here: Installation, folder: Path) -> study_pb2.Study:
    with closing(here.client()) as client:
        return client.upload_study(folder, silent)


def message(
    number: str, accession: str, control: str = "NW", patient: str = PATIENT, sender: str = "EPIC|NORTH", **more: str
) -> str:
    kind = more.get("kind", "ORM^O01^ORM_O01")
    lines = (
        f"MSH|^~\\&|{sender}|ONCO|HERE|20261127120000||{kind}|{number}-{control}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||9999^^^SSN^SS~{patient}^^^NORTH&1.2.3&ISO^MR||Müller^Zoë||{more.get('birth', '')}|M",
        "PV1|1|O",
        f"ORC|{control}|{number}^EPIC",
        f"OBR|1|{number}^EPIC||THERAPY-RESPONSE^Therapy \\T\\ response^L|||||||||||||^X|{accession}",
    )
    return "\r".join(lines) + "\r"


def code_of(answer: Any) -> tuple[str, str]:
    """MSA-1, and ERR-3."""
    errors = [str(each[3]) for each in answer if str(each[0]) == "ERR"]
    return str(answer.segment("MSA")[1]), errors[0] if errors else ""


def test_an_order_waits_for_its_study_and_starts_it_once(here: Installation, study_of: Any) -> None:
    assert code_of(here.say(message("P1", "ACC-1"))) == ("AA", "")
    order = here.reached("P1^EPIC", "WAITING")
    assert (order.patient_id, order.issuer_of_patient_id, order.sex) == (PATIENT, "", "M")
    assert list(order.codes) == ["THERAPY-RESPONSE"] and order.source == "hl7:EPIC|NORTH"
    assert "waiting" in here.run("list", "--state", "waiting")
    study = upload(here, study_of("ACC-1"))
    started = here.reached("P1^EPIC", "STARTED")
    assert started.study == study.name
    assert here.ended(started.assessment) == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    # The same message again, and as a lab order, changes nothing.
    assert code_of(here.say(message("P1", "ACC-1"))) == ("AA", "")
    assert code_of(here.say(message("P1", "ACC-1", kind="OML^O21^OML_O21"))) == ("AA", "")
    assert [each.name for each in here.assessments(study.name)] == [started.assessment]
    assert here.reached("P1^EPIC", "STARTED") == started
    shown = here.run("show", started.name)
    assert "ACC-1" in shown and started.assessment in shown
    # Whose it is stands in no log.
    log = here.server.log.read_text()
    assert not any(word in log for word in (PATIENT, "Müller", "ACC-1"))


def test_an_order_of_another_patient_starts_nothing(here: Installation, study_of: Any) -> None:
    study = upload(here, study_of("ACC-2"))
    assert code_of(here.say(message("P2", "ACC-2", patient="SOMEBODY"))) == ("AA", "")
    here.reached("P2^EPIC", "REFUSED", "PATIENT_MISMATCH")
    # The number fits, the birth date does not: what the images do not say is not taken for equal.
    assert code_of(here.say(message("P2b", "ACC-2", birth="19500102"))) == ("AA", "")
    here.reached("P2b^EPIC", "REFUSED", "PATIENT_MISMATCH")
    assert here.assessments(study.name) == []
    # Corrected under the same number, it is carried out.
    assert code_of(here.say(message("P2", "ACC-2"))) == ("AA", "")
    assert here.ended(here.reached("P2^EPIC", "STARTED").assessment) == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED


def test_a_cancelled_order_starts_nothing_and_stops_what_runs(here: Installation, study_of: Any) -> None:
    assert code_of(here.say(message("P3", "ACC-3"))) == ("AA", "")
    assert code_of(here.say(message("P3", "ACC-3", "CA"))) == ("AA", "")
    # The cancellation overtakes the order; the operator cancels one.
    assert code_of(here.say(message("P4", "ACC-3", "DC"))) == ("AA", "")
    assert code_of(here.say(message("P4", "ACC-3"))) == ("AA", "")
    assert code_of(here.say(message("P5", "ACC-3"))) == ("AA", "")
    order = here.reached("P5^EPIC", "WAITING")
    assert "cancelled" in here.run("cancel", order.name)
    study = upload(here, study_of("ACC-3"))
    assert code_of(here.say(message("P6", "ACC-3"))) == ("AA", "")
    started = here.reached("P6^EPIC", "STARTED")
    for number in ("P3", "P4", "P5"):
        assert here.reached(f"{number}^EPIC", "CANCELLED").assessment == ""
    assert code_of(here.say(message("P6", "ACC-3", "CA"))) == ("AA", "")
    assert here.ended(started.assessment) == assessment_pb2.ASSESSMENT_STATE_CANCELLED
    assert here.reached("P6^EPIC", "CANCELLED").assessment == started.assessment
    assert len(here.assessments(study.name)) == 1


def test_a_cancellation_that_comes_after_the_assessment_says_so(here: Installation, study_of: Any) -> None:
    """The report stands until a physician withdraws it, which somebody has to see."""
    upload(here, study_of("ACC-4"))
    assert code_of(here.say(message("P8", "ACC-4"))) == ("AA", "")
    started = here.reached("P8^EPIC", "STARTED")
    assert here.ended(started.assessment) == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    for _ in range(2):
        assert code_of(here.say(message("P8", "ACC-4", "CA"))) == ("AA", "")
        cancelled = here.reached("P8^EPIC", "CANCELLED", "ASSESSMENT_ENDED")
        assert (cancelled.study, cancelled.assessment) == (started.study, started.assessment)
    assert here.ended(started.assessment) == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert "ASSESSMENT_ENDED" in here.run("list", "--state", "cancelled")


def test_several_studies_of_one_accession_number_are_for_a_person(here: Installation, study_of: Any) -> None:
    """Whether the order came after them or between; what it started before stays."""
    first, second = (upload(here, study_of(accession)) for accession in ("ACC-5", "ACC-5"))
    assert code_of(here.say(message("P9", "ACC-5"))) == ("AA", "")
    refused = here.reached("P9^EPIC", "REFUSED", "SEVERAL_STUDIES")
    assert sorted(refused.studies) == sorted((first.name, second.name))
    assert here.assessments(first.name) == here.assessments(second.name) == []
    shown = here.run("show", refused.name)
    assert first.name in shown and second.name in shown
    assert "SEVERAL_STUDIES" in here.run("list", "--state", "refused")


def test_an_order_that_is_carried_out_is_not_carried_out_for_another_study(here: Installation, study_of: Any) -> None:
    first = upload(here, study_of("ACC-6"))
    assert code_of(here.say(message("P10", "ACC-6"))) == ("AA", "")
    started = here.reached("P10^EPIC", "STARTED")
    second = upload(here, study_of("ACC-6"))
    # Another order of the same study has both looked at.
    assert code_of(here.say(message("P11", "ACC-6"))) == ("AA", "")
    assert len(here.reached("P11^EPIC", "REFUSED", "SEVERAL_STUDIES").studies) == 2
    assert here.reached("P10^EPIC", "STARTED") == here.order("P10^EPIC")
    assert here.reached("P10^EPIC", "STARTED").assessment == started.assessment
    assert [each.name for each in here.assessments(first.name)] == [started.assessment]
    assert here.assessments(second.name) == []


def test_what_was_acknowledged_is_carried_out_after_a_crash(here: Installation, study_of: Any) -> None:
    study = upload(here, study_of("ACC-7"))
    assert code_of(here.say(message("P7", "ACC-7"))) == ("AA", "")
    here.restart(signal.SIGKILL)
    started = here.reached("P7^EPIC", "STARTED")
    assert here.ended(started.assessment) == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert [each.name for each in here.assessments(study.name)] == [started.assessment]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (message("B1", "ACC-8", sender="NOBODY|NORTH"), ("AR", "103")),
        (message("B2", "ACC-8", sender="OTHER|PLACE"), ("AR", "103")),
        (message("B3", "ACC-8", kind="ORU^R01^ORU_R01"), ("AR", "200")),
        (message("B4", "ACC-8", kind="ADT^A01^ADT_A01"), ("AR", "201")),
        (message("B5", "ACC-8", control="QQ"), ("AE", "103")),
        (message("B6", ""), ("AE", "101")),
        (message("", "ACC-8"), ("AE", "101")),
        (message("B8", "ACC-8", patient=""), ("AA", "")),
        (message("B9", "ACC-8").replace("PID|", "ZZZ|"), ("AE", "100")),
        (message("B10", "ACC-8").replace("ORC|", "ZZZ|"), ("AE", "100")),
        (message("B11", "ACC-8", control="SC"), ("AA", "")),
        # The answer can be read whatever the message is written in.
        (message("B12", "ACC-8").replace("UNICODE UTF-8", "ISO IR87"), ("AE", "103")),
    ],
    ids=range(12),
)
def test_messages_that_are_not_carried_out(here: Installation, text: str, wanted: tuple[str, str]) -> None:
    if wanted[0] == "AA" and "B8" in text:
        # An identifier of another type is another kind of number.
        text, wanted = text.replace("~^^^NORTH&1.2.3&ISO^MR", "~7^^^X^PI"), ("AE", "101")
    assert code_of(here.say(text)) == wanted
    assert not any(here.order(f"B{number}^EPIC") for number in range(1, 13))


def test_senders_that_are_none(here: Installation) -> None:
    """They are cut, and nothing that others send suffers."""
    host, port = here.server.edges["hl7"].split(":")
    for sent in (b"GET / HTTP/1.1\r\n\r\n\x1c\r", b"\x0bgarbage\x1c\r", b"\x0bMSH|^~\\&|" + b"x" * 200_000 + b"\x1c\r"):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            try:
                connection.sendall(sent)
                assert connection.recv(4096) == b""
            except ConnectionError:
                pass
    half = message("H1", "ACC-9").encode()
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\x0b" + half[: len(half) // 2])
        assert code_of(here.say(message("H2", "ACC-9"))) == ("AA", "")
        # It stops in the middle: closed after idle_seconds, and not acknowledged.
        assert connection.recv(4096) == b""
    assert here.order("H1^EPIC") is None
    assert here.reached("H2^EPIC", "WAITING")


def test_an_order_of_a_tenant_is_for_the_studies_of_the_tenant(here: Installation, study_of: Any) -> None:
    """And is seen by its users alone. Patients are of all tenants, so that its sender merges none."""
    words = ["users", "add", "southerner", "--role", "read", "--role", "submit", "--tenant", "south"]
    command = [sys.executable, "-m", "oncoresponse.cli.main", *words, "--data-dir", str(here.folder / "data")]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    elsewhere = upload(here, study_of("ACC-10"))
    assert code_of(here.say(message("P12", "ACC-10", sender="EPIC|SOUTH"))) == ("AA", "")
    assert here.order("P12^EPIC") is None
    with closing(OrderClient(here.server.address, token=token)) as southerner:
        (order,) = southerner.orders(order_pb2.ListOrdersRequest())
        assert (order.order_number, order.tenant, list(order.studies)) == ("P12^EPIC", "south", [])
        study = southerner.upload_study(study_of("ACC-10"), silent)
        started = until(lambda: southerner.order(order.name).assessment)
        assert southerner.order(order.name).study == study.name
        assert southerner.watch(started, silent).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert here.assessments(elsewhere.name) == []
    with closing(here.client()) as northerner, pytest.raises(OncoResponseError) as caught:
        northerner.cancel_order(order.name)
    assert caught.value.reason == "ORDER_NOT_FOUND"
    assert code_of(here.say(merge("A", "B").replace("EPIC|NORTH", "EPIC|SOUTH"))) == ("AR", "207")


def create(base: str, resource: Json) -> Json:
    answer = requests.post(
        f"{base}/{resource['resourceType']}",
        json=resource,
        headers={"Content-Type": "application/fhir+json"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    created: Json = answer.json()
    return created


def service_request(ehr: str, accession: str, subject: Json, **more: Any) -> Json:
    system, _, code = CODE.partition("|")
    accession_type = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "identifier": [{"type": accession_type, "value": accession}] if accession else [],
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": subject,
        **more,
    }
    return create(ehr, {name: value for name, value in request.items() if value != []})


def change(ehr: str, resource: Json, **fields: Any) -> None:
    answer = requests.put(
        f"{ehr}/{resource['resourceType']}/{resource['id']}",
        json={**resource, **fields},
        headers={"Content-Type": "application/fhir+json"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


def test_orders_of_a_fhir_server(here: Installation, ehr: str, study_of: Any) -> None:
    """What the EHR calls patient and order stands in the report; a revoked order stops what runs."""
    patient = create(
        ehr,
        {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:x", "value": "7"}, {"system": SYSTEM, "value": PATIENT}],
            "gender": "male",
        },
    )
    subject = {"reference": f"Patient/{patient['id']}"}
    unknown = create(ehr, {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": PATIENT}]})
    other_code = {"coding": [{"system": "urn:x", "code": "CT"}]}
    ignored = [
        service_request(ehr, "ACC-20", subject, code=other_code),
        service_request(ehr, "ACC-20", subject, intent="plan"),
        service_request(ehr, "ACC-20", subject, status="draft"),
    ]
    wanted = service_request(ehr, "ACC-20", subject, encounter={"reference": "Encounter/e1"})
    no_accession = service_request(ehr, "", subject)
    nobody = service_request(ehr, "ACC-20", {"reference": f"Patient/{unknown['id']}"})
    here.reached(no_accession["id"], "REFUSED", "ACCESSION_NUMBER_MISSING")
    here.reached(nobody["id"], "REFUSED", "PATIENT_IDENTIFIER_MISSING")
    here.reached(wanted["id"], "WAITING")
    assert not any(here.order(each["id"]) for each in ignored)

    upload(here, study_of("ACC-20"))
    started = here.reached(wanted["id"], "STARTED")
    assert here.ended(started.assessment) == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    with closing(here.client()) as client:
        text = client.artifact(started.assessment, "report.json").decode()
    for reference in (subject["reference"], f"ServiceRequest/{wanted['id']}", "Encounter/e1"):
        assert f'"{reference}"' in text

    # One that names its patient by identifier alone, revoked while it runs.
    later = service_request(ehr, "ACC-21", {"identifier": {"system": SYSTEM, "value": PATIENT}})
    here.reached(later["id"], "WAITING")
    upload(here, study_of("ACC-21"))
    started = here.reached(later["id"], "STARTED")
    change(ehr, later, status="revoked")
    here.reached(later["id"], "CANCELLED")
    assert here.ended(started.assessment) == assessment_pb2.ASSESSMENT_STATE_CANCELLED


def merge(kept: str, given_up: str) -> str:
    lines = (
        f"MSH|^~\\&|EPIC|NORTH|ONCO|HERE|20261127||ADT^A40^ADT_A39|M-{kept}-{given_up}|P|2.5.1",
        "EVN||20261127",
        f"PID|1||{kept}^^^NORTH^MR||Müller^Zoë",
        f"MRG|{given_up}^^^NORTH^MR",
    )
    return "\r".join(lines) + "\r"


def test_a_merge_of_patients_where_the_settings_allow_it(here: Installation, study_of: Any) -> None:
    study = upload(here, study_of("ACC-30", "OLD-NUMBER"))
    assert code_of(here.say(message("P31", "ACC-31", patient="OLD-NUMBER"))) == ("AA", "")
    refused = here.say(merge("NEW-NUMBER", "OLD-NUMBER"))
    assert code_of(refused) == ("AR", "207") and "ACCESS_DENIED" in str(refused)
    here.may_merge = True
    here.restart(signal.SIGTERM)
    for _ in range(2):
        assert code_of(here.say(merge("NEW-NUMBER", "OLD-NUMBER"))) == ("AA", "")
    assert here.studies("NEW-NUMBER") == [study.name]
    assert here.studies("OLD-NUMBER") == []
    # An order that waits follows, and one under the number that stays finds the study.
    assert here.reached("P31^EPIC", "WAITING").patient_id == "NEW-NUMBER"
    assert code_of(here.say(message("P30", "ACC-30", patient="NEW-NUMBER"))) == ("AA", "")
    assert here.ended(here.reached("P30^EPIC", "STARTED").assessment) == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
