"""A new imaging task, of another modality, number of inputs and answer, by a model folder alone."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import yaml
from oncoresponse.cli.main import app
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, study_pb2
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "examples" / "STS_032_MR"
DEFINITION = """\
kind: imaging response
name: sarcoma-mr
version: 0.1.0
title: Soft-tissue sarcoma, measures on T1-weighted MR
manufacturer: The hospital's physicist
intended_use:
  purpose: Measure sarcomas on MR.
  population: Adults with sarcoma of an extremity.
  user: Radiologists.
  role: Informs.
  contraindications: [Sequences other than T1-weighted ones.]
  device_status: Research use only. Not a cleared or approved medical device. Not for clinical decisions.
inputs:
  - role: t1
    modality: MR
    quantity: "[arb'U]"
    purpose: Contour and measures
    match: [{keyword: SeriesDescription, contains: T1}]
segment_on: t1
features_from: t1
show: [t1]
stages: [conversion, segmentation, features, report]
tumor_limits: {minimum_volume_ml: 0.5, maximum_volume_ml: 3000.0}
outcome:
  code: limb-saved
  title: The limb is saved
  definition: No amputation within two years.
  favorable_answer: Limb likely saved
  unfavorable_answer: Amputation likely
limitations: [Never tried on anybody.]
training_data: None.
"""
SETTINGS = """\
imageType: {Original: {}}
featureClass: {shape: , firstorder: }
setting: {label: 1, binCount: 32}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model without its networks, and beside it two new folders: one measures, the other answers, too."""
    directory = tmp_path_factory.mktemp("models")
    shutil.copytree(
        ROOT / "models" / "sts-petct", directory / "sts-petct", ignore=shutil.ignore_patterns("segmentation")
    )
    seal_model_folder(directory / "sts-petct")
    measures, answers = directory / "sarcoma-mr", directory / "sarcoma-mr-answer"
    (measures / "radiomics").mkdir(parents=True)
    (measures / "model.yaml").write_text(DEFINITION)
    (measures / "radiomics" / "settings.yaml").write_text(SETTINGS)
    shutil.copytree(measures, answers)
    with_answer = yaml.safe_load(DEFINITION) | {
        "name": "sarcoma-mr-answer",
        "stages": ["conversion", "segmentation", "features", "prediction", "report"],
    }
    (answers / "model.yaml").write_text(yaml.safe_dump(with_answer))
    (answers / "response").mkdir()
    statement = "Nobody has looked whether MR says anything about the limb."
    (answers / "response" / "response.json").write_text(json.dumps({"evidence": "none", "statement": statement}))
    return directory


def command(*arguments: str) -> str:
    found = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture(scope="module")
def client(models: Path, serve_for_module, tmp_path_factory: pytest.TempPathFactory):
    """Of a server with these models, sealed and listed by the commands of the project."""
    for name in ("sarcoma-mr", "sarcoma-mr-answer"):
        assert f"{name} 0.1.0" in command("seal", str(models / name))
    listed = command("list", "--models-dir", str(models))
    assert all(name in listed for name in ("sarcoma-mr ", "sarcoma-mr-answer ", "sts-petct "))
    assert "MR (Contour and measures)" in command("show", "sarcoma-mr", "--models-dir", str(models))
    arguments = ("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path_factory.mktemp("data")))
    opened = Client(serve_for_module(*arguments, "--models-dir", str(models)).wait_until_ready())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def study(client: Client) -> study_pb2.Study:
    """The MR of the sample patient, its contour among the files."""
    return client.upload_study(STUDY, lambda _message, _fraction: None)


def assessed(client: Client, study: study_pb2.Study, model: str) -> assessment_pb2.Assessment:
    order = Order(model, contour=study_pb2.SuppliedContour())
    found = client.assess(study, order, lambda _message, _fraction: None)
    assert found.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
    return found


def contoured_volume_ml() -> float:
    """Of the physicians' polygons: area of each by the shoelace formula, times the distance of the slices."""
    structures = pydicom.dcmread(STUDY / "MR_T1" / "RTSTRUCT.dcm")
    areas: dict[float, float] = {}
    for contour in structures.ROIContourSequence[0].ContourSequence:
        x, y, z = np.array(contour.ContourData, dtype=float).reshape(-1, 3).T
        areas[z[0]] = areas.get(z[0], 0.0) + abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    spacing = np.min(np.diff(sorted(areas)))
    return sum(areas.values()) * spacing / 1000


def test_a_model_that_measures_on_mr(client: Client, study: study_pb2.Study, models: Path, tmp_path: Path) -> None:
    (model,) = (item for item in client.models() if item.name == "models/sarcoma-mr")
    assert [(item.role, item.modality, item.quantity) for item in model.inputs] == [("t1", "MR", "[arb'U]")]
    found = assessed(client, study, "sarcoma-mr")
    assert not found.result.HasField("prediction")
    assert not found.result.predicted_from
    (lesion,) = found.result.lesions
    measures = {item.name: item.value for item in lesion.measures}
    assert not {name for name in measures if name.startswith(("suv", "metabolic", "total_lesion_gly"))}
    assert measures["lesion_volume"] == pytest.approx(contoured_volume_ml(), rel=0.03)
    client.download_artifacts(found, tmp_path)
    mask = sitk.ReadImage(str(tmp_path / "mask.nrrd"))
    voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
    assert voxels * np.prod(mask.GetSpacing()) / 1000 == pytest.approx(lesion.volume_ml, rel=1e-6)
    features = json.loads((tmp_path / "features.json").read_text())
    assert features["image_quantity"] == "[arb'U]"
    # Attached documents are base64, in which any three letters may stand.
    bundle = json.loads((tmp_path / "report.json").read_text(), object_hook=lambda item: item | {"data": ""})
    assert "RiskAssessment" not in {entry["resource"]["resourceType"] for entry in bundle["entry"]}
    assert not any(word in json.dumps(bundle) for word in ("SUV", "PET", "uptake"))
    segmentation = pydicom.dcmread(io.BytesIO((tmp_path / "segmentation.dcm").read_bytes()))
    images = {str(pydicom.dcmread(path).SeriesInstanceUID) for path in STUDY.glob("MR_T1/0*.dcm")}
    assert {str(item.SeriesInstanceUID) for item in segmentation.ReferencedSeriesSequence} == images
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert found.model_sha256 == ModelFolder.open(models / "sarcoma-mr").sha256


def test_a_model_with_an_answer_of_its_own(client: Client, study: study_pb2.Study) -> None:
    found = assessed(client, study, "sarcoma-mr-answer")
    assert found.result.prediction.answer_text
    assert found.result.predicted_from == "the lesion"
    assert "Nobody has looked" in " ".join(found.result.prediction.abstain_reasons)
    assert "the limb is saved" in " ".join(found.result.prediction.sentences).lower()
