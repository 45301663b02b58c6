"""A data folder of release 0.1.0, and the assessments of it as this release opens them."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from oncoresponse.intake.study_settings import StudySettings
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.servers.study_servicer import StudyServicer
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_store import StudyStore
from oncoresponse.v1 import study_pb2_grpc
from oncoresponse.workflow.assessment_records import AssessmentRecords
from oncoresponse.workflow.assessment_workflow import ChainSurroundings, provide_surroundings
from oncoresponse.workflow.recording_workflow import provide_recording_peers

ROOT = Path(__file__).parents[3]


@pytest.fixture
def old_data_folder(tmp_path):
    """A copy, ``tests/data/data-folder-0.1.0`` says of what."""
    folder = tmp_path / "data"
    with tarfile.open(ROOT / "tests" / "data" / "data-folder-0.1.0" / "data-folder.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


Launch = Callable[..., AbstractAsyncContextManager[AssessmentRecords]]


@pytest.fixture
def launched() -> Launch:
    """Context manager: the assessments of a data folder, with the study service, without models, as its only stage."""

    @asynccontextmanager
    async def launch(
        data_folder: Path, executor_id: str = "worker-1", database_url: str = ""
    ) -> AsyncIterator[AssessmentRecords]:
        data_folder.mkdir(exist_ok=True)
        artifacts = ArtifactStore((data_folder / "artifacts").as_uri())
        study_settings = StudySettings()
        store = StudyStore(data_folder, artifacts, study_settings)
        server = grpc.aio.server(interceptors=(RulesAndErrors(set()),))
        servicer = StudyServicer(store, artifacts, data_folder / "no-models", study_settings)
        study_pb2_grpc.add_StudyServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        settings = ServerSettings(
            services=(Service.STUDY, Service.ASSESSMENT),
            data_directory=data_folder,
            executor_id=executor_id,
            database_url=database_url,
            stage_timeout_seconds=20,
        )
        peers = Peers(settings, f"127.0.0.1:{port}")
        provide_surroundings(ChainSurroundings(peers, artifacts, settings.stage_timeout_seconds))
        provide_recording_peers(peers)
        records = AssessmentRecords(settings)
        await records.launch()
        try:
            yield records
        finally:
            await records.close()
            provide_surroundings(None)
            provide_recording_peers(None)
            await peers.close()
            await server.stop(None)

    return launch
