"""Data folders of earlier releases, and the assessments of them as this release opens them."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import grpc
import pytest
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.servers.conversion_stage import ConversionStage
from oncoresponse.servers.stage_servicer import Stage, StageServicer
from oncoresponse.stages.v1 import stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.workflow.assessment_records import AssessmentRecords
from oncoresponse.workflow.assessment_workflow import ChainSurroundings, provide_surroundings
from oncoresponse.workflow.recording_workflow import provide_recording_peers

ROOT = Path(__file__).parents[3]


def _copied(release: str, folder: Path) -> Path:
    with tarfile.open(ROOT / "tests" / "data" / f"data-folder-{release}" / "data-folder.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old_data_folder(tmp_path):
    """A copy, ``tests/data/data-folder-0.1.0`` says of what."""
    return _copied("0.1.0", tmp_path / "data")


@pytest.fixture
def data_folder_0_2_0(tmp_path):
    """A copy, ``tests/data/data-folder-0.2.0`` says of what."""
    return _copied("0.2.0", tmp_path / "data")


Launch = Callable[..., AbstractAsyncContextManager[AssessmentRecords]]


@pytest.fixture
def launched() -> Launch:
    """Context manager: the assessments of a data folder, with the conversion, without models, as its only stage.

    ``stages`` replaces it, and ``addresses`` says where other services answer.
    """

    @asynccontextmanager
    async def launch(
        data_folder: Path,
        executor_id: str = "worker-1",
        database_url: str = "",
        stages: Mapping[str, Stage] | None = None,
        addresses: Mapping[str, str] = MappingProxyType({}),
    ) -> AsyncIterator[AssessmentRecords]:
        data_folder.mkdir(exist_ok=True)
        artifacts = ArtifactStore((data_folder / "artifacts").as_uri())
        server = grpc.aio.server(interceptors=(RulesAndErrors(None),))
        stages = stages or {"conversion": ConversionStage(artifacts, data_folder / "no-models")}
        servicer = StageServicer(artifacts, stages, stages.keys())
        stage_pb2_grpc.add_StageServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        settings = ServerSettings(
            services=[each for each in Service if each.value not in addresses],
            addresses=dict(addresses),
            data_directory=data_folder,
            executor_id=executor_id,
            database_url=database_url,
            stage_timeout_seconds=20,
        )
        peers = Peers(settings, f"127.0.0.1:{port}")
        provide_surroundings(ChainSurroundings(peers, artifacts, settings.stage_timeout_seconds))
        provide_recording_peers(peers)
        records = AssessmentRecords(settings, artifacts)
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
