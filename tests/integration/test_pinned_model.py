"""A model that is replaced between two stages of an assessment: real stages, real gRPC, the steps of the workflow."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import SimpleITK as sitk
from oncoradiomics.features import FeatureDocument, Measure
from oncoresponse.case.case import Case, CaseImage, Lesion, Order
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import ModelChanged, ModelHashMismatch
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.model.plan import STAGES
from oncoresponse.response.measures_only import open_response_model
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.servers.conversion_stage import ConversionStage
from oncoresponse.servers.features_stage import FeaturesStage
from oncoresponse.servers.prediction_stage import PredictionStage
from oncoresponse.servers.report_stage import ReportStage
from oncoresponse.servers.segmentation_stage import SegmentationStage
from oncoresponse.servers.stage_servicer import Stage, StageServicer
from oncoresponse.stages.v1 import stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.workflow import assessment_workflow as workflow
from oncoresponse.workflow.assessment_run import AssessmentRun, StageOutcome

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
async def _stages(data: Path, models: Path) -> AsyncIterator[ArtifactStore]:
    """All stages in one server, as after a start."""
    artifacts = ArtifactStore(str(data / "artifacts"))
    stages: dict[str, Stage] = {
        "conversion": ConversionStage(artifacts, models),
        "segmentation": SegmentationStage(artifacts, models, "cpu"),
        "features": FeaturesStage(artifacts, models, 1),
        "prediction": PredictionStage(artifacts, models),
        "report": ReportStage(artifacts, models, ""),
    }
    server = grpc.aio.server(interceptors=(RulesAndErrors(None),))
    stage_pb2_grpc.add_StageServiceServicer_to_server(StageServicer(artifacts, stages, stages.keys()), server)
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
        for stage in stages.values():
            await stage.close()


def _half_done(artifacts: ArtifactStore) -> Case:
    """A case that can be predicted from, and lacks what every other stage needs."""
    grid = sitk.GetImageFromArray(np.ones((4, 4, 4), np.float32))
    pet = artifacts.put_volume(Volume(grid, Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4"))
    measures = tuple(
        Measure(name=name, title=name, value=value, unit=unit, method="Stated")
        for name, value, unit in (("lesion_volume", 800.0, "ml"), ("suv_max", 24.0, "g/mL"))
    )
    identity = open_response_model(ModelFolder.open(MODEL)).document.extraction
    features = FeatureDocument(**identity.model_dump(), features=(), measures=measures)
    return Case(
        order=Order(report_id="a-1", issued=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)),
        study_manifest=artifacts.put_bytes(b"{}", "application/json"),
        images=(CaseImage(input_role="PT", modality="PT", series_instance_uid="1.2.4", volume=pet),),
        lesions=(Lesion(number=1, features=artifacts.put_document(features)),),
    )


async def _run(stage: str, artifacts: ArtifactStore, model_sha256: str) -> StageOutcome:
    """The step of the workflow, on a case that is half done."""
    case = artifacts.put_document(_half_done(artifacts))
    run = AssessmentRun(
        assessment_id="a-1", model="models/sts-petct", model_sha256=model_sha256, stages=tuple(STAGES), case=case
    )
    outcome = await workflow.stage_step(run.to_json(), stage, case.model_dump(mode="json"), 1)
    return StageOutcome.model_validate(outcome)


async def test_every_stage_refuses_a_model_that_replaced_the_pinned_one(tmp_path: Path, models: Path) -> None:
    pinned = ModelFolder.open(models / "sts-petct").sha256
    async with _stages(tmp_path / "data", models) as artifacts:
        before = [(await _run(name, artifacts, pinned)).failure for name in STAGES]
        assert "MODEL_CHANGED" not in {failure.reason for failure in before if failure is not None}
        replaced = replace_model(models)
        for name in STAGES:
            failure = (await _run(name, artifacts, pinned)).failure
            assert failure is not None
            assert failure.reason == "MODEL_CHANGED", name
            assert "Create the assessment again" in failure.message
            assert failure.metadata == {"installed_sha256": replaced, "pinned_sha256": pinned}
    # And after a restart, when no stage has ever seen the old one.
    async with _stages(tmp_path / "data", models) as artifacts:
        for name in STAGES:
            failure = (await _run(name, artifacts, pinned)).failure
            assert failure is not None
            assert failure.reason == "MODEL_CHANGED", name


async def test_the_prediction_names_exactly_the_pinned_model(tmp_path: Path, models: Path) -> None:
    pinned = ModelFolder.open(models / "sts-petct").sha256
    async with _stages(tmp_path / "data", models) as artifacts:
        outcome = await _run("prediction", artifacts, pinned)
        assert outcome.case is not None, outcome.failure
        (finding,) = artifacts.read_document(outcome.case, Case).findings
        assert artifacts.read_document(finding.document, Prediction).model_sha256 == pinned


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
