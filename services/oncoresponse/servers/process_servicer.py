"""ProcessService: what a process of the installation is and how it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc

import oncoresponse
from oncoresponse.errors import OncoResponseError
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names
from oncoresponse.rpc.process_metrics import ProcessMetrics
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.stages.v1 import process_pb2, process_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore


class ProcessServicer(process_pb2_grpc.ProcessServiceServicer):
    """See ``protos/oncoresponse/stages/v1/process.proto``.

    Args:
        settings: Of the process.
        artifacts: Its store.
        metrics: What it counts.
    """

    def __init__(self, settings: ServerSettings, artifacts: ArtifactStore, metrics: ProcessMetrics) -> None:
        self._settings = settings
        self._artifacts = artifacts
        self._metrics = metrics

    async def DescribeProcess(
        self, request: process_pb2.DescribeProcessRequest, context: grpc.aio.ServicerContext
    ) -> process_pb2.DescribeProcessResponse:
        """Describe this process."""
        settings = self._settings
        answer = process_pb2.DescribeProcessResponse(
            services=[service.value for service in settings.services],
            release=oncoresponse.__version__,
            device=settings.device if Service.SEGMENTATION in settings.services else "",
        )
        if request.metrics:
            answer.metrics = await asyncio.to_thread(self._metrics.text)
        if request.models:
            answer.models.extend(await asyncio.to_thread(lambda: list(installed_models(settings))))
        if request.artifact_sha256:
            seen = await asyncio.to_thread(self._artifacts.look, request.artifact_sha256)
            answer.sees_artifact = seen is not None
        # Last, so that a caller who halves the time of the call knows best when this was.
        answer.time.GetCurrentTime()
        return answer


def installed_models(settings: ServerSettings) -> Iterable[process_pb2.InstalledModel]:
    """The models of a process, by name, and what is wrong with those that cannot be read."""
    for name in installed_model_names(settings.models_directory):
        try:
            folder = ModelFolder.open(find_model(settings.models_directory, name))
        except OncoResponseError as error:
            yield process_pb2.InstalledModel(name=name, reason=error.reason)
        else:
            yield process_pb2.InstalledModel(name=name, version=folder.definition.version, sha256=folder.sha256)
