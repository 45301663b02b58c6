"""Which files of the artifact store go: those that something refers to that goes, and nothing that stays; and garbage,
to which nothing refers, such as what a killed stage had written."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy.engine import Engine

from oncoresponse.servers.data_peers import DataPeers
from oncoresponse.storage.artifact_kind import ArtifactKind
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.reachability import reachable
from oncoresponse.v1 import administration_pb2
from oncoresponse.workflow import patient_runs

_log = logging.getLogger(__name__)
# A store of which most belongs to nobody stands beside a database that is not its own, such as a new or an older one.
_MOST_GARBAGE = 0.5
_FEW_FILES = 100


@dataclass(frozen=True)
class StorageSweep:
    """What stays and what goes in the artifact store.

    Attributes:
        artifacts: The store.
        engine: The database of the assessments.
        peers: The services that keep patient data.
        grace_seconds: What was written later than this ago may belong to work that has not noted it yet.
    """

    artifacts: ArtifactStore
    engine: Engine
    peers: DataPeers
    grace_seconds: float

    async def going(self, assessments: Collection[str], studies: Collection[str]) -> set[str]:
        """Artifacts of these assessments and studies that nothing else refers to. Both are still there."""
        roots = await asyncio.to_thread(patient_runs.references, self.engine, assessments)
        for study in studies:
            roots.update(await self.peers.artifacts_of(study))
        found = await asyncio.to_thread(reachable, self.artifacts, roots)
        return found - await self.staying(found, assessments, studies)

    async def staying(
        self, candidates: Collection[str], assessments: Collection[str] = (), studies: Collection[str] = ()
    ) -> set[str]:
        """Which of the candidates something refers to that is none of these assessments and studies."""
        used = await self.peers.used(candidates, studies)
        roots = await asyncio.to_thread(patient_runs.references_of_others, self.engine, assessments)
        return used | (await asyncio.to_thread(reachable, self.artifacts, roots) & set(candidates))

    async def remove(self, candidates: Collection[str]) -> None:
        """Remove those candidates to which nothing refers any more. What is written meanwhile stays."""
        begun = time.time()
        going = set(candidates) - await self.staying(candidates)
        await self.delete(going, begun)

    async def garbage(self) -> set[str]:
        """What has lain in the store for longer than the grace and belongs to nobody."""
        before = time.time() - self.grace_seconds
        old = await asyncio.to_thread(
            lambda: {found.key for found in self.artifacts.everything() if found.written < before}
        )
        return old - await self.staying(old)

    async def remove_garbage(self, *, asked: bool) -> administration_pb2.PatientDataCounts:
        """Remove what belongs to nobody.

        Args:
            asked: Whether a person asked for it. Without, a store that mostly belongs to nobody is left alone.
        """
        before = time.time() - self.grace_seconds
        garbage = await self.garbage()
        total = await asyncio.to_thread(lambda: sum(1 for _ in self.artifacts.everything()))
        if not asked and len(garbage) > max(_FEW_FILES, _MOST_GARBAGE * total):
            _log.warning(
                "%d of %d stored files belong to nobody, and nothing was removed: is the database that of this store? "
                "If it is, ApplyRetention (oncoresponse retention) removes them",
                len(garbage),
                total,
            )
            return administration_pb2.PatientDataCounts()
        counts = await self.counted(garbage)
        await self.delete(garbage, before)
        return counts

    async def delete(self, digests: Collection[str], since: float) -> None:
        """Remove artifacts, those left out that were written since a time (seconds since 1970, UTC)."""
        await asyncio.to_thread(self._delete, digests, since)

    async def counted(self, digests: Collection[str]) -> administration_pb2.PatientDataCounts:
        """How many of each kind."""
        return await asyncio.to_thread(self._counted, digests)

    def _counted(self, digests: Collection[str]) -> administration_pb2.PatientDataCounts:
        counts = administration_pb2.PatientDataCounts()
        for digest in digests:
            stored, kind = self.artifacts.look(digest), self.artifacts.kind(digest)
            if stored is None:
                continue
            counts.files += 1
            counts.bytes += stored.size_bytes
            if kind is ArtifactKind.VOLUME:
                counts.derived_volumes += 1
            elif kind is ArtifactKind.MASK:
                counts.masks += 1
            elif kind is ArtifactKind.PDF:
                counts.reports += 1
            else:
                counts.documents += 1
        return counts

    def _delete(self, digests: Collection[str], since: float) -> None:
        for digest in digests:
            self.artifacts.delete_unless_newer(digest, since)


def in_words(counts: administration_pb2.PatientDataCounts) -> str:
    """Counts for a line of the log."""
    return ", ".join(f"{field.name} {value}" for field, value in counts.ListFields()) or "nothing"
