"""AssessmentService: the durable workflow as an EHR sees it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Literal

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.access.call import current_call
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import (
    ArtifactNotFound,
    AssessmentNotFinished,
    ChecksumMismatch,
    DestinationUnknown,
    DicomError,
    ModelNotActive,
    PatientMismatch,
    StudyNotComplete,
    StudyNotFound,
)
from oncoresponse.model.plan import require_plan
from oncoresponse.model.request_rules import require_covariates, require_images, require_inputs
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.order_message import order_of_request
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import Service
from oncoresponse.servers.contour_corrections import ContourCorrections
from oncoresponse.servers.report_view import ReportView
from oncoresponse.stages.v1 import study_check_pb2, study_check_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentFilter, Subject
from oncoresponse.storage.database_lock import DatabaseLock
from oncoresponse.storage.model_control_store import ModelControlStore
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.v1 import (
    assessment_pb2,
    assessment_pb2_grpc,
    contour_pb2,
    model_pb2,
    model_pb2_grpc,
    study_pb2,
    study_pb2_grpc,
)
from oncoresponse.workflow.assessment_message import PREFIX, is_finished
from oncoresponse.workflow.assessment_records import AssessmentRecords

_LOOKUP_SECONDS = 10.0
# Of a study that an earlier release completed, every header is read first.
_CHECK_SECONDS = 120.0
_DEFAULT_PAGE_SIZE = 50
_CHUNK_BYTES = 256 * 1024
_PREFIX = "assessments/"


class AssessmentServicer(assessment_pb2_grpc.AssessmentServiceServicer):
    """See ``protos/oncoresponse/v1/assessment.proto``."""

    def __init__(
        self,
        records: AssessmentRecords,
        artifacts: ArtifactStore,
        peers: Peers,
        reports: ReportStore,
        view: ReportView,
        corrections: ContourCorrections,
        control: ModelControlStore | None = None,
        lock: DatabaseLock | None = None,
        destinations: Collection[str] = (),
    ) -> None:
        self._corrections = corrections
        self._destinations = frozenset(destinations)
        self._control = control
        self._records = records
        self._lock = lock or DatabaseLock("sqlite://")
        self._artifacts = artifacts
        self._peers = peers
        self._reports = reports
        self._view = view

    async def CreateAssessment(
        self, request: assessment_pb2.CreateAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.CreateAssessmentResponse:
        """Start an assessment, or find the one that the same request started."""
        call = current_call()
        call.concerns(request.study, request.model)
        await self._lock.require_free()
        if unknown := sorted(set(request.deliver_to) - self._destinations):
            raise DestinationUnknown(
                "The settings of the server name no such destination (destinations). Use one that they name, or ask "
                "the administrator for it.",
                destination=unknown[0],
            )
        tenant = call.caller.tenant
        if (existing := await self._records.find(request, tenant)) is not None:
            return assessment_pb2.CreateAssessmentResponse(assessment=await self._linked(existing, request.replaces))
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
        if model.model.state != model_pb2.MODEL_STATE_ACTIVE:
            raise ModelNotActive(
                "No version of this model is active. Two people make one active: 'oncoresponse models propose' and "
                "'oncoresponse models approve'.",
                model=model.model.name,
            )
        require_images(bool(model.model.inputs))
        require_covariates(
            [covariate.name for covariate in model.model.covariates],
            [covariate.name for covariate in request.covariates],
        )
        require_inputs([item.role for item in model.model.inputs], [item.input_role for item in request.series])
        stages = require_plan(model.model.stages)
        corrections = await self._corrections.masks_of(request, call.tenant)
        subject = await self._checked(request, model.model.sha256, corrections)
        call.concerns(patients=subject.patients)
        if request.replaces:
            await self._require_same_patient(request, subject)
        assessment = await self._records.create(
            request,
            stored_artifact(study.study.manifest),
            model.model.sha256,
            stages,
            subject,
            tenant,
            # What an edge starts for a study belongs to whom the study does.
            owner=study.study.tenant if call.tenant is None and AccessRole.STAGE in call.caller.roles else "",
            # Made anew it says nothing of how long a report took.
            arrived_ms=0 if request.replaces else study.study.create_time.ToMilliseconds(),
            corrections=corrections,
        )
        call.concerns(assessment.name)
        if self._control is not None:
            await asyncio.to_thread(
                self._control.note_use,
                assessment.name.removeprefix(PREFIX),
                request.model.removeprefix("models/"),
                model.model.sha256,
                assessment.create_time.ToMilliseconds(),
            )
        return assessment_pb2.CreateAssessmentResponse(assessment=await self._linked(assessment, request.replaces))

    async def GetAssessment(
        self, request: assessment_pb2.GetAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.GetAssessmentResponse:
        """Describe one assessment."""
        await self._own(request.name)
        assessment = await self._view.shown(await self._records.get(request.name))
        return assessment_pb2.GetAssessmentResponse(assessment=assessment)

    async def ListAssessments(
        self, request: assessment_pb2.ListAssessmentsRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.ListAssessmentsResponse:
        """List assessments, newest first."""
        call = current_call()
        if request.patient_id:
            call.concerns(
                patients=[
                    IndexedPatient(patient_id=request.patient_id, issuer_of_patient_id=request.issuer_of_patient_id)
                ]
            )
        await self._lock.require_free()
        if request.patient_id:
            await self.identify_older()
        wanted = AssessmentFilter(
            patient_id=request.patient_id,
            issuer_of_patient_id=request.issuer_of_patient_id,
            study=request.study,
            model=request.model,
            create_time_from_ms=_milliseconds(request, "create_time_from"),
            create_time_before_ms=_milliseconds(request, "create_time_before"),
            tenant=call.tenant,
        )
        page = await self._records.lists.page(
            wanted, request.state, request.page_size or _DEFAULT_PAGE_SIZE, request.page_token
        )
        found = page.assessments
        names = [item.name for item in found]
        call.concerns(
            *names, patients=await self._records.lists.patients_of(*(name.removeprefix(PREFIX) for name in names))
        )
        if request.patient_id:
            # A page may hold fewer than were asked for (AIP-158).
            found = await self._view.of_this_patient(found)
        return assessment_pb2.ListAssessmentsResponse(
            assessments=await self._view.all_shown(found), next_page_token=page.next_token
        )

    async def CancelAssessment(
        self, request: assessment_pb2.CancelAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> assessment_pb2.CancelAssessmentResponse:
        """Stop an assessment."""
        await self._own(request.name)
        assessment = await self._view.shown(await self._records.cancel(request.name))
        return assessment_pb2.CancelAssessmentResponse(assessment=assessment)

    async def WatchAssessment(
        self, request: assessment_pb2.WatchAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[assessment_pb2.WatchAssessmentResponse]:
        """Send the state now and at each change."""
        await self._own(request.name)
        async for assessment in self._records.watching.follow(request.name.removeprefix(PREFIX)):
            yield assessment_pb2.WatchAssessmentResponse(assessment=await self._view.shown(assessment))

    async def GetArtifact(
        self, request: assessment_pb2.GetArtifactRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[assessment_pb2.GetArtifactResponse]:
        """Send the bytes of one artifact."""
        await self._own(request.assessment)
        assessment = await self._records.get(request.assessment)
        if not is_finished(assessment):
            raise AssessmentNotFinished("The assessment has not finished. Watch it, then ask again.")
        corrected = await self._corrections.mask(request.assessment, request.file_name)
        if corrected is not None:
            reference = artifact_message(corrected)
        else:
            reference = await self._view.artifact(assessment, request.file_name, request.report_version)
        data = await asyncio.to_thread(self._artifacts.read_bytes, stored_artifact(reference))
        yield assessment_pb2.GetArtifactResponse(artifact=reference)
        for start in range(0, len(data), _CHUNK_BYTES):
            yield assessment_pb2.GetArtifactResponse(data=data[start : start + _CHUNK_BYTES])

    async def RefineContour(
        self, request: contour_pb2.RefineContourRequest, context: grpc.aio.ServicerContext
    ) -> contour_pb2.RefineContourResponse:
        """Correct a contour."""
        await self._own(request.assessment)
        correction = await self._corrections.refine(request, current_call().caller)
        return contour_pb2.RefineContourResponse(correction=correction)

    async def ListContourCorrections(
        self, request: contour_pb2.ListContourCorrectionsRequest, context: grpc.aio.ServicerContext
    ) -> contour_pb2.ListContourCorrectionsResponse:
        """List the corrections of an assessment."""
        await self._own(request.assessment)
        found = await self._corrections.listed(request.assessment)
        return contour_pb2.ListContourCorrectionsResponse(corrections=found)

    async def _linked(self, assessment: assessment_pb2.Assessment, replaced: str) -> assessment_pb2.Assessment:
        """The assessment as the caller sees it, after it was noted what it replaces; after a crash the same request
        comes again and notes it."""
        if replaced:
            name, earlier = (each.removeprefix(_PREFIX) for each in (assessment.name, replaced))
            created = assessment.create_time.ToMilliseconds()
            await asyncio.to_thread(self._reports.note_replacement, name, earlier, created)
        return await self._view.shown(assessment)

    async def _require_same_patient(self, request: assessment_pb2.CreateAssessmentRequest, subject: Subject) -> None:
        """Let an assessment replace one of the same study, or of the same patient.

        Raises:
            AssessmentNotFound, AssessmentNotFinished: There is none to be replaced, or not yet.
            PatientMismatch: It is of another patient, or nobody can say.
        """
        await self._records.require_own(request.replaces, current_call().tenant)
        earlier = await self._records.get(request.replaces)
        if not is_finished(earlier):
            raise AssessmentNotFinished("The assessment to be replaced has not finished. Watch it, or cancel it.")
        if earlier.study == request.study:
            return
        await self.identify_older()
        patients = await self._records.lists.patients_of(request.replaces.removeprefix(_PREFIX))
        if not any(_is_same_patient(one, other) for one in patients for other in subject.patients):
            raise PatientMismatch(
                "The assessment to be replaced is of another patient, or its images do not say of whom. Replace it by "
                "one of the same patient; a report of the wrong patient is withdrawn."
            )

    async def _own(self, name: str) -> None:
        """Let a caller know of its own tenant's assessments alone, and tell the audit record of which and whose."""
        call = current_call()
        call.concerns(name)
        await self._lock.require_free()
        await self._records.require_own(name, call.tenant)
        call.concerns(patients=await self._records.lists.patients_of(name.removeprefix(PREFIX)))

    async def _checked(
        self,
        request: assessment_pb2.CreateAssessmentRequest,
        model_sha256: str,
        corrections: Mapping[str, StoredArtifact],
    ) -> Subject:
        """Whose the study is, after conversion would not refuse it by its headers."""
        order = order_of_request(request, request.request_id, datetime.datetime.now(datetime.UTC), corrections)
        return await self._subject(
            study_check_pb2.CheckStudyRequest(
                study=request.study,
                model=request.model,
                model_sha256=model_sha256,
                order=order.model_dump_json().encode(),
            )
        )

    async def identify_older(self) -> None:
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


def _is_same_patient(one: IndexedPatient, other: IndexedPatient) -> bool:
    """Whether Patient IDs agree; an issuer counts where both are known."""
    issuers = {one.issuer_of_patient_id, other.issuer_of_patient_id} - {""}
    return bool(one.patient_id) and one.patient_id == other.patient_id and len(issuers) < 2


def _milliseconds(
    request: assessment_pb2.ListAssessmentsRequest, field: Literal["create_time_from", "create_time_before"]
) -> int | None:
    if not request.HasField(field):
        return None
    moment: Timestamp = getattr(request, field)
    return moment.ToMilliseconds()
