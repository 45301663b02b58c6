"""What is sent to archives that others wrote (Orthanc, dcmtk), and to some that are no help."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from oncoresponse.edges.delivery.c_store import CStoreSender
from oncoresponse.edges.delivery.commitment import STORAGE_COMMITMENT, CommitmentResults
from oncoresponse.edges.delivery.sending import Outcome, Parcel, settlement
from oncoresponse.edges.delivery.stow import StowSender
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.edge_settings import Destination, DicomWebServer
from oncoresponse.v1 import delivery_pb2
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt

from tests.integration.loopback_http import serving
from tests.integration.orthanc_server import PASSWORD, USER, Orthanc, free_port, running_orthanc

EXAMPLES = Path(__file__).parents[2] / "examples"
CT, STL = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.104.3"
OURS, ARCHIVE = "ONCORESPONSE", "ARCHIVE"
# pynetdicom leaves the socket of a connection that came to nothing to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"
)
DELIVERY = delivery_pb2.Delivery(name="deliveries/1")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Such sockets are collected here, where the warning is expected, not in the test of another."""
    yield
    gc.collect()


def a_file(sop_class: str = CT) -> bytes:
    """A slice of the sample study under a new UID, or a little mesh in its study."""
    source = pydicom.dcmread(next(iter(sorted((EXAMPLES / "STS_032").glob("*/*.dcm")))))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    # Others of its values are longer than they may be.
    of_image = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData")
    of_study = ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "StudyTime")
    for keyword in (*of_study, *(of_image if sop_class == CT else ())):
        setattr(made, keyword, getattr(source, keyword))
    made.SeriesInstanceUID, made.SOPInstanceUID, made.SOPClassUID = generate_uid(), generate_uid(), sop_class
    if sop_class == STL:
        made.Modality, made.EncapsulatedDocument = "M3D", bytes(84)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, made.SOPInstanceUID
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def parcels(*sop_classes: str) -> list[Parcel]:
    return [Parcel(f"{number}.dcm", a_file(each)) for number, each in enumerate(sop_classes)]


def uid(data: bytes) -> str:
    return str(pydicom.dcmread(BytesIO(data), stop_before_pixels=True).SOPInstanceUID)


def reason(outcome: Outcome) -> str:
    """Reason code of an attempt, as the service is told it; empty where all is there."""
    return told(outcome).failure.reason


def told(outcome: Outcome) -> delivery_pb2.SettleDeliveryRequest:
    return settlement(delivery_pb2.LeasedDelivery(delivery=DELIVERY), outcome)


def stored(outcome: Outcome) -> list[bool]:
    return [file.stored for file in outcome.files.values()]


@pytest.fixture(scope="module")
def our_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def orthanc(
    tmp_path_factory: pytest.TempPathFactory, require_installed: Callable[..., None], our_port: int
) -> Iterator[Orthanc]:
    dicom = {
        "DicomAet": ARCHIVE,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {"ours": {"AET": OURS, "Host": "127.0.0.1", "Port": our_port}},
        "OverwriteInstances": False,
    }
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), require_installed, dicom=dicom) as server:
        yield server


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    return file


def by_c_store(
    port: int, results: CommitmentResults | None = None, host: str = "127.0.0.1", **fields: object
) -> CStoreSender:
    given = {"ae_title": ARCHIVE, "idle_seconds": 20.0, **fields}
    destination = Destination(kind="c-store", address=f"{host}:{port}", **given)
    return CStoreSender(destination, results or CommitmentResults())


def by_stow(url: str, **fields: object) -> StowSender:
    limits = {name: fields.pop(name) for name in ("idle_seconds", "connect_seconds") if name in fields}
    return StowSender(Destination(kind="stow", server="archive", **limits), DicomWebServer(url=url, **fields))


def test_c_store_to_orthanc(orthanc: Orthanc) -> None:
    """As it is; a second time it is there already; a class that the archive does not take is named."""
    sent = parcels(CT, CT, STL)
    outcome = by_c_store(orthanc.dicom_port).send(DELIVERY, sent)
    held = {uid(data): pydicom.dcmread(BytesIO(data)) for data in orthanc.files()}
    for parcel in sent[:2]:
        assert held[uid(parcel.data)] == pydicom.dcmread(BytesIO(parcel.data))
    assert stored(outcome)[:2] == [True, True]
    assert (uid(sent[2].data) in held) == stored(outcome)[2]
    again = by_c_store(orthanc.dicom_port).send(DELIVERY, sent[:2])
    assert reason(again) == "" and stored(again) == [True, True]
    assert by_c_store(orthanc.dicom_port).send(DELIVERY, []).error is None


def test_stow_to_orthanc(orthanc: Orthanc, password: Path) -> None:
    sent = parcels(CT, STL)
    sender = by_stow(orthanc.url(), user=USER, password_file=password)
    outcome = sender.send(DELIVERY, sent)
    assert reason(outcome) == "" and stored(outcome) == [True, True]
    held = {uid(data): pydicom.dcmread(BytesIO(data)) for data in orthanc.files()}
    for parcel in sent:
        assert held[uid(parcel.data)] == pydicom.dcmread(BytesIO(parcel.data))
    assert reason(sender.send(DELIVERY, sent)) == ""
    assert len(orthanc.files()) == len(held)


def test_what_is_stored_is_not_sent_again(orthanc: Orthanc, password: Path) -> None:
    for sender in (by_c_store(orthanc.dicom_port), by_stow(orthanc.url(), user=USER, password_file=password)):
        first, second = parcels(CT, CT)
        outcome = sender.send(DELIVERY, [Parcel(first.file_name, first.data, stored=True), second])
        assert stored(outcome) == [True, True]
        held = {uid(data) for data in orthanc.files()}
        assert uid(second.data) in held and uid(first.data) not in held


def test_orthanc_commits_on_an_association_of_its_own(orthanc: Orthanc, our_port: int) -> None:
    """It calls the receiver back; what it does not have it does not commit to."""
    results = CommitmentResults()
    receiver = AE(ae_title=OURS)
    receiver.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, results.report)]
    server = receiver.start_server(("127.0.0.1", our_port), block=False, evt_handlers=handlers)
    try:
        there, lost = parcels(CT, CT)
        sender = by_c_store(orthanc.dicom_port, results, storage_commitment=True, commitment_seconds=30.0)
        outcome = sender.send(DELIVERY, [there])
        assert reason(outcome) == "" and outcome.files[there.file_name].committed
        outcome = sender.send(DELIVERY, [there, Parcel(lost.file_name, lost.data, stored=True)])
        assert outcome.files[there.file_name].committed
        assert not outcome.files[lost.file_name].stored
        assert reason(outcome) == "COMMITMENT_OUTSTANDING" and not told(outcome).failure.permanent
        # It is sent with the next attempt.
        outcome = sender.send(DELIVERY, [Parcel(there.file_name, there.data, stored=True), lost])
        assert reason(outcome) == "" and all(file.committed for file in outcome.files.values())
    finally:
        server.shutdown()


def test_an_answer_to_commitment_that_does_not_come(orthanc: Orthanc) -> None:
    sender = by_c_store(orthanc.dicom_port, storage_commitment=True, commitment_seconds=0.5)
    outcome = sender.send(DELIVERY, parcels(CT))
    assert stored(outcome) == [True]
    assert reason(outcome) == "COMMITMENT_OUTSTANDING"


@contextmanager
def scp(handle: Callable[[evt.Event], object], *classes: str, commits: str = "", **options: object) -> Iterator[int]:
    """An archive that answers as the test says. ``commits``: "same" association, or "no" where it refuses to."""
    entity = AE(ae_title=ARCHIVE)
    for each in classes:
        entity.add_supported_context(each, ExplicitVRLittleEndian)
    handlers: list[object] = [(evt.EVT_C_STORE, handle)]
    if commits:
        entity.add_supported_context(STORAGE_COMMITMENT)

        def act(event: evt.Event) -> tuple[int, None]:
            if commits == "no":
                return 0x0110, None
            information = event.action_information

            def answer() -> None:
                done = Dataset()
                done.TransactionUID = information.TransactionUID
                done.ReferencedSOPSequence = information.ReferencedSOPSequence
                event.assoc.send_n_event_report(done, 1, STORAGE_COMMITMENT, "1.2.840.10008.1.20.1.1")

            threading.Timer(0.2, answer).start()
            return 0x0000, None

        handlers.append((evt.EVT_N_ACTION, act))
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, **options)
    try:
        yield port
    finally:
        server.shutdown()


def test_commitment_on_the_same_association() -> None:
    with scp(lambda _: 0x0000, CT, commits="same") as port:
        outcome = by_c_store(port, storage_commitment=True).send(DELIVERY, parcels(CT, CT))
    assert reason(outcome) == "" and all(file.committed for file in outcome.files.values())


@pytest.mark.parametrize("commits", ["", "no"])
def test_an_archive_that_does_not_commit(commits: str) -> None:
    with scp(lambda _: 0x0000, CT, commits=commits) as port:
        outcome = by_c_store(port, storage_commitment=True).send(DELIVERY, parcels(CT))
    assert stored(outcome) == [True] and reason(outcome) == "COMMITMENT_OUTSTANDING"


@pytest.mark.parametrize(
    ("status", "wanted", "permanent"),
    [
        (0x0000, "", False),
        (0xB000, "", False),
        (0x0111, "", False),
        (0xA700, "PEER_UNAVAILABLE", False),
        (0x0110, "PEER_UNAVAILABLE", False),
        (0xA900, "DELIVERY_REFUSED", True),
        (0xC000, "DELIVERY_REFUSED", True),
        (0x0122, "DELIVERY_REFUSED", True),
    ],
)
def test_status_of_c_store(status: int, wanted: str, permanent: bool) -> None:
    with scp(lambda _: status, CT) as port:
        outcome = by_c_store(port).send(DELIVERY, parcels(CT))
    assert (reason(outcome), told(outcome).failure.permanent) == (wanted, permanent)
    assert stored(outcome) == [not wanted]


def test_one_class_is_refused() -> None:
    """The others are stored, and the refusal is final and says which."""
    with scp(lambda _: 0x0000, CT) as port:
        outcome = by_c_store(port).send(DELIVERY, parcels(CT, STL, CT))
    assert stored(outcome) == [True, False, True]
    settled = told(outcome)
    assert (settled.failure.reason, settled.failure.permanent) == ("DELIVERY_REFUSED", True)
    assert [bool(file.reason) for file in settled.files] == [False, True, False]


def test_an_archive_that_breaks_off_in_the_middle() -> None:
    """What it had taken by then counts."""
    seen = []

    def handle(event: evt.Event) -> int:
        seen.append(event)
        if len(seen) == 2:
            event.assoc.abort()
        return 0x0000

    with scp(handle, CT) as port:
        outcome = by_c_store(port).send(DELIVERY, parcels(CT, CT, CT))
    assert stored(outcome) == [True] and reason(outcome) == "PEER_UNAVAILABLE"


def test_an_archive_that_is_not_there_or_silent_or_no_archive() -> None:
    assert reason(by_c_store(free_port()).send(DELIVERY, parcels(CT))) == "PEER_UNAVAILABLE"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = by_c_store(silent.getsockname()[1], connect_seconds=0.5)
        assert reason(sender.send(DELIVERY, parcels(CT))) == "PEER_UNAVAILABLE"
    with web_server(200, b"<html>") as port:
        sender = by_c_store(port, connect_seconds=2.0)
        assert reason(sender.send(DELIVERY, parcels(CT))) == "PEER_UNAVAILABLE"


def test_titles_that_the_archive_does_not_know(orthanc: Orthanc) -> None:
    for fields in ({"ae_title": "ANOTHER"}, {"calling_ae_title": "STRANGER"}):
        outcome = by_c_store(orthanc.dicom_port, **fields).send(DELIVERY, parcels(CT))
        assert reason(outcome) in ("PACS_ACCESS_DENIED", "PEER_UNAVAILABLE")
        assert not told(outcome).failure.permanent


def test_storescp_over_tls(
    tmp_path: Path, require_installed: Callable[..., None], make_authority: Callable[[str], Any]
) -> None:
    """dcmtk as archive that asks for a certificate; without one, or with another authority, nothing is sent."""
    require_installed("dcmtk", "storescp")
    hospital, elsewhere = make_authority("hospital"), make_authority("elsewhere")
    certificate, key = hospital.issue("localhost")
    ours = dict(zip(("tls_certificate", "tls_key"), hospital.issue("oncoresponse", usage="client"), strict=True))
    theirs = dict(zip(("tls_certificate", "tls_key"), elsewhere.issue("oncoresponse", usage="client"), strict=True))
    port = free_port()
    out = tmp_path / "out"
    out.mkdir()
    command = ["storescp", "+tls", key, certificate, "+cf", hospital.file, "-aet", ARCHIVE, "-od", out, port]
    with subprocess.Popen([str(each) for each in command]) as process:
        try:
            _until_listening(port)
            good = by_c_store(port, host="localhost", tls_authority=hospital.file, **ours)
            assert reason(good.send(DELIVERY, parcels(CT))) == ""
            assert len(list(out.iterdir())) == 1
            for fields in (
                {"tls_authority": elsewhere.file, **ours},
                {"tls_authority": hospital.file, **theirs},
                {"tls_authority": hospital.file},
                {"tls_authority": hospital.file, "host": "127.0.0.1", **ours},
                {},
            ):
                sender = by_c_store(port, **{"host": "localhost", "connect_seconds": 3.0, **fields})
                assert reason(sender.send(DELIVERY, parcels(CT))) in ("TLS_HANDSHAKE_FAILED", "PEER_UNAVAILABLE")
            assert len(list(out.iterdir())) == 1
        finally:
            process.terminate()


def _until_listening(port: int) -> None:
    for _ in range(200):
        with socket.socket() as trial:
            trial.settimeout(0.5)
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.05)
    pytest.fail("nobody listens")


@contextmanager
def web_server(status: int, body: bytes, **headers: str) -> Iterator[int]:
    """An HTTP server that has one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield int(url.rpartition(":")[2])


def stored_answer(*failures: int) -> bytes:
    """Store Instances Response in DICOM JSON."""
    if not failures:
        return json.dumps({"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]}}).encode()
    items = [{"00081197": {"vr": "US", "Value": [each]}} for each in failures]
    return json.dumps({"00081198": {"vr": "SQ", "Value": items}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "wanted", "permanent"),
    [
        (200, stored_answer(), "", False),
        (202, stored_answer(), "", False),
        (409, stored_answer(0x0111), "", False),
        (409, stored_answer(0x0122), "DELIVERY_REFUSED", True),
        (409, stored_answer(0xA900), "DELIVERY_REFUSED", True),
        (409, stored_answer(0xC123), "DELIVERY_REFUSED", True),
        (202, stored_answer(0xA700), "PEER_UNAVAILABLE", False),
        (409, stored_answer(0x0110), "PEER_UNAVAILABLE", False),
        # No evidence that anything is stored.
        (200, b"", "PACS_ANSWER_REFUSED", False),
        (200, b"<html>Log in</html>", "PACS_ANSWER_REFUSED", False),
        (200, b"{}", "PACS_ANSWER_REFUSED", False),
        (200, b"[1, 2]", "PACS_ANSWER_REFUSED", False),
        (200, b"[" * 100_000, "PACS_ANSWER_REFUSED", False),
        (409, stored_answer(), "PACS_ANSWER_REFUSED", False),
        (200, bytes(5 * 1024**2), "PACS_ANSWER_REFUSED", False),
        (401, b"", "PACS_ACCESS_DENIED", False),
        (403, b"", "PACS_ACCESS_DENIED", False),
        (413, b"", "DELIVERY_REFUSED", True),
        (415, b"", "DELIVERY_REFUSED", True),
        (400, b"", "DELIVERY_REFUSED", True),
        (404, b"", "DELIVERY_REFUSED", True),
        (302, b"", "DELIVERY_REFUSED", True),
        (500, b"", "PEER_UNAVAILABLE", False),
        (503, b"", "PEER_UNAVAILABLE", False),
        (429, b"", "PEER_UNAVAILABLE", False),
    ],
    ids=range(25),
)
def test_answers_to_stow(status: int, body: bytes, wanted: str, permanent: bool) -> None:
    with web_server(status, body, Location="http://127.0.0.1:1/", Retry_After="7") as port:
        outcome = by_stow(f"http://127.0.0.1:{port}/dicom-web").send(DELIVERY, parcels(CT))
    assert (reason(outcome), told(outcome).failure.permanent) == (wanted, permanent)
    assert outcome.retry_after_seconds == (7.0 if status in (429, 500, 503) else None)


def test_a_server_that_drips(tmp_path: Path) -> None:
    """One byte of a header now and then is no answer."""
    stopped = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not stopped.wait(0.1):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        sender = by_stow(f"http://127.0.0.1:{server.getsockname()[1]}", idle_seconds=0.5)
        outcome = sender.send(DELIVERY, parcels(CT))
        stopped.set()
        thread.join()
    assert reason(outcome) == "PACS_TOO_SLOW"


def test_stow_that_finds_nobody_or_may_not(orthanc: Orthanc, password: Path, tmp_path: Path) -> None:
    assert reason(by_stow(f"http://127.0.0.1:{free_port()}").send(DELIVERY, parcels(CT))) == "PEER_UNAVAILABLE"
    count = len(orthanc.files())
    assert reason(by_stow(orthanc.url()).send(DELIVERY, parcels(CT))) == "PACS_ACCESS_DENIED"
    password.chmod(0o644)
    opened = by_stow(orthanc.url(), user=USER, password_file=password)
    assert reason(opened.send(DELIVERY, parcels(CT))) == "CONFIGURATION_INVALID"
    assert len(orthanc.files()) == count


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "stow"},
        {"kind": "stow", "server": "a", "address": "127.0.0.1:1"},
        {"kind": "c-store", "address": "127.0.0.1:1"},
        {"kind": "c-store", "address": "nowhere", "ae_title": "A"},
        {"kind": "c-store", "address": "127.0.0.1:1", "ae_title": "A", "server": "a"},
        {"kind": "c-store", "address": "127.0.0.1:1", "ae_title": "much longer than it may be"},
        {"kind": "ftp", "server": "a"},
    ],
)
def test_settings_that_cannot_be(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Destination(**fields)


def test_patient_data_is_not_sent_in_the_clear() -> None:
    far = Destination(kind="c-store", address="pacs.example:104", ae_title="A")
    with pytest.raises(ConfigurationError, match="unencrypted"):
        far.require_safe_sending(allow_insecure_network=False)
    far.require_safe_sending(allow_insecure_network=True)
