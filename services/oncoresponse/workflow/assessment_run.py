"""What a run of the workflow is given and what it gives back, as plain data that the engine's database may hold."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ConfigDict

from oncoresponse.case.case import Case
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.rpc.order_message import order_of_request
from oncoresponse.v1 import assessment_pb2

Json = dict[str, Any]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> Json:
        """Plain JSON."""
        return self.model_dump(mode="json")


class AssessmentRun(_Stored):
    """One assessment to be done. No patient data: they stay behind the case's reference.

    Attributes:
        assessment_id: Identifier of the assessment.
        model: ``models/{model}``.
        model_sha256: The model that every stage works with.
        stages: The plan that the model declared when the assessment was created.
        case: The case before the first stage.
        correlation_id: Of the call that created it: what is done for it is logged under the same one.
        deliver_to: Destinations that the report goes to.
        arrived_ms: When the study began to arrive, milliseconds since 1970; 0 where that is not known.
    """

    assessment_id: str
    model: str
    model_sha256: str
    stages: tuple[str, ...]
    case: StoredArtifact
    correlation_id: str = ""
    deliver_to: tuple[str, ...] = ()
    arrived_ms: int = 0


class StageFailure(_Stored):
    """Why a stage ended the run: an error of the project's tree."""

    reason: str
    message: str
    metadata: dict[str, str] = {}


class StageOutcome(_Stored):
    """How a stage ended.

    Attributes:
        case: After the stage; ``None`` where it failed.
        choice_needed: The plan ends here, because a physician has to choose the lesions.
        seconds: How long it took.
        starts: How often the run had been started by then.
    """

    case: StoredArtifact | None = None
    choice_needed: bool = False
    seconds: float = 0.0
    starts: int = 1
    failure: StageFailure | None = None


def first_case(
    request: assessment_pb2.CreateAssessmentRequest,
    assessment_id: str,
    created: Timestamp,
    manifest: StoredArtifact,
    corrections: Mapping[str, StoredArtifact] = MappingProxyType({}),
) -> Case:
    """The case before the first stage.

    Args:
        request: What is asked.
        assessment_id: Identifier of the assessment, and of its report.
        created: When it was created; the report's time of issue.
        manifest: Of the complete study.
        corrections: Mask of each correction that the request names.
    """
    issued = created.ToDatetime(tzinfo=datetime.UTC)
    return Case(order=order_of_request(request, assessment_id, issued, corrections), study_manifest=manifest)
