"""A study is whole when nothing more of it has come for a while, or when all that its sender announced is here."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.instance_header import InstanceHeader
from oncoresponse.edges.received_study import Sender
from oncoresponse.errors import ErrorKind
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import intake_pb2, intake_pb2_grpc, study_pb2, study_pb2_grpc

_NAMESPACE = uuid.UUID("0e3a5a4e-5d0c-5e52-8f5d-3f1f7a0c9b1d")
_CALL_SECONDS = 60.0
_AGAIN_SECONDS = 5.0
# Announcements of studies of which nothing has come yet.
_MOST_ANNOUNCED = 1000
_PASSING = (ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.EXHAUSTED)

_log = logging.getLogger(__name__)
Completed = Callable[[str, str], Awaitable[None]]


@dataclass
class _OpenStudy:
    """One that still grows."""

    name: str
    sender: str
    senders: int = 0
    patients: set[tuple[str, str]] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    announced: frozenset[str] = frozenset()
    ending: asyncio.Task[None] | None = None

    @property
    def has_all_announced(self) -> bool:
        """Whether everything that the sender said it has is here; not where it said nothing."""
        return bool(self.announced) and self.announced <= self.digests.keys()


class QuietIntake:
    """See :class:`~oncoresponse.edges.received_study.StudyIntake`.

    Which study of the front door belongs to a UID follows from sender and UID, so that it is found again after a
    restart. A study that is complete never changes: what comes later goes into a new version, which holds the instances
    of the earlier one too. Where nothing comes that the earlier one does not have, there is no new version.

    Args:
        front_door: Studies are completed there by the edges.
        channel: To it.
        quiet_seconds: How long nothing comes.
        record: File with the names of the studies that are open and who sends them, so that they are completed after a
            restart too.
        completed: What is done with a study that is whole, given its name and that of its sender. Called again, after
            a while or a restart, where it raises :class:`grpc.RpcError` for a reason that may pass.
    """

    def __init__(
        self,
        front_door: FrontDoor,
        channel: grpc.aio.Channel,
        quiet_seconds: float,
        record: Path,
        completed: Completed | None = None,
    ) -> None:
        self._completed = completed
        self._front_door = front_door
        self._stub = study_pb2_grpc.StudyServiceStub(channel)
        self._intake = intake_pb2_grpc.IntakeServiceStub(channel)
        self._quiet_seconds = quiet_seconds
        self._open: dict[tuple[str, str], _OpenStudy] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}
        self._announced: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()
        self._record = record
        self._recording = asyncio.Lock()
        self._left: dict[str, str] = {}
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
                study = self._open[key] = await self._opened(sender, study_instance_uid)
                study.announced = self._announced.pop(key, frozenset())
                self._left.pop(study.name, None)
                await self._write()
            study.senders += 1
            if study.ending is not None:
                study.ending.cancel()
                study.ending = None
        return study.name

    def conflict(self, sender: Sender, header: InstanceHeader, sha256: str) -> str:
        """See there."""
        study = self._open[sender.name, header.study_instance_uid]
        if not study.patients:
            study.patients.add(header.patient)
        if not any(_is_same_patient(header.patient, known) for known in study.patients):
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

    def announced(self, sender_name: str, study_instance_uid: str, sop_instance_uids: frozenset[str]) -> None:
        """The sender says which instances the study has: it is whole as soon as the last of them is here.

        Where some do not come, it is whole after the quiet time all the same; what comes later is a version.
        """
        key = sender_name, study_instance_uid
        study = self._open.get(key)
        if study is None:
            self._announced[key] = sop_instance_uids
            while len(self._announced) > _MOST_ANNOUNCED:
                self._announced.popitem(last=False)
            return
        study.announced = sop_instance_uids
        if study.ending is not None and study.has_all_announced:
            study.ending.cancel()
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

    async def _opened(self, sender: Sender, study_instance_uid: str) -> _OpenStudy:
        """The first version of this sender and UID that is not complete, with what it holds already."""
        generation, earlier = 0, ""
        while True:
            request_id = str(uuid.uuid5(_NAMESPACE, f"{sender.name}\n{study_instance_uid}\n{generation}"))
            request = study_pb2.CreateStudyRequest(request_id=request_id, supersedes=earlier)
            answer = await self._stub.CreateStudy(request, metadata=sender.metadata, timeout=_CALL_SECONDS)
            if not answer.study.complete:
                break
            generation, earlier = generation + 1, answer.study.name
        study = _OpenStudy(str(answer.study.name), sender.name)
        if answer.study.instance_count:
            describe = intake_pb2.DescribeReceivedStudyRequest(study=study.name)
            held = await self._intake.DescribeReceivedStudy(
                describe, metadata=self._front_door.own_metadata, timeout=_CALL_SECONDS
            )
            study.digests = {uid: sha256 for sha256, uid in held.sop_instance_uids.items()}
            study.patients = {(each.patient_id, each.issuer_of_patient_id) for each in held.patients}
        return study

    async def _end(self, key: tuple[str, str], study: _OpenStudy) -> None:
        await asyncio.sleep(0 if study.has_all_announced else self._quiet_seconds)
        if not study.has_all_announced and study.announced:
            _log.warning("%s is completed with fewer instances than were announced", study.name)
        async with self._opening[key]:
            while not await self._complete(study.name, study.sender):
                await asyncio.sleep(_AGAIN_SECONDS)
            del self._open[key], self._opening[key]
        await self._write()

    async def _end_left(self) -> None:
        """Complete what nobody goes on with."""
        await asyncio.sleep(self._quiet_seconds)
        for name, sender in sorted(self._left.items()):
            while name in self._left and not await self._complete(name, sender):
                await asyncio.sleep(_AGAIN_SECONDS)
            self._left.pop(name, None)
            await self._write()

    def _read(self) -> dict[str, str]:
        self._record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = self._record.read_text(encoding="utf-8").splitlines() if self._record.exists() else []
        return {name: sender for name, _, sender in (line.partition(" ") for line in lines) if name}

    async def _write(self) -> None:
        """The names of what is open, whole and on the disk."""
        async with self._recording:
            known = {each.name: each.sender for each in self._open.values()} | self._left
            lines = (f"{name} {sender}\n" for name, sender in sorted(known.items()))
            await asyncio.to_thread(_replace, self._record, "".join(lines))

    async def _is_new(self, name: str, count: int) -> bool:
        """Whether a study holds more than the one that it supersedes."""
        metadata = self._front_door.own_metadata
        study = await self._stub.GetStudy(
            study_pb2.GetStudyRequest(name=name), metadata=metadata, timeout=_CALL_SECONDS
        )
        if not study.study.supersedes:
            return True
        try:
            earlier = await self._stub.GetStudy(
                study_pb2.GetStudyRequest(name=study.study.supersedes), metadata=metadata, timeout=_CALL_SECONDS
            )
        except grpc.RpcError as failure:
            if from_rpc_error(failure).kind is ErrorKind.NOT_FOUND:
                return True
            raise
        return count > int(earlier.study.instance_count)

    async def _complete(self, study: str, sender: str) -> bool:
        """Whether nothing is left to do."""
        metadata = self._front_door.own_metadata
        try:
            listing = study_pb2.ListInstancesRequest(study=study)
            arrived = await self._stub.ListInstances(listing, metadata=metadata, timeout=_CALL_SECONDS)
            count = sum(instance.finished for instance in arrived.instances)
            if count and await self._is_new(study, count):
                request = study_pb2.CompleteStudyRequest(study=study, instance_count=count)
                await self._stub.CompleteStudy(request, metadata=metadata, timeout=_CALL_SECONDS)
                if self._completed is not None:
                    await self._completed(study, sender)
        except grpc.RpcError as failure:
            error = from_rpc_error(failure)
            _log.warning("a study that came in could not be completed: %s", error.reason)
            return error.kind not in _PASSING
        return True


def _is_same_patient(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether Patient IDs agree; an issuer counts where both are known."""
    return one[0] == other[0] and (one[1] == other[1] or not one[1] or not other[1])


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
