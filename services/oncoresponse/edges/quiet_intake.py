"""A study is whole when nothing more of it has come for a while."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.instance_header import InstanceHeader
from oncoresponse.edges.received_study import Sender
from oncoresponse.errors import ErrorKind
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import study_pb2, study_pb2_grpc

_NAMESPACE = uuid.UUID("0e3a5a4e-5d0c-5e52-8f5d-3f1f7a0c9b1d")
_CALL_SECONDS = 60.0
_AGAIN_SECONDS = 5.0
_PASSING = (ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.EXHAUSTED)

_log = logging.getLogger(__name__)


@dataclass
class _OpenStudy:
    """One that still grows."""

    name: str
    senders: int = 0
    patient: tuple[str, str] | None = None
    digests: dict[str, str] = field(default_factory=dict)
    ending: asyncio.Task[None] | None = None


class QuietIntake:
    """See :class:`~oncoresponse.edges.received_study.StudyIntake`.

    Which study of the front door belongs to a UID follows from sender and UID, so that it is found again after a
    restart. A study that is complete never changes: what comes later goes into a new one.

    Args:
        front_door: Studies are completed there by the edges.
        channel: To it.
        quiet_seconds: How long nothing comes.
        record: File with the names of the studies that are open, so that they are completed after a restart too.
    """

    def __init__(self, front_door: FrontDoor, channel: grpc.aio.Channel, quiet_seconds: float, record: Path) -> None:
        self._front_door = front_door
        self._stub = study_pb2_grpc.StudyServiceStub(channel)
        self._quiet_seconds = quiet_seconds
        self._open: dict[tuple[str, str], _OpenStudy] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}
        self._record = record
        self._recording = asyncio.Lock()
        self._left: set[str] = set()
        self._ending_left: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, with what an earlier process left open.

        Raises:
            OSError: The record cannot be read or written.
        """
        self._left = await asyncio.to_thread(self._read)
        await self._write()
        if self._left:
            self._ending_left = asyncio.create_task(self._end_left())

    async def open(self, sender: Sender, study_instance_uid: str) -> str:
        """See there."""
        key = sender.name, study_instance_uid
        async with self._opening.setdefault(key, asyncio.Lock()):
            study = self._open.get(key)
            if study is None:
                study = self._open[key] = _OpenStudy(await self._new_study(sender, study_instance_uid))
                self._left.discard(study.name)
                await self._write()
            study.senders += 1
            if study.ending is not None:
                study.ending.cancel()
                study.ending = None
        return study.name

    def conflict(self, sender: Sender, header: InstanceHeader, sha256: str) -> str:
        """See there."""
        study = self._open[sender.name, header.study_instance_uid]
        if study.patient is None:
            study.patient = header.patient
        if study.patient != header.patient:
            return "PATIENT_MISMATCH"
        known = study.digests.setdefault(header.sop_instance_uid, sha256)
        return "" if known == sha256 else "DUPLICATE_INSTANCE"

    def refused(self, sender: Sender, header: InstanceHeader) -> None:
        """See there."""
        self._open[sender.name, header.study_instance_uid].digests.pop(header.sop_instance_uid, None)

    async def received(self, sender: Sender, study_instance_uid: str) -> None:
        """See there."""
        key = sender.name, study_instance_uid
        study = self._open[key]
        study.senders -= 1
        if not study.senders:
            study.ending = asyncio.create_task(self._end(key, study))

    async def stop(self) -> None:
        """Complete nothing more; what is open goes on when more of it comes."""
        tasks = [each.ending for each in self._open.values() if each.ending is not None]
        tasks += [self._ending_left] if self._ending_left is not None else []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._open.clear()

    async def _new_study(self, sender: Sender, study_instance_uid: str) -> str:
        """The first study of this sender and UID that is not complete."""
        generation = 0
        while True:
            request_id = str(uuid.uuid5(_NAMESPACE, f"{sender.name}\n{study_instance_uid}\n{generation}"))
            request = study_pb2.CreateStudyRequest(request_id=request_id)
            answer = await self._stub.CreateStudy(request, metadata=sender.metadata, timeout=_CALL_SECONDS)
            if not answer.study.complete:
                return str(answer.study.name)
            generation += 1

    async def _end(self, key: tuple[str, str], study: _OpenStudy) -> None:
        await asyncio.sleep(self._quiet_seconds)
        async with self._opening[key]:
            while not await self._complete(study.name):
                await asyncio.sleep(_AGAIN_SECONDS)
            del self._open[key], self._opening[key]
        await self._write()

    async def _end_left(self) -> None:
        """Complete what nobody goes on with."""
        await asyncio.sleep(self._quiet_seconds)
        for name in sorted(self._left):
            while name in self._left and not await self._complete(name):
                await asyncio.sleep(_AGAIN_SECONDS)
            self._left.discard(name)
            await self._write()

    def _read(self) -> set[str]:
        self._record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return set(self._record.read_text(encoding="ascii").split()) if self._record.exists() else set()

    async def _write(self) -> None:
        """The names of what is open, whole and on the disk."""
        async with self._recording:
            names = sorted({each.name for each in self._open.values()} | self._left)
            await asyncio.to_thread(_replace, self._record, "\n".join(names))

    async def _complete(self, study: str) -> bool:
        """Whether nothing is left to do."""
        metadata = self._front_door.own_metadata
        try:
            listing = study_pb2.ListInstancesRequest(study=study)
            arrived = await self._stub.ListInstances(listing, metadata=metadata, timeout=_CALL_SECONDS)
            count = sum(instance.finished for instance in arrived.instances)
            if count:
                request = study_pb2.CompleteStudyRequest(study=study, instance_count=count)
                await self._stub.CompleteStudy(request, metadata=metadata, timeout=_CALL_SECONDS)
        except grpc.RpcError as failure:
            error = from_rpc_error(failure)
            _log.warning("a study that came in could not be completed: %s", error.reason)
            return error.kind not in _PASSING
        return True


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with new.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
