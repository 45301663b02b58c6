"""STOW-RS (PS3.18 section 10.5): instances come in over HTTP and go to the front door, for whoever sent them."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from typing import IO, cast

import grpc
from starlette.requests import Request
from starlette.responses import Response

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.identity import allowed_asker
from oncoresponse.edges.http.multipart_parts import Part, boundary_of, parts_of
from oncoresponse.edges.http.problem import Refusal
from oncoresponse.edges.http.route_rules import ROUTE_RULES
from oncoresponse.edges.instance_header import InstanceHeader, instance_header, is_uid
from oncoresponse.edges.instance_upload import InstanceFile, upload_instances
from oncoresponse.edges.received_study import Sender, StudyIntake
from oncoresponse.errors import DiskFull, InvalidRequest

_DICOM, _JSON = "application/dicom", "application/dicom+json"
_TAKEN = ("*/*", "application/*", _JSON, "application/json")
_BATCH_BYTES = 32 * 1024**2
_BATCH_INSTANCES = 200

# Failure Reason (0008,1197): PS3.18 table 10.5.3-2 where it has one, else PS3.7 annex C.
_NOT_UNDERSTOOD = 0xC000
_OUT_OF_RESOURCES = 0xA700
_ANOTHER_STUDY = 0xA900
_FAILURES = {
    "UNSUPPORTED_TRANSFER_SYNTAX": 0xC122,
    "UNSUPPORTED_SOP_CLASS": 0x0122,
    "PATIENT_MISMATCH": _ANOTHER_STUDY,
    "DUPLICATE_INSTANCE": 0x0111,
}

_log = logging.getLogger(__name__)


@dataclass
class _Outcome:
    """What became of the instances of a request.

    Attributes:
        stored: Those that are on disk.
        failed: Those that are not, with the failure reason.
        unknown: Failure reasons of parts that do not say which instance they are.
    """

    stored: list[InstanceHeader] = field(default_factory=list)
    failed: list[tuple[InstanceHeader, int]] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


class StowRoute:
    """Answers ``POST /dicom-web/studies`` and ``/dicom-web/studies/{study}``.

    Args:
        front_door: Where instances go.
        channel: To it.
        intake: Gathers the pieces of studies.
        largest_instance_bytes: Of one instance.
        minimum_free_bytes: Nothing is taken in when the disk of temporary files has less.
    """

    def __init__(
        self,
        front_door: FrontDoor,
        channel: grpc.aio.Channel,
        intake: StudyIntake,
        *,
        largest_instance_bytes: int,
        minimum_free_bytes: int,
    ) -> None:
        self._front_door = front_door
        self._channel = channel
        self._intake = intake
        self._largest_instance_bytes = largest_instance_bytes
        self._minimum_free_bytes = minimum_free_bytes

    async def store(self, request: Request) -> Response:
        """Store what the body has.

        200: all are stored. 202: some are. 409: none is. The body says which, and why not (PS3.18 section 10.5.3.1).
        """
        rule = ROUTE_RULES["POST", "/dicom-web/studies"]
        asker = await allowed_asker(request, rule, self._front_door, self._channel)
        study = request.path_params.get("study", "")
        if study and not is_uid(study):
            raise InvalidRequest("The path does not name a Study Instance UID.")
        _require_json_taken(request)
        boundary = boundary_of(request.headers.get("content-type", ""), _DICOM)
        self._require_room()
        batch = _Batch(Sender(asker.name, asker.metadata), self._channel, self._intake, study)
        try:
            async for part in parts_of(request.stream(), boundary, self._largest_instance_bytes):
                await batch.take(part)
            await batch.store()
        finally:
            # Also where the sender has gone away: what came is kept, and completed in its time.
            await batch.close()
        return _response(batch.outcome)

    def _require_room(self) -> None:
        if shutil.disk_usage(tempfile.gettempdir()).free < self._minimum_free_bytes:
            raise DiskFull("The disk for temporary files is full. Free space on the server, then send it again.")


class _Batch:
    """Instances that wait to be sent in one stream, and what became of those before."""

    def __init__(self, sender: Sender, channel: grpc.aio.Channel, intake: StudyIntake, study: str) -> None:
        self._sender, self._channel, self._intake, self._study = sender, channel, intake, study
        self._waiting: list[tuple[InstanceHeader, Part]] = []
        self._waiting_bytes = 0
        self._names: dict[str, str] = {}
        self.outcome = _Outcome()

    async def take(self, part: Part) -> None:
        """Look at a part, and send what waits when it is much."""
        header = None if part.cut else await asyncio.to_thread(instance_header, cast("IO[bytes]", part.file))
        if header is None or part.content_type not in ("", _DICOM):
            self.outcome.unknown.append(_OUT_OF_RESOURCES if part.cut else _NOT_UNDERSTOOD)
            part.close()
            return
        if self._study and header.study_instance_uid != self._study:
            self.outcome.failed.append((header, _ANOTHER_STUDY))
            part.close()
            return
        self._waiting.append((header, part))
        self._waiting_bytes += part.size_bytes
        if self._waiting_bytes >= _BATCH_BYTES or len(self._waiting) >= _BATCH_INSTANCES:
            await self.store()

    async def store(self) -> None:
        """Send what waits."""
        by_study = defaultdict(list)
        for header, part in self._waiting:
            by_study[header.study_instance_uid].append((header, part))
        for study, items in by_study.items():
            if study not in self._names:
                self._names[study] = await self._intake.open(self._sender, study)
            good = []
            for header, part in items:
                reason = self._intake.conflict(self._sender, header, part.sha256)
                if reason:
                    self.outcome.failed.append((header, _FAILURES[reason]))
                else:
                    good.append((header, part))
            files = [InstanceFile(cast("IO[bytes]", part.file), part.sha256, part.size_bytes) for _, part in good]
            refused = await upload_instances(self._channel, self._sender.metadata, self._names[study], files)
            for header, part in good:
                if part.sha256 in refused:
                    self._intake.refused(self._sender, header)
                    self.outcome.failed.append((header, _FAILURES.get(refused[part.sha256], _NOT_UNDERSTOOD)))
                else:
                    self.outcome.stored.append(header)
        self._forget()

    async def close(self) -> None:
        """Let go of everything."""
        self._forget()
        for study in self._names:
            await self._intake.received(self._sender, study)

    def _forget(self) -> None:
        for _, part in self._waiting:
            part.close()
        self._waiting.clear()
        self._waiting_bytes = 0


def _require_json_taken(request: Request) -> None:
    asked = request.headers.get("accept", "*/*")
    if not any(item.split(";")[0].strip().lower() in _TAKEN for item in asked.split(",")):
        raise Refusal(406, InvalidRequest(f"The answer is {_JSON}. Accept it."))


def _response(outcome: _Outcome) -> Response:
    """PS3.18 section 10.5.3 and table 10.5.3-1, in the JSON model of annex F."""
    if not (outcome.stored or outcome.failed or outcome.unknown):
        raise InvalidRequest("The body holds no instance.")
    # Retrieve URL is of type 2: nothing can be retrieved here.
    content: dict[str, object] = {"00081190": {"vr": "UR"}}
    if outcome.stored:
        content["00081199"] = {"vr": "SQ", "Value": [_reference(header) for header in outcome.stored]}
    if outcome.failed:
        failed = [_reference(header) | _reason(reason) for header, reason in outcome.failed]
        content["00081198"] = {"vr": "SQ", "Value": failed}
    if outcome.unknown:
        content["0008119A"] = {"vr": "SQ", "Value": [_reason(reason) for reason in outcome.unknown]}
    bad = len(outcome.failed) + len(outcome.unknown)
    if bad:
        _log.warning("of an upload over HTTP, %d instances were stored and %d refused", len(outcome.stored), bad)
    status = 200 if not bad else 202 if outcome.stored else 409
    return Response(json.dumps(content), status, media_type=_JSON)


def _reference(header: InstanceHeader) -> dict[str, object]:
    return {
        "00081150": {"vr": "UI", "Value": [header.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [header.sop_instance_uid]},
    }


def _reason(code: int) -> dict[str, object]:
    return {"00081197": {"vr": "US", "Value": [code]}}
