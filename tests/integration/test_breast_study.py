"""A DCE-MR study of the breast with a contour, from DICOM to FHIR through the gRPC front door."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from oncoresponse.case.prediction import Prediction
from oncoresponse.errors import ContourNotFound
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, response_pb2, study_pb2

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CLINICAL = json.loads((EXAMPLES / "ground_truth" / "BREAST_DCE.json").read_text())["covariates"]
SIZES = {"tumor_volume_ml": 12.0, "tumor_slice_extent_mm": 40.0}
CONTOUR = study_pb2.SuppliedContour()


def silent(_message: str, _fraction: float) -> None:
    return None


@pytest.fixture(scope="module")
def client(serve_for_module: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a server with this model alone: it has no network to wait for."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / "breast-nac", models / "breast-nac")
    data = tmp_path_factory.mktemp("data")
    process = serve_for_module("--listen", "127.0.0.1:0", "--data-dir", str(data), "--models-dir", str(models))
    process.wait_until_ready()
    client = Client(process.address)
    yield client
    client.close()


@pytest.fixture(scope="module")
def studies(client: Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, study_pb2.Study]:
    """The study with each kind of contour, and without one."""
    found = {"RTSTRUCT": client.upload_study(EXAMPLES / "BREAST_DCE", silent)}
    for kind in ("SEG", "none"):
        folder = tmp_path_factory.mktemp(kind)
        shutil.copytree(
            EXAMPLES / "BREAST_DCE", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("RTSTRUCT.dcm")
        )
        if kind == "SEG":
            shutil.copy(EXAMPLES / "segmentations" / "BREAST_DCE.dcm", folder)
        found[kind] = client.upload_study(folder, silent)
    return found


@pytest.mark.parametrize("kind", ["RTSTRUCT", "SEG"])
def test_a_study_with_a_contour_is_measured_and_reported_and_not_predicted_from(
    client: Client, studies: dict[str, study_pb2.Study], tmp_path: Path, kind: str
) -> None:
    assessment = client.assess(studies[kind], Order("breast-nac", CLINICAL, contour=CONTOUR), silent)
    assert assessment.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    assert assessment.result.prediction.answer == response_pb2.PREDICTION_ANSWER_MEASURED_ONLY
    assert assessment.result.prediction.answer_text == "Measured only: definition differs from training"
    assert not assessment.result.prediction.HasField("probability")
    client.download_artifacts(assessment, tmp_path)
    measures = {
        item["name"]: item["value"] for item in json.loads((tmp_path / "features.json").read_text())["measures"]
    }
    assert measures["lesion_volume"] == pytest.approx(9.94, rel=0.01)
    assert measures["slice_extent"] == pytest.approx(26.4)
    assert (tmp_path / "key-image.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    segment = pydicom.dcmread(tmp_path / "segmentation.dcm")
    image = pydicom.dcmread(EXAMPLES / "BREAST_DCE" / "post_1" / "000000.dcm")
    assert segment.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID
    bundle = json.loads((tmp_path / "report.json").read_text())
    observations = [
        entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Observation"
    ]
    values = [item.get("valueQuantity", {}) for item in observations]
    assert pytest.approx(9.94, rel=0.01) in [value.get("value") for value in values if value.get("unit") == "ml"]
    (report,) = (
        entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "DiagnosticReport"
    )
    assert "definition differs from training" in report["conclusion"]
    assert "SUV" not in report["conclusion"]


def test_sizes_of_own_software_give_the_prediction_of_the_table(
    client: Client, studies: dict[str, study_pb2.Study], tmp_path: Path
) -> None:
    from oncoresponse.model.folder import ModelFolder
    from oncoresponse.response.model import ResponseModel

    order = Order("breast-nac", CLINICAL | SIZES, contour=CONTOUR)
    assessment = client.assess(studies["RTSTRUCT"], order, silent)
    client.download_artifacts(assessment, tmp_path)
    found = Prediction.model_validate_json((tmp_path / "prediction.json").read_bytes())
    assert found == ResponseModel.open(ModelFolder.open(ROOT / "models" / "breast-nac")).predict({}, CLINICAL | SIZES)
    assert assessment.result.prediction.probability == found.probability


def test_a_study_without_a_contour_says_what_to_do(client: Client, studies: dict[str, study_pb2.Study]) -> None:
    with pytest.raises(ContourNotFound, match="Contour it"):
        client.assess(studies["none"], Order("breast-nac", CLINICAL), silent)
