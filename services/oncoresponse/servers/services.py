"""The one table of services: what each puts on the server, and which stages of a plan it offers.

Imports are inside the functions, so that a process loads torch, matplotlib or DBOS only for a service that needs it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.process_metrics import Collected, ProcessMetrics
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.servers.stage_servicer import Stage
from oncoresponse.storage.artifact_store import ArtifactStore

if TYPE_CHECKING:
    from oncoresponse.storage.study_store import StudyStore

_CLEAN_UP_SECONDS = 600.0
_AGAIN_SECONDS = 60.0

_log = logging.getLogger(__name__)
_Servicer = TypeVar("_Servicer")
_NEVER_DAYS = 1_000_000
Report = Callable[[bool], Awaitable[None]]
"""Is told whether a service can work."""


@dataclass(frozen=True)
class Surroundings:
    """What a service is built from.

    Attributes:
        settings: Of the process.
        artifacts: The store.
        peers: The other services.
        front: What callers from outside reach.
        inner: What the services of the installation reach.
        set_health: Says in gRPC's health protocol whether something serves.
        fail: To be called where the process cannot go on.
        metrics: What the process counts.
    """

    settings: ServerSettings
    artifacts: ArtifactStore
    peers: Peers
    front: grpc.aio.Server
    inner: grpc.aio.Server
    set_health: Callable[[str, bool], Awaitable[None]]
    fail: Callable[[OncoResponseError], None] = lambda _: None
    metrics: ProcessMetrics = field(default_factory=ProcessMetrics)

    def offer(self, add: Callable[[_Servicer, grpc.aio.Server], None], servicer: _Servicer) -> None:
        """Put a service of the front door on both servers: services call some of its methods too."""
        for server in (self.front, self.inner):
            add(servicer, server)

    def offer_inside(self, add: Callable[[_Servicer, grpc.aio.Server], None], servicer: _Servicer) -> None:
        """Put a service on the server that no user reaches."""
        add(servicer, self.inner)


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Built:
    """A service on its server.

    Attributes:
        make_ready: To be awaited before the service says that it can work.
        drain: To be awaited when the process is told to stop, before it waits for calls that run: ends those that would
            run for long.
        close: To be awaited at the end, in the reverse order.
        stages: By name in a plan.
        watch: Runs from when all services of the process are ready to its end, and is to say when this one cannot work.
    """

    make_ready: Callable[[], Awaitable[None]] = _nothing
    drain: Callable[[], Awaitable[None]] = _nothing
    close: Callable[[], Awaitable[None]] = _nothing
    stages: Mapping[str, Stage] = field(default_factory=dict)
    watch: Callable[[Report], Coroutine[Any, Any, None]] | None = None


def _model(around: Surroundings) -> Built:
    from oncoresponse.servers.model_control_servicer import ModelControlServicer
    from oncoresponse.servers.model_servicer import ModelServicer
    from oncoresponse.storage.model_control_store import ModelControlStore
    from oncoresponse.storage.report_store import ReportStore
    from oncoresponse.v1 import model_control_pb2_grpc, model_pb2_grpc

    settings = around.settings
    directory, installed = settings.models_directory, settings.installed_is_active
    store = ModelControlStore(settings.system_database_url)
    control = ModelControlServicer(
        store,
        ReportStore(settings.system_database_url),
        directory,
        installed_is_active=installed,
        set_health=around.set_health,
    )
    servicer = ModelServicer(directory, store, installed_is_active=installed)
    around.offer(model_pb2_grpc.add_ModelServiceServicer_to_server, servicer)
    around.offer(model_control_pb2_grpc.add_ModelControlServiceServicer_to_server, control)
    return Built(control.make_ready, close=control.close)


def _study(around: Surroundings) -> Built:
    from oncoresponse.dicom.pixel_decoding import close_decoders
    from oncoresponse.intake.study_settings import DicomWebServer, StudySettings
    from oncoresponse.servers.access_servicer import AccessServicer
    from oncoresponse.servers.conversion_stage import ConversionStage
    from oncoresponse.servers.erasure_registration import erasure_register
    from oncoresponse.servers.indexed_study import header_reader
    from oncoresponse.servers.intake_servicer import IntakeServicer, received_families
    from oncoresponse.servers.order_servicer import OrderServicer
    from oncoresponse.servers.study_check_servicer import StudyCheckServicer
    from oncoresponse.servers.study_data_servicer import StudyDataServicer
    from oncoresponse.servers.study_servicer import StudyServicer
    from oncoresponse.stages.v1 import patient_data_pb2_grpc, study_check_pb2_grpc
    from oncoresponse.storage.order_store import OrderStore
    from oncoresponse.storage.received_studies import ReceivedStudies
    from oncoresponse.storage.study_patients import StudyPatients
    from oncoresponse.storage.study_store import StudyStore
    from oncoresponse.v1 import access_pb2_grpc, intake_pb2_grpc, order_pb2_grpc, study_pb2_grpc

    settings = around.settings
    study_settings = StudySettings(
        allowed_import_directories=settings.import_directories,
        allowed_dicomweb_urls=settings.dicomweb_urls,
        dicomweb_servers={name: DicomWebServer(**dict(item)) for name, item in settings.dicomweb_servers.items()},
        quota_bytes_per_study=settings.study_quota_bytes,
        quota_bytes_total=settings.total_quota_bytes,
        dicom_limits=settings.dicom_limits,
        reservation_minutes=settings.reservation_minutes,
        incomplete_study_hours=24.0 * (settings.retention_days.incomplete_studies or _NEVER_DAYS),
        dicomweb_idle_seconds=settings.dicomweb_idle_seconds,
        dicomweb_total_seconds=settings.dicomweb_total_seconds,
    )
    store = StudyStore(settings.data_directory, around.artifacts, study_settings)
    servicer = StudyServicer(store, study_settings, settings.models_directory, erasure_register(settings))
    around.offer(study_pb2_grpc.add_StudyServiceServicer_to_server, servicer)
    around.offer(access_pb2_grpc.add_AccessServiceServicer_to_server, AccessServicer())
    limits = settings.dicom_limits
    patients = StudyPatients(settings.data_directory, around.artifacts, header_reader(limits))
    orders = OrderStore(settings.data_directory)
    data = StudyDataServicer(patients, orders)
    around.offer_inside(patient_data_pb2_grpc.add_StudyDataServiceServicer_to_server, data)
    received = ReceivedStudies(settings.data_directory, around.artifacts, header_reader(limits))
    around.metrics.register(Collected(functools.partial(received_families, received)))
    around.offer(intake_pb2_grpc.add_IntakeServiceServicer_to_server, IntakeServicer(received, store, orders))
    around.offer(order_pb2_grpc.add_OrderServiceServicer_to_server, OrderServicer(orders))
    check = StudyCheckServicer(store, around.artifacts, settings.models_directory, limits)
    around.offer_inside(study_check_pb2_grpc.add_StudyCheckServiceServicer_to_server, check)

    def index_of_manifest(manifest: StoredArtifact) -> StudyIndex:
        return store.index_of_manifest(manifest, header_reader(limits))

    conversion = ConversionStage(around.artifacts, settings.models_directory, limits, index_of_manifest)

    work: list[asyncio.Task[None]] = []

    async def make_ready() -> None:
        work.append(asyncio.create_task(_remove_abandoned_studies(store)))
        work.append(asyncio.create_task(_note_older_accession_numbers(settings.data_directory, around.artifacts)))

    async def close() -> None:
        for task in work:
            task.cancel()
        close_decoders()

    return Built(make_ready, close=close, stages={"conversion": conversion})


async def _note_older_accession_numbers(data_directory: Path, artifacts: ArtifactStore) -> None:
    """Of studies that an earlier release completed; some at a time, so that nobody waits for long."""
    from oncoresponse.storage.older_accessions import note_older_accession_numbers

    while True:
        try:
            if not await asyncio.to_thread(note_older_accession_numbers, data_directory, artifacts):
                return
        except OncoResponseError as error:
            _log.warning("accession numbers of earlier studies are not noted now: %s", error.reason)
            await asyncio.sleep(_AGAIN_SECONDS)


async def _remove_abandoned_studies(store: StudyStore) -> None:
    while True:
        try:
            if removed := await asyncio.to_thread(store.remove_abandoned):
                _log.info("removed %d studies that nobody completed", removed)
        except OncoResponseError as error:
            _log.warning("studies that nobody completes were not looked for: %s", error.reason)
        await asyncio.sleep(_CLEAN_UP_SECONDS)


def _segmentation(around: Surroundings) -> Built:
    from oncoresponse.servers.contour_refinement import ContourRefinement
    from oncoresponse.servers.contour_servicer import ContourServicer
    from oncoresponse.servers.segmentation_stage import SegmentationStage
    from oncoresponse.stages.v1 import contour_pb2_grpc

    settings = around.settings
    stage = SegmentationStage(
        around.artifacts,
        settings.models_directory,
        settings.device,
        queue_limit=settings.segmentation_queue_limit,
        torch_compile=settings.torch_compile,
        require_golden_vectors=settings.require_golden_vectors,
    )
    refinement = ContourRefinement(around.artifacts, settings.models_directory, settings.device, stage.device_lock)
    around.offer_inside(contour_pb2_grpc.add_ContourServiceServicer_to_server, ContourServicer(refinement))
    return Built(stage.make_ready, close=stage.close, stages={"segmentation": stage})


def _radiomics(around: Surroundings) -> Built:
    from oncoresponse.servers.features_stage import FeaturesStage

    settings = around.settings
    stage = FeaturesStage(
        around.artifacts,
        settings.models_directory,
        settings.radiomics_processes,
        require_golden_vectors=settings.require_golden_vectors,
    )
    return Built(stage.make_ready, close=stage.close, stages={"features": stage})


def _response(around: Surroundings) -> Built:
    from oncoresponse.response.training_fingerprints import read_key
    from oncoresponse.servers.prediction_stage import PredictionStage
    from oncoresponse.servers.response_servicer import ResponseServicer
    from oncoresponse.v1 import response_pb2_grpc

    settings = around.settings
    key = None if settings.fingerprint_key is None else read_key(settings.fingerprint_key)
    stage = PredictionStage(around.artifacts, settings.models_directory, key)
    around.offer(
        response_pb2_grpc.add_ResponseServiceServicer_to_server,
        ResponseServicer(stage, around.peers, judgement_first=around.settings.judgement_first),
    )
    return Built(stage.make_ready, close=stage.close, stages={"prediction": stage})


def _reporting(around: Surroundings) -> Built:
    from oncoresponse.servers.report_site import report_site
    from oncoresponse.servers.report_stage import ReportStage

    settings = around.settings
    stage = ReportStage(
        around.artifacts,
        settings.models_directory,
        settings.performing_organization,
        settings.surgical_margin_mm,
        report_site(settings.fhir),
    )
    return Built(stage.make_ready, close=stage.close, stages={"report": stage})


def _monitoring(around: Surroundings) -> Built:
    from oncoresponse.monitoring.store import MonitoringStore
    from oncoresponse.servers.monitoring_data_servicer import MonitoringDataServicer
    from oncoresponse.servers.monitoring_servicer import MonitoringServicer
    from oncoresponse.stages.v1 import patient_data_pb2_grpc
    from oncoresponse.storage.chart_store import ChartStore
    from oncoresponse.v1 import monitoring_pb2_grpc

    settings = around.settings
    store = MonitoringStore(settings.system_database_url)
    chart = ChartStore(settings.system_database_url)
    servicer = MonitoringServicer(store, chart, around.artifacts, settings.models_directory)
    around.offer(monitoring_pb2_grpc.add_MonitoringServiceServicer_to_server, servicer)
    around.offer_inside(
        patient_data_pb2_grpc.add_MonitoringDataServiceServicer_to_server, MonitoringDataServicer(store)
    )
    return Built(servicer.make_ready, close=servicer.close)


def _assessment(around: Surroundings) -> Built:
    from oncoresponse.reporting.code_systems import LOCAL_BASE, LOCAL_CODES
    from oncoresponse.servers.administration_servicer import AdministrationServicer
    from oncoresponse.servers.assessment_replay import AssessmentReplay
    from oncoresponse.servers.assessment_servicer import AssessmentServicer
    from oncoresponse.servers.card_servicer import CardServicer
    from oncoresponse.servers.contour_corrections import ContourCorrections
    from oncoresponse.servers.delivery_servicer import DeliveryServicer
    from oncoresponse.servers.older_reports import OlderReports
    from oncoresponse.servers.operations_servicer import OperationsServicer
    from oncoresponse.servers.replay_servicer import ReplayServicer
    from oncoresponse.servers.report_servicer import ReportServicer
    from oncoresponse.servers.report_site import report_site
    from oncoresponse.servers.report_view import ReportView
    from oncoresponse.servers.resource_servicer import ResourceServicer
    from oncoresponse.storage.card_store import CardStore
    from oncoresponse.storage.correction_store import CorrectionStore
    from oncoresponse.storage.database_lock import DatabaseLock
    from oncoresponse.storage.delivery_store import DeliveryStore
    from oncoresponse.storage.model_control_store import ModelControlStore
    from oncoresponse.storage.report_store import ReportStore
    from oncoresponse.storage.resource_index import ResourceIndex
    from oncoresponse.storage.resource_query import ResourceQuery
    from oncoresponse.v1 import (
        administration_pb2_grpc,
        assessment_pb2_grpc,
        card_pb2_grpc,
        delivery_pb2_grpc,
        operations_pb2_grpc,
        replay_pb2_grpc,
        report_pb2_grpc,
        resource_pb2_grpc,
    )
    from oncoresponse.workflow.assessment_records import QUEUE, AssessmentRecords
    from oncoresponse.workflow.assessment_workflow import ChainSurroundings, provide_surroundings
    from oncoresponse.workflow.database_health import watch_database
    from oncoresponse.workflow.recording_workflow import provide_recording_peers
    from oncoresponse.workflow.release_gate import ReleaseGate, provide_release_gate

    settings, peers = around.settings, around.peers
    provide_recording_peers(peers)
    deliveries = DeliveryStore(settings.system_database_url, judgement_first=settings.judgement_first)
    resources = ResourceIndex(settings.system_database_url)
    provide_surroundings(
        ChainSurroundings(
            peers, around.artifacts, settings.stage_timeout_seconds, deliveries, resources, around.metrics
        )
    )
    records = AssessmentRecords(settings, around.artifacts, around.fail)
    gate = ReleaseGate(peers, settings.system_database_url, settings.executor_id, QUEUE)
    provide_release_gate(gate)
    control = ModelControlStore(settings.system_database_url)
    store = ReportStore(settings.system_database_url)
    view = ReportView(store, judgement_first=settings.judgement_first)
    lock = DatabaseLock(settings.system_database_url)
    kept_corrections = CorrectionStore(settings.system_database_url)
    corrections = ContourCorrections(records, around.artifacts, peers, kept_corrections)
    servicer = AssessmentServicer(
        records, around.artifacts, peers, store, view, corrections, control, lock, settings.destinations
    )
    around.offer(assessment_pb2_grpc.add_AssessmentServiceServicer_to_server, servicer)
    reports = ReportServicer(records, around.artifacts, store, view, report_site(settings.fhir))
    around.offer(report_pb2_grpc.add_ReportServiceServicer_to_server, reports)
    around.offer(delivery_pb2_grpc.add_DeliveryServiceServicer_to_server, DeliveryServicer(records, deliveries))
    cards = CardStore(settings.system_database_url, judgement_first=settings.judgement_first)
    codes = LOCAL_CODES.replace(LOCAL_BASE, settings.fhir.local_base or LOCAL_BASE)
    card_servicer = CardServicer(settings.cds_hooks, cards, store, codes)
    around.offer(card_pb2_grpc.add_CardServiceServicer_to_server, card_servicer)
    older = OlderReports(records, around.artifacts, store, resources)
    query = ResourceQuery(settings.system_database_url)
    reader = ResourceServicer(
        query,
        around.artifacts,
        older,
        deliveries,
        settings.destinations,
        judgement_first=settings.judgement_first,
    )
    around.offer(resource_pb2_grpc.add_ResourceServiceServicer_to_server, reader)
    operations = OperationsServicer(settings, around.metrics, peers, records, deliveries, store, kept_corrections)
    around.offer(operations_pb2_grpc.add_OperationsServiceServicer_to_server, operations)
    administration = AdministrationServicer(settings, around.artifacts, peers, records, servicer.identify_older)
    around.offer(administration_pb2_grpc.add_AdministrationServiceServicer_to_server, administration)
    replay = AssessmentReplay(records, around.artifacts, peers, administration.sweep, settings.stage_timeout_seconds)
    around.offer(replay_pb2_grpc.add_ReplayServiceServicer_to_server, ReplayServicer(records, replay))
    launched = False

    async def launch() -> None:
        nonlocal launched
        launched = True
        # The workflow waits for a database that is still starting; tables of ours come after its own.
        await records.launch()
        await asyncio.to_thread(control.prepare, {})
        await reports.make_ready()
        await asyncio.to_thread(deliveries.prepare)
        await asyncio.to_thread(resources.prepare)
        await asyncio.to_thread(cards.prepare)
        await asyncio.to_thread(kept_corrections.prepare)
        await administration.make_ready()
        older.start()
        gate.start()

    async def close() -> None:
        provide_release_gate(None)
        gate.close()
        await older.close()
        await administration.close()
        if launched:
            await records.close()
        await reports.close()
        for each in (deliveries, resources, query, kept_corrections):
            await asyncio.to_thread(each.close)
        control.close()

    return Built(
        launch,
        drain=records.watching.close,
        close=close,
        watch=functools.partial(watch_database, settings.system_database_url),
    )


SERVICES: Mapping[Service, Callable[[Surroundings], Built]] = MappingProxyType(
    {
        Service.STUDY: _study,
        Service.SEGMENTATION: _segmentation,
        Service.RADIOMICS: _radiomics,
        Service.RESPONSE: _response,
        Service.REPORTING: _reporting,
        Service.MODEL: _model,
        Service.MONITORING: _monitoring,
        Service.ASSESSMENT: _assessment,
    }
)
"""Every service that a process may run, and how it is built."""
