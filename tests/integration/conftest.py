"""A real StudyService and conversion stage on a loopback port, with the interceptor of the product."""

from __future__ import annotations

import datetime
import hashlib
import shutil
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from oncoresponse.case.case import Case, Order
from oncoresponse.errors import OncoResponseError
from oncoresponse.intake.study_settings import StudySettings
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import SERVICE_NAMES
from oncoresponse.rpc.settings import Service
from oncoresponse.rpc.status import STATUS_OF_KIND, from_rpc_error
from oncoresponse.servers.conversion_stage import ConversionStage
from oncoresponse.servers.stage_servicer import StageServicer
from oncoresponse.servers.study_servicer import StudyServicer
from oncoresponse.stages.v1 import stage_pb2, stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_store import StudyStore
from oncoresponse.v1 import study_pb2, study_pb2_grpc

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningStudyService:
    """A server, stubs of a client, and the store behind."""

    stub: study_pb2_grpc.StudyServiceStub
    stages: stage_pb2_grpc.StageServiceStub
    artifacts: ArtifactStore
    data_directory: Path

    async def convert(self, study: study_pb2.Study, *, model: str = "models/sts-petct", **order: object) -> Case:
        """The case of a study after its conversion, asked for as the workflow does; ``order`` as of :class:`Order`."""
        issued = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
        case = Case(
            order=Order(report_id="a-1", issued=issued, **order), study_manifest=stored_artifact(study.manifest)
        )
        stored = artifact_message(self.artifacts.put_document(case))
        request = stage_pb2.RunStageRequest(stage="conversion", model=model, case=stored)
        return self.artifacts.read_document(stored_artifact((await self.stages.RunStage(request)).case), Case)


def _model_definition_alone(models: Path) -> Path:
    """The conversion needs to know which series a model requires, not its weights."""
    folder = models / "sts-petct"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "models" / "sts-petct" / "model.yaml", folder)
        seal_model_folder(folder)
    return models


@asynccontextmanager
async def _run(data_directory: Path, **settings: object) -> AsyncIterator[RunningStudyService]:
    study_settings = StudySettings(**settings)
    artifacts = ArtifactStore(str(data_directory / "artifacts"))
    models = _model_definition_alone(data_directory / "models")
    store = StudyStore(data_directory, artifacts, study_settings)
    server = grpc.aio.server(interceptors=(RulesAndErrors(None),))
    study_pb2_grpc.add_StudyServiceServicer_to_server(StudyServicer(store, study_settings, models), server)
    stages = {"conversion": ConversionStage(artifacts, models, study_settings.dicom_limits)}
    stage_pb2_grpc.add_StageServiceServicer_to_server(StageServicer(artifacts, stages, stages.keys()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            study, stage = study_pb2_grpc.StudyServiceStub(channel), stage_pb2_grpc.StageServiceStub(channel)
            yield RunningStudyService(study, stage, artifacts, data_directory)
    finally:
        await server.stop(None)


@pytest.fixture
def run_study_service() -> Callable[..., object]:
    """Asynchronous context manager of a data directory and the keywords of StudySettings."""
    return _run


@pytest.fixture
async def study_service(tmp_path: Path) -> AsyncIterator[RunningStudyService]:
    """The service with its defaults."""
    async with _run(tmp_path / "data") as service:
        yield service


@pytest.fixture
def upload_messages() -> Callable[..., Iterator[study_pb2.UploadInstancesRequest]]:
    """The messages that send files, in chunks of ``chunk_bytes``."""

    def messages(study: str, files: Iterable[bytes], *, chunk_bytes: int = 256 * 1024, offset: int = 0):
        for data in files:
            header = study_pb2.InstanceHeader(
                study=study, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), offset_bytes=offset
            )
            yield study_pb2.UploadInstancesRequest(header=header)
            for start in range(offset, len(data), chunk_bytes):
                block = data[start : start + chunk_bytes]
                chunk = study_pb2.InstanceChunk(data=block, crc32=zlib.crc32(block))
                yield study_pb2.UploadInstancesRequest(chunk=chunk)

    return messages


@pytest.fixture
def refusal() -> Callable[..., object]:
    """Awaits a call, or reads a stream to its end, that must fail; gives the error the server meant."""

    async def failed(call: object) -> OncoResponseError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            if isinstance(call, grpc.aio.UnaryStreamCall | grpc.aio.StreamStreamCall):
                async for _ in call:
                    pass
            else:
                await call
        error = from_rpc_error(caught.value)
        assert caught.value.code() is STATUS_OF_KIND[error.kind]
        return error

    return failed


STAGES = (Service.SEGMENTATION, Service.RADIOMICS, Service.RESPONSE, Service.REPORTING)


class SilentStages(grpc.GenericRpcHandler):
    """A peer over a real socket: its health says what the test sets, and its calls are never answered.

    Attributes:
        address: ``HOST:PORT``.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self._server, self._health = grpc.server(ThreadPoolExecutor(32), handlers=(self,)), HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.say(health_pb2.HealthCheckResponse.SERVING)
        if credentials is None:
            port = self._server.add_insecure_port("localhost:0")
        else:
            port = self._server.add_secure_port("localhost:0", credentials)
        self.address = f"localhost:{port}"
        self._server.start()

    def say(self, status: int) -> None:
        """Set the health of every stage."""
        for service in STAGES:
            self._health.set(SERVICE_NAMES[service], status)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self._wait) if "oncoresponse" in details.method else None

    def _wait(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        ended = threading.Event()
        if context.add_callback(ended.set):
            ended.wait()
        return b""

    def close(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def make_silent_stages() -> Iterator[Callable[..., SilentStages]]:
    """Factory: stages that say they serve, with or without TLS."""
    made: list[SilentStages] = []

    def make(credentials: grpc.ServerCredentials | None = None) -> SilentStages:
        made.append(SilentStages(credentials))
        return made[-1]

    yield make
    for stages in made:
        stages.close()


@pytest.fixture(scope="session")
def silent_stages() -> Iterator[SilentStages]:
    """Stages that say they serve and never answer."""
    stages = SilentStages()
    yield stages
    stages.close()
