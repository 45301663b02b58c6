"""A model that is replaced between two stages of an assessment: real services, real gRPC, the steps of the workflow."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import SimpleITK as sitk
from google.protobuf.json_format import MessageToDict, ParseDict
from oncoradiomics.features import FeatureDocument, Measure
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume
from oncoresponse.errors import ModelChanged, ModelHashMismatch
from oncoresponse.intake.study_settings import StudySettings
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.response.measures_only import open_response_model
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.servers.radiomics_servicer import RadiomicsServicer
from oncoresponse.servers.reporting_servicer import ReportingServicer
from oncoresponse.servers.response_servicer import ResponseServicer
from oncoresponse.servers.segmentation_servicer import SegmentationServicer
from oncoresponse.servers.study_servicer import StudyServicer
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_store import StudyStore
from oncoresponse.v1 import (
    radiomics_pb2_grpc,
    reporting_pb2_grpc,
    response_pb2,
    response_pb2_grpc,
    segmentation_pb2_grpc,
    study_pb2_grpc,
)
from oncoresponse.workflow import assessment_workflow as workflow

MODEL = Path(__file__).parents[2] / "models" / "sts-petct"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """sts-petct without its networks, which these tests do not need."""
    folder = tmp_path / "models" / "sts-petct"
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("segmentation", "model-card*"))
    seal_model_folder(folder)
    return folder.parent


def replace_model(models: Path) -> str:
    """Install another version under the name, as an administrator does; gives its SHA-256."""
    definition = models / "sts-petct" / "model.yaml"
    definition.write_text(definition.read_text().replace("limitations:", "limitations:\n  - Another version.", 1))
    return seal_model_folder(models / "sts-petct").sha256


@asynccontextmanager
async def _services(data: Path, models: Path) -> AsyncIterator[ArtifactStore]:
    """All stage services in one server, as after a start."""
    artifacts = ArtifactStore(str(data / "artifacts"))
    settings = StudySettings()
    radiomics = RadiomicsServicer(artifacts, models, 1)
    server = grpc.aio.server(interceptors=(RulesAndErrors(),))
    study_pb2_grpc.add_StudyServiceServicer_to_server(
        StudyServicer(StudyStore(data, artifacts, settings), artifacts, models, settings), server
    )
    segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(
        SegmentationServicer(artifacts, models, "cpu"), server
    )
    radiomics_pb2_grpc.add_RadiomicsServiceServicer_to_server(radiomics, server)
    response_pb2_grpc.add_ResponseServiceServicer_to_server(ResponseServicer(artifacts, models), server)
    reporting_pb2_grpc.add_ReportingServiceServicer_to_server(ReportingServicer(artifacts, models, ""), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    peers = Peers(ServerSettings(), f"127.0.0.1:{port}")
    workflow.provide_surroundings(workflow.ChainSurroundings(peers, artifacts, 30.0))
    try:
        yield artifacts
    finally:
        workflow.provide_surroundings(None)
        await peers.close()
        await server.stop(None)
        await radiomics.close()


def _plain(artifact: StoredArtifact) -> dict[str, Any]:
    return MessageToDict(artifact_message(artifact), preserving_proto_field_name=True)


def _half_done(artifacts: ArtifactStore, model_sha256: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Request and answers of the stages so far, as the workflow keeps them."""
    grid = sitk.GetImageFromArray(np.ones((4, 4, 4), np.float32))
    pet = Volume(grid, Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4")
    volume = _plain(artifacts.put_volume(pet))
    mask = _plain(artifacts.put_volume(pet.with_image(sitk.Cast(grid, sitk.sitkUInt8), Quantity.MASK)))
    document = _plain(artifacts.put_bytes(b"{}", "application/json"))
    measures = tuple(
        Measure(name=name, title=name, value=value, unit=unit, method="Stated")
        for name, value, unit in (("lesion_volume", 800.0, "ml"), ("suv_max", 24.0, "g/mL"))
    )
    identity = open_response_model(ModelFolder.open(MODEL)).document.extraction
    features = FeatureDocument(**identity.model_dump(), features=(), measures=measures)
    request = {
        "assessment_id": "a-1",
        "create_time": "2026-01-02T03:04:05Z",
        "study_manifest": document,
        "model_sha256": model_sha256,
        "create": {
            "request_id": "9d6bd2fc-7a3c-4d4f-9d93-4dc0a1f2f3a4",
            "study": "studies/s-1",
            "model": "models/sts-petct",
        },
    }
    done = {
        "conversion": {"series": [{"modality": "PT", "volume": volume}], "description": document},
        "segmentation": {"mask": mask, "summary": document},
        "features": {"features": _plain(artifacts.put_document(features))},
        "prediction": {"prediction_document": document},
    }
    return request, done


STEPS: dict[str, Callable[..., Any]] = {
    "conversion": workflow.convert_step,
    "segmentation": workflow.segment_step,
    "features": workflow.features_step,
    "prediction": workflow.prediction_step,
    "report": workflow.report_step,
}


async def test_every_stage_refuses_a_model_that_replaced_the_pinned_one(tmp_path: Path, models: Path) -> None:
    pinned = ModelFolder.open(models / "sts-petct").sha256
    async with _services(tmp_path / "data", models) as artifacts:
        request, done = _half_done(artifacts, pinned)
        before = {name: (await step(request, done)).get("error", {}).get("reason") for name, step in STEPS.items()}
        assert "MODEL_CHANGED" not in before.values()
        replaced = replace_model(models)
        for name, step in STEPS.items():
            error = (await step(request, done))["error"]
            assert error["reason"] == "MODEL_CHANGED", name
            assert "Create the assessment again" in error["message"]
            assert error["metadata"] == {"installed_sha256": replaced, "pinned_sha256": pinned}
    # And after a restart, when no stage has ever seen the old one.
    async with _services(tmp_path / "data", models):
        for name, step in STEPS.items():
            assert (await step(request, done))["error"]["reason"] == "MODEL_CHANGED", name


async def test_the_prediction_names_exactly_the_pinned_model(tmp_path: Path, models: Path) -> None:
    pinned = ModelFolder.open(models / "sts-petct").sha256
    async with _services(tmp_path / "data", models) as artifacts:
        request, done = _half_done(artifacts, pinned)
        answer = ParseDict(
            (await workflow.prediction_step(request, done))["answer"], response_pb2.PredictResponseResponse()
        )
        found = artifacts.read_document(stored_artifact(answer.prediction_document), Prediction)
        assert found.model_sha256 == pinned


def test_a_file_that_is_replaced_while_a_model_is_loaded_is_noticed(models: Path) -> None:
    def load(folder: ModelFolder) -> bytes:
        settings = folder.file("radiomics/settings.yaml")
        settings.write_bytes(settings.read_bytes() + b"# another\n")
        return settings.read_bytes()

    with pytest.raises(ModelHashMismatch):
        ModelCache(models, load).get("models/sts-petct")


def test_the_model_that_was_pinned_serves_again_once_it_is_put_back(tmp_path: Path, models: Path) -> None:
    cache = ModelCache(models, lambda folder: folder.definition.limitations)
    pinned = cache.get("models/sts-petct")[0].sha256
    shutil.copytree(models / "sts-petct", tmp_path / "kept")
    replace_model(models)
    with pytest.raises(ModelChanged):
        cache.get("models/sts-petct", pinned)
    assert cache.get("models/sts-petct")[1][0] == "Another version."
    shutil.rmtree(models / "sts-petct")
    shutil.copytree(tmp_path / "kept", models / "sts-petct")
    assert cache.get("models/sts-petct", pinned)[0].sha256 == pinned
