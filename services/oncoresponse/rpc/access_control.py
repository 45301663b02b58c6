"""The gate that every call passes: who calls, whether they may, and the line of the audit record.

Deciding is done in :mod:`oncoresponse.access`, which knows no gRPC; here is what is gRPC's own: metadata, certificates
that TLS has verified, addresses.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Protocol
from urllib.parse import unquote

import grpc

from oncoresponse.access.audit_event import AuditAction, AuditEvent, AuditSink
from oncoresponse.access.authentication import Authentication
from oncoresponse.access.call import Call, accepted_correlation_id, answering, current_correlation_id
from oncoresponse.access.caller import Caller, Credentials, Identification
from oncoresponse.access.decision import require_allowed
from oncoresponse.access.roles import AccessRole
from oncoresponse.access.rpc_rules import RPC_RULES
from oncoresponse.errors import AccessDenied, AuditUnavailable, InvalidRequest, NotAuthenticated
from oncoresponse.rpc.addresses import host_of, is_loopback
from oncoresponse.rpc.edge_token import CALLER_ADDRESS, CALLER_CERTIFICATE, EDGE_TOKEN, CallerBehind, EdgeToken
from oncoresponse.rpc.status import intended_error

AUTHORIZATION = "authorization"
CORRELATION_ID = "x-correlation-id"
EMERGENCY_REASON = "x-emergency-reason"
"""Metadata of a call. The reason for emergency access is percent-encoded UTF-8, as metadata are ASCII."""

_BEARER = "bearer "
_REASON_CHARACTERS = range(10, 201)
_THREADS = 4
# Longer than a disk needs that is busy, shorter than a caller waits.
_RECORD_SECONDS = 10.0
_NOBODY = Caller("unknown", frozenset(), Identification.ANONYMOUS)
_UNCHECKED = Caller("unchecked", frozenset(AccessRole), Identification.ANONYMOUS)

_log = logging.getLogger(__name__)


class Limits(Protocol):
    """How much one caller may ask for."""

    def admit(self, caller: Caller, address: str) -> None:
        """Count a call.

        Raises:
            RateLimited: It is one too many.
        """

    def refused(self, address: str) -> None:
        """Count a call of somebody who was not recognized.

        Raises:
            RateLimited: It is one too many from there.
        """

    def stream(self, caller: Caller) -> AbstractContextManager[None]:
        """Count a stream for as long as it lasts.

        Raises:
            RateLimited: The caller has too many open.
        """

    def received(self, caller: Caller, size: int) -> None:
        """Count bytes of a stream from the caller, as they come.

        Raises:
            RateLimited: They are too many.
        """


class Gate:
    """Lets calls in, and keeps the audit record.

    Args:
        authentication: Who may be recognized, and how.
        audit: Where events are kept; ``None`` on the address of the services among themselves, whose calls belong to
            one of the front door, which is kept.
        limits: Of a caller; ``None`` for none.
        edges: Whose word is taken for whom they call; ``None`` where no edge calls.
    """

    def __init__(
        self,
        authentication: Authentication,
        audit: AuditSink | None = None,
        limits: Limits | None = None,
        edges: EdgeToken | None = None,
    ) -> None:
        self._authentication = authentication
        self._audit = audit
        self._limits = limits
        self._edges = edges
        # Threads of their own: an issuer of tokens or a disk that is slow must not hold up the work, nor the reverse.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="access")
        self._audit_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="audit")

    def close(self) -> None:
        """Give the threads back."""
        for threads in (self._threads, self._audit_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def admitted(self, operation: str, context: grpc.aio.ServicerContext) -> AsyncIterator[Admission]:
        """The call, once it may be made; its end goes to the audit record unless :meth:`Admission.record` put it there.

        Raises:
            NotAuthenticated, AccessDenied, RateLimited: It may not be made.
            AuditUnavailable: It cannot be kept in the record, so nothing is handed out.
        """
        call = _call_without_caller(operation, context)
        admission = Admission(call, self._audit, self._audit_threads, self._limits)
        context.set_trailing_metadata(((CORRELATION_ID, call.correlation_id),))
        with answering(call):
            try:
                await self._admit(call, context)
                yield admission
            except BaseException as error:
                outcome = intended_error(error).reason if isinstance(error, Exception) else "CANCELLED"
                try:
                    await asyncio.shield(admission.record(outcome))
                except AuditUnavailable:
                    # Nothing is handed out, so the caller is told its own error; the log has the other.
                    _log.warning("a call that failed with %s is not in the audit record", outcome)
                raise
            await admission.record()

    async def _admit(self, call: Call, context: grpc.aio.ServicerContext) -> None:
        loop = asyncio.get_running_loop()
        try:
            behind = self._behind_an_edge(context)
            if behind is not None:
                call.address = behind.address
            credentials = _credentials(context, call.address, behind)
            call.caller = await loop.run_in_executor(self._threads, self._authentication.caller, credentials)
        except NotAuthenticated:
            if self._limits is not None:
                self._limits.refused(call.address)
            raise
        if self._limits is not None:
            self._limits.admit(call.caller, call.address)
        call.emergency_reason = _emergency_reason(context)
        try:
            if call.operation in RPC_RULES or call.operation.startswith("oncoresponse."):
                require_allowed(call.caller, call.operation, call.emergency_reason)
        except AccessDenied:
            call.emergency_reason = ""
            raise

    def _behind_an_edge(self, context: grpc.aio.ServicerContext) -> CallerBehind | None:
        """Whom an edge of the installation calls for; ``None`` where the call comes straight."""
        told = [_metadata(context, name) for name in (EDGE_TOKEN, CALLER_ADDRESS, CALLER_CERTIFICATE)]
        if not any(told):
            return None
        token, address, certificate = told
        if self._edges is None or not self._edges.matches(token):
            raise NotAuthenticated(
                "The call says that it is made for somebody else, and does not carry the token of this installation's "
                "edges. Edges that share no data folder with the server need the same edge_token_file."
            )
        return CallerBehind.of_call(address, certificate)


class Admission:
    """One call that was let in, or refused, and whether the audit record has it."""

    def __init__(
        self, call: Call, audit: AuditSink | None, threads: ThreadPoolExecutor, limits: Limits | None = None
    ) -> None:
        self._call = call
        self._audit = audit
        self._threads = threads
        self._limits = limits
        self._recorded = False

    def streaming(self) -> AbstractContextManager[None]:
        """Count the call among the streams of its caller while the block lasts.

        Raises:
            RateLimited: The caller has too many open.
        """
        return nullcontext() if self._limits is None else self._limits.stream(self._call.caller)

    def received(self, size: int) -> None:
        """Count bytes of a stream from the caller.

        Raises:
            RateLimited: They are too many.
        """
        if self._limits is not None:
            self._limits.received(self._call.caller, size)

    async def record(self, outcome: str = "OK") -> None:
        """Keep what was done, before anything of it is handed out. A success is kept once, a failure always.

        Raises:
            AuditUnavailable: It cannot be kept.
        """
        if self._audit is None or (self._recorded and outcome == "OK"):
            return
        self._recorded = True
        call = self._call
        rule = RPC_RULES.get(call.operation)
        event = AuditEvent(
            time=datetime.datetime.now(datetime.UTC),
            caller=call.caller,
            address=call.address,
            action=AuditAction.EXECUTE if rule is None else rule.action,
            operation=call.operation,
            outcome=outcome,
            correlation_id=call.correlation_id,
            objects=call.objects,
            patients=call.patients,
            emergency_reason=call.emergency_reason,
        )
        if event.emergency_reason and outcome == "OK":
            _log.warning("emergency access by a caller who gave a reason: %s, see the audit record", call.operation)
        recording = asyncio.get_running_loop().run_in_executor(self._threads, self._audit.record, event)
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                await recording
        except TimeoutError:
            raise AuditUnavailable(
                "The audit record does not answer, so nothing is handed out. Look at its disk or database."
            ) from None


@asynccontextmanager
async def unchecked(operation: str, context: grpc.aio.ServicerContext) -> AsyncIterator[Admission]:
    """A call of a server that has no gate: one that a test builds around a servicer."""
    call = _call_without_caller(operation, context)
    call.caller = _UNCHECKED
    with answering(call):
        yield Admission(call, None, ThreadPoolExecutor(1))


def _call_without_caller(operation: str, context: grpc.aio.ServicerContext) -> Call:
    return Call(_NOBODY, operation, current_correlation_id(), _address(context.peer() or ""))


def correlation_id_of(context: grpc.aio.ServicerContext) -> str:
    """The id that a call brought along, or a new one; of two the first, because it only finds lines of a log."""
    values = (str(value) for key, value in context.invocation_metadata() or () if key == CORRELATION_ID)
    return accepted_correlation_id(next(values, ""))


def _credentials(context: grpc.aio.ServicerContext, address: str, behind: CallerBehind | None) -> Credentials:
    authorization = _metadata(context, AUTHORIZATION)
    bearer = authorization[len(_BEARER) :].strip() if authorization.lower().startswith(_BEARER) else ""
    if authorization and not bearer:
        raise NotAuthenticated("The metadata 'authorization' is not of the form 'Bearer TOKEN'. Send it so, or not.")
    if behind is not None:
        return Credentials(bearer, behind.certificate_names, is_loopback(address))
    found = context.auth_context() or {}
    names = [*found.get("x509_common_name", ()), *found.get("x509_subject_alternative_name", ())]
    texts = (name.decode("utf-8", "replace") for name in names)
    return Credentials(bearer, tuple(dict.fromkeys(texts)), is_loopback(address))


def _emergency_reason(context: grpc.aio.ServicerContext) -> str:
    reason = unquote(_metadata(context, EMERGENCY_REASON)).strip()
    if reason and (len(reason) not in _REASON_CHARACTERS or not reason.isprintable()):
        raise InvalidRequest(
            f"The reason for emergency access is one line of {_REASON_CHARACTERS.start} to "
            f"{_REASON_CHARACTERS.stop - 1} characters. Say in a sentence why the data are needed."
        )
    return reason


def _metadata(context: grpc.aio.ServicerContext, name: str) -> str:
    """A value of the call's metadata; empty where there is none.

    Raises:
        InvalidRequest: It is there twice, so that it is not clear which one holds.
    """
    values = [value for key, value in context.invocation_metadata() or () if key == name]
    if len(values) > 1:
        raise InvalidRequest(f"The call has the metadata '{name}' more than once. Send it once.")
    return str(values[0]) if values else ""


def _address(peer: str) -> str:
    """``ipv4:10.0.0.1:5000`` and ``ipv6:%5B::1%5D:5000`` without family and port; ``unix`` for a Unix socket."""
    family, _, rest = unquote(peer).partition(":")
    return "unix" if family == "unix" else host_of(rest)
