"""One stage of a plan, wherever its service runs: for the workflow, and for a replay."""

from __future__ import annotations

from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.model.plan import STAGES
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Service
from oncoresponse.stages.v1 import stage_pb2, stage_pb2_grpc


async def run_stage(
    peers: Peers, name: str, model: str, model_sha256: str, case: StoredArtifact, *, timeout_seconds: float
) -> stage_pb2.RunStageResponse:
    """Run a stage.

    Args:
        peers: The services.
        name: Of the stage, one of :data:`~oncoresponse.model.plan.STAGES`.
        model: ``models/{model}``.
        model_sha256: Which version of it.
        case: So far.
        timeout_seconds: Deadline, retries included.

    Raises:
        OncoResponseError: What the stage answered, or DeadlineExceeded.
    """
    return await peers.call(
        Service(STAGES[name].service),
        stage_pb2_grpc.StageServiceStub,
        "RunStage",
        stage_pb2.RunStageRequest(stage=name, model=model, model_sha256=model_sha256, case=artifact_message(case)),
        stage_pb2.RunStageResponse,
        timeout_seconds=timeout_seconds,
    )
