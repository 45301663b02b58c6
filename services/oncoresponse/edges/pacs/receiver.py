"""Receives objects by C-STORE (PS3.4 annex B, PS3.7 section 9.1.1). Nothing is acknowledged before it is on disk.

An object goes straight into the study service of the front door, which writes it down before it answers; the answer to
the sender follows that. So a process that is killed loses nothing that was acknowledged, and no second place holds
patient data.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import grpc
from pydicom.dataset import Dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from oncoresponse.edges.delivery.commitment import STORAGE_COMMITMENT, CommitmentResults
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.instance_header import InstanceHeader, header_of_bytes
from oncoresponse.edges.instance_upload import InstanceStream
from oncoresponse.edges.pacs.announcement import INSTANCE_AVAILABILITY, take_announcement
from oncoresponse.edges.pacs.file_meta import file_meta
from oncoresponse.edges.received_study import Sender, StudyIntake
from oncoresponse.errors import ConfigurationError, ErrorKind
from oncoresponse.rpc.edge_settings import PacsSettings
from oncoresponse.rpc.edge_token import CALLER_ADDRESS, EDGE_TOKEN
from oncoresponse.rpc.status import from_rpc_error

SENT, FETCHED = "ae", "fetched"
"""How names of senders begin, before the AE title: of who sends by itself, and of what was asked for."""

# Verification SOP Class, PS3.4 annex A.
VERIFICATION = "1.2.840.10008.1.1"
# PS3.4 table B.2-1 and PS3.7 annex C.
SUCCESS = 0x0000
DUPLICATE_INSTANCE = 0x0111
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
NOT_UNDERSTOOD = 0xC000


class _Answer(NamedTuple):
    """Status of an object, and why it is not stored: at most the 64 letters of an LO, nothing of the patient."""

    status: int
    why: str = ""

    def as_dataset(self) -> Dataset:
        answer = Dataset()
        answer.Status = self.status
        if self.why:
            answer.ErrorComment = self.why[:64]
        return answer


_AWAY = _Answer(OUT_OF_RESOURCES, "the service is away: send again later")
_DAMAGED = _Answer(NOT_UNDERSTOOD, "no DICOM, damaged, or without UID of study or instance")
_OF_CONFLICT = {
    "PATIENT_MISMATCH": _Answer(DATA_SET_DOES_NOT_MATCH, "of another patient than its study has"),
    "DUPLICATE_INSTANCE": _Answer(DUPLICATE_INSTANCE, "other content under this SOP Instance UID is here"),
}
# Worth another try later, by who sends.
_PASSING = (ErrorKind.UNAVAILABLE, ErrorKind.EXHAUSTED, ErrorKind.DEADLINE, ErrorKind.CANCELLED)
_STORE_SECONDS = 120.0
# An AE title that no caller in the settings has.
_NOBODY = "~" * 16
# The title as anybody sent it: of 16 letters, and escaped.
_REJECTED = "an association of %a at %s was rejected: %s"
# A C-STORE request beside its data set.
_COMMAND_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class Receiver:
    """Listens, in threads of its own; what it receives it hands to the event loop that started it.

    Args:
        settings: Of the receiver.
        front_door: Whom it calls.
        channel: To it.
        intake: Gathers objects to studies.
        results: Takes what archives say of storage commitment.
        has_asked: Whether the installation asked for an object, by its Study Instance UID and the Move Originator AE
            Title of its C-STORE. What it asked for is a study of its own.
        largest_instance_bytes: Of one object; who sends a larger one is cut off.
    """

    def __init__(
        self,
        settings: PacsSettings,
        front_door: FrontDoor,
        channel: grpc.aio.Channel,
        intake: StudyIntake,
        results: CommitmentResults,
        has_asked: Callable[[str, str], bool],
        *,
        largest_instance_bytes: int,
    ) -> None:
        self._settings = settings
        self._front_door = front_door
        self._channel = channel
        self._intake = intake
        self._results = results
        self._has_asked = has_asked
        self._largest_bytes = largest_instance_bytes
        self._opened: dict[Association, dict[str, tuple[Sender, InstanceStream]]] = defaultdict(dict)
        self._received: dict[Association, int] = defaultdict(int)
        self._server: ThreadedAssociationServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> int:
        """Listen; gives the port.

        Raises:
            ConfigurationError: The address is taken, or a TLS file cannot be used.
        """
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        entity = AE(ae_title=settings.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(settings.callers)
        entity.maximum_associations = settings.associations
        entity.network_timeout = settings.idle_seconds
        entity.acse_timeout = entity.dimse_timeout = settings.idle_seconds
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax is not None:
                entity.add_supported_context(context.abstract_syntax, AllTransferSyntaxes)
        entity.add_supported_context(VERIFICATION)
        entity.add_supported_context(INSTANCE_AVAILABILITY)
        # An archive answers as the provider of the class (PS3.4 section J.3.3), on an association that it opens.
        entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened_connection),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_DATA_RECV, self._data),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_EVENT_REPORT, self._results.report),
            (evt.EVT_N_CREATE, self._announcement),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        host, _, port = settings.listen.rpartition(":")
        try:
            self._server = entity.start_server(
                (host.strip("[]"), int(port)), block=False, evt_handlers=handlers, ssl_context=_tls_context(settings)
            )
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"Cannot receive DICOM on {settings.listen}. Another process may use the port, or a TLS file is no "
                "such file.",
                setting="pacs",
            ) from error
        listening = getattr(self._server, "socket", None)
        return 0 if listening is None else int(listening.getsockname()[1])

    def stop(self) -> None:
        """End associations and listen no more. Blocks a moment."""
        if self._server is not None:
            for association in list(self._server.active_associations):
                association.abort()
            self._server.shutdown()
            self._server = None

    def _opened_connection(self, event: Event) -> None:
        """An answer is small and goes out at once: the sender waits for it before the next object."""
        connection = event.assoc.dul.socket
        if connection is not None and connection.socket is not None:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _requested(self, event: Event) -> None:
        """A title that has to come from elsewhere is rejected like one that is not known."""
        requestor: Any = event.assoc.requestor
        calling = requestor.primitive.calling_ae_title.strip()
        wanted = self._settings.callers.get(calling, "")
        if wanted and requestor.address != wanted:
            # Before it is looked for among the callers: PS3.8 table 9-21, calling AE title not recognized.
            requestor.primitive.calling_ae_title = _NOBODY
            _log.warning(_REJECTED, calling, requestor.address, "the settings give this AE title another address")

    def _rejected(self, event: Event) -> None:
        requestor: Any = event.assoc.requestor
        calling = requestor.primitive.calling_ae_title.strip()
        if calling == _NOBODY:
            return
        if calling not in self._settings.callers:
            why = "no caller in the settings has this AE title"
        elif requestor.primitive.called_ae_title.strip() != self._settings.ae_title:
            why = "it calls another AE title than ae_title in the settings"
        else:
            why = "there are too many associations"
        _log.warning(_REJECTED, calling, requestor.address, why)

    def _data(self, event: Event) -> None:
        self._received[event.assoc] += len(event.data)
        if self._received[event.assoc] > self._largest_bytes + _COMMAND_BYTES:
            _log.warning("a sender was cut off: its object is larger than the limit (dicom_limits, file_bytes)")
            event.assoc.abort()

    def _store(self, event: Event) -> Dataset:
        """The status that the sender gets, with why where it is none of success (Error Comment)."""
        self._received[event.assoc] = 0
        # Here, in the thread of the association: others go on meanwhile.
        request: Any = event.request
        uids = request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, event.context.transfer_syntax
        data = file_meta(*map(str, uids)) + event.encoded_dataset(include_meta=False)
        header = header_of_bytes(data)
        if self._loop is None:
            answer = _AWAY
        elif header is None:
            answer = _DAMAGED
        elif header.sop_instance_uid != request.AffectedSOPInstanceUID:
            answer = _Answer(NOT_UNDERSTOOD, "SOP Instance UID is not that of the command")
        elif header.sop_class_uid != request.AffectedSOPClassUID:
            answer = _Answer(DATA_SET_DOES_NOT_MATCH, "SOP class is not that of the command")
        else:
            storing = asyncio.run_coroutine_threadsafe(self._stored(event, data, header), self._loop)
            try:
                answer = storing.result(timeout=_STORE_SECONDS)
            except TimeoutError:
                storing.cancel()
                answer = _AWAY
        if answer.why:
            requestor = event.assoc.requestor
            told = requestor.ae_title, requestor.address, answer.status, answer.why
            _log.warning("an object from %s at %s was not stored: status 0x%04X, %s", *told)
        return answer.as_dataset()

    def _announcement(self, event: Event) -> tuple[int, Dataset | None]:
        def announced(title: str, uid: str, instances: frozenset[str]) -> None:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._intake.announced, f"{SENT}:{title}", uid, instances)

        return take_announcement(event, announced)

    async def _stored(self, event: Event, data: bytes, header: InstanceHeader) -> _Answer:
        request: Any = event.request
        opened = self._opened[event.assoc]
        uid = header.study_instance_uid
        try:
            if uid not in opened:
                originator = str(request.MoveOriginatorApplicationEntityTitle or "").strip()
                asked = self._has_asked(uid, originator)
                sender = self._sender(event.assoc, FETCHED if asked else SENT)
                study = await self._intake.open(sender, uid)
                opened[uid] = sender, InstanceStream(self._channel, sender.metadata, study)
            sender, stream = opened[uid]
            sha256 = hashlib.sha256(data).hexdigest()
            if conflict := self._intake.conflict(sender, header, sha256):
                return _OF_CONFLICT[conflict]
            try:
                refused = await stream.store(data, sha256)
            except BaseException:
                self._intake.refused(sender, header)
                raise
        except grpc.RpcError as failure:
            error = from_rpc_error(failure)
            _log.warning("the front door takes no object: %s", error.reason)
            status = OUT_OF_RESOURCES if error.kind in _PASSING else PROCESSING_FAILURE
            return _Answer(status, f"not taken: {error.reason}")
        if refused:
            self._intake.refused(sender, header)
            return _DAMAGED
        return _Answer(SUCCESS)

    def _closed(self, event: Event) -> None:
        """However the connection ended: what came is kept."""
        association = event.assoc
        self._received.pop(association, None)
        opened = self._opened.pop(association, {})
        if opened and self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._left(opened), self._loop)

    async def _left(self, opened: Mapping[str, tuple[Sender, InstanceStream]]) -> None:
        for uid, (sender, stream) in opened.items():
            await stream.close()
            await self._intake.received(sender, uid)

    def _sender(self, association: Association, kind: str) -> Sender:
        """The calls are the edges' own, and the audit record has from where the object came."""
        behind = ((EDGE_TOKEN, self._front_door.token), (CALLER_ADDRESS, association.requestor.address))
        return Sender(f"{kind}:{association.requestor.ae_title}", (*self._front_door.own_metadata, *behind))


def _tls_context(settings: PacsSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    if settings.tls_client_authority is not None:
        context.load_verify_locations(settings.tls_client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
