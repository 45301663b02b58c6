"""Erases from a restored backup who was erased after it was made, before any server runs on it.

It is the erasure of the service, with its services in this process and without a workflow engine: nothing runs that
would have to be cancelled.
"""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.engine import Engine

from oncoresponse.monitoring.store import MonitoringStore
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.servers.data_peers import DataPeers
from oncoresponse.servers.indexed_study import header_reader
from oncoresponse.servers.monitoring_data_servicer import MonitoringDataServicer
from oncoresponse.servers.patient_erasure import PatientErasure
from oncoresponse.servers.storage_sweep import StorageSweep
from oncoresponse.servers.study_data_servicer import StudyDataServicer
from oncoresponse.storage import chart_patients
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.card_store import CardStore
from oncoresponse.storage.chart_store import ChartStore
from oncoresponse.storage.correction_store import CorrectionStore
from oncoresponse.storage.database_compaction import compact_database
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.delivery_store import DeliveryStore
from oncoresponse.storage.erasure_register import Erased
from oncoresponse.storage.erasure_store import ErasureStore
from oncoresponse.storage.model_control_store import ModelControlStore
from oncoresponse.storage.order_store import OrderStore
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex
from oncoresponse.storage.study_patients import StudyPatients

_WORKER = "restore"
# The year 2200: no order was changed later.
_LATER_MS = 7_258_118_400_000
_Answer = TypeVar("_Answer", bound=Message)


@dataclass(frozen=True)
class ErasedAgain:
    """What went.

    Attributes:
        patients: Of whom everything went.
        studies, assessments, orders: How many went.
        files: Of the store, those included that belonged to nobody.
    """

    patients: int
    studies: int
    assessments: int
    orders: int
    files: int


def erase_again(settings: ServerSettings, erased: Erased) -> ErasedAgain:
    """Erase it, end erasures that were under way, and remove files that belong to nobody. Nothing else may run.

    The databases are migrated to this release. The retention by age is due again at the next start of a server.

    Args:
        settings: With the data folder, databases and store that were restored.
        erased: What has to be gone.

    Raises:
        SchemaTooNew: A newer release has written a database.
    """
    try:
        return asyncio.run(_erase_again(settings, erased))
    finally:
        # The database of studies is closed with the objects that hold it; the folder is renamed next.
        gc.collect()


class _ServicesHere:
    """Answers the calls of :class:`~oncoresponse.servers.data_peers.DataPeers` without a network."""

    def __init__(self, servicers: dict[Service, Any]) -> None:
        self._servicers = servicers

    async def call(
        self,
        service: Service,
        _stub: object,
        method: str,
        request: Message,
        answer_type: type[_Answer],
        *,
        timeout_seconds: float,
    ) -> _Answer:
        """As :meth:`oncoresponse.rpc.peers.Peers.call`."""
        del timeout_seconds
        answer = await getattr(self._servicers[service], method)(request, None)
        if not isinstance(answer, answer_type):
            raise TypeError(f"{method} answered {type(answer).__name__}, not {answer_type.__name__}")
        return answer


async def _erase_again(settings: ServerSettings, erased: Erased) -> ErasedAgain:
    url = settings.system_database_url
    artifacts = ArtifactStore(settings.system_artifact_url)
    engine, orders = database_engine(url), OrderStore(settings.data_directory)
    monitoring, chart, reports = MonitoringStore(url), ChartStore(url), ReportStore(url)
    models, deliveries, cards, resources = (
        ModelControlStore(url),
        DeliveryStore(url),
        CardStore(url),
        ResourceIndex(url),
    )
    corrections = CorrectionStore(url)
    store = ErasureStore(engine, _WORKER)
    models.prepare({})
    for each in (store, chart, reports, deliveries, cards, corrections, resources, monitoring):
        each.prepare()
    patients = StudyPatients(settings.data_directory, artifacts, header_reader(settings.dicom_limits))
    here = _ServicesHere(
        {
            Service.STUDY: StudyDataServicer(patients, orders),
            Service.MONITORING: MonitoringDataServicer(monitoring),
        }
    )
    everywhere = settings.model_copy(update={"services": tuple(Service)})
    peers = DataPeers(cast(Peers, here), everywhere)
    sweep = StorageSweep(artifacts, engine, peers, 0.0)
    erasure = PatientErasure(
        *(engine, peers, sweep, store, reports, models, deliveries, cards, corrections, resources),
        *(_nothing, None, _none_runs),
    )
    try:
        _make_due(engine)
        # What was under way when the backup was made.
        await erasure.end_unfinished()
        _make_due(engine)
        await erasure.end_unfinished()
        everybody = {*patients.everybody(), *chart_patients.everybody(engine)}
        gone = await _erase(erasure, peers, engine, erased, everybody)
        # Written after the databases were copied: by whom, no row says.
        garbage = await sweep.remove_garbage(asked=True)
        await peers.compact_studies()
        compact_database(engine)
        return ErasedAgain(gone.patients, gone.studies, gone.assessments, gone.orders, gone.files + garbage.files)
    finally:
        for closed in (reports, models, deliveries, corrections, resources):
            closed.close()
        engine.dispose()


async def _erase(
    erasure: PatientErasure, peers: DataPeers, engine: Engine, erased: Erased, everybody: Collection[Any]
) -> ErasedAgain:
    found, names = 0, set()
    for patient in everybody:
        of_issuer, of_any = erased.has_patient(patient)
        if of_issuer or of_any:
            found += 1
            goes = (await erasure.plan_patient(patient, any_issuer=of_any)).goes
            names |= {*goes.studies, *goes.orders, *(f"assessments/{each}" for each in goes.assessments)}
    known = [
        *(study.name for study in await peers.studies()),
        *await peers.orders_unchanged_since(_LATER_MS),
    ]
    names |= {name for name in known if erased.has_name(name)}
    assessments = {name.removeprefix("assessments/") for name in names if name.startswith("assessments/")}
    assessments |= {each for each in chart_patients.every_assessment(engine) if erased.has_name(each)}
    studies = {name for name in names if name.startswith("studies/")}
    orders = {name for name in names if name.startswith("orders/")}
    if not (studies or assessments or orders):
        return ErasedAgain(found, 0, 0, 0, 0)
    plan = await erasure.plan_names(studies, assessments, orders)
    await erasure.erase(str(uuid.uuid4()), plan.confirmation, plan)
    await erasure.end_unfinished()
    return ErasedAgain(found, len(studies), len(assessments), len(orders), plan.counts.files)


def _make_due(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE administration_erasure SET lease_until_ms = 0, sweep_time_ms = 0"))
        connection.execute(text("DELETE FROM administration_daily_task"))


async def _nothing() -> None:
    return None


async def _none_runs(_engine: Engine, _assessments: Collection[str]) -> int:
    return 0
