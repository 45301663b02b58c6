"""A patient is planted through the front door, erased, and looked for in everything that the service wrote."""

import hashlib
import signal
import time
import uuid

import pytest
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import administration_pb2, assessment_pb2, monitoring_pb2, study_pb2
from pydicom import dcmread
from typer.testing import CliRunner

from tests.integration.planted_search import places

PATIENT_ID, NAME, BIRTH_DATE = "ZQX-7741-PLANTED", "Zquorxberg^Planted^Wuxlo", "19430217"
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
    return [PATIENT_ID, NAME, "Zquorxberg", "Zquorx therapy", "ACC-ZQX-1", *sorted(uids)[::15], *digests]


@pytest.fixture(scope="module")
def running(serve_for_module, tmp_path_factory):
    """A server with its temporary files in a folder of its own, started again for nobody."""
    folder = tmp_path_factory.mktemp("erasure")
    (folder / "tmp").mkdir()
    settings = folder / "settings.yaml"
    settings.write_text(f"garbage_after_seconds: {GRACE_SECONDS}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder / "tmp"))
        server = serve_for_module(
            "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"), "--models-dir", "models", settings=settings
        )
    server.wait_until_ready()
    client = Client(server.address)
    yield folder, server, client
    client.close()


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
    folder, _, client = running
    files, uids = planted_study
    values = planted_values(files, uids)
    other = client.assess(client.upload_study(examples / "STS_019", silent), OTHER, silent)

    study = client.upload_study(files, silent)
    found = client.assess(study, ORDER, silent)
    with pytest.raises(OncoResponseError):  # a failed one
        client.watch(
            client.create_assessment(study, Order("sts-petct", lesion=_point()), str(uuid.uuid4())).name, silent
        )
    client.cancel(client.create_assessment(study, ORDER, str(uuid.uuid4())).name)
    _leave_unfinished(client, files)
    _record_outcome(client, found.name)

    # Written by the way: what of the database is still in its log is in there too.
    before = places([folder], values)
    assert set(before) == set(values), set(values) - set(before)

    running_one = client.create_assessment(study, ORDER, str(uuid.uuid4())).name
    plan, done = erase(client)
    assert plan.counts.studies == 2
    assert plan.counts.assessments == 4
    assert plan.counts.instances == len(list(files.iterdir())) + 1
    assert plan.counts.masks and plan.counts.derived_volumes and plan.counts.reports and plan.counts.monitoring_rows
    assert any("audit record" in sentence for sentence in done.remains)

    assert places([folder], values) == {}
    for name in (found.name, running_one):
        with pytest.raises(OncoResponseError, match="no assessment"):
            client.watch(name, silent)
    # Who was not meant has lost nothing.
    assert client.download_artifacts(other, folder / "other")
    plan, _ = erase(client)
    assert not plan.counts.ListFields()


def test_a_shared_file_stays_for_the_other_patient_and_one_assessment_goes_alone(running, planted_study):
    folder, _, client = running
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
    # Volumes and instances that the second one shares are there still: it can be assessed and fetched.
    assert client.download_artifacts(second, folder / "second")
    assert client.assess(study, ORDER, silent).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED


def test_a_moved_study_is_the_other_patients_in_index_and_in_later_reports(running, planted_study):
    folder, _, client = running
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
    assert plan.counts.assessments >= 1


def test_an_erasure_that_is_killed_is_ended_at_the_next_start(serve, tmp_path, planted_study):
    files, uids = planted_study
    arguments = ("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"), "--models-dir", "models")
    settings = tmp_path / "settings.yaml"
    settings.write_text("garbage_after_seconds: 1\n")
    server = serve(*arguments, settings=settings)
    client = Client(server.wait_until_ready())
    client.assess(client.upload_study(files, silent), ORDER, silent)
    ask, request_id = administration_pb2.ErasePatientRequest, str(uuid.uuid4())
    plan = client.erase_patient(ask(patient_id=PATIENT_ID, dry_run=True, request_id=request_id))
    call = client._administration.ErasePatient.future(
        ask(patient_id=PATIENT_ID, confirmation=plan.confirmation, request_id=request_id)
    )
    _wait_for(lambda: places([tmp_path / "data"], [request_id]))
    server.stop(signal.SIGKILL)
    call.cancel()
    client.close()

    server = serve(*arguments, settings=settings)
    client = Client(server.wait_until_ready())
    act = ask(patient_id=PATIENT_ID, confirmation=plan.confirmation, request_id=request_id)
    _wait_for(lambda: client.erase_patient(act).state == administration_pb2.ERASURE_STATE_DONE)
    assert places([tmp_path / "data"], planted_values(files, uids)) == {}
    client.close()


def test_the_command_takes_the_identifier_from_a_file(running, planted_study, tmp_path):
    from oncoresponse.cli.main import app

    _, server, client = running
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


def _point() -> assessment_pb2.LesionPrompt:
    prompt = assessment_pb2.LesionPrompt()
    prompt.point.x_mm, prompt.point.y_mm, prompt.point.z_mm = 9000.0, 9000.0, 9000.0
    return prompt


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
