"""Takes orders and patient merges by MLLP (HL7 v2 Transport Specification), and acknowledges what is kept."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from hl7.mllp import InvalidBlockError, start_hl7_server

from oncoresponse.edges.delivery.hl7_segments import add_header, add_segment, empty_message, encoded
from oncoresponse.edges.orders.hl7_orders import (
    Asked,
    Header,
    Hl7Reading,
    MessageRefused,
    PatientId,
    asked_of,
    decoded,
    header_of,
)
from oncoresponse.edges.orders.order_intake import OrderIntake
from oncoresponse.errors import ConfigurationError, ErrorKind
from oncoresponse.rpc.order_settings import Hl7Settings
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import administration_pb2

_CLOSING_SECONDS = 1.0
# Table 0357: what the receiver will not take however often it is sent (AR); the rest is about the content (AE).
_REJECTED = ("200", "201", "202", "203", "207")
_UNKNOWN_SENDER, _INTERNAL = "103", "207"
_PASSING = (ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.EXHAUSTED, ErrorKind.CANCELLED, ErrorKind.INTERNAL)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answer:
    """MSA-1, and ERR where it is no acceptance."""

    code: str
    error: str = ""
    where: str = ""
    what: str = ""

    @property
    def in_words(self) -> tuple[str, str, str]:
        """For the log; nothing of a patient is in it."""
        return self.code, self.error, self.what


def _refusal(refused: MessageRefused) -> _Answer:
    return _Answer("AR" if refused.code in _REJECTED else "AE", refused.code, refused.where, refused.what)


class Hl7Edge:
    """See :class:`~oncoresponse.edges.edge.Edge`.

    Args:
        settings: Of the listener.
        orders: Keeps what comes.
        allow_insecure_network: Setting of the server.

    Raises:
        ConfigurationError: It would take patient data in the clear.
    """

    name = "hl7"

    def __init__(self, settings: Hl7Settings, orders: OrderIntake, *, allow_insecure_network: bool) -> None:
        settings.require_safe_listening(allow_insecure_network=allow_insecure_network)
        self.address = ""
        self._settings = settings
        self._reading = Hl7Reading(settings.issuers, settings.accession_field)
        self._orders = orders
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address is taken, or a TLS file cannot be used.
        """
        host, _, port = self._settings.listen.rpartition(":")
        try:
            self._server = await start_hl7_server(
                self._connected, host.strip("[]"), int(port), limit=self._settings.message_bytes, ssl=self._tls()
            )
        except OSError as error:
            raise ConfigurationError(
                f"Cannot listen on {self._settings.listen} for HL7. Give another address.", setting="hl7"
            ) from error
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Take nothing more. A message that was not acknowledged is sent again by its sender."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    def ready(self) -> bool:
        """Whether it listens."""
        return self._server is not None and self._server.is_serving()

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.tls_certificate is None or self._settings.tls_key is None:
            return None
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._settings.tls_client_authority)
            context.load_cert_chain(self._settings.tls_certificate, self._settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError("A TLS file of hl7 cannot be used.", setting="hl7") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._settings.tls_client_authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _connected(self, reader: Any, writer: Any) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self._settings.connections:
            _log.warning("a connection is refused: there are %d", len(self._connections))
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError, TimeoutError, ssl.SSLError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await writer.wait_closed()

    async def _serve(self, reader: Any, writer: Any) -> None:
        """Message after message, until the sender goes, stops, or sends what is no message."""
        address = str(writer.get_extra_info("peername", ("",))[0])
        while True:
            try:
                async with asyncio.timeout(self._settings.idle_seconds):
                    block = await reader.readblock()
            except (InvalidBlockError, ValueError):
                _log.warning("what comes from %s is no MLLP, or longer than message_bytes; it is cut", address)
                writer.transport.abort()
                return
            except (EOFError, OSError, TimeoutError):
                return
            answer = await self._answered(block, address)
            if answer is None:
                writer.transport.abort()
                return
            try:
                writer.writeblock(answer)
                async with asyncio.timeout(self._settings.idle_seconds):
                    await writer.drain()
            except (OSError, TimeoutError):
                return

    async def _answered(self, block: bytes, address: str) -> bytes | None:
        """The acknowledgement; ``None`` where not even that can be made."""
        try:
            message = decoded(block)
            header = header_of(message)
            answer = await self._answer(message, header, address)
        except MessageRefused as refused:
            _log.warning("a message from %s is not readable: %s (%s)", address, refused.what, refused.where)
            try:
                # Whatever its character set, MSH says whom to tell.
                header = header_of(decoded(block, "latin-1"))
            except MessageRefused:
                return None
            return _acknowledgement(header, _refusal(refused))
        # What strangers write into MSH goes into no log.
        sender = header.sender if header.sender in self._settings.senders else f"an unknown sender at {address}"
        say = _log.info if answer.code == "AA" else _log.warning
        say("%s of %s: %s %s %s", header.kind if answer.code == "AA" else "a message", sender, *answer.in_words)
        return _acknowledgement(header, answer)

    async def _answer(self, message: Any, header: Header, address: str) -> _Answer:
        known = self._settings.senders.get(header.sender)
        if known is None or known not in ("", address):
            return _Answer("AR", _UNKNOWN_SENDER, "MSH^1^3", "a sender that is not in the settings (hl7.senders)")
        try:
            asked = asked_of(message, header, self._reading)
            await self._carried_out(asked, header)
        except MessageRefused as refused:
            return _refusal(refused)
        except grpc.RpcError as failure:
            error = from_rpc_error(failure)
            if error.kind in _PASSING:
                return _Answer("AE", _INTERNAL, "", f"not kept now ({error.reason}), send it again")
            return _Answer("AR", _INTERNAL, "", f"refused: {error.reason}")
        return _Answer("AA")

    async def _carried_out(self, asked: Asked, header: Header) -> None:
        tenant = self._settings.tenants.get(header.sender, "")
        if tenant and asked.merges:
            raise MessageRefused("207", "", "patients are of the whole installation, and this sender is of a tenant")
        for order in asked.cancelled:
            order.tenant = tenant
            await self._orders.cancelled(order)
        for order in asked.orders:
            order.tenant = tenant
            await self._orders.came(order)
        for given_up, kept in asked.merges:
            request = administration_pb2.MergePatientsRequest(reason=f"ADT^A40 of {header.sender}"[:200])
            _identify(getattr(request, "from"), given_up)
            _identify(request.into, kept)
            await self._orders.merge(request)


def _identify(message: administration_pb2.PatientIdentifier, patient: PatientId) -> None:
    message.patient_id, message.issuer_of_patient_id = patient.patient_id, patient.issuer_of_patient_id


def _acknowledgement(header: Header, answer: _Answer) -> bytes:
    """Original mode (HL7 v2.5.1 section 2.9.2)."""
    made = empty_message()
    now = datetime.now(UTC)
    (app, _, facility), (sender, _, senders) = header.receiver.partition("|"), header.sender.partition("|")
    add_header(
        made,
        {
            3: app,
            4: facility,
            5: sender,
            6: senders,
            7: now.strftime("%Y%m%d%H%M%S+0000"),
            9: ("ACK", header.kind.partition("^")[2], "ACK"),
            10: now.strftime("%Y%m%d%H%M%S%f"),
            11: header.processing_id or "P",
            12: header.version or "2.5.1",
            18: "UNICODE UTF-8",
        },
    )
    add_segment(made, "MSA", {1: answer.code, 2: header.control_id})
    if answer.error:
        add_segment(made, "ERR", {2: answer.where.split("^"), 3: [answer.error], 4: "E", 8: answer.what})
    return encoded(made)
