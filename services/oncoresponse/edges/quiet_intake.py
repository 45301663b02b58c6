"""A study is whole when nothing more of it has come for a while."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass, field

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
    """

    def __init__(self, front_door: FrontDoor, channel: grpc.aio.Channel, quiet_seconds: float) -> None:
        self._front_door = front_door
        self._stub = study_pb2_grpc.StudyServiceStub(channel)
        self._quiet_seconds = quiet_seconds
        self._open: dict[tuple[str, str], _OpenStudy] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}

    async def open(self, sender: Sender, study_instance_uid: str) -> str:
        """See there."""
        key = sender.name, study_instance_uid
        async with self._opening.setdefault(key, asyncio.Lock()):
            study = self._open.get(key)
            if study is None:
                study = self._open[key] = _OpenStudy(await self._new_study(sender, study_instance_uid))
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
        tasks = [study.ending for study in self._open.values() if study.ending is not None]
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
