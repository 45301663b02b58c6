"""A patient is planted through the front door, erased, and looked for in everything that the service wrote."""

import datetime
import hashlib
import signal
import sqlite3
import time
import uuid
from contextlib import closing, contextmanager

import pytest
from oncoresponse.case.sign_off import Agreement, ReportStatus, SignOff
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.administration_client import AdministrationClient
from oncoresponse.rpc.client import Order
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.inventory import TABLES, kept_file
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.v1 import administration_pb2, monitoring_pb2, study_pb2
from pydicom import dcmread
from typer.testing import CliRunner

from tests.integration.planted_search import places

PATIENT_ID, NAME, BIRTH_DATE = "ZQX-7741-PLANTED", "Zquorxberg^Planted^Wuxlo", "19430217"
COMMENT = "Zquorx comment of the physician"
ORDER = Order(
    "sts-petct", contour=study_pb2.SuppliedContour(), planned_treatment="Zquorx therapy", patient_id=PATIENT_ID
)
OTHER = Order("sts-petct", contour=study_pb2.SuppliedContour())
GRACE_SECONDS = 3


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.fixture(scope="module")
def planted_study(tmp_path_factory, examples):
    """A sample study of a patient whom nobody can be taken for, and all of its identifiers."""
    folder, uids = tmp_path_factory.mktemp("planted"), set()
    for number, path in enumerate(sorted((examples / "STS_032").rglob("*.dcm"))):
        dataset = dcmread(path)
        dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = PATIENT_ID, NAME, BIRTH_DATE
        dataset.AccessionNumber = "ACC-ZQX-1"
        uids |= {dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID}
        dataset.save_as(folder / f"{number}.dcm")
    return folder, uids


def planted_values(folder, uids) -> list[str]:
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())[::20]]
    return [PATIENT_ID, NAME, "Zquorxberg", "Zquorx therapy", "ACC-ZQX-1", COMMENT, *sorted(uids)[::15], *digests]


class Running:
    """A server with its temporary files in a folder of its own. ``client`` is one of it."""

    def __init__(self, folder, start, examples) -> None:
        (folder / "tmp").mkdir()
        (folder / "models").mkdir()
        (folder / "models" / "sts-petct").symlink_to(examples.parent / "models" / "sts-petct")
        self._settings = folder / "settings.yaml"
        days = "{images: 40, volumes: 20, reports: 60, monitoring: 60, incomplete_studies: 7}"
        self._settings.write_text(f"garbage_after_seconds: {GRACE_SECONDS}\nretention_days: {days}\n")
        self.folder, self.data, self._start = folder, folder / "data", start
        self.start()

    def start(self) -> None:
        arguments = ("--data-dir", str(self.data), "--models-dir", str(self.folder / "models"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(self.folder / "tmp"))
            self.server = self._start("--listen", "127.0.0.1:0", *arguments, settings=self._settings)
        self.client = AdministrationClient(self.server.wait_until_ready())

    def search(self, values) -> dict[str, list[str]]:
        """Where values stand in what the server wrote: data, logs, temporary files."""
        return places([self.data, self.folder / "tmp"], values)


@pytest.fixture(scope="module")
def running(serve_for_module, tmp_path_factory, examples):
    running = Running(tmp_path_factory.mktemp("erasure"), serve_for_module, examples)
    yield running
    running.client.close()


def erase(client, **fields):
    """Dry run, erasure and last sweep; gives the dry run and the end."""
    who, request_id = {"patient_id": PATIENT_ID, **fields}, str(uuid.uuid4())
    ask = administration_pb2.ErasePatientRequest
    plan = client.erase_patient(ask(**who, dry_run=True, request_id=request_id))
    act = ask(**who, confirmation=plan.confirmation, request_id=request_id)
    done, deadline = client.erase_patient(act), time.monotonic() + 60
    while done.state != administration_pb2.ERASURE_STATE_DONE:
        assert time.monotonic() < deadline, done
        time.sleep(0.2)
        done = client.erase_patient(act)
    return plan, done


def test_nothing_of_a_patient_is_found_after_the_erasure(running, planted_study, examples):
    folder, client = running.folder, running.client
    files, uids = planted_study
    values = planted_values(files, uids)
    other = client.assess(client.upload_study(examples / "STS_019", silent), OTHER, silent)

    study = client.upload_study(files, silent)
    found = client.assess(study, ORDER, silent)
    with _damaged(running.data, files), pytest.raises(OncoResponseError) as failed:
        client.assess(study, ORDER, silent)
    assert failed.value.reason == "CHECKSUM_MISMATCH"
    client.cancel(client.create_assessment(study, ORDER, str(uuid.uuid4())).name)
    _leave_unfinished(client, files)
    _record_outcome(client, found.name)
    _sign(running.data, found.name)

    # Written by the way: what of the database is still in its log is in there too.
    before = running.search(values)
    assert set(before) == set(values), set(values) - set(before)

    running_one = client.create_assessment(study, ORDER, str(uuid.uuid4())).name
    plan, done = erase(client)
    assert plan.counts.studies == 2
    assert plan.counts.assessments == 4
    assert plan.counts.instances == len(list(files.iterdir())) + 1
    assert plan.counts.signed_reports == 1
    assert plan.counts.masks and plan.counts.derived_volumes and plan.counts.reports and plan.counts.monitoring_rows
    assert any("audit record" in sentence for sentence in done.remains)

    assert running.search(values) == {}
    for name in (found.name, running_one):
        with pytest.raises(OncoResponseError, match="no assessment"):
            client.watch(name, silent)
    # Who was not meant has lost nothing.
    assert client.download_artifacts(other, folder / "other")
    plan, _ = erase(client)
    assert not plan.counts.ListFields()


def test_a_shared_file_stays_for_the_other_patient_and_one_assessment_goes_alone(running, planted_study):
    folder, client = running.folder, running.client
    study = client.upload_study(planted_study[0], silent)
    first, second = (client.assess(study, ORDER, silent) for _ in range(2))
    ask, request_id = administration_pb2.DeleteAssessmentRequest, str(uuid.uuid4())
    plan = client.delete_assessment(ask(name=first.name, dry_run=True, request_id=request_id))
    assert plan.counts.reports == 1 and plan.counts.instances == 0
    wrong = ask(name=first.name, confirmation="0" * 64, request_id=request_id)
    with pytest.raises(OncoResponseError) as refused:
        client.delete_assessment(wrong)
    assert refused.value.reason == "ERASURE_CHANGED"
    client.delete_assessment(ask(name=first.name, confirmation=plan.confirmation, request_id=request_id))
    again = client.delete_assessment(ask(name=first.name, confirmation=plan.confirmation, request_id=request_id))
    assert again.state != administration_pb2.ERASURE_STATE_PLANNED
    # Volumes and instances that the second one shares are there still.
    assert (folder / "second" / "mask.nrrd") in client.download_artifacts(second, folder / "second")
    plan, _ = erase(client)
    assert plan.counts.instances == len(list(planted_study[0].iterdir()))


def test_a_moved_study_is_the_other_patients_in_index_and_in_later_reports(running, planted_study):
    folder, client = running.folder, running.client
    study = client.upload_study(planted_study[0], silent)
    before = client.assess(study, ORDER, silent)
    answer = client.move_study(
        administration_pb2.MoveStudyRequest(
            study=study.name,
            patient=administration_pb2.PatientIdentifier(patient_id="RIGHT-1"),
            patient_name="Right^One",
            reason="wrong worklist entry",
        )
    )
    assert before.name in answer.assessments_to_withdraw
    with pytest.raises(OncoResponseError) as refused:
        client.assess(study, ORDER, silent)
    assert refused.value.reason == "PATIENT_MISMATCH"
    right = Order("sts-petct", contour=study_pb2.SuppliedContour(), patient_id="RIGHT-1")
    after = client.assess(study, right, silent)
    client.download_artifacts(after, folder / "after")
    bundle = (folder / "after" / "report.json").read_text()
    assert "RIGHT-1" in bundle and "an administrator moved the study to this patient" in bundle
    assert not {PATIENT_ID, "Zquorxberg", "1943"} & set(bundle.replace('"', " ").split()) and PATIENT_ID not in bundle
    segmentation = dcmread(folder / "after" / "segmentation.dcm")
    assert (segmentation.PatientID, str(segmentation.PatientName)) == ("RIGHT-1", "Right^One")
    # Then the hospital finds that RIGHT-1 and RIGHT-2 are one person.
    merged = client.merge_patients(
        administration_pb2.MergePatientsRequest(
            **{"from": administration_pb2.PatientIdentifier(patient_id="RIGHT-1")},
            into=administration_pb2.PatientIdentifier(patient_id="RIGHT-2"),
            reason="merged in the index of patients",
        )
    )
    assert list(merged.studies) == [study.name]
    # The report that was made first names the planted patient, and goes with the planted patient.
    plan = client.erase_patient(
        administration_pb2.ErasePatientRequest(patient_id=PATIENT_ID, dry_run=True, request_id=str(uuid.uuid4()))
    )
    assert plan.counts.assessments == 1
    # Its files hold the identifiers that they came with, and go with the patient whose they are.
    assert running.search([PATIENT_ID])
    assert erase(client, patient_id="RIGHT-2")[0].counts.studies == 1
    assert running.search([PATIENT_ID, "RIGHT-1", "RIGHT-2"]) == {}


def test_the_command_takes_the_identifier_from_a_file(running, planted_study, tmp_path):
    from oncoresponse.cli.main import app

    server, client = running.server, running.client
    client.upload_study(planted_study[0], silent)
    named = tmp_path / "patient.txt"
    named.write_text(f"{PATIENT_ID}\n")
    command = ["erase-patient", "--server", server.address, "--patient-id-file", str(named)]
    said = CliRunner().invoke(app, [*command, "--dry-run"])
    assert said.exit_code == 0 and "instances" in said.output and PATIENT_ID not in said.output
    said = CliRunner().invoke(app, [*command, "--yes"])
    assert said.exit_code == 0 and "Erased." in said.output
    said = CliRunner().invoke(app, ["retention", "--server", server.address, "--dry-run"])
    assert said.exit_code == 0 and "garbage: " in said.output and "incomplete_studies: " in said.output


def test_what_is_too_old_goes_by_kind(running, planted_study):
    client = running.client
    erase(client, patient_id="STS_019", any_issuer=True)
    study = client.upload_study(planted_study[0], silent)
    found = client.assess(study, ORDER, silent)
    _record_outcome(client, found.name)
    _leave_unfinished(client, planted_study[0])

    def applied(age_days: int):
        """What goes when everything is this old; a dry run says the same, and changes nothing."""
        _made_older(running.data, age_days)
        said = client.apply_retention(dry_run=True)
        assert client.apply_retention(dry_run=False) == said
        return said

    assert [kind for kind, counts in applied(6).items() if counts.ListFields()] == []
    counts = applied(30)
    assert (counts["volumes"].derived_volumes, counts["volumes"].masks) == (2, 3)
    assert (counts["incomplete_studies"].studies, counts["incomplete_studies"].instances) == (1, 1)
    assert not counts["images"].ListFields() and not counts["reports"].ListFields()
    with pytest.raises(OncoResponseError, match="does not hold"):
        client.download_artifacts(found, running.folder / "without-volumes")
    assert (running.folder / "without-volumes" / "features.json").stat().st_size
    counts = applied(50)
    assert counts["images"].studies == 1
    assert counts["images"].instances == counts["images"].files == len(list(planted_study[0].iterdir()))
    client.watch(found.name, silent)
    counts = applied(100)
    assert (counts["reports"].assessments, counts["reports"].reports, counts["monitoring"].monitoring_rows) == (1, 1, 0)
    with pytest.raises(OncoResponseError, match="no assessment"):
        client.watch(found.name, silent)


def test_an_erasure_that_is_killed_is_ended_at_the_next_start(running, planted_study):
    files, uids = planted_study
    values = [value for value in planted_values(files, uids) if value != COMMENT]
    client = running.client
    client.assess(client.upload_study(files, silent), ORDER, silent)
    ask, request_id = administration_pb2.ErasePatientRequest, str(uuid.uuid4())
    plan = client.erase_patient(ask(patient_id=PATIENT_ID, dry_run=True, request_id=request_id))
    act = ask(patient_id=PATIENT_ID, confirmation=plan.confirmation, request_id=request_id)
    # A transaction of somebody else keeps the erasure from removing rows, so that it is killed in its middle.
    with closing(sqlite3.connect(running.data / "studies" / "studies.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        call = client._administration.ErasePatient.future(act)
        _wait_for(lambda: _begun(running.data))
        running.server.stop(signal.SIGKILL)
        call.cancel()
    client.close()
    assert running.search(values)

    running.start()
    _wait_for(lambda: running.client.erase_patient(act).state == administration_pb2.ERASURE_STATE_DONE)
    assert running.search(values) == {}


def test_every_table_and_file_of_a_real_data_folder_has_a_line_in_the_inventory(running):
    tables = set()
    for path in running.data.rglob("*.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            tables |= {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables <= set(TABLES)
    assert {"study", "chart_patient", "workflow_status", "audit_event"} <= tables
    files = [str(path.relative_to(running.data)) for path in running.data.rglob("*") if path.is_file()]
    assert [path for path in files if kept_file(path) is None and not path.startswith("log-")] == []
    assert len(files) > 5


@contextmanager
def _damaged(data_directory, files):
    """One stored PET image is not what it was, so that an assessment begins and fails."""
    path = next(path for path in sorted(files.iterdir()) if dcmread(path, stop_before_pixels=True).Modality == "PT")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    stored = data_directory / "artifacts" / digest[:2] / digest[2:4] / digest
    stored.write_bytes(path.read_bytes() + b"\0")
    yield
    stored.write_bytes(path.read_bytes())


def _leave_unfinished(client, files) -> None:
    """One instance whole, and half of another."""
    study = client._studies.CreateStudy(study_pb2.CreateStudyRequest(request_id=str(uuid.uuid4()))).study
    paths = sorted(files.iterdir(), key=lambda path: path.stat().st_size)[-2:]

    def messages():
        import zlib

        for path, share in zip(paths, (1.0, 0.5), strict=True):
            data = path.read_bytes()
            header = study_pb2.InstanceHeader(
                study=study.name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)
            )
            yield study_pb2.UploadInstancesRequest(header=header)
            part = data[: int(len(data) * share)]
            for start in range(0, len(part), 200_000):
                block = part[start : start + 200_000]
                yield study_pb2.UploadInstancesRequest(
                    chunk=study_pb2.InstanceChunk(data=block, crc32=zlib.crc32(block))
                )

    client._studies.UploadInstances(messages())


def _sign(data_directory, name: str) -> None:
    """What a physician's signature leaves, whose comment and document name the patient."""
    bundle = ArtifactStore(str(data_directory / "artifacts")).put_bytes(f"{{'{COMMENT}'}}".encode(), "application/json")
    store = ReportStore(f"sqlite:///{data_directory / 'oncoresponse.sqlite'}")
    step = SignOff(
        version=2,
        status=ReportStatus.FINAL,
        signer="physician",
        signer_name="P. Hysician",
        time=datetime.datetime.now(datetime.UTC),
        agreement=Agreement.AGREE,
        comment=COMMENT,
        reason=None,
    )
    store.append(name.removeprefix("assessments/"), step, (str(uuid.uuid4()), "ab" * 32), (bundle, bundle))
    store.close()


def _made_older(data_directory, days: int) -> None:
    """Everything that is there was made so many days ago."""
    milliseconds = int((time.time() - days * 86_400) * 1000)
    with closing(sqlite3.connect(data_directory / "oncoresponse.sqlite", timeout=30)) as connection, connection:
        connection.execute("UPDATE chart_assessment SET create_time_ms = ?", (milliseconds,))
    with closing(sqlite3.connect(data_directory / "studies" / "studies.sqlite", timeout=30)) as connection, connection:
        connection.execute("UPDATE study SET create_time_ns = ?", (milliseconds * 1_000_000,))


def _begun(data_directory) -> bool:
    with closing(sqlite3.connect(data_directory / "oncoresponse.sqlite")) as connection:
        query = "SELECT count(*) FROM administration_erasure WHERE state = 'started'"
        return bool(connection.execute(query).fetchone()[0])


def _record_outcome(client, name: str) -> None:
    request = monitoring_pb2.RecordOutcomeRequest(assessment=name, outcome=monitoring_pb2.OUTCOME_UNFAVORABLE)

    def attempt() -> bool:
        try:
            client.record_outcome(request)
        except OncoResponseError as error:
            assert error.reason == "PREDICTION_NOT_FOUND"
            return False
        return True

    _wait_for(attempt)


def _wait_for(attempt, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not attempt():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
