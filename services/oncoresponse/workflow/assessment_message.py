"""From the state of a run to the public message of its assessment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from oncoresponse.errors import Cancelled, InternalError, OncoResponseError, error_for_reason
from oncoresponse.model.plan import STAGES
from oncoresponse.rpc.status import to_status
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.earlier_versions import UNREAD
from oncoresponse.workflow.release_gate import WAITING_MESSAGE
from oncoresponse.workflow.run_states import WAITING, RunState
from oncoresponse.workflow.stored_json import STOPPED_BY_ITSELF

PREFIX = "assessments/"
FINISHED = {
    assessment_pb2.ASSESSMENT_STATE_SUCCEEDED,
    assessment_pb2.ASSESSMENT_STATE_FAILED,
    assessment_pb2.ASSESSMENT_STATE_CANCELLED,
    assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED,
}
"""States that will not change any more."""

_STAGE_NUMBERS = {name: number for number, name in enumerate(STAGES, start=1)}
_LAST_REVISION = 2 + len(STAGES) + 1
# 9999-12-31, the last day that a Timestamp can say.
_LAST_MILLISECOND = 253_402_300_799_999


def is_finished(assessment: assessment_pb2.Assessment) -> bool:
    """Whether the state will not change any more."""
    return assessment.state in FINISHED


def assessment_of(run: RunState) -> assessment_pb2.Assessment:
    """The message; what was not written by this service becomes ``RECORD_UNREADABLE``."""
    try:
        return _assessment_of(run)
    except (ParseError, KeyError, TypeError, ValueError, AttributeError):
        unread = RunState(run.assessment, "ERROR", 0, end_time_ms=1, unread=True)
        return _assessment_of(unread)


def _assessment_of(run: RunState) -> assessment_pb2.Assessment:
    assessment = assessment_pb2.Assessment(
        name=PREFIX + run.assessment,
        study=run.attributes.get("study", ""),
        model=run.attributes.get("model", ""),
        model_sha256=run.attributes.get("model_sha256", ""),
        revision=1,
        state=assessment_pb2.ASSESSMENT_STATE_QUEUED,
        message="Waiting for a free worker",
    )
    assessment.create_time.FromMilliseconds(min(run.create_time_ms, _LAST_MILLISECOND))
    if run.status == "DELAYED":
        assessment.message = WAITING_MESSAGE
    if run.status in WAITING:
        return assessment
    if run.progress is not None:
        assessment.stage = _stage(run.progress["stage"])
        assessment.fraction_done = run.progress["fraction"]
        assessment.message = run.progress["message"]
    assessment.state = assessment_pb2.ASSESSMENT_STATE_RUNNING
    assessment.revision = 2 + (_STAGE_NUMBERS.get(run.progress["stage"], 0) if run.progress is not None else 0)
    if run.is_unfinished:
        return assessment
    assessment.revision = _LAST_REVISION
    if ended := run.end_time_ms or run.update_time_ms:
        assessment.end_time.FromMilliseconds(min(ended, _LAST_MILLISECOND))
    output = run.output or {}
    if run.status == "CANCELLED":
        assessment.state = assessment_pb2.ASSESSMENT_STATE_CANCELLED
        assessment.message = "Cancelled"
        error = Cancelled("The assessment was cancelled. Create it again if it is still needed.")
        assessment.error.CopyFrom(to_status(error))
    elif run.status == "SUCCESS" and "result" in output and not run.unread:
        _set_result(assessment, output)
    else:
        _set_error(assessment, run, output)
    return assessment


def _set_result(assessment: assessment_pb2.Assessment, output: Mapping[str, Any]) -> None:
    ParseDict(output["result"], assessment.result)
    assessment.fraction_done = 1.0
    if "candidates" in output:
        for candidate in output["candidates"]:
            ParseDict(candidate, assessment.lesion_candidates.add())
        assessment.state = assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED
        assessment.message = "A physician has to choose the lesion"
    else:
        assessment.state = assessment_pb2.ASSESSMENT_STATE_SUCCEEDED
        assessment.message = "Done"


def _set_error(assessment: assessment_pb2.Assessment, run: RunState, output: Mapping[str, Any]) -> None:
    assessment.state = assessment_pb2.ASSESSMENT_STATE_FAILED
    if run.unread:
        error: OncoResponseError = UNREAD
    elif "error" in output:
        found = output["error"]
        error = error_for_reason(found["reason"], found["message"], found["metadata"])
        assessment.stage = _stage(output["stage"])
    else:
        error = run.error or InternalError(STOPPED_BY_ITSELF)
    assessment.error.CopyFrom(to_status(error))
    assessment.message = error.message


def _stage(name: str) -> assessment_pb2.AssessmentStage:
    value: assessment_pb2.AssessmentStage = getattr(assessment_pb2, f"ASSESSMENT_STAGE_{name.upper()}")
    return value
