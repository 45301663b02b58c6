"""AssessmentService of a real server process: results, refusals, and that the server is healthy after each."""

import json
import shutil
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pydicom
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from oncoresponse.case.artifact_names import is_artifact_name
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.rpc.status import from_status
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, response_pb2, study_pb2
from pydicom.config import disable_value_validation

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "STS_019"


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.fixture(scope="module")
def data_directory(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(serve_for_module, data_directory):
    """All services in one process."""
    process = serve_for_module("--listen", "127.0.0.1:0", "--data-dir", str(data_directory), "--reflection")
    process.wait_until_ready()
    return process


@pytest.fixture(scope="module")
def front(serve_for_module, silent_stages, tmp_path_factory):
    """The front door alone; segmentation is somewhere that never answers, and a stage gets eight seconds."""
    folder = tmp_path_factory.mktemp("front")
    settings = folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"addresses": silent_stages.address, "stage_timeout_seconds": 8.0}))
    arguments = ("--services", "study,assessment,model", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"))
    process = serve_for_module(*arguments, settings=settings)
    process.wait_until_ready()
    return process


@pytest.fixture
def client(server):
    client = Client(server.address)
    yield client
    client.close()


@pytest.fixture(scope="module")
def sample_study(server):
    client = Client(server.address)
    yield client.upload_study(SAMPLE, silent)
    client.close()


@pytest.fixture
def changed_sample(tmp_path):
    """Factory: a copy of the sample study with every instance changed by ``change(dataset, modality)``."""

    def make(change, left_out=lambda modality, number: False) -> Path:
        for modality in ("CT", "PET"):
            (tmp_path / "study" / modality).mkdir(parents=True)
            for number, path in enumerate(sorted((SAMPLE / modality).iterdir())):
                if left_out(modality, number):
                    continue
                with disable_value_validation():
                    dataset = pydicom.dcmread(path)
                    change(dataset, dataset.Modality)
                    dataset.save_as(tmp_path / "study" / modality / path.name)
        return tmp_path / "study"

    return make


def refused(client, directory: Path, order: Order) -> OncoResponseError:
    study = client.upload_study(directory, silent)
    with pytest.raises(OncoResponseError) as caught:
        client.assess(study, order, silent)
    return caught.value


def require_healthy(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


# --- results ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(server, sample_study, tmp_path_factory):
    client = Client(server.address)
    assessment = client.assess(sample_study, Order("sts-petct", planned_treatment="Doxorubicin"), silent)
    folder = tmp_path_factory.mktemp("result")
    client.download_artifacts(assessment, folder)
    client.close()
    return assessment, folder


def test_result_tells_one_story(result):
    """The message, the JSON documents and the FHIR Bundle hold the same numbers."""
    assessment, folder = result
    features = json.loads((folder / "features.json").read_text())
    prediction = json.loads((folder / "prediction.json").read_text())
    bundle = json.loads((folder / "report.json").read_text())
    volume = next(item["value"] for item in features["measures"] if item["name"] == "lesion_volume")
    quantities = [entry["resource"].get("valueQuantity", {}) for entry in bundle["entry"]]
    assert any(abs(float(quantity.get("value", -1)) - volume) < 0.06 for quantity in quantities)
    assert all(is_artifact_name(name) for name in assessment.result.artifacts)
    assert assessment.result.prediction.answer == response_pb2.PREDICTION_ANSWER_NO_EVIDENCE, "it measures"
    assert (prediction["answer"], prediction["probability"]) == ("no_evidence", None)
    assert not assessment.result.prediction.HasField("probability")
    assert "No evidence for a prediction" in assessment.result.summary
    assert "Research use only" in assessment.result.summary
    # Pinned when the assessment was created, and named by whoever speaks of the model.
    assert assessment.model_sha256 == prediction["model_sha256"]
    assert assessment.model_sha256 in (folder / "report.json").read_text()
    assert prediction["provenance"] == "DECLARED"
    report = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
    assert report["status"] == "preliminary"


def test_the_same_order_gives_the_same_measures(client, sample_study, result, tmp_path):
    """Another assessment of the same study with the same model: equal bytes of all but the report."""
    again = client.assess(sample_study, Order("sts-petct", planned_treatment="Doxorubicin"), silent)
    first = result[0].result.artifacts
    for name in ("mask.nrrd", "probability.nrrd", "segmentation.json", "features.json", "prediction.json"):
        assert again.result.artifacts[name].sha256 == first[name].sha256, name


def test_contour_of_the_study_replaces_segmentation(client, sample_study, tmp_path):
    order = Order("sts-petct", contour=study_pb2.SuppliedContour(), patient_reference="Patient/123")
    assessment = client.assess(sample_study, order, silent)
    client.download_artifacts(assessment, tmp_path)
    assert json.loads((tmp_path / "segmentation.json").read_text())["method"] == "supplied_rtstruct"
    assert "probability.nrrd" not in assessment.result.artifacts
    bundle = (tmp_path / "report.json").read_text()
    assert '"Patient/123"' in bundle


def test_segmentation_object_that_was_written_can_be_read_back_as_the_contour(client, result, tmp_path):
    """The DICOM SEG of one assessment, sent with the study, gives the same volume in the next: when it is named."""
    _, folder = result
    shutil.copytree(SAMPLE, tmp_path / "study")
    for structure_set in (tmp_path / "study").rglob("RTSTRUCT.dcm"):
        structure_set.unlink()
    shutil.copy(folder / "segmentation.dcm", tmp_path / "study")
    study = client.upload_study(tmp_path / "study", silent)
    with pytest.raises(OncoResponseError) as caught:
        client.assess(study, Order("sts-petct", contour=study_pb2.SuppliedContour()), silent)
    assert caught.value.reason == "AUTOMATIC_CONTOUR"
    uid = str(pydicom.dcmread(folder / "segmentation.dcm", stop_before_pixels=True).SOPInstanceUID)
    named = study_pb2.SuppliedContour(sop_instance_uid=uid)
    assessment = client.assess(study, Order("sts-petct", contour=named), silent)
    client.download_artifacts(assessment, tmp_path / "out")
    summaries = [json.loads((path / "segmentation.json").read_text()) for path in (folder, tmp_path / "out")]
    assert summaries[1]["method"] == "supplied_segmentation"
    assert summaries[1]["supplied_algorithm_type"] == "AUTOMATIC"
    assert "no physician drew or corrected" in assessment.result.summary
    assert summaries[0]["volume_ml"] == pytest.approx(summaries[1]["volume_ml"], rel=1e-9)


def test_the_same_request_id_is_one_assessment_and_another_request_under_it_is_refused(client, sample_study):
    request_id = str(uuid.uuid4())
    order = Order("sts-petct", contour=study_pb2.SuppliedContour())
    first = client.create_assessment(sample_study, order, request_id)
    assert client.create_assessment(sample_study, order, request_id).name == first.name
    with pytest.raises(OncoResponseError) as caught:
        client.create_assessment(sample_study, Order("sts-petct"), request_id)
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert client.watch(first.name, silent).state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED


def test_two_assessments_at_once(server, sample_study):
    def run(_number: int) -> int:
        client = Client(server.address)
        try:
            return client.assess(sample_study, Order("sts-petct", contour=study_pb2.SuppliedContour()), silent).state
        finally:
            client.close()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, range(2))) == [assessment_pb2.ASSESSMENT_STATE_SUCCEEDED] * 2


def test_reflection_tells_the_services(server):
    with grpc.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(iter(stub.ServerReflectionInfo(iter([request]))))
    names = {service.name for service in answer.list_services_response.service}
    expected = {f"oncoresponse.v1.{name}Service" for name in ("Study", "Assessment", "Report")}
    assert expected | {"grpc.health.v1.Health"} <= names


# --- refusals --------------------------------------------------------------------------------------


def _nothing(dataset, modality):
    return None


def _set(modality, **values):
    def change(dataset, found):
        if found == modality:
            for keyword, value in values.items():
                target = dataset
                if keyword in ("RadionuclideTotalDose",):
                    target = dataset.RadiopharmaceuticalInformationSequence[0]
                if value is None:
                    delattr(target, keyword)
                else:
                    setattr(target, keyword, value)

    return change


def _counts(**values):
    """PET in BQML instead of SUV, with everything needed for SUV but for what ``values`` says."""

    def change(dataset, modality):
        if modality != "PT":
            return
        injection = pydicom.Dataset()
        injection.RadionuclideTotalDose = 370e6
        injection.RadionuclideHalfLife = 6586.2
        injection.RadiopharmaceuticalStartTime = dataset.get("SeriesTime") or "100000"
        injection.Radiopharmaceutical = "FDG"
        dataset.RadiopharmaceuticalInformationSequence = [injection]
        dataset.Units = "BQML"
        dataset.DecayCorrection = "START"
        dataset.PatientWeight = 70
        _set("PT", **values)(dataset, modality)

    return change


CASES = {
    "missing slices": (_nothing, lambda modality, number: modality == "PET" and 10 <= number < 13, "MISSING_SLICES"),
    "no CT": (_nothing, lambda modality, _: modality == "CT", "REQUIRED_SERIES_MISSING"),
    "PET without dose": (_counts(RadionuclideTotalDose=None), None, "MISSING_INJECTED_DOSE"),
    "two patients": (_set("CT", PatientID="SOMEBODY_ELSE"), None, "PATIENT_MISMATCH"),
    "two frames of reference": (_set("CT", FrameOfReferenceUID="1.2.3.4"), None, "FRAME_OF_REFERENCE_MISMATCH"),
}


@pytest.mark.parametrize("case", CASES)
def test_study_that_cannot_be_assessed(client, changed_sample, case):
    change, left_out, reason = CASES[case]
    error = refused(client, changed_sample(change, left_out or (lambda *_: False)), Order("sts-petct"))
    assert error.reason == reason
    assert "STS_019" not in error.message + str(error.metadata)
    require_healthy(client_address(client))


def client_address(client) -> str:
    return next(iter(client._channels))


def test_of_two_pets_the_named_one_is_assessed_and_the_report_says_so(client, tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "study")
    for number, path in enumerate(sorted((SAMPLE / "PET").glob("0*.dcm"))):
        with disable_value_validation():
            dataset = pydicom.dcmread(path)
            first = str(dataset.SeriesInstanceUID)
            dataset.SeriesInstanceUID += ".1"
            dataset.SOPInstanceUID += f".{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(tmp_path / "study" / f"second-{path.name}")
    study = client.upload_study(tmp_path / "study", silent)

    def order(**selected: str) -> Order:
        series = (study_pb2.SeriesSelection(**selected),) if selected else ()
        return Order("sts-petct", contour=study_pb2.SuppliedContour(), series=series)

    for wrong, reason in (
        ({}, "AMBIGUOUS_SERIES"),
        ({"series_instance_uid": "1.2.3"}, "REQUIRED_SERIES_MISSING"),
        ({"series_instance_uid": first, "input_role": "CT"}, "INVALID_REQUEST"),
        ({"series_instance_uid": first, "input_role": "MR"}, "INVALID_REQUEST"),
    ):
        with pytest.raises(OncoResponseError) as caught:
            client.assess(study, order(**wrong), silent)
        assert caught.value.reason == reason
        assert first not in caught.value.message
    assessment = client.assess(study, order(series_instance_uid=first, input_role="PT"), silent)
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    client.download_artifacts(assessment, tmp_path / "out")
    report = (tmp_path / "out" / "report.json").read_text()
    assert "The PET series is the one that the request names." in report
    assert first in report


def test_other_patient_than_the_request_means(client, sample_study):
    with pytest.raises(OncoResponseError) as caught:
        client.assess(sample_study, Order("sts-petct", patient_id="4711"), silent)
    assert caught.value.reason == "PATIENT_MISMATCH"
    assert "4711" not in caught.value.message + str(caught.value.metadata)


def _contours(change):
    """Changes the points (n, 3) of every contour of the PET's structure set."""

    def apply(dataset, modality):
        if modality != "RTSTRUCT":
            return
        points = [
            np.reshape([float(value) for value in contour.ContourData], (-1, 3))
            for roi in dataset.ROIContourSequence
            for contour in roi.ContourSequence
        ]
        center = np.concatenate(points).mean(axis=0)
        for roi in dataset.ROIContourSequence:
            for contour in roi.ContourSequence:
                moved = change(np.reshape([float(value) for value in contour.ContourData], (-1, 3)), center)
                contour.ContourData = [f"{value:.6g}" for value in moved.ravel()]

    return apply


def _shrunk(points, center):
    in_plane = np.array([1.0, 1.0, 0.0])
    return points * (1 - in_plane) + (center + 0.15 * (points - center)) * in_plane


def _moved(distance):
    def change(points, _center):
        return points + np.array([distance, 0.0, 0.0])

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_shrunk, "TUMOR_TOO_SMALL"), (_moved(66.0), "CONTOUR_OUTSIDE_IMAGE")],
    ids=["shrunk to nothing much", "half out of the image"],
)
def test_contour_that_cannot_be_used(client, changed_sample, change, reason):
    order = Order("sts-petct", contour=study_pb2.SuppliedContour())
    assert refused(client, changed_sample(_contours(change)), order).reason == reason


def test_contour_that_reaches_the_edge_of_the_images_is_answered_as_a_lower_bound(client, changed_sample, tmp_path):
    """A part of the tumor of 17.2 ml lies beyond the images; the bound holds it."""
    study = client.upload_study(changed_sample(_contours(_moved(55.5))), silent)
    assessment = client.assess(study, Order("sts-petct", contour=study_pb2.SuppliedContour()), silent)
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    client.download_artifacts(assessment, tmp_path)
    summary = SegmentationSummary.model_validate_json((tmp_path / "segmentation.json").read_bytes())
    assert summary.touches_border
    assert 0.1 < summary.border_share < 0.2
    assert summary.volume_low_ml == summary.volume_ml < 17.1 < summary.volume_high_ml < 25
    bundle = json.loads((tmp_path / "report.json").read_bytes())
    values = [item["resource"].get("valueQuantity", {}) for item in bundle["entry"]]
    assert {value["comparator"] for value in values if "comparator" in value} == {">="}
    assert "The tumor reaches the border of the images" in assessment.result.summary


def test_unknown_model_study_and_assessment(client, sample_study):
    for call, reason in (
        (lambda: client.assess(sample_study, Order("oracle"), silent), "MODEL_NOT_FOUND"),
        (lambda: client.assess(study_pb2.Study(name="studies/none"), Order("sts-petct"), silent), "STUDY_NOT_FOUND"),
        (lambda: client.watch("assessments/none", silent), "ASSESSMENT_NOT_FOUND"),
        (lambda: client.assess(sample_study, Order("sts-petct", {"age": 3.0}), silent), "INVALID_REQUEST"),
        (lambda: client.assess(sample_study, Order("Not A Name"), silent), "INVALID_REQUEST"),
    ):
        with pytest.raises(OncoResponseError) as caught:
            call()
        assert caught.value.reason == reason


def test_stage_that_never_answers_meets_its_deadline(front):
    client = Client(front.address)
    study = client.upload_study(SAMPLE, silent)
    with pytest.raises(OncoResponseError) as caught:
        client.assess(study, Order("sts-petct"), silent)
    client.close()
    assert caught.value.reason == "DEADLINE_EXCEEDED"
    require_healthy(front.address)


def test_cancelled_assessment_stops_and_logs_nothing_of_the_patient(front):
    client = Client(front.address)
    study = client.upload_study(SAMPLE, silent)
    order = Order("sts-petct", patient_id="STS_019", planned_treatment="Secret therapy")
    name = client.create_assessment(study, order, str(uuid.uuid4())).name

    def cancel_in_segmentation(message: str, _fraction: float) -> None:
        if message == "Contouring the tumor":
            client.cancel(name)

    assessment = client.watch(name, cancel_in_segmentation)
    client.close()
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_CANCELLED
    assert from_status(assessment.error).reason == "CANCELLED"
    log = front.log.read_text()
    assert "CancelAssessment OK" in log
    for secret in ("STS_019", "Secret", "1.3.6.1.4.1.14519"):
        assert secret not in log


def test_the_same_request_finds_its_assessment_after_the_study_is_gone(front):
    client = Client(front.address)
    study = client.upload_study(SAMPLE, silent)
    request_id = str(uuid.uuid4())
    name = client.create_assessment(study, Order("sts-petct"), request_id).name
    client.cancel(name)
    client._studies.DeleteStudy(study_pb2.DeleteStudyRequest(name=study.name))
    assert client.create_assessment(study, Order("sts-petct"), request_id).name == name
    with pytest.raises(OncoResponseError) as caught:
        client.create_assessment(study, Order("sts-petct"), str(uuid.uuid4()))
    client.close()
    assert caught.value.reason == "STUDY_NOT_FOUND"


def test_one_more_than_may_wait_is_refused_and_the_same_request_is_taken_later(serve, front, tmp_path):
    """One is at work, one waits, and that is the limit."""
    settings = yaml.safe_load((front.log.parents[1] / "settings.yaml").read_text())
    settings |= {"assessment_workers": 1, "assessment_queue_limit": 1, "stage_timeout_seconds": 600.0}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    arguments = (
        "--services",
        "study,assessment,model",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(tmp_path / "data"),
    )
    client = Client(serve(*arguments, settings=tmp_path / "settings.yaml").wait_until_ready())
    study = client.upload_study(SAMPLE, silent)
    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    at_work = client.create_assessment(study, Order("sts-petct"), first).name
    seen = client._assessments.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=at_work))
    next(update for update in seen if update.assessment.state == assessment_pb2.ASSESSMENT_STATE_RUNNING)
    seen.cancel()
    waiting = client.create_assessment(study, Order("sts-petct"), second)
    assert waiting.state == assessment_pb2.ASSESSMENT_STATE_QUEUED
    with pytest.raises(OncoResponseError) as caught:
        client.create_assessment(study, Order("sts-petct"), third)
    assert caught.value.reason == "BUSY"
    assert client.create_assessment(study, Order("sts-petct"), second).name == waiting.name
    client.cancel(waiting.name)
    assert client.create_assessment(study, Order("sts-petct"), third).name != waiting.name
    client.close()


def test_artifact_of_an_unfinished_assessment(front):
    client = Client(front.address)
    study = client.upload_study(SAMPLE, silent)
    assessment = client.create_assessment(study, Order("sts-petct"), str(uuid.uuid4()))
    assessment.result.artifacts["report.pdf"].size_bytes = 1
    with pytest.raises(OncoResponseError) as caught:
        client.download_artifacts(assessment, front.log.parent / "out")
    assert caught.value.reason == "ASSESSMENT_NOT_FINISHED"
    client.cancel(assessment.name)
    client.close()


def test_no_log_of_the_server_names_the_patient(server, result):
    log = server.log.read_text()
    assert "RunStage report OK" in log
    for secret in ("STS_019", "SOMEBODY_ELSE", "Doxorubicin", "1.3.6.1.4.1.14519"):
        assert secret not in log


@pytest.mark.usefixtures("result")
def test_the_database_holds_the_assessment_as_json_and_no_pickle(data_directory, stored_values, pickles_in):
    path = data_directory / "oncoresponse.sqlite"
    marks = [value for _, column, value in stored_values(path) if column == "serialization" and value is not None]
    assert len(marks) > 10
    assert set(marks) == {"oncoresponse_json"}
    assert pickles_in(path) == []


def test_a_run_that_is_resumed_three_times_without_progress_fails_and_frees_the_queue(serve, silent_stages, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"addresses": silent_stages.address, "assessment_workers": 1}))
    arguments = (
        "--services",
        "study,assessment,model",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(tmp_path / "data"),
    )
    names = []
    for start in range(4):
        process = serve(*arguments, settings=settings)
        client = Client(process.wait_until_ready())
        if not names:
            study = client.upload_study(SAMPLE, silent)
            names = [client.create_assessment(study, Order("sts-petct"), str(uuid.uuid4())).name for _ in range(2)]
        if start < 3:
            _wait_for_stage(process.address, names[0], assessment_pb2.ASSESSMENT_STAGE_SEGMENTATION)
            process.stop(signal.SIGKILL)
        else:
            with pytest.raises(OncoResponseError) as caught:
                client.watch(names[0], silent)
            assert caught.value.reason == "RESUMED_WITHOUT_PROGRESS"
            # The next one in the queue has its turn.
            _wait_for_stage(process.address, names[1], assessment_pb2.ASSESSMENT_STAGE_SEGMENTATION)
        client.close()


def _wait_for_stage(address, name, stage):
    with grpc.insecure_channel(address) as channel:
        stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
        for update in stub.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=name), timeout=60):
            if update.assessment.stage == stage:
                return
    raise AssertionError("the assessment ended before that stage")
