"""Assessments that an earlier release took and never began: their requests, as runs of this release."""

from __future__ import annotations

from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.model.plan import STAGES
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import artifact_pb2, assessment_pb2
from oncoresponse.workflow.assessment_run import AssessmentRun, Json, first_case


def is_of_earlier_release(run: Json) -> bool:
    """Whether the input of a run is that of a release before 0.3, which stored the request itself."""
    return "create" in run


def run_of_earlier_release(run: Json, artifacts: ArtifactStore) -> AssessmentRun:
    """The run that this release would have made of the request.

    Every model of those releases ran all stages. Release 0.1.0 pinned no model.

    Args:
        run: ``create`` (CreateAssessmentRequest as JSON), ``assessment_id``, ``create_time`` (RFC 3339),
            ``study_manifest`` (ArtifactReference as JSON) and, from 0.2.0 on, ``model_sha256``.
        artifacts: Where the case is written to.
    """
    request = ParseDict(run["create"], assessment_pb2.CreateAssessmentRequest())
    create_time = Timestamp()
    create_time.FromJsonString(run["create_time"])
    manifest = stored_artifact(ParseDict(run["study_manifest"], artifact_pb2.ArtifactReference()))
    return AssessmentRun(
        assessment_id=run["assessment_id"],
        model=request.model,
        model_sha256=run.get("model_sha256", ""),
        stages=tuple(STAGES),
        case=artifacts.put_document(first_case(request, run["assessment_id"], create_time, manifest)),
    )
