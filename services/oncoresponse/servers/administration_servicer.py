"""AdministrationService: the end of patient data, and the correction of whose they are."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc
from sqlalchemy.engine import Engine

from oncoresponse.access.call import current_call
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import AccessDenied, InvalidRequest, PeerUnavailable
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.servers.data_peers import DataPeers
from oncoresponse.servers.erasure_registration import erasure_register
from oncoresponse.servers.patient_erasure import PatientErasure
from oncoresponse.servers.retention import Retention
from oncoresponse.servers.storage_sweep import StorageSweep
from oncoresponse.stages.v1 import patient_data_pb2
from oncoresponse.storage import chart_patients
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.card_store import CardStore
from oncoresponse.storage.correction_store import CorrectionStore
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.delivery_store import DeliveryStore
from oncoresponse.storage.erasure_store import ErasureStore
from oncoresponse.storage.model_control_store import ModelControlStore
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex
from oncoresponse.v1 import administration_pb2, administration_pb2_grpc, assessment_pb2
from oncoresponse.workflow import patient_runs
from oncoresponse.workflow.assessment_records import AssessmentRecords

_log = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS = 60.0
_PREFIX = "assessments/"


class AdministrationServicer(administration_pb2_grpc.AdministrationServiceServicer):
    """See ``protos/oncoresponse/v1/administration.proto``.

    Args:
        settings: Of the process.
        artifacts: The store.
        peers: The other services.
        records: The assessments.
        identify_older: Notes whose the studies are that an earlier release assessed.

    Attributes:
        sweep: What goes from the artifact store.
    """

    def __init__(
        self,
        settings: ServerSettings,
        artifacts: ArtifactStore,
        peers: Peers,
        records: AssessmentRecords,
        identify_older: Callable[[], Awaitable[None]],
    ) -> None:
        self._engine: Engine = database_engine(settings.system_database_url)
        self._peers = DataPeers(peers, settings)
        self._records = records
        self.sweep = StorageSweep(artifacts, self._engine, self._peers, settings.garbage_grace_seconds)
        self._store = ErasureStore(self._engine, settings.executor_id)
        self._reports = ReportStore(settings.system_database_url)
        self._models = ModelControlStore(settings.system_database_url)
        self._deliveries = DeliveryStore(settings.system_database_url)
        self._cards = CardStore(settings.system_database_url)
        self._corrections = CorrectionStore(settings.system_database_url)
        self._resources = ResourceIndex(settings.system_database_url)
        self._register = erasure_register(settings)
        self._erasure = PatientErasure(
            self._engine,
            self._peers,
            self.sweep,
            self._store,
            self._reports,
            self._models,
            self._deliveries,
            self._cards,
            self._corrections,
            self._resources,
            identify_older,
            self._register,
        )
        self._retention = Retention(settings.retention_days, self._engine, self._peers, self.sweep, self._erasure)
        self._edges_may_merge = settings.edges_may_merge_patients
        self._looking: asyncio.Task[None] | None = None

    async def make_ready(self) -> None:
        """Make the tables, and go on by itself with what a crash interrupted, last sweeps and the daily retention."""
        await asyncio.to_thread(self._store.prepare)
        await asyncio.to_thread(self._register.prepare)
        await asyncio.to_thread(self._reports.prepare)
        await asyncio.to_thread(self._deliveries.prepare)
        await asyncio.to_thread(self._resources.prepare)
        await asyncio.to_thread(self._cards.prepare)
        await asyncio.to_thread(self._corrections.prepare)
        await asyncio.to_thread(chart_patients.keep_no_statistics, self._engine)
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Stop looking; close the connections to the database."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        self._reports.close()
        self._corrections.close()
        self._models.close()
        self._deliveries.close()
        self._resources.close()
        await asyncio.to_thread(self._engine.dispose)

    async def ErasePatient(
        self, request: administration_pb2.ErasePatientRequest, context: grpc.aio.ServicerContext
    ) -> administration_pb2.ErasePatientResponse:
        """Remove everything of a patient, or say what that would be."""
        patient = IndexedPatient(patient_id=request.patient_id, issuer_of_patient_id=request.issuer_of_patient_id)
        if request.any_issuer and request.issuer_of_patient_id:
            raise InvalidRequest("issuer_of_patient_id and any_issuer exclude each other.")
        self._require_ready()
        current_call().concerns(patients=[patient])
        if not request.dry_run:
            earlier = await self._erasure.earlier(request.request_id, request.confirmation)
            if earlier is not None:
                return administration_pb2.ErasePatientResponse(erasure=earlier)
        plan = await self._erasure.plan_patient(patient, any_issuer=request.any_issuer)
        current_call().concerns(*plan.goes.studies, *(_PREFIX + each for each in plan.goes.assessments))
        if request.dry_run:
            return administration_pb2.ErasePatientResponse(erasure=self._erasure.said(plan))
        erasure = await self._erasure.erase(request.request_id, request.confirmation, plan)
        return administration_pb2.ErasePatientResponse(erasure=erasure)

    async def DeleteAssessment(
        self, request: administration_pb2.DeleteAssessmentRequest, context: grpc.aio.ServicerContext
    ) -> administration_pb2.DeleteAssessmentResponse:
        """Remove one assessment, or say what that would be."""
        self._require_ready()
        current_call().concerns(request.name)
        if not request.dry_run:
            earlier = await self._erasure.earlier(request.request_id, request.confirmation)
            if earlier is not None:
                return administration_pb2.DeleteAssessmentResponse(erasure=earlier)
        await self._records.get(request.name)
        plan = await self._erasure.plan_assessments([request.name.removeprefix(_PREFIX)])
        if request.dry_run:
            return administration_pb2.DeleteAssessmentResponse(erasure=self._erasure.said(plan))
        erasure = await self._erasure.erase(request.request_id, request.confirmation, plan)
        return administration_pb2.DeleteAssessmentResponse(erasure=erasure)

    async def MergePatients(
        self, request: administration_pb2.MergePatientsRequest, context: grpc.aio.ServicerContext
    ) -> administration_pb2.MergePatientsResponse:
        """Make two Patient IDs one."""
        given_up, kept = _patient(getattr(request, "from")), _patient(request.into)
        self._require_ready()
        current_call().concerns(patients=[given_up, kept])
        if AccessRole.ADMINISTER not in current_call().caller.roles and not self._edges_may_merge:
            raise AccessDenied(
                "Messages of other systems merge no patients here. An administrator may allow it "
                "(edges_may_merge_patients), or merge them with 'oncoresponse merge-patients'."
            )
        if given_up == kept:
            raise InvalidRequest("from and into are the same patient.")
        found = await self._peers.studies(given_up.patient_id, complete=True)
        studies = [item.name for item in found if given_up.issuer_of_patient_id in item.issuers]
        assessments = await asyncio.to_thread(
            chart_patients.assessments_of_patient, self._engine, given_up, former=False
        )
        await self._peers.correct(
            patient_data_pb2.CorrectStudiesRequest(
                studies=studies,
                patient_id=kept.patient_id,
                issuer_of_patient_id=kept.issuer_of_patient_id,
                reason=request.reason,
            )
        )
        await asyncio.to_thread(chart_patients.give_to, self._engine, assessments, kept)
        await asyncio.to_thread(self._resources.merge, assessments, given_up, kept)
        await self._peers.merge_orders(given_up, kept)
        names = [_PREFIX + each for each in assessments]
        current_call().concerns(*studies, *names)
        return administration_pb2.MergePatientsResponse(studies=studies, assessments=names)

    async def MoveStudy(
        self, request: administration_pb2.MoveStudyRequest, context: grpc.aio.ServicerContext
    ) -> administration_pb2.MoveStudyResponse:
        """Give a study to the patient whose it is."""
        patient = _patient(request.patient)
        self._require_ready()
        current_call().concerns(request.study, patients=[patient])
        await self._peers.correct(
            patient_data_pb2.CorrectStudiesRequest(
                studies=[request.study],
                patient_id=patient.patient_id,
                issuer_of_patient_id=patient.issuer_of_patient_id,
                other_person=True,
                patient_name=request.patient_name,
                birth_date=request.birth_date,
                sex=request.sex,
                reason=request.reason,
            )
        )
        assessments = await asyncio.to_thread(chart_patients.assessments_of_studies, self._engine, [request.study])
        # They would name the wrong patient.
        await patient_runs.cancel(self._engine, assessments)
        await asyncio.to_thread(chart_patients.give_to, self._engine, assessments, patient)
        await asyncio.to_thread(self._resources.move, assessments)
        found = [await self._records.get(_PREFIX + each) for each in assessments]
        names = [each.name for each in found if each.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED]
        current_call().concerns(*names)
        return administration_pb2.MoveStudyResponse(assessments_to_withdraw=names)

    async def ApplyRetention(
        self, request: administration_pb2.ApplyRetentionRequest, context: grpc.aio.ServicerContext
    ) -> administration_pb2.ApplyRetentionResponse:
        """Remove what is too old, or say what that would be."""
        self._require_ready()
        counts = await self._retention.apply(dry_run=request.dry_run, asked=True)
        return administration_pb2.ApplyRetentionResponse(counts=counts)

    def _require_ready(self) -> None:
        if self._looking is None:
            raise PeerUnavailable("The service is still starting. Try again in a moment.")

    async def _look(self) -> None:
        while True:
            try:
                await self._erasure.end_unfinished()
                today = datetime.datetime.now(datetime.UTC).date().isoformat()
                if await asyncio.to_thread(self._store.first_today, "retention", today):
                    await self._retention.apply(dry_run=False, asked=False)
            except Exception as error:
                # A database or a service that is away; the next look tries again. The text may hold what was stored.
                _log.warning("an erasure or the retention could not go on: %s", type(error).__name__)
            await asyncio.sleep(min(_LOOK_AGAIN_SECONDS, max(self.sweep.grace_seconds, 1.0)))


def _patient(message: administration_pb2.PatientIdentifier) -> IndexedPatient:
    return IndexedPatient(patient_id=message.patient_id, issuer_of_patient_id=message.issuer_of_patient_id)
