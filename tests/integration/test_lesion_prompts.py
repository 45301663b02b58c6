"""A scan that is not cropped to the tumor: candidates first, then the lesion that a physician chose, over gRPC."""

import json
from pathlib import Path

import grpc
import numpy as np
import pydicom
import pytest
from oncoresponse.case.volume import read_volume
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.segmentation.metrics import dice
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, lesion_pb2, study_pb2
from pydicom.config import disable_value_validation

pytestmark = pytest.mark.slow
SAMPLE = Path(__file__).parents[2] / "examples" / "STS_032"
AIR_HU = -1024
# Voxels of air added on each side in plane: 40 x 4.7 mm make the 188 mm of the sample's PET about 560 mm.
ADDED_MM = 187.5


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.fixture(scope="module")
def client(serve_for_module, tmp_path_factory):
    process = serve_for_module("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path_factory.mktemp("data")))
    process.wait_until_ready()
    client = Client(process.address)
    yield client
    client.close()


@pytest.fixture(scope="module")
def sample_study(client):
    return client.upload_study(SAMPLE, silent)


@pytest.fixture(scope="module")
def contoured(client, sample_study, tmp_path_factory):
    """The physician's contour as a mask, from an assessment that uses it."""
    folder = tmp_path_factory.mktemp("contoured")
    assessment = client.assess(sample_study, Order("sts-petct", contour=study_pb2.SuppliedContour()), silent)
    client.download_artifacts(assessment, folder)
    return read_volume(folder / "mask.nrrd")


@pytest.fixture(scope="module")
def wide_study(client, tmp_path_factory):
    """The sample with air around it, so that it shows more than the networks were trained on."""
    folder = tmp_path_factory.mktemp("wide")
    for modality in ("CT", "PET"):
        (folder / modality).mkdir()
        for path in sorted((SAMPLE / modality).iterdir()):
            with disable_value_validation():
                dataset = pydicom.dcmread(path)
                if dataset.Modality in ("CT", "PT"):
                    widen(dataset, AIR_HU if dataset.Modality == "CT" else 0)
                    dataset.save_as(folder / modality / path.name)
    return client.upload_study(folder, silent)


def widen(dataset: pydicom.Dataset, outside: float) -> None:
    spacing = float(dataset.PixelSpacing[0])
    added = round(ADDED_MM / spacing)
    stored = round((outside - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope))
    pixels = np.pad(dataset.pixel_array, added, constant_values=stored)
    dataset.PixelData = pixels.tobytes()
    dataset.Rows, dataset.Columns = pixels.shape
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [round(x - added * spacing, 6), round(y - added * spacing, 6), z]


def bounds_of(mask):
    found = np.argwhere(mask.array)[:, ::-1]
    corners = [
        mask.image.TransformContinuousIndexToPhysicalPoint(
            np.where(bits, found.max(axis=0) + 0.5, found.min(axis=0) - 0.5).tolist()
        )
        for bits in np.ndindex(2, 2, 2)
    ]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def position(values):
    x, y, z = values
    return lesion_pb2.PatientPosition(x_mm=x, y_mm=y, z_mm=z)


def test_a_wide_scan_asks_a_physician_and_goes_on_with_the_answer(client, wide_study, contoured, tmp_path):
    asked = client.assess(wide_study, Order("sts-petct"), silent)
    assert asked.state == assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED
    assert not asked.result.HasField("prediction")
    names = {path.name for path in client.download_artifacts(asked, tmp_path)}
    assert names == {"lesion-candidates.json", "lesion-candidates.png"}
    assert (tmp_path / "lesion-candidates.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((tmp_path / "lesion-candidates.json").read_text())
    assert len(document["candidates"]) == len(asked.lesion_candidates)
    low, high = bounds_of(contoured)
    middle = (low + high) / 2
    meant = [
        item
        for item in asked.lesion_candidates
        if item.box.low.x_mm < middle[0] < item.box.high.x_mm
        and item.box.low.y_mm < middle[1] < item.box.high.y_mm
        and item.box.low.z_mm < middle[2] < item.box.high.z_mm
    ]
    assert meant
    chosen = Order("sts-petct", lesion=assessment_pb2.LesionPrompt(box=meant[0].box))
    answered = client.assess(wide_study, chosen, silent)
    assert answered.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    client.download_artifacts(answered, tmp_path)
    summary = json.loads((tmp_path / "segmentation.json").read_text())
    assert summary["prompt"] == "box"
    mask = read_volume(tmp_path / "mask.nrrd")
    added = (np.array(mask.array.shape) - np.array(contoured.array.shape)) // 2
    inner = mask.array[
        :, added[1] : added[1] + contoured.array.shape[1], added[2] : added[2] + contoured.array.shape[2]
    ]
    assert dice(inner, contoured.array) > 0.7


@pytest.mark.parametrize("kind", ["point", "box", "rough_contour"])
def test_each_kind_of_prompt_finds_the_tumor(client, sample_study, contoured, tmp_path, kind):
    low, high = bounds_of(contoured)
    prompts = {
        "point": assessment_pb2.LesionPrompt(point=position((low + high) / 2)),
        "box": assessment_pb2.LesionPrompt(box=lesion_pb2.LesionBox(low=position(low), high=position(high))),
        "rough_contour": assessment_pb2.LesionPrompt(rough_contour=study_pb2.SuppliedContour()),
    }
    assessment = client.assess(sample_study, Order("sts-petct", lesion=prompts[kind]), silent)
    client.download_artifacts(assessment, tmp_path)
    assert dice(read_volume(tmp_path / "mask.nrrd").array, contoured.array) > 0.7
    summary = json.loads((tmp_path / "segmentation.json").read_text())
    assert summary["method"] == "automatic"
    assert summary["prompt"] == ("point" if kind == "point" else "box")


def test_prompts_that_cannot_be_are_refused(client, sample_study):
    far = assessment_pb2.LesionPrompt(point=position((0.0, 0.0, 9000.0)))
    with pytest.raises(OncoResponseError) as caught:
        client.assess(sample_study, Order("sts-petct", lesion=far), silent)
    assert caught.value.reason == "INVALID_REQUEST"
    upside_down = lesion_pb2.LesionBox(low=position((0.0, 0.0, 1.0)), high=position((1.0, 1.0, 0.0)))
    for order in (
        Order("sts-petct", lesion=assessment_pb2.LesionPrompt(box=upside_down)),
        Order("sts-petct", lesion=assessment_pb2.LesionPrompt()),
        Order("sts-petct", lesion=far, contour=study_pb2.SuppliedContour()),
    ):
        with pytest.raises(OncoResponseError) as caught:
            client.assess(sample_study, order, silent)
        assert caught.value.reason == "INVALID_REQUEST"


def test_an_integrator_reads_the_candidates_from_the_stubs_alone(client, wide_study):
    """Watch ends at the choice; List names the state."""
    name = client.assess(wide_study, Order("sts-petct"), silent).name
    address = next(iter(client._channels))
    with grpc.insecure_channel(address) as channel:
        stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
        *_, last = stub.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=name))
        assert last.assessment.lesion_candidates[0].number == 1
        listed = stub.ListAssessments(assessment_pb2.ListAssessmentsRequest(study=wide_study.name)).assessments
    assert listed[0].state == assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED
