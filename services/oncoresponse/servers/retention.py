"""What is older than the settings say goes, by kind; and what belongs to nobody."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Engine

from oncoresponse.rpc.retention_settings import RetentionDays
from oncoresponse.servers.data_peers import DataPeers
from oncoresponse.servers.patient_erasure import PatientErasure
from oncoresponse.servers.storage_sweep import StorageSweep, in_words
from oncoresponse.storage import chart_patients
from oncoresponse.storage.artifact_kind import ArtifactKind
from oncoresponse.storage.database_compaction import compact_database
from oncoresponse.v1 import administration_pb2
from oncoresponse.workflow import patient_runs

GARBAGE = "garbage"
_DAY_MS = 24 * 3600 * 1000
_VOLUMES = (ArtifactKind.VOLUME, ArtifactKind.MASK)

_log = logging.getLogger(__name__)
Counts = administration_pb2.PatientDataCounts


@dataclass(frozen=True)
class Retention:
    """Applies the settings.

    Attributes:
        days: By kind.
        engine: The database of the assessments.
        peers: The services that keep patient data.
        sweep: The artifact store.
        erasure: Removes whole assessments.
    """

    days: RetentionDays
    engine: Engine
    peers: DataPeers
    sweep: StorageSweep
    erasure: PatientErasure

    async def apply(self, *, dry_run: bool, asked: bool) -> dict[str, Counts]:
        """Remove what is too old, or count it; one kind after another.

        Args:
            dry_run: Only count.
            asked: Whether a person asked for it; see :meth:`StorageSweep.remove_garbage`.

        Returns:
            What went by kind, and garbage. Kinds that are kept for ever are left out.
        """
        steps: Mapping[str, Callable[[int, bool], Awaitable[Counts]]] = {
            "reports": self._reports,
            "images": self._images,
            "volumes": self._volumes,
            "monitoring": self._monitoring,
            "incomplete_studies": self._incomplete_studies,
            "orders": self._orders,
        }
        found = {}
        for kind, step in steps.items():
            days = int(getattr(self.days, kind))
            if not days:
                continue
            found[kind] = await step(int(time.time() * 1000) - days * _DAY_MS, dry_run)
            _log.info("retention, %s older than %d days%s: %s", kind, days, _mode(dry_run), in_words(found[kind]))
        if dry_run:
            found[GARBAGE] = await self.sweep.counted(await self.sweep.garbage())
        else:
            found[GARBAGE] = await self.sweep.remove_garbage(asked=asked)
            await self.peers.compact_studies()
            await asyncio.to_thread(compact_database, self.engine)
        _log.info("retention, what belongs to nobody%s: %s", _mode(dry_run), in_words(found[GARBAGE]))
        return found

    async def _old_assessments(self, before_ms: int) -> list[str]:
        """Those that ended, too."""
        old = await asyncio.to_thread(chart_patients.assessments_created_before, self.engine, before_ms)
        running = await asyncio.to_thread(patient_runs.unfinished, self.engine)
        return sorted(set(old) - {patient_runs.assessment_of_run(run) for run in running})

    async def _reports(self, before_ms: int, dry_run: bool) -> Counts:
        plan = await self.erasure.plan_assessments(await self._old_assessments(before_ms))
        if plan.goes.assessments and not dry_run:
            await self.erasure.erase(str(uuid.uuid4()), plan.confirmation, plan)
        return plan.counts

    async def _volumes(self, before_ms: int, dry_run: bool) -> Counts:
        begun = time.time()
        artifacts = await self.sweep.going(await self._old_assessments(before_ms), [])
        volumes = await asyncio.to_thread(
            lambda: {digest for digest in artifacts if self.sweep.artifacts.kind(digest) in _VOLUMES}
        )
        counts = await self.sweep.counted(volumes)
        if not dry_run:
            await self.sweep.delete(volumes, begun)
        return counts

    async def _images(self, before_ms: int, dry_run: bool) -> Counts:
        begun = time.time()
        found = await self.peers.studies(created_before_ms=before_ms, complete=True)
        running = await asyncio.to_thread(patient_runs.unfinished, self.engine)
        busy = await asyncio.to_thread(
            chart_patients.studies_of_assessments, self.engine, [patient_runs.assessment_of_run(run) for run in running]
        )
        studies = [item for item in found if item.name not in busy]
        digests: set[str] = set()
        for study in studies:
            digests.update(await self.peers.artifacts_of(study.name))
        # Documents of assessments name instances too; that keeps the documents, and not the instances.
        digests -= await self.peers.used(digests, [study.name for study in studies])
        images = await asyncio.to_thread(
            lambda: {digest for digest in digests if self.sweep.artifacts.kind(digest) is ArtifactKind.DICOM}
        )
        counts = await self.sweep.counted(images)
        counts.documents -= len(images)
        counts.studies = len(studies)
        counts.instances = sum(study.instances for study in studies)
        counts.index_rows = sum(study.index_rows for study in studies)
        if not dry_run:
            await self.peers.forget_studies([study.name for study in studies])
            await self.sweep.delete(images, begun)
        return counts

    async def _monitoring(self, before_ms: int, dry_run: bool) -> Counts:
        month = datetime.datetime.fromtimestamp(before_ms / 1000, datetime.UTC).strftime("%Y-%m")
        answer = await self.peers.forget_records(before_month=month, dry_run=dry_run)
        return Counts(monitoring_rows=answer.rows)

    async def _orders(self, before_ms: int, dry_run: bool) -> Counts:
        names = await self.peers.orders_unchanged_since(before_ms)
        if not dry_run:
            await self.peers.forget_orders(names)
        return Counts(orders=len(names))

    async def _incomplete_studies(self, before_ms: int, dry_run: bool) -> Counts:
        begun = time.time()
        found = await self.peers.studies(created_before_ms=before_ms, complete=False)
        names = [study.name for study in found]
        digests: set[str] = set()
        for name in names:
            digests.update(await self.peers.artifacts_of(name))
        digests -= await self.sweep.staying(digests, (), names)
        counts = await self.sweep.counted(digests)
        counts.documents = 0
        counts.studies = len(found)
        counts.instances = sum(study.instances for study in found)
        counts.files += sum(study.files for study in found)
        counts.bytes += sum(study.bytes for study in found)
        if not dry_run:
            await self.peers.forget_studies(names)
            await self.sweep.delete(digests, begun)
        return counts


def _mode(dry_run: bool) -> str:
    return " (dry run)" if dry_run else ""
