"""AssessmentService: the durable workflow as an EHR sees it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Literal

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.access.call import current_call
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import (
    ArtifactNotFound,
    AssessmentNotFinished,
    ChecksumMismatch,
    DicomError,
    StudyNotComplete,
    StudyNotFound,
)
from oncoresponse.model.plan import require_plan
from oncoresponse.model.request_rules import require_covariates, require_images, require_inputs
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.rpc.order_message import order_of_request
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Service
from oncoresponse.stages.v1 import study_check_pb2, study_check_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentFilter, Subject
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, model_pb2, model_pb2_grpc, study_pb2, study_pb2_grpc
from oncoresponse.workflow.assessment_records import AssessmentRecords, is_finished

_LOOKUP_SECONDS = 10.0
# Of a study that an earlier release completed, every header is read first.
_CHECK_SECONDS = 120.0
_DEFAULT_PAGE_SIZE = 50
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
        tenant = current_call().caller.tenant
        if (existing := await self._records.find(request, tenant)) is not None:
            return assessment_pb2.CreateAssessmentResponse(assessment=existing)
        study = await self._peers.call(
            Service.STUDY,
            study_pb2_grpc.StudyServiceStub,
            "GetStudy",
            study_pb2.GetStudyRequest(name=request.study),
            study_pb2.GetStudyResponse,
            timeout_seconds=_LOOKUP_SECONDS,
        )
        if current_call().tenant not in (None, study.study.tenant):
            raise StudyNotFound("There is no study of this name. ListStudies gives the names.")
        if not study.study.complete:
            raise StudyNotComplete("The study still accepts instances. Call CompleteStudy, then create the assessment.")
        model = await self._peers.call(
            Service.MODEL,
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
        stages = require_plan(model.model.stages)
        subject = await self._checked(request, model.model.sha256)
        assessment = await self._records.create(
            request, stored_artifact(study.study.manifest), model.model.sha256, stages, subject, tenant
        )
        return assessment_pb2.CreateAssessmentResponse(assessment=assessment)

    async def GetAssessment(
        self, request: assessment_pb2.GetAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.GetAssessmentResponse:
        """Describe one assessment."""
        await self._records.require_own(request.name, current_call().tenant)
        return assessment_pb2.GetAssessmentResponse(assessment=await self._records.get(request.name))

    async def ListAssessments(
        self, request: assessment_pb2.ListAssessmentsRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.ListAssessmentsResponse:
        """List assessments, newest first."""
        if request.patient_id:
            await self._identify_older()
        wanted = AssessmentFilter(
            patient_id=request.patient_id,
            issuer_of_patient_id=request.issuer_of_patient_id,
            study=request.study,
            model=request.model,
            create_time_from_ms=_milliseconds(request, "create_time_from"),
            create_time_before_ms=_milliseconds(request, "create_time_before"),
            tenant=current_call().tenant,
        )
        page = await self._records.lists.page(
            wanted, request.state, request.page_size or _DEFAULT_PAGE_SIZE, request.page_token
        )
        return assessment_pb2.ListAssessmentsResponse(assessments=page.assessments, next_page_token=page.next_token)

    async def CancelAssessment(
        self, request: assessment_pb2.CancelAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.CancelAssessmentResponse:
        """Stop an assessment."""
        await self._records.require_own(request.name, current_call().tenant)
        return assessment_pb2.CancelAssessmentResponse(assessment=await self._records.cancel(request.name))

    async def WatchAssessment(
        self, request: assessment_pb2.WatchAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[assessment_pb2.WatchAssessmentResponse]:
        """Send the state now and at each change."""
        await self._records.require_own(request.name, current_call().tenant)
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
        await self._records.require_own(request.assessment, current_call().tenant)
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

    async def _checked(self, request: assessment_pb2.CreateAssessmentRequest, model_sha256: str) -> Subject:
        """Whose the study is, after conversion would not refuse it by its headers."""
        order = order_of_request(request, request.request_id, datetime.datetime.now(datetime.UTC))
        return await self._subject(
            study_check_pb2.CheckStudyRequest(
                study=request.study,
                model=request.model,
                model_sha256=model_sha256,
                order=order.model_dump_json().encode(),
            )
        )

    async def _identify_older(self) -> None:
        """Note whose the studies are that an earlier release assessed."""
        for study in await self._records.lists.studies_without_subject():
            try:
                subject = await self._subject(study_check_pb2.CheckStudyRequest(study=study))
            except (StudyNotFound, ArtifactNotFound, ChecksumMismatch, DicomError):
                # Deleted, or not to be read any more: nobody can say.
                subject = Subject()
            await self._records.lists.set_subject(study, subject)

    async def _subject(self, call: study_check_pb2.CheckStudyRequest) -> Subject:
        answer = await self._peers.call(
            Service.STUDY,
            study_check_pb2_grpc.StudyCheckServiceStub,
            "CheckStudy",
            call,
            study_check_pb2.CheckStudyResponse,
            timeout_seconds=_CHECK_SECONDS,
        )
        patients = (
            IndexedPatient(patient_id=item.patient_id, issuer_of_patient_id=item.issuer_of_patient_id)
            for item in answer.patients
        )
        return Subject(tuple(patients), answer.study_date)


def _milliseconds(
    request: assessment_pb2.ListAssessmentsRequest, field: Literal["create_time_from", "create_time_before"]
) -> int | None:
    if not request.HasField(field):
        return None
    moment: Timestamp = getattr(request, field)
    return moment.ToMilliseconds()
