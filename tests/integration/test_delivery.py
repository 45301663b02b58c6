"""Results go to archives by themselves: one that is away, refuses, comes back; after kill -9; signed, withdrawn.

The archive is pynetdicom's, so that it can be away and refuse as the test says; docs/pacs.md is tried with Orthanc. And
to an EHR: a FHIR server and an HL7 receiver that others wrote.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from oncoresponse.cli.main import app
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.administration_client import AdministrationClient
from oncoresponse.rpc.client import Order
from oncoresponse.rpc.delivery_client import DeliveryClient
from oncoresponse.v1 import administration_pb2, delivery_pb2, report_pb2, study_pb2
from pynetdicom import AE, AllStoragePresentationContexts, evt
from typer.testing import CliRunner

from tests.integration.medplum_server import running_fhir_server
from tests.integration.orthanc_server import free_port
from tests.integration.test_fhir_push import SYSTEM, a_patient, resources
from tests.integration.test_hl7_push import fields_of, receiving
from tests.integration.token_endpoint import Guard, guarded

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "examples" / "STS_032"
ORDER = Order("sts-petct", contour=study_pb2.SuppliedContour(), deliver_to=("archive", "meshless"))
M3D = "1.2.840.10008.5.1.4.1.1.104.3"
STATES = delivery_pb2.DeliveryState
# Longer than a lease.
SECONDS = 120

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"
)


def silent(_message: str, _fraction: float) -> None:
    return None


@contextmanager
def archive(port: int, *, without: str = "") -> Iterator[list[pydicom.Dataset]]:
    """An archive that takes everything but one SOP class; what it has taken, in its order."""
    taken: list[pydicom.Dataset] = []

    def store(event: evt.Event) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        taken.append(data_set)
        return 0x0000

    entity = AE(ae_title="ARCHIVE")
    entity.supported_contexts = [each for each in AllStoragePresentationContexts if each.abstract_syntax != without]
    if not without:
        entity.add_supported_context(M3D)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield taken
    finally:
        server.shutdown()


class Installation:
    """A server with two archives and an EHR, and a user who may do everything, on one data folder."""

    def __init__(self, folder: Path, serve: Callable[..., object], ehr: dict[str, object]) -> None:
        self.folder, self._serve = folder, serve
        self.ports = {"archive": free_port(), "meshless": free_port()}
        self.data = folder / "data"
        destinations = {
            name: {"kind": "c-store", "address": f"127.0.0.1:{port}", "ae_title": "ARCHIVE", "connect_seconds": 3.0}
            for name, port in self.ports.items()
        }
        self.settings = folder / "settings.yaml"
        self.settings.write_text(yaml.safe_dump({"destinations": {**destinations, **ehr}}))
        roles = [word for role in ("submit", "read", "sign", "administer") for word in ("--role", role)]
        words = ["users", "add", "doctor", *roles, "--data-dir", str(self.data)]
        command = [sys.executable, "-m", "oncoresponse.cli.main", *words]
        self.token = folder / "token"
        self.token.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        self.server = self._started()

    def _started(self):
        server = self._serve("--data-dir", str(self.data), "--listen", "127.0.0.1:0", settings=self.settings)
        server.wait_until_ready()
        return server

    def crash_and_restart(self) -> None:
        self.server.stop(signal.SIGKILL)
        self.server = self._started()

    def client(self) -> DeliveryClient:
        return DeliveryClient(self.server.address, token=self.token.read_text().strip())

    def deliveries(self, state: str = "UNSPECIFIED", **wanted: str) -> list[delivery_pb2.Delivery]:
        request = delivery_pb2.ListDeliveriesRequest(state=f"DELIVERY_STATE_{state}", **wanted)
        with closing(self.client()) as client:
            return list(client.deliveries(request))

    def run(self, *words: str) -> str:
        done = CliRunner().invoke(
            app, ["deliveries", *words, "--server", self.server.address, "--token-file", str(self.token)]
        )
        assert done.exit_code == 0, done.output
        return done.output


def until(condition: Callable[[], object], now: Callable[[], object] = lambda: ""):
    """What the condition finds at last.

    Args:
        condition: Asked again and again.
        now: What stands instead, for who reads of a failure.
    """
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, now()
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def guard():
    """A FHIR server behind SMART Backend Services; there is none behind it until a test says which."""
    with guarded(Guard()) as found:
        yield found


@pytest.fixture(scope="module")
def engine():
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def installation(tmp_path_factory, serve_for_module, guard, engine):
    folder = tmp_path_factory.mktemp("delivery")
    secret = ec.generate_private_key(ec.SECP384R1())
    key_file = folder / "key.pem"
    key_file.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_file.chmod(0o600)
    smart = {"client_id": guard.client_id, "key_file": str(key_file), "scope": "system/*.cruds", "key_id": "ours"}
    guard.keys["ours"] = (secret.public_key(), "ES384")
    chart = {"kind": "fhir", "url": f"{guard.base}/fhir", "smart": smart, "patient_system": SYSTEM}
    address = f"127.0.0.1:{engine.port}"
    ehr = {
        "chart": chart,
        "documents": {**chart, "form": "document"},
        "imr": {**chart, "form": "imr"},
        "engine": {"kind": "mllp", "address": address, "assigning_authority": "NORTH"},
    }
    return Installation(folder, serve_for_module, ehr)


@pytest.fixture(scope="module")
def assessment(installation):
    """Made while nobody is there to take it."""
    with closing(installation.client()) as client:
        return client.assess(client.upload_study(STUDY, silent), ORDER, silent)


def could(call: Callable[[], object]) -> bool:
    """Whether the delivery was in a state for it."""
    with suppress(OncoResponseError):
        call()
        return True
    return False


def hasten(installation) -> None:
    """What waits is due now; what is being sent by now is left alone."""
    with closing(installation.client()) as client:
        for each in installation.deliveries("WAITING"):
            could(lambda name=each.name: client.resend_delivery(name))


def test_an_archive_that_is_away_is_waited_for_and_nothing_is_forgotten(installation, assessment):
    until(lambda: all(each.reason for each in installation.deliveries()))
    waiting = installation.deliveries()
    assert {each.destination for each in waiting} == {"archive", "meshless"}
    assert {each.reason for each in waiting} == {"PEER_UNAVAILABLE"}
    assert {each.assessment for each in waiting} == {assessment.name}
    # The log of the server names no patient.
    patient = str(pydicom.dcmread(next(STUDY.rglob("*.dcm")), stop_before_pixels=True).PatientID)
    assert patient not in installation.server.log.read_text()

    installation.crash_and_restart()
    with (
        archive(installation.ports["archive"]) as held,
        archive(installation.ports["meshless"], without=M3D) as meshless,
    ):
        hasten(installation)
        until(lambda: len(installation.deliveries("SENT")) == 1 and len(installation.deliveries("DEAD")) == 1)
        assert {each.Modality for each in held} >= {"SEG", "SR", "DOC", "OT", "M3D"}
        assert {each.Modality for each in meshless} == {each.Modality for each in held} - {"M3D"}
        (dead,) = installation.deliveries("DEAD")
        assert (dead.destination, dead.reason) == ("meshless", "DELIVERY_REFUSED")
        assert {file.file_name for file in dead.files if file.reason} == {
            file.file_name for file in dead.files if "surface" in file.file_name and file.file_name.endswith(".dcm")
        }
        assert "does not take objects" in installation.run("show", dead.name)
        assert "1 " in installation.run("list", "--state", "dead")

    # Corrected there: what lacks is sent, and nothing else.
    with archive(installation.ports["meshless"]) as corrected:
        assert dead.name in installation.run("resend", "--all-dead")
        until(lambda: len(installation.deliveries("SENT")) == 2)
        assert {each.Modality for each in corrected} == {"M3D"}
        sent = {str(each.SOPInstanceUID) for each in held}
        assert {str(each.SOPInstanceUID) for each in corrected} <= sent

    # A rerun of the same result sends the same objects, and only when that is asked for.
    (first,) = installation.deliveries("SENT", destination="archive")
    with archive(installation.ports["archive"]) as again:
        installation.run("resend", first.name, "--everything")
        until(lambda: len(installation.deliveries("SENT")) == 2)
        assert {str(each.SOPInstanceUID) for each in again} == sent

    # Who erases is told where copies are.
    with closing(
        AdministrationClient(installation.server.address, token=installation.token.read_text().strip())
    ) as user:
        request = administration_pb2.DeleteAssessmentRequest(
            name=assessment.name, dry_run=True, request_id=str(uuid.uuid4())
        )
        plan = user.delete_assessment(request)
    assert [line for line in plan.remains if "archive, meshless" in line]


def step(client: DeliveryClient, assessment) -> dict[str, object]:
    """Fields of a request that changes the report as it is now."""
    seen = client.report(assessment.name).version
    return {"request_id": str(uuid.uuid4()), "assessment": assessment.name, "seen_version": seen}


def test_what_a_physician_does_with_the_report_follows(installation, assessment):
    agree = {"agreement": report_pb2.AGREEMENT_AGREE, "comment": "As seen."}
    with (
        archive(installation.ports["archive"]) as held,
        archive(installation.ports["meshless"]),
        closing(installation.client()) as client,
    ):
        client.sign_report(report_pb2.SignReportRequest(**step(client, assessment), **agree))
        until(lambda: len(installation.deliveries("SENT", destination="archive")) == 2)
        signed = {each.Modality: each for each in held}
        assert set(signed) == {"SR", "DOC"}
        assert signed["SR"].VerificationFlag == "VERIFIED"
        assert signed["SR"].PredecessorDocumentsSequence
        held.clear()

        reason = {"reason": report_pb2.WITHDRAWAL_REASON_TECHNICAL, "comment": "Motion."}
        client.withdraw_report(report_pb2.WithdrawReportRequest(**step(client, assessment), **reason))
        until(lambda: len(installation.deliveries("SENT", destination="archive")) == 3)
        assert [each.Modality for each in held] == ["KO"]
        with pytest.raises(OncoResponseError) as caught:
            client.resend_delivery(installation.deliveries("SENT", destination="archive")[-1].name, everything=True)
        assert caught.value.reason == "DELIVERY_STATE_FORBIDS"


def test_what_is_withdrawn_before_it_is_sent_never_is(installation, assessment):
    """Neither are the objects that tell of it: the archive never heard of the report."""
    with closing(installation.client()) as client:
        study = study_pb2.Study(name=assessment.study)
        with pytest.raises(OncoResponseError) as caught:
            client.create_assessment(study, Order("sts-petct", deliver_to=("mars",)), str(uuid.uuid4()))
        assert caught.value.reason == "DESTINATION_UNKNOWN"
        made = client.assess(study, replace(ORDER, deliver_to=("meshless",)), silent)
        (waiting,) = until(lambda: installation.deliveries(assessment=made.name))
        until(lambda: client.delivery(waiting.name).attempts)
        until(lambda: could(lambda: client.drop_delivery(waiting.name)))
        assert "waiting" in installation.run("resend", waiting.name)
        reason = {"reason": report_pb2.WITHDRAWAL_REASON_TECHNICAL, "comment": "Motion."}
        client.withdraw_report(report_pb2.WithdrawReportRequest(**step(client, made), **reason))
        until(lambda: client.delivery(waiting.name).state == STATES.DELIVERY_STATE_DROPPED)
        assert client.delivery(waiting.name).reason == "SUPERSEDED"
        for name, code in ((waiting.name, "DELIVERY_STATE_FORBIDS"), ("deliveries/none", "DELIVERY_NOT_FOUND")):
            with pytest.raises(OncoResponseError) as caught:
                client.resend_delivery(name, everything=True)
            assert caught.value.reason == code


def test_an_ehr_that_does_not_know_the_patient_at_first(installation, guard, engine):
    """Held until it does; then the chart, its documents and the interface engine follow the report."""
    names = ("chart", "documents", "engine", "imr")

    def reached(version: int, **states: str) -> dict[str, delivery_pb2.Delivery]:
        def found() -> dict[str, delivery_pb2.Delivery] | None:
            listed = {
                each.destination: each
                for each in installation.deliveries()
                if each.destination in names and each.report_version == version
            }
            now = {name: STATES.Name(each.state).rpartition("_")[2].lower() for name, each in listed.items()}
            if "waiting" in now.values():
                # A server of the test that was slow once is asked again at once.
                hasten(installation)
            return listed if now == states else None

        return until(found, lambda: [(each.destination, each.state, each.reason) for each in installation.deliveries()])

    with running_fhir_server() as base, closing(installation.client()) as client:
        guard.behind = base
        order = replace(ORDER, deliver_to=names)
        made = client.assess(client.upload_study(STUDY, silent), order, silent)
        # Before a signature there is nothing for IMR.
        held = reached(1, chart="held", documents="held", engine="sent", imr="sent")
        assert {held[each].reason for each in ("chart", "documents")} == {"PATIENT_NOT_FOUND_AT_DESTINATION"}
        assert "PATIENT_NOT_FOUND_AT_DESTINATION" in installation.run("list", "--state", "held")
        assert resources(base, "DiagnosticReport?_count=10") == []

        patient = a_patient(base, "STS_032")
        for each in ("chart", "documents"):
            installation.run("resend", held[each].name)
        all_sent = dict.fromkeys(names, "sent")
        receipt = reached(1, **all_sent)["chart"].receipt["DiagnosticReport"]
        (report,) = resources(base, f"DiagnosticReport?subject={patient}")
        assert (f"DiagnosticReport/{report['id']}", report["status"]) == (receipt, "preliminary")

        agree = {"agreement": report_pb2.AGREEMENT_AGREE, "comment": "As seen."}
        client.sign_report(report_pb2.SignReportRequest(**step(client, made), **agree))
        reached(2, **all_sent)
        reason = {"reason": report_pb2.WITHDRAWAL_REASON_WRONG_PATIENT, "comment": "Of another."}
        client.withdraw_report(report_pb2.WithdrawReportRequest(**step(client, made), **reason))
        reached(3, **all_sent)

        kept = {each["id"]: each["status"] for each in resources(base, f"DiagnosticReport?subject={patient}&_count=10")}
        assert kept[report["id"]] == "entered-in-error"
        pages = [
            each
            for each in resources(base, f"DocumentReference?subject={patient}&_count=50")
            if each.get("description") == "Withdrawn report"
        ]
        assert len(pages) == 2 and {each["status"] for each in pages} == {"entered-in-error"}
        assert len(resources(base, "Patient?_count=10")) == 1
    texts = list(engine.filed.values())
    assert [fields_of(text, "OBR")[0][25] for text in texts] == ["P", "F", "C"]
    # The name comes from the objects of the study.
    assert all(fields_of(text, "PID")[0][5].startswith("STD_032^") for text in texts)
    assert engine.faults == []
