"""Hands the prediction of a finished assessment to MonitoringService: a workflow of its own, after the report.

A report never waits for its record and never fails with it. A record never gets lost either: this workflow is as
durable as the assessment's, tries again for days while MonitoringService is away, and goes on after a crash.
"""

from __future__ import annotations

import logging
from typing import Any

from dbos import DBOS, SetWorkflowID
from google.protobuf.json_format import ParseDict

from oncoresponse.errors import InternalError, ServiceError
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Service
from oncoresponse.rpc.status import intended_error
from oncoresponse.v1 import monitoring_pb2, monitoring_pb2_grpc
from oncoresponse.workflow.run_removal import RECORDING_SUFFIX

WORKFLOW_NAME = "record-prediction"

Json = dict[str, Any]

_CALL_SECONDS = 15.0
# Nine attempts in about four days; nobody waits for them.
_PAUSES_SECONDS = (1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0, 48 * 3600.0)
_DONE = ""

_log = logging.getLogger(__name__)
_peers: Peers | None = None


def provide_recording_peers(peers: Peers | None) -> None:
    """Give the workflow of this process its peers; DBOS calls it by name, without arguments of ours."""
    global _peers
    _peers = peers


async def start_recording(assessment_id: str, call: Json | None) -> None:
    """Start the workflow for an assessment whose report is there; returns at once.

    Args:
        assessment_id: Identifier of the assessment.
        call: RecordPredictionRequest as JSON; ``None`` where nothing was predicted.
    """
    if call is None:
        return
    with SetWorkflowID(f"{assessment_id}{RECORDING_SUFFIX}"):
        await DBOS.start_workflow_async(record_prediction, call)


@DBOS.workflow(name=WORKFLOW_NAME)
async def record_prediction(call: Json) -> str:
    """Call until it is recorded, refused for good, or the attempts are used up.

    Returns:
        Empty when it is recorded, else the reason code of the last attempt.
    """
    reason = await record_step(call)
    for pause in _PAUSES_SECONDS:
        if reason not in _WORTH_ANOTHER_TRY:
            break
        await DBOS.sleep_async(pause)
        reason = await record_step(call)
    if reason != _DONE:
        _log.warning("a prediction was not recorded for monitoring: %s", reason)
    return reason


@DBOS.step(name="record", preemptible=True)
async def record_step(call: Json) -> str:
    """MonitoringService.RecordPrediction; gives a reason code, or nothing when it is recorded."""
    if _peers is None:
        raise RuntimeError("provide_recording_peers() has to come before the workflow is launched")
    message = ParseDict(call, monitoring_pb2.RecordPredictionRequest())
    try:
        await _peers.call(
            Service.MONITORING,
            monitoring_pb2_grpc.MonitoringServiceStub,
            "RecordPrediction",
            message,
            monitoring_pb2.RecordPredictionResponse,
            timeout_seconds=_CALL_SECONDS,
        )
    except Exception as error:
        return intended_error(error).reason
    return _DONE


def _transient(kind: type[ServiceError]) -> bool:
    # INTERNAL is a defect, or a process that was told not to run the monitoring service; neither passes by waiting.
    return kind is not InternalError


_WORTH_ANOTHER_TRY = {kind.reason for kind in ServiceError.__subclasses__() if _transient(kind)}
