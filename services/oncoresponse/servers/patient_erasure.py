"""Erasing a patient, or one assessment: what goes is found and shown, written down, and then removed for certain.

In this order, each part of which may be repeated: what goes is written down; runs are cancelled; studies go from the
index, so that nobody begins anything new with them; rows of monitoring, workflow and chart go; then the files to which
nothing refers any more; then the databases are written anew, so that free pages and logs hold nothing. What work that
was cancelled still wrote is removed by a last sweep, when it can write no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from google.protobuf.json_format import MessageToJson, Parse
from sqlalchemy.engine import Engine

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import Busy, ErasureChanged
from oncoresponse.servers.data_peers import DataPeers
from oncoresponse.servers.storage_sweep import StorageSweep, in_words
from oncoresponse.storage import chart_patients
from oncoresponse.storage.card_store import CardStore
from oncoresponse.storage.correction_store import CorrectionStore
from oncoresponse.storage.database_compaction import compact_database
from oncoresponse.storage.delivery_store import DeliveryStore
from oncoresponse.storage.erasure_register import ErasureRegister
from oncoresponse.storage.erasure_store import ErasureRecord, ErasureState, ErasureStore, WhatGoes
from oncoresponse.storage.model_control_store import ModelControlStore
from oncoresponse.storage.reachability import reachable
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.storage.resource_index import ResourceIndex
from oncoresponse.v1 import administration_pb2
from oncoresponse.workflow import patient_runs
from oncoresponse.workflow.run_removal import remove_runs

_log = logging.getLogger(__name__)
_COPIES = "Reports were sent to other systems, which keep them: "
_REMAINS = (
    "The audit record: who did what and when, with a keyed digest of the patient in place of the identifier. It is "
    "kept as long as the law asks.",
    "Copies that left this installation: reports in the EHR or on a FHIR server, segmentations in the PACS, downloads. "
    "They are erased there.",
    "Backups, until they are overwritten. Who restores one of them with the register of erasures erases again.",
    "Files of a study that was moved to another patient: they hold the identifiers that they came with, and go with "
    "that patient.",
    "Freed blocks of the disk, until they are overwritten. Encryption of the disk protects them.",
)
_POSTGRESQL_REMAINS = "The write-ahead log of PostgreSQL and its archives, until they are recycled."
_LOCKED = "A database was in use and could not be written anew: its free pages go with the last sweep."


@dataclass(frozen=True)
class Plan:
    """What an erasure would remove.

    Attributes:
        goes: Names and digests.
        counts: By kind.
        other_issuers: Studies of the Patient ID under other issuers, which stay.
        destinations: Where reports were sent to, and stay.
    """

    goes: WhatGoes
    counts: administration_pb2.PatientDataCounts
    other_issuers: int = 0
    destinations: frozenset[str] = frozenset()

    @property
    def confirmation(self) -> str:
        """A digest of what would go by name and number; it holds nothing of whose it is."""
        said = [*self.goes.studies, self.counts.instances, *self.goes.assessments, *self.goes.orders]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


class PatientErasure:
    """Plans and carries out erasures; one at a time in a process.

    Args:
        engine: The database of the assessments.
        peers: The services that keep patient data.
        sweep: The artifact store.
        store: Erasures that were begun.
        reports: What was signed.
        models: Which assessment a model was used for.
        deliveries: What was sent to others.
        cards: That the EHR was given.
        corrections: Of contours.
        resources: What is read by FHIR.
        identify_older: Notes whose the studies are that an earlier release assessed.
        register: Notes who was erased, for those who restore a backup; ``None`` for those who erase again.
        cancel: Cancels what waits or is under way of assessments.
    """

    def __init__(
        self,
        engine: Engine,
        peers: DataPeers,
        sweep: StorageSweep,
        store: ErasureStore,
        reports: ReportStore,
        models: ModelControlStore,
        deliveries: DeliveryStore,
        cards: CardStore,
        corrections: CorrectionStore,
        resources: ResourceIndex,
        identify_older: Callable[[], Awaitable[None]],
        register: ErasureRegister | None,
        cancel: Callable[[Engine, Collection[str]], Awaitable[int]] = patient_runs.cancel,
    ) -> None:
        self._engine = engine
        self._peers = peers
        self._sweep = sweep
        self._store = store
        self._identify_older = identify_older
        self._register = register
        self._cancel = cancel
        self._reports = reports
        self._models = models
        self._deliveries = deliveries
        self._cards = cards
        self._corrections = corrections
        self._resources = resources
        self._one_at_a_time = asyncio.Lock()

    async def plan_patient(self, patient: IndexedPatient, *, any_issuer: bool) -> Plan:
        """Everything of a patient."""
        await self._identify_older()
        found = await self._peers.studies(patient.patient_id)
        wanted = [item for item in found if any_issuer or patient.issuer_of_patient_id in item.issuers]
        studies = [item.name for item in wanted]
        assessments = await asyncio.to_thread(
            chart_patients.assessments_of_patient, self._engine, patient, any_issuer=any_issuer
        )
        assessments += await asyncio.to_thread(chart_patients.assessments_of_studies, self._engine, studies)
        plan = await self._plan(studies, sorted(set(assessments)))
        counts = plan.counts
        counts.studies = len(wanted)
        counts.instances = sum(item.instances for item in wanted)
        # The files of instances were counted among the documents.
        counts.documents = max(0, counts.documents - counts.instances)
        counts.index_rows += sum(item.index_rows for item in wanted)
        counts.files += sum(item.files for item in wanted)
        counts.bytes += sum(item.bytes for item in wanted)
        orders = await self._peers.orders(patient.patient_id)
        names = tuple(item.name for item in orders if any_issuer or patient.issuer_of_patient_id == item.issuer)
        counts.orders = len(names)
        registered: tuple[str, ...] = ()
        if self._register is not None:
            registered = (self._register.digest_of(patient, any_issuer=any_issuer),)
        goes = plan.goes.model_copy(update={"orders": names, "patients": registered})
        return Plan(goes, counts, len(found) - len(wanted), plan.destinations)

    async def plan_assessments(self, assessments: Collection[str]) -> Plan:
        """Assessments with everything that was derived for them."""
        return await self._plan([], sorted(assessments))

    async def plan_names(self, studies: Collection[str], assessments: Collection[str], orders: Collection[str]) -> Plan:
        """Studies, assessments and orders by their names, with everything that was derived for them."""
        plan = await self._plan(sorted(studies), sorted(assessments))
        plan.counts.orders = len(orders)
        return Plan(plan.goes.model_copy(update={"orders": tuple(sorted(orders))}), plan.counts)

    async def _plan(self, studies: list[str], assessments: list[str]) -> Plan:
        artifacts = await self._sweep.going(assessments, studies)
        counts = await self._sweep.counted(artifacts)
        counts.assessments = len(assessments)
        histories = await asyncio.to_thread(self._reports.histories, assessments)
        counts.signed_reports = sum(bool(history.versions) for history in histories.values())
        counts.workflow_rows = await asyncio.to_thread(patient_runs.run_rows, self._engine, assessments)
        counts.index_rows = await asyncio.to_thread(chart_patients.chart_rows, self._engine, assessments)
        counts.monitoring_rows = (await self._peers.forget_records(assessments, dry_run=True)).rows
        goes = WhatGoes(studies=tuple(studies), assessments=tuple(assessments), artifacts=tuple(sorted(artifacts)))
        copies = await asyncio.to_thread(self._deliveries.destinations_with_copies, assessments)
        return Plan(goes, counts, destinations=frozenset(copies))

    def said(self, plan: Plan) -> administration_pb2.Erasure:
        """What a dry run answers."""
        return administration_pb2.Erasure(
            state=administration_pb2.ERASURE_STATE_PLANNED,
            counts=plan.counts,
            confirmation=plan.confirmation,
            remains=[*self._remains(), *_copies(plan.destinations)],
            studies_of_other_issuers=plan.other_issuers,
        )

    async def earlier(self, request_id: str, confirmation: str) -> administration_pb2.Erasure | None:
        """What became of the erasure that the same request began; one that was interrupted is ended first.

        Raises:
            RequestConflict: The id was used for another erasure.
        """
        record = await asyncio.to_thread(self._store.find, request_id, confirmation)
        if record is None:
            return None
        if record.state is ErasureState.STARTED:
            record = await self._carry_out(record)
        return _answer(record)

    async def erase(self, request_id: str, confirmation: str, plan: Plan) -> administration_pb2.Erasure:
        """Carry out what a dry run has shown.

        Raises:
            ErasureChanged: It is not what would go now.
            RequestConflict: The id was used for another erasure.
            Busy: Another worker is at it.
        """
        if plan.confirmation != confirmation:
            raise ErasureChanged(
                "What would be erased is not what the dry run showed. Make the dry run again, look at it, and repeat "
                "its confirmation."
            )
        answer = self.said(plan)
        answer.state = administration_pb2.ERASURE_STATE_RUNNING
        record = await asyncio.to_thread(
            self._store.begin, request_id, confirmation, plan.goes, MessageToJson(answer, indent=None)
        )
        return _answer(await self._carry_out(record))

    async def end_unfinished(self) -> None:
        """Go on with what a crash interrupted, and make the last sweeps that are due."""
        for record in await asyncio.to_thread(self._store.unfinished):
            if record.state is ErasureState.STARTED:
                _log.warning("an erasure was interrupted and is ended now")
            try:
                await self._carry_out(record)
            except Busy:
                continue

    async def _carry_out(self, record: ErasureRecord) -> ErasureRecord:
        # A caller that hangs up ends nothing.
        return await asyncio.shield(asyncio.create_task(self._carried_out(record)))

    async def _carried_out(self, record: ErasureRecord) -> ErasureRecord:
        async with self._one_at_a_time:
            if not await asyncio.to_thread(self._store.take, record.erasure):
                raise Busy("Another worker is at this erasure. Send the same request again to see how it ended.")
            current = await asyncio.to_thread(self._store.find, record.erasure, record.confirmation)
            if current is None or current.state is not record.state:
                return record if current is None else current
            if self._register is not None and current.state is ErasureState.STARTED:
                going = current.what_goes
                await asyncio.to_thread(
                    self._register.add,
                    patients=going.patients,
                    studies=going.studies,
                    assessments=going.assessments,
                    orders=going.orders,
                )
            goes = await self._removed(current.what_goes)
            answer = _answer(current)
            # The deliveries are gone now, what they sent is not.
            copies = [sentence for sentence in answer.remains if sentence.startswith(_COPIES)]
            if current.state is ErasureState.STARTED:
                sweep_time_ms = int((time.time() + self._sweep.grace_seconds) * 1000)
                state, left = ErasureState.REMOVED, goes.model_copy(update={"artifacts": (), "patients": ()})
                answer.state = administration_pb2.ERASURE_STATE_LAST_SWEEP_DUE
                answer.final_sweep_time.FromMilliseconds(sweep_time_ms)
            else:
                sweep_time_ms, state, left = 0, ErasureState.DONE, WhatGoes()
                answer.state = administration_pb2.ERASURE_STATE_DONE
                answer.ClearField("final_sweep_time")
            del answer.remains[:]
            answer.remains.extend([*self._remains(), *copies])
            said = MessageToJson(answer, indent=None)
            await asyncio.to_thread(self._store.note, record.erasure, state, left, said, sweep_time_ms)
            if not await self._compacted():
                answer.remains.append(_LOCKED)
                said = MessageToJson(answer, indent=None)
                await asyncio.to_thread(self._store.note, record.erasure, state, left, said, sweep_time_ms)
            _log.info("erasure %s: %s", state.value, in_words(answer.counts))
            return ErasureRecord(record.erasure, state, record.confirmation, left, said, sweep_time_ms)

    async def _removed(self, goes: WhatGoes) -> WhatGoes:
        """Remove everything but free pages; gives what went, with what was begun since the plan."""
        await self._cancel(self._engine, goes.assessments)
        await self._peers.forget_orders(goes.orders)
        await self._peers.forget_studies(goes.studies)
        # Begun between the plan and the moment that the studies went; now nobody can begin any more.
        since = await asyncio.to_thread(chart_patients.assessments_of_studies, self._engine, goes.studies)
        assessments = sorted({*goes.assessments, *since})
        await self._cancel(self._engine, assessments)
        artifacts = set(goes.artifacts)
        references = await asyncio.to_thread(patient_runs.references, self._engine, assessments)
        artifacts |= await asyncio.to_thread(reachable, self._sweep.artifacts, references)
        await self._peers.forget_records(assessments, dry_run=False)
        await asyncio.to_thread(remove_runs, self._engine, assessments)
        await asyncio.to_thread(self._reports.delete, assessments)
        await asyncio.to_thread(self._deliveries.delete, assessments)
        await asyncio.to_thread(self._cards.delete, assessments)
        await asyncio.to_thread(self._corrections.delete, assessments)
        await asyncio.to_thread(self._resources.delete, assessments)
        await asyncio.to_thread(self._models.forget_use, assessments)
        await asyncio.to_thread(chart_patients.forget_assessments, self._engine, assessments)
        await self._sweep.remove(artifacts)
        await self._sweep.remove_garbage(asked=False)
        return goes.model_copy(update={"assessments": tuple(assessments), "artifacts": tuple(sorted(artifacts))})

    async def _compacted(self) -> bool:
        studies = await self._peers.compact_studies()
        return await asyncio.to_thread(compact_database, self._engine) and studies

    def _remains(self) -> list[str]:
        return [*_REMAINS, *([] if self._engine.dialect.name == "sqlite" else [_POSTGRESQL_REMAINS])]


def _copies(destinations: Collection[str]) -> list[str]:
    named = ", ".join(sorted(destinations))
    return [f"{_COPIES}{named}. Ask who runs them to remove what they hold."] if named else []


def _answer(record: ErasureRecord) -> administration_pb2.Erasure:
    return Parse(record.answer, administration_pb2.Erasure())
