"""Studies by C-STORE from senders that others wrote (dcmtk, pynetdicom), and from some that mean no good."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import grpc
import pydicom
import pytest
import yaml
from oncoresponse.cli.main import app
from oncoresponse.edges.pacs.announcement import INSTANCE_AVAILABILITY
from oncoresponse.storage.audit_store import audit_rows
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, study_pb2, study_pb2_grpc
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, _config
from typer.testing import CliRunner

from tests.integration.orthanc_server import free_port, running_orthanc

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CT, PET = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128"
# pynetdicom leaves the socket of an association that was rejected to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"
)
QUOTA_BYTES = 16 * 1024**2
SERVICES = "study,assessment,model,monitoring,response"
RULES = {
    "rules": [
        {"name": "brain", "when": {"modalities": ["MR"], "body_part": ["BRAIN"]}, "model": "breast-nac"},
        {
            "name": "sarcoma",
            "when": {"modalities": ["CT", "PT"], "calling_ae_titles": ["PETCT1"]},
            "model": "sts-petct",
            "planned_treatment": "As the board decided",
            "use_contour": True,
            "priority": "urgent",
        },
        {
            "name": "follow-up",
            "when": {"calling_ae_titles": ["FOLLOWUP"]},
            "model": "sts-petct",
            "priors": {"from": "archive", "modalities": ["CT"], "count": 1},
        },
        {"name": "lung", "when": {"calling_ae_titles": ["LUNG1"]}, "model": "no-such-model"},
    ]
}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Sockets that pynetdicom left are collected here, where the warning is expected, not in the test of another."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pacs")
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
    callers = {"PETCT1": "", "MR2": "", "LUNG1": "", "FOLLOWUP": "", "ORTHANC": "", "ELSEWHERE": "192.0.2.7"}
    port, archive = free_port(), free_port()
    peers = {"archive": {"address": f"127.0.0.1:{archive}", "ae_title": "ORTHANC"}}
    pacs = {"listen": f"127.0.0.1:{port}", "callers": callers, "quiet_seconds": 1.0, "associations": 3}
    file = folder / "settings.yaml"
    limits = {"file_bytes": 8 * 1024**2}
    content = {"pacs": pacs, "rules": str(folder / "rules.yaml"), "dicom_limits": limits, "dicom_peers": peers}
    content["study_quota_bytes"] = QUOTA_BYTES
    file.write_text(yaml.safe_dump(content))
    return file, port, folder / "data"


@pytest.fixture(scope="module")
def server(serve_for_module, settings):
    file, _, data = settings
    server = serve_for_module("--listen", "127.0.0.1:0", "--data-dir", str(data), settings=file)
    server.wait_until_ready()
    return server


def studies(server) -> list[study_pb2.Study]:
    with grpc.insecure_channel(server.address) as channel:
        return list(study_pb2_grpc.StudyServiceStub(channel).ListStudies(study_pb2.ListStudiesRequest()).studies)


def assessments(server) -> list[assessment_pb2.Assessment]:
    with grpc.insecure_channel(server.address) as channel:
        stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
        return list(stub.ListAssessments(assessment_pb2.ListAssessmentsRequest()).assessments)


def until(found: Callable[[], object]) -> object:
    """What is found, once it is."""
    deadline = time.monotonic() + 90
    while not (value := found()):
        assert time.monotonic() < deadline
    return value


def storescu(port: int, files: Sequence[Path], *options: str, aet: str = "PETCT1", called: str = "ONCORESPONSE") -> str:
    command = ["storescu", "-aet", aet, "-aec", called, *options, "127.0.0.1", str(port), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout + done.stderr


def associate(
    port: int, *classes: str, aet: str = "PETCT1", called: str = "ONCORESPONSE", syntax: str = ExplicitVRLittleEndian
):
    entity = AE(ae_title=aet)
    for uid in classes or (CT,):
        entity.add_requested_context(uid, syntax)
    return entity.associate("127.0.0.1", port, ae_title=called)


def a_slice(**changed: object) -> pydicom.Dataset:
    """Of a study of its own, unless it says another."""
    path = next(
        path for path in sorted((EXAMPLES / "STS_032").rglob("*.dcm")) if pydicom.dcmread(path).Modality == "CT"
    )
    dataset = pydicom.dcmread(path)
    dataset.StudyInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid()
    # pynetdicom encodes no value that is longer than its representation allows.
    del dataset[0x00200010]
    for keyword, value in changed.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def test_what_storescu_sends_is_assessed_by_the_rule_that_fits(server, settings, require_installed):
    require_installed("dcmtk", "storescu", "echoscu")
    _, port, data = settings
    echoed = subprocess.run(["echoscu", "-aet", "PETCT1", "-aec", "ONCORESPONSE", "127.0.0.1", str(port)], check=False)
    assert echoed.returncode == 0
    files = sorted((EXAMPLES / "STS_032").rglob("*.dcm"))
    said = storescu(port, files, "-R")
    assert "E:" not in said, said
    (assessment,) = until(lambda: assessments(server))
    (study,) = studies(server)
    assert study.instance_count == len(files)
    assert assessment.study == study.name
    assert assessment.model == "models/sts-petct"
    ended = until(
        lambda: [
            each
            for each in assessments(server)
            if each.state not in (assessment_pb2.ASSESSMENT_STATE_QUEUED, assessment_pb2.ASSESSMENT_STATE_RUNNING)
        ]
    )
    assert [each.state for each in ended] == [assessment_pb2.ASSESSMENT_STATE_SUCCEEDED]
    # Every image is what was sent; the sender may write file meta and sequences in its own way.
    images = [path for path in files if pydicom.dcmread(path, stop_before_pixels=True).Modality in ("CT", "PT")]
    sent = {path.read_bytes()[-2_000:] for path in images}
    kept = {path.read_bytes()[-2_000:] for path in (data / "artifacts").rglob("*") if path.is_file()}
    assert len(sent) > 100
    assert sent <= kept
    log = server.log.read_text()
    assert "rule sarcoma started assessments/" in log
    dataset = pydicom.dcmread(files[0])
    for value in (str(dataset.PatientID), str(dataset.StudyInstanceUID), str(dataset.PatientName)):
        assert value not in log
    callers = {
        (row.values["caller"], row.values["address"]) for row in audit_rows(f"sqlite:///{data / 'audit.sqlite'}")
    }
    assert ("edges", "127.0.0.1") in callers

    # What is here already makes no version; one slice more makes one, with all that came before, and changes nothing.
    assert "E:" not in storescu(port, files[:1], "-R")
    uid, series = str(dataset.StudyInstanceUID), generate_uid()
    late = a_slice(StudyInstanceUID=uid, SeriesInstanceUID=series, Modality="OT", SOPClassUID=SECONDARY_CAPTURE)
    association = associate(port, SECONDARY_CAPTURE)
    assert association.send_c_store(late).Status == 0x0000
    association.release()
    (version,) = until(lambda: [each for each in studies(server) if each.complete and each.name != study.name])
    assert (version.instance_count, version.supersedes) == (len(files) + 1, study.name)
    (kept,) = [each for each in studies(server) if each.name == study.name]
    assert kept.superseded_by == version.name
    kept.superseded_by = ""
    assert kept == study
    (newer,) = until(lambda: [each for each in assessments(server) if each.study == version.name])
    assert newer.replaces == assessment.name
    listed = received(server)
    assert listed[version.name] == ["PETCT1", "started", "sarcoma", newer.name]
    assert listed[study.name] == ["PETCT1", "started", "sarcoma", assessment.name]
    # Other content under a SOP Instance UID of an earlier version is none of a newer one either; nor another patient's.
    changed = pydicom.dcmread(images[0])
    changed.InstanceNumber = 9999
    association = associate(port, str(changed.SOPClassUID))
    del changed[0x00200010]
    assert association.send_c_store(changed).Status == 0x0111
    assert association.send_c_store(a_slice(StudyInstanceUID=uid, PatientID="SOMEBODY-ELSE")).Status == 0xA900
    association.release()


def received(server, *options: str) -> dict[str, list[str]]:
    """What ``oncoresponse pacs received`` lists, by study: AE title, state, and what else it says."""
    said = CliRunner().invoke(app, ["pacs", "received", "--server", server.address, *options])
    assert said.exit_code == 0, said.output
    rows = [line.split() for line in said.output.splitlines() if "studies/" in line]
    return {row[-1]: row[2:-1] for row in rows}


def test_a_rule_whose_model_is_not_there_is_listed_with_the_reason(server, settings):
    _, port, _ = settings
    association = associate(port, aet="LUNG1")
    assert association.send_c_store(a_slice()).Status == 0x0000
    association.release()
    (row,) = until(lambda: received(server, "--state", "refused").values())
    assert row == ["LUNG1", "refused", "lung", "MODEL_NOT_FOUND"]


def test_a_study_that_no_rule_fits_is_kept_and_said(server, settings):
    _, port, _ = settings
    before = {study.name for study in studies(server)}
    association = associate(port, aet="MR2")
    assert association.send_c_store(a_slice()).Status == 0x0000
    association.release()
    (study,) = until(lambda: [each for each in studies(server) if each.complete and each.name not in before])
    until(lambda: f"{study.name} fits no rule" in server.log.read_text())
    assert study.name not in {each.study for each in assessments(server)}
    assert received(server)[study.name] == ["MR2", "kept", "NO_RULE_FITS"]


def command(*arguments: object) -> str:
    """What a command prints."""
    line = [sys.executable, "-m", "oncoresponse.cli.main", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout


def test_earlier_studies_are_fetched_from_an_archive_and_start_nothing(server, settings, tmp_path, require_installed):
    file, port, _ = settings
    archive = int(yaml.safe_load(file.read_text())["dicom_peers"]["archive"]["address"].rpartition(":")[2])
    here = {"here": ["ONCORESPONSE", "127.0.0.1", port]}
    dicom = {"DicomAet": "ORTHANC", "DicomPort": archive, "DicomModalities": here, "DicomCheckCalledAet": True}
    kept = {
        day: a_slice(PatientID=patient, StudyDate=day, Modality=modality)
        for day, patient, modality in (
            ("20190101", "PRIOR-1", "CT"),
            ("20200101", "PRIOR-1", "CT"),
            ("20200601", "PRIOR-1", "OT"),
            ("20200701", "PRIOR-10", "CT"),
            ("20300101", "PRIOR-1", "CT"),
        )
    }
    follow_up = a_slice(PatientID="PRIOR-1", StudyDate="20210101")
    with running_orthanc(tmp_path, require_installed, dicom=dicom) as orthanc:
        for dataset in kept.values():
            orthanc.ask("POST", "/instances", data=as_bytes(dataset))
        association = associate(port, aet="FOLLOWUP")
        assert association.send_c_store(follow_up).Status == 0x0000
        association.release()
        rows = until(
            lambda: (
                (found := [row for row in received(server).values() if row[0] in ("FOLLOWUP", "ORTHANC")])
                and len(found) == 2
                and "waiting" not in str(found)
                and found
            )
        )
        # One was fetched before the assessment was asked for, which has no PET; the fetched one starts nothing.
        assert sorted(rows) == [
            ["FOLLOWUP", "refused", "follow-up", "REQUIRED_SERIES_MISSING", "1"],
            ["ORTHANC", "kept", "FETCHED"],
        ]
        assert studies_of(server, "20200101") == 1

        by_dicom = ("--peer", "archive", "--settings", file)
        said = command("pacs", "find", *by_dicom, "--patient", "PRIOR-1", "--date", "-20201231", "--modality", "CT")
        found = [line.split() for line in said.splitlines() if "PRIOR-1" in line]
        oldest = kept["20190101"].StudyInstanceUID
        assert sorted(row[:2] + row[-1:] for row in found) == [
            ["20190101", "PRIOR-1", oldest],
            ["20200101", "PRIOR-1", kept["20200101"].StudyInstanceUID],
        ]
        assert "1 objects" in command("pacs", "retrieve", *by_dicom, "--study", oldest)
        until(lambda: studies_of(server, "20190101"))
    assert [row for row in received(server).values() if row[0] == "ORTHANC"] == [["ORTHANC", "kept", "FETCHED"]] * 2


def as_bytes(dataset: pydicom.Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def studies_of(server, date: str) -> int:
    """How many complete studies have this date."""
    return sum(each.complete and each.study_date == date for each in studies(server))


def test_who_may_not_send_is_rejected(server, settings):
    _, port, _ = settings
    # Result, source and reason of PS3.8 table 9-21: calling, called title not recognized.
    for aet, called, reason in (
        ("STRANGER", "ONCORESPONSE", 0x03),
        ("PETCT1", "SOMEBODY", 0x07),
        ("ELSEWHERE", "ONCORESPONSE", 0x03),
    ):
        association = associate(port, aet=aet, called=called)
        assert association.is_rejected, aet
        rejection = association.acceptor.primitive
        assert (rejection.result, rejection.result_source, rejection.diagnostic) == (0x01, 0x01, reason)
    log = server.log.read_text()
    assert "'STRANGER' at 127.0.0.1 was rejected: no caller in the settings" in log
    assert "'PETCT1' at 127.0.0.1 was rejected: it calls another AE title" in log
    assert "'ELSEWHERE' at 127.0.0.1 was rejected: the settings give this AE title another address" in log
    held = [associate(port) for _ in range(3)]
    one_more = associate(port)
    assert one_more.is_rejected
    # Passing: local limit exceeded.
    assert (one_more.acceptor.primitive.result, one_more.acceptor.primitive.diagnostic) == (0x02, 0x02)
    for association in held:
        association.release()


def test_each_fault_has_its_status_and_nothing_is_mixed(server, settings):
    _, port, _ = settings
    first = a_slice()
    until(lambda: not associate(port).is_rejected)
    association = until(lambda: (found := associate(port, CT, PET)).is_established and found)
    assert association.send_c_store(first).Status == 0x0000
    # Again: nothing new.
    assert association.send_c_store(first).Status == 0x0000
    other_patient = a_slice(StudyInstanceUID=first.StudyInstanceUID, PatientID="SOMEBODY-ELSE")
    refused = association.send_c_store(other_patient)
    assert (refused.Status, refused.ErrorComment) == (0xA900, "of another patient than its study has")
    assert "from PETCT1 at 127.0.0.1 was not stored: status 0xA900, of another patient" in server.log.read_text()
    other_content = a_slice(
        StudyInstanceUID=first.StudyInstanceUID, SOPInstanceUID=first.SOPInstanceUID, InstanceNumber=99
    )
    assert association.send_c_store(other_content).Status == 0x0111
    nameless = a_slice()
    del nameless.StudyInstanceUID
    assert association.send_c_store(nameless).Status == 0xC000
    association.release()
    found = [each for each in studies(server) if not each.complete and not each.supersedes]
    assert len(found) == 1


def test_a_command_that_names_another_class_or_instance_than_its_data_set(server, settings, tmp_path, monkeypatch):
    """A file of which file meta and data set disagree; the command has what file meta says."""
    _, port, _ = settings
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    names = {study.name for study in studies(server)}
    syntax = a_slice().file_meta.TransferSyntaxUID
    association = until(lambda: (found := associate(port, CT, PET, syntax=syntax)).is_established and found)
    for keyword, value, status in (
        ("MediaStorageSOPClassUID", PET, 0xA900),
        ("MediaStorageSOPInstanceUID", generate_uid(), 0xC000),
    ):
        dataset = a_slice()
        setattr(dataset.file_meta, keyword, value)
        dataset.save_as(tmp_path / "slice.dcm", enforce_file_format=False)
        assert association.send_c_store(tmp_path / "slice.dcm").Status == status
    association.release()
    assert {study.name for study in studies(server)} == names


def test_a_study_beyond_its_quota_is_refused_as_a_lack_of_room_and_what_fits_is_kept(server, settings):
    _, port, _ = settings
    names = {study.name for study in studies(server)}
    association = until(lambda: (found := associate(port, aet="MR2")).is_established and found)
    first = a_slice(Rows=4096, Columns=800, PixelData=bytes(4096 * 800 * 2))
    uid = first.StudyInstanceUID
    again = [a_slice(StudyInstanceUID=uid, Rows=4096, Columns=800, PixelData=bytes(4096 * 800 * 2)) for _ in range(2)]
    small = a_slice(StudyInstanceUID=uid)
    answers = [association.send_c_store(dataset).Status for dataset in (first, *again, small)]
    assert answers == [0x0000, 0x0000, 0xA700, 0x0000]
    association.release()
    (study,) = until(lambda: [each for each in studies(server) if each.complete and each.name not in names])
    assert study.instance_count == 3
    assert study.size_bytes < QUOTA_BYTES
    assert "the front door takes no object: QUOTA_EXCEEDED" in server.log.read_text()


def test_half_an_object_is_none(server, settings):
    _, port, _ = settings
    names = {study.name for study in studies(server)}
    association = until(lambda: (found := associate(port)).is_established and found)
    whole = a_slice()
    assert association.send_c_store(whole).Status == 0x0000
    # The command of another object, and the connection is gone before its data set is.
    sender = association.dul.socket.socket
    half = a_slice(StudyInstanceUID=whole.StudyInstanceUID)
    sending = association.dul.socket.send
    sent: list[bytes] = []

    def send_half(data: bytes) -> None:
        if not sent:  # The thread of the association may try its next message before it sees the end.
            sent.append(data[: len(data) // 2])
            sending(sent[0])
            with contextlib.suppress(OSError):  # The receiver may have been the first to hang up.
                sender.shutdown(socket.SHUT_RDWR)

    association.dul.socket.send = send_half
    association.send_c_store(half)
    association.abort()
    (study,) = until(lambda: [each for each in studies(server) if each.complete and each.name not in names])
    assert study.instance_count == 1


def test_an_object_beyond_the_limit_is_cut_off(server, settings):
    _, port, _ = settings
    association = until(lambda: (found := associate(port)).is_established and found)
    large = a_slice(Rows=4096, Columns=1536, PixelData=bytes(4096 * 1536 * 2))
    status = association.send_c_store(large)
    assert "Status" not in status
    association.abort()
    until(lambda: "larger than the limit" in server.log.read_text())


def announce(port: int, *slices: pydicom.Dataset) -> int:
    """Status of an Instance Availability Notification (PS3.4 annex R)."""
    information = pydicom.Dataset()
    information.StudyInstanceUID = slices[0].StudyInstanceUID
    information.ReferencedPerformedProcedureStepSequence = []
    series = pydicom.Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = slices[0].SeriesInstanceUID, []
    for dataset in slices:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        item.InstanceAvailability, item.RetrieveAETitle = "ONLINE", "ARCHIVE"
        series.ReferencedSOPSequence.append(item)
    information.ReferencedSeriesSequence = [series]
    association = associate(port, INSTANCE_AVAILABILITY, aet="MR2")
    status, _ = association.send_n_create(information, INSTANCE_AVAILABILITY, generate_uid())
    association.release()
    return int(status.Status)


def test_what_was_announced_is_whole_at_once_and_what_was_acknowledged_is_completed_after_a_crash(
    serve, silent_stages, settings, tmp_path
):
    """The quiet time is ten minutes: an archive that says what it has makes a study whole before; and a process that is
    killed in it completes the study after its next start."""
    file, port, _ = settings
    content = yaml.safe_load(file.read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    content["pacs"] |= {"listen": f"127.0.0.1:{port}", "quiet_seconds": 600.0}
    own = tmp_path / "settings.yaml"
    own.write_text(yaml.safe_dump(content))
    arguments = ("--services", SERVICES, "--listen", "127.0.0.1:0", "--stage-listen", "127.0.0.1:0")
    content["addresses"] = silent_stages.address
    own.write_text(yaml.safe_dump(content))
    arguments = (*arguments, "--data-dir", str(tmp_path / "data"))
    first = serve(*arguments, settings=own)
    first.wait_until_ready()
    one = a_slice()
    pair = [a_slice(StudyInstanceUID=one.StudyInstanceUID), one]
    later = [a_slice() for _ in range(2)]
    later[1].StudyInstanceUID = later[0].StudyInstanceUID
    assert announce(port, *later) == 0x0000
    association = associate(port, aet="MR2")
    for dataset in (pair[0], later[0]):
        assert association.send_c_store(dataset).Status == 0x0000
    association.release()
    assert announce(port, *pair) == 0x0000
    association = associate(port, aet="MR2")
    for dataset in (pair[1], later[1]):
        assert association.send_c_store(dataset).Status == 0x0000
    association.release()
    until(lambda: [each.instance_count for each in studies(first) if each.complete] == [2, 2])
    association = associate(port, aet="MR2")
    assert association.send_c_store(a_slice()).Status == 0x0000
    first.stop(signal.SIGKILL)
    content["pacs"]["quiet_seconds"] = 1.0
    own.write_text(yaml.safe_dump(content))
    again = serve(*arguments, settings=own)
    again.wait_until_ready()
    until(lambda: sorted(each.instance_count for each in studies(again) if each.complete) == [1, 2, 2])
