"""AssessmentService: the durable workflow as an EHR sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from oncoresponse.errors import ArtifactNotFound, AssessmentNotFinished, StudyNotComplete
from oncoresponse.model.plan import require_plan
from oncoresponse.model.request_rules import require_covariates, require_images, require_inputs
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.rpc.page_tokens import offset_from_token, token_from_offset
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Role
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, model_pb2, model_pb2_grpc, study_pb2, study_pb2_grpc
from oncoresponse.workflow.assessment_records import AssessmentRecords, is_finished

_LOOKUP_SECONDS = 10.0
# How often a watcher looks at the database: several workers share it, so nobody can be told directly.
_WATCH_INTERVAL_SECONDS = 0.1
_CHUNK_BYTES = 256 * 1024


class AssessmentServicer(assessment_pb2_grpc.AssessmentServiceServicer):
    """See ``protos/oncoresponse/v1/assessment.proto``."""

    def __init__(self, records: AssessmentRecords, artifacts: ArtifactStore, peers: Peers) -> None:
        self._records = records
        self._artifacts = artifacts
        self._peers = peers

    async def CreateAssessment(
        self, request: assessment_pb2.CreateAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.CreateAssessmentResponse:
        """Start an assessment, or find the one that the same request started."""
        if (existing := await self._records.find(request)) is not None:
            return assessment_pb2.CreateAssessmentResponse(assessment=existing)
        study = await self._peers.call(
            Role.STUDY,
            study_pb2_grpc.StudyServiceStub,
            "GetStudy",
            study_pb2.GetStudyRequest(name=request.study),
            study_pb2.GetStudyResponse,
            timeout_seconds=_LOOKUP_SECONDS,
        )
        if not study.study.complete:
            raise StudyNotComplete("The study still accepts instances. Call CompleteStudy, then create the assessment.")
        model = await self._peers.call(
            Role.MODEL,
            model_pb2_grpc.ModelServiceStub,
            "GetModel",
            model_pb2.GetModelRequest(name=request.model),
            model_pb2.GetModelResponse,
            timeout_seconds=_LOOKUP_SECONDS,
        )
        require_images(bool(model.model.inputs))
        require_covariates(
            [covariate.name for covariate in model.model.covariates],
            [covariate.name for covariate in request.covariates],
        )
        require_inputs([item.role for item in model.model.inputs], [item.input_role for item in request.series])
        assessment = await self._records.create(
            request, stored_artifact(study.study.manifest), model.model.sha256, require_plan(model.model.stages)
        )
        return assessment_pb2.CreateAssessmentResponse(assessment=assessment)

    async def GetAssessment(
        self, request: assessment_pb2.GetAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.GetAssessmentResponse:
        """Describe one assessment."""
        return assessment_pb2.GetAssessmentResponse(assessment=await self._records.get(request.name))

    async def ListAssessments(
        self, request: assessment_pb2.ListAssessmentsRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.ListAssessmentsResponse:
        """List assessments, newest first."""
        page = await self._records.list_page(
            study=request.study, page_size=request.page_size or 50, offset=offset_from_token(request.page_token)
        )
        return assessment_pb2.ListAssessmentsResponse(
            assessments=page.assessments, next_page_token=token_from_offset(page.next_offset)
        )

    async def CancelAssessment(
        self, request: assessment_pb2.CancelAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.CancelAssessmentResponse:
        """Stop an assessment."""
        return assessment_pb2.CancelAssessmentResponse(assessment=await self._records.cancel(request.name))

    async def WatchAssessment(
        self, request: assessment_pb2.WatchAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[assessment_pb2.WatchAssessmentResponse]:
        """Send the state now and at each change."""
        revision = 0
        while True:
            assessment = await self._records.get(request.name)
            if assessment.revision > revision:
                revision = assessment.revision
                yield assessment_pb2.WatchAssessmentResponse(assessment=assessment)
            if is_finished(assessment):
                return
            await asyncio.sleep(_WATCH_INTERVAL_SECONDS)

    async def GetArtifact(
        self, request: assessment_pb2.GetArtifactRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[assessment_pb2.GetArtifactResponse]:
        """Send the bytes of one artifact."""
        assessment = await self._records.get(request.assessment)
        if not is_finished(assessment):
            raise AssessmentNotFinished("The assessment has not finished. Watch it, then ask again.")
        if request.file_name not in assessment.result.artifacts:
            raise ArtifactNotFound("The assessment has no artifact of this name. AssessmentResult lists them.")
        reference = assessment.result.artifacts[request.file_name]
        data = await asyncio.to_thread(self._artifacts.read_bytes, stored_artifact(reference))
        yield assessment_pb2.GetArtifactResponse(artifact=reference)
        for start in range(0, len(data), _CHUNK_BYTES):
            yield assessment_pb2.GetArtifactResponse(data=data[start : start + _CHUNK_BYTES])
