"""The plan of a model as a DBOS workflow: each stage one step, a case in and a case out.

A step that has finished is never run again: after a crash the workflow goes on with the first step that
had not. What steps take and give is plain JSON, failures included; see :mod:`~oncoresponse.workflow.stored_json`.

A run that is resumed without progress, progress being a finished stage, would stop the service again and again, so the
third time it fails and gives its place in the queue to others.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from dbos import DBOS
from google.protobuf.json_format import ParseDict

from oncoresponse.access.call import correlated
from oncoresponse.case.artifact_names import REPORT_BUNDLE
from oncoresponse.case.sign_off import FIRST_VERSION
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import OncoResponseError, ResumedWithoutProgress
from oncoresponse.model.plan import STAGES, fraction_before
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.process_metrics import ProcessMetrics
from oncoresponse.rpc.status import intended_error
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.delivery_store import DeliveryStore
from oncoresponse.storage.resource_index import ResourceIndex
from oncoresponse.v1 import assessment_pb2, response_pb2
from oncoresponse.workflow.assessment_result import assessment_result
from oncoresponse.workflow.assessment_run import AssessmentRun, Json, StageFailure, StageOutcome
from oncoresponse.workflow.earlier_requests import is_of_earlier_release, run_of_earlier_release
from oncoresponse.workflow.recording_workflow import start_recording
from oncoresponse.workflow.release_gate import pass_release_gate
from oncoresponse.workflow.stage_call import run_stage

PROGRESS_EVENT = "progress"
WORKFLOW_NAME = "assess"


@dataclass(frozen=True)
class ChainSurroundings:
    """What the steps need and the database must not hold."""

    peers: Peers
    artifacts: ArtifactStore
    stage_timeout_seconds: float
    deliveries: DeliveryStore | None = None
    resources: ResourceIndex | None = None
    metrics: ProcessMetrics | None = None


_surroundings: ChainSurroundings | None = None
_RESUMED_IN_VAIN = 3
# Each waits longer: the database may be away for minutes, and the result is there already.
_DELIVER_ATTEMPTS = 20


def provide_surroundings(surroundings: ChainSurroundings | None) -> None:
    """Give the steps of this process their peers and store; DBOS calls steps by name, without arguments of ours."""
    global _surroundings
    _surroundings = surroundings


@DBOS.workflow(name=WORKFLOW_NAME)
async def assess(run: Json) -> Json:
    """Run the plan.

    Args:
        run: :class:`~oncoresponse.workflow.assessment_run.AssessmentRun`.

    Returns:
        ``{"result": AssessmentResult as JSON}``, the same with ``"candidates"`` where a physician has to choose the
        lesions, or ``{"error": {...}, "stage": name}``.
    """
    if is_of_earlier_release(run):
        run = await accept_step(run)
    asked = AssessmentRun.model_validate(run)
    with correlated(asked.correlation_id):
        ended = await _plan(run, asked)
    if (metrics := _around().metrics) is not None:
        count_end(metrics, asked, ended, time.time())
    return ended


def count_end(metrics: ProcessMetrics, asked: AssessmentRun, ended: Json, now: float) -> None:
    """Count how a run ended.

    Args:
        metrics: Of this process.
        asked: The run.
        ended: What it gave back.
        now: Seconds since 1970.
    """
    if "error" in ended:
        metrics.ended("failed", str(ended["error"].get("reason", "")))
        return
    if "candidates" in ended:
        metrics.ended("choice_needed")
        return
    metrics.ended("completed")
    result = ParseDict(ended["result"], assessment_pb2.AssessmentResult())
    answer = response_pb2.PredictionAnswer.Name(result.prediction.answer) if result.HasField("prediction") else ""
    metrics.reported(
        asked.model.removeprefix("models/"),
        answer.removeprefix("PREDICTION_ANSWER_").lower(),
        [lesion.needs_review for lesion in result.lesions],
        max(now - asked.arrived_ms / 1000, 0.0) if asked.arrived_ms else None,
    )


async def _plan(run: Json, asked: AssessmentRun) -> Json:
    await pass_release_gate(asked.model)
    case, starts = asked.case, 1
    seconds: dict[str, float] = {}
    for name in asked.stages:
        await DBOS.set_event_async(
            PROGRESS_EVENT,
            {"stage": name, "fraction": fraction_before(asked.stages, name), "message": STAGES[name].message},
        )
        outcome = StageOutcome.model_validate(await stage_step(run, name, case.model_dump(mode="json"), starts))
        if outcome.case is None:
            failure = {} if outcome.failure is None else outcome.failure.to_json()
            return {"error": failure, "stage": name, "seconds": seconds}
        case, starts = outcome.case, outcome.starts
        seconds[name] = outcome.seconds
        if outcome.choice_needed:
            await pass_release_gate(asked.model)
            choice = await collect_step(run, case.model_dump(mode="json"), seconds)
            if asked.deliver_to:
                # Nothing of it is a file for an archive or a chart, but a physician may be told.
                await deliver_step(run, choice["result"])
            return choice
    await pass_release_gate(asked.model)
    result = await collect_step(run, case.model_dump(mode="json"), seconds)
    await index_step(run, result["result"])
    if asked.deliver_to:
        await deliver_step(run, result["result"])
    await start_recording(asked.assessment_id, result["recording"])
    return {"result": result["result"]}


@DBOS.step(name="accept")
async def accept_step(run: Json) -> Json:
    """What an earlier release took and never began, as a run of this one."""
    return run_of_earlier_release(run, _around().artifacts).to_json()


@DBOS.step(name="stage", preemptible=True)
async def stage_step(run: Json, name: str, case: Json, starts_at_progress: int) -> Json:
    """One stage, wherever its service runs.

    The number of starts is the database's, so it survives any end of the process; only a step that has not finished is
    run again, so that it can be compared here.
    """
    starts = await _starts()
    resumed = resumed_since_progress(starts, starts_at_progress)
    if resumed >= _RESUMED_IN_VAIN:
        error = ResumedWithoutProgress(
            f"The service stopped {resumed} times in this stage, which is not begun once more. Ask the "
            "administrator to look for the cause in the server's log.",
            resumed=resumed,
        )
        return _failed(error).to_json()
    asked, around = AssessmentRun.model_validate(run), _around()
    start = time.perf_counter()
    try:
        answer = await run_stage(
            around.peers,
            name,
            asked.model,
            asked.model_sha256,
            StoredArtifact.model_validate(case),
            timeout_seconds=around.stage_timeout_seconds,
        )
    except Exception as error:
        return _failed(intended_error(error)).to_json()
    return StageOutcome(
        case=stored_artifact(answer.case),
        choice_needed=answer.choice_needed,
        seconds=round(time.perf_counter() - start, 3),
        starts=starts,
    ).to_json()


@DBOS.step(name="collect")
async def collect_step(run: Json, case: Json, seconds: dict[str, float]) -> Json:
    """What the assessment hands out, and what monitoring is told."""
    return assessment_result(
        AssessmentRun.model_validate(run), StoredArtifact.model_validate(case), _around().artifacts, seconds
    )


@DBOS.step(name="index", retries_allowed=True, max_attempts=_DELIVER_ATTEMPTS, interval_seconds=1.0, backoff_rate=1.5)
async def index_step(run: Json, result: Json) -> None:
    """Make the resources of the report readable; again after a crash, once in all."""
    asked, around = AssessmentRun.model_validate(run), _around()
    message = ParseDict(result, assessment_pb2.AssessmentResult())
    if around.resources is None or REPORT_BUNDLE not in message.artifacts:
        return
    bundle = stored_artifact(message.artifacts[REPORT_BUNDLE])
    data = await asyncio.to_thread(around.artifacts.read_bytes, bundle)
    await asyncio.to_thread(around.resources.add, asked.assessment_id, FIRST_VERSION, data, bundle)


@DBOS.step(name="deliver", retries_allowed=True, max_attempts=_DELIVER_ATTEMPTS, interval_seconds=1.0, backoff_rate=1.5)
async def deliver_step(run: Json, result: Json) -> None:
    """Write down that a report, or a choice of lesions, is to be told; again after a crash, once in all."""
    asked, deliveries = AssessmentRun.model_validate(run), _around().deliveries
    if deliveries is None:
        raise RuntimeError("a run with deliver_to needs a store of deliveries")
    message = ParseDict(result, assessment_pb2.AssessmentResult())
    artifacts = {name: stored_artifact(reference) for name, reference in message.artifacts.items()}
    await asyncio.to_thread(deliveries.add_first, asked.assessment_id, asked.deliver_to, artifacts)


def resumed_since_progress(starts: int, starts_at_progress: int) -> int:
    """How often a run was resumed after its last finished stage, or after its begin when none is finished.

    Args:
        starts: How often the database has handed out the run, the first time included.
        starts_at_progress: The same when the last finished stage ran; 1 when none is finished.
    """
    if starts < starts_at_progress:
        # A takeover keeps the number of starts; resuming a run by a tool of the engine counts them from the beginning.
        return max(starts, 1) - 1
    return starts - max(starts_at_progress, 1)


async def _starts() -> int:
    if DBOS.workflow_id is None:
        return 1
    status = await DBOS.get_workflow_status_async(DBOS.workflow_id)
    return 1 if status is None else status.recovery_attempts or 1


def _failed(error: OncoResponseError) -> StageOutcome:
    return StageOutcome(failure=StageFailure(reason=error.reason, message=error.message, metadata=dict(error.metadata)))


def _around() -> ChainSurroundings:
    if _surroundings is None:
        raise RuntimeError("provide_surroundings() has to come before the workflow is launched")
    return _surroundings
