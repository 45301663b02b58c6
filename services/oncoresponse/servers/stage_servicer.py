"""StageService: the stages of this process behind one call, a case in and a case out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from typing import Protocol

import grpc

from oncoresponse.case.case import Case
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.errors import PeerUnavailable
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.stages.v1 import stage_pb2, stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore


class Stage(Protocol):
    """A stage with what it keeps in memory: models, networks, child processes."""

    async def make_ready(self) -> None:
        """Load what the first case would otherwise wait for."""

    async def close(self) -> None:
        """Give back what it holds."""

    async def run(self, case: Case, model: str, model_sha256: str) -> Case:
        """The case with what the stage found.

        Args:
            case: So far.
            model: ``models/{model}``.
            model_sha256: The model that the assessment is pinned to.
        """

    def software(self) -> StageSoftware:
        """What it runs with."""


class StageServicer(stage_pb2_grpc.StageServiceServicer):
    """See ``protos/oncoresponse/stages/v1/stage.proto``.

    Args:
        artifacts: Where cases and voxels are.
        ready: Stages that can work, by name in the plan; one is added when it is ready.
        offered: Names of all that will be.
    """

    def __init__(self, artifacts: ArtifactStore, ready: Mapping[str, Stage], offered: Set[str]) -> None:
        self._artifacts = artifacts
        self._ready = ready
        self._offered = offered

    async def RunStage(
        self, request: stage_pb2.RunStageRequest, context: grpc.aio.ServicerContext
    ) -> stage_pb2.RunStageResponse:
        """Run one stage."""
        if request.stage not in self._offered:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "This process does not offer the stage.")
        stage = self._ready.get(request.stage)
        if stage is None:
            raise PeerUnavailable("The stage is still starting. Try again in a moment.")
        case = await asyncio.to_thread(self._artifacts.read_document, stored_artifact(request.case), Case)
        found = await stage.run(case, request.model, request.model_sha256)
        found = found.with_changes(software={**found.software, request.stage: stage.software()})
        stored = await asyncio.to_thread(self._artifacts.put_document, found)
        return stage_pb2.RunStageResponse(case=artifact_message(stored), choice_needed=bool(found.candidates))
