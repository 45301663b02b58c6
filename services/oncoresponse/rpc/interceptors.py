"""What every call passes through: the gate, the rules of the protos, the error tree, one line of log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any

import grpc
import protovalidate
from google.protobuf.message import Message

from oncoresponse.access.call import correlated
from oncoresponse.errors import NotAuthenticated, PeerUnavailable
from oncoresponse.model.plan import STAGES
from oncoresponse.rpc.access_control import Admission, Gate, correlation_id_of, unchecked
from oncoresponse.rpc.peers import HOSTED_BY, SERVICE_NAMES
from oncoresponse.rpc.process_log import CALL_FIELDS
from oncoresponse.rpc.status import DETAILS_KEY, STATUS_OF_KIND, FieldViolations, intended_error, to_status

UNKNOWN_METHOD = "unknown method"
"""What the audit record and the log say was called where nothing was."""
METHOD_UNKNOWN = "METHOD_UNKNOWN"
"""Its outcome there."""
_HEALTH = "/grpc.health.v1.Health/"
_Admitted = Callable[[str, grpc.aio.ServicerContext], AbstractAsyncContextManager[Admission]]
_Counted = Callable[[str, str, str, float], None]
"""Is told method, status, reason code and seconds of a call."""

_log = logging.getLogger(__name__)


def require_valid(message: Message) -> None:
    """Check a message against the rules written in its proto.

    Raises:
        FieldViolations: One or more fields break a rule. The values themselves are not repeated.
    """
    violations = protovalidate.collect_violations(message)
    if violations:
        raise FieldViolations(
            (
                ".".join(_path_element(element) for element in violation.proto.field.elements)
                if violation.proto.field is not None
                else "",
                violation.proto.message,
                violation.proto.rule_id,
            )
            for violation in violations
        )


def _path_element(element: Any) -> str:
    """Name of a field; of one that is repeated with its position, from 0, as in ``lesions[1]``."""
    subscript = element.subscript
    position = f"[{subscript.value}]" if subscript is not None and subscript.field == "index" else ""
    return f"{element.field_name}{position}"


class RulesAndErrors(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets in who may call; refuses requests that break the protos' rules; turns every exception into a rich status;
    logs the outcome.

    Health is open to everybody, because what restarts a process asks for it and has no name; it tells nothing of a
    patient.

    The log line holds method, status, reason code and duration. It holds nothing of the request.

    Args:
        gate: Who may call; ``None`` for everybody, where a test builds a server around one servicer.
        unable: Full names of services that cannot work yet, or not at the moment; their calls are refused as
            UNAVAILABLE, so that callers try again. The server process takes a name out when the service is ready.
        counted: Is told of each call how it ended.
    """

    def __init__(self, gate: Gate | None, unable: Set[str] = frozenset(), counted: _Counted | None = None) -> None:
        self._admitted: _Admitted = unchecked if gate is None else gate.admitted
        self._unable = unable
        self._counted = counted

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Wrap the handler of one call."""
        handler = await continuation(details)
        if details.method.startswith(_HEALTH):
            return handler
        if handler is None:
            return grpc.unary_unary_rpc_method_handler(self._unknown())
        method = details.method
        name = method.split("/")[1]
        if (SERVICE_NAMES[HOSTED_BY[name]] if name in HOSTED_BY else name) in self._unable:
            handler = _refusing(handler)
        shape = (handler.request_streaming, handler.response_streaming)
        codecs = (handler.request_deserializer, handler.response_serializer)
        if shape == (False, False):
            return grpc.unary_unary_rpc_method_handler(self._unary_answer(handler.unary_unary, method), *codecs)
        if shape == (False, True):
            return grpc.unary_stream_rpc_method_handler(
                self._streamed_answer(handler.unary_stream, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if shape == (True, False):
            return grpc.stream_unary_rpc_method_handler(self._unary_answer(handler.stream_unary, method), *codecs)
        return grpc.stream_stream_rpc_method_handler(self._streamed_answer(handler.stream_stream, method), *codecs)

    def _unknown(self) -> Callable[..., Awaitable[None]]:
        """For what no service offers: somebody tries doors. The audit record keeps that, not the name."""

        async def call(_: bytes, context: grpc.aio.ServicerContext) -> None:
            async with self._outcome(UNKNOWN_METHOD, context):
                # Who is not recognized is not told more than others.
                with suppress(NotAuthenticated):
                    async with self._admitted(UNKNOWN_METHOD, context) as admission:
                        await admission.record(METHOD_UNKNOWN)
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "There is no such method at this address.")

        return call

    def _unary_answer(
        self, behavior: Callable[..., Awaitable[Message]], method: str
    ) -> Callable[..., Awaitable[Message]]:
        async def call(request: Any, context: grpc.aio.ServicerContext) -> Message:
            # Of a stage its name is part of what was called; a name that is none is the caller's own text.
            stage = getattr(request, "stage", "")
            label = f"{method} {stage}" if stage in STAGES else method
            async with self._outcome(label, context), self._admitted(method.removeprefix("/"), context) as admission:
                with nullcontext() if isinstance(request, Message) else admission.streaming():
                    answer = await behavior(_checked(request, admission), context)
                await admission.record()
                return answer

        return call

    def _streamed_answer(
        self, behavior: Callable[..., AsyncIterator[Message]], method: str
    ) -> Callable[..., AsyncIterator[Message]]:
        async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Message]:
            async with self._outcome(method, context), self._admitted(method.removeprefix("/"), context) as admission:
                with admission.streaming():
                    async for answer in behavior(_checked(request, admission), context):
                        await admission.record()
                        yield answer

        return call

    @asynccontextmanager
    async def _outcome(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        """Log how a call ended, under its correlation id, and end it with a rich status when it raised."""
        start = time.perf_counter()
        with correlated(correlation_id_of(context)):
            try:
                yield
            except asyncio.CancelledError:
                self._note(method, "CANCELLED", "", start)
                raise
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                intended = intended_error(error)
                self._note(method, STATUS_OF_KIND[intended.kind].name, intended.reason, start)
                # What abort() is given replaces what was set before.
                details = (*context.trailing_metadata(), (DETAILS_KEY, to_status(intended).SerializeToString()))
                await context.abort(STATUS_OF_KIND[intended.kind], intended.message, trailing_metadata=details)
            else:
                self._note(method, "OK", "", start)

    def _note(self, method: str, status: str, reason: str, start: float) -> None:
        seconds = time.perf_counter() - start
        milliseconds = round(seconds * 1000)
        fields = {"method": method, "status": status, "reason": reason, "milliseconds": milliseconds}
        _log.info("%s %s %s %d ms", method, status, reason or "-", milliseconds, extra={CALL_FIELDS: fields})
        if self._counted is not None:
            self._counted(method, status, reason, seconds)


def _refusing(handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
    """The same handler, but each call ends with an error that is worth another try."""
    refused = PeerUnavailable(
        "The service is still starting, or waits for its database. Try again in a moment; its health says when it can "
        "work."
    )

    async def answer(*_: object) -> Message:
        raise refused

    async def stream(*_: object) -> AsyncIterator[Message]:
        raise refused
        yield

    codecs = (handler.request_deserializer, handler.response_serializer)
    if handler.response_streaming:
        make_stream = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make_stream(stream, *codecs)
    make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    return make(answer, *codecs)


def _checked(request: Any, admission: Admission) -> Any:
    if isinstance(request, Message):
        require_valid(request)
        return request
    return _checked_stream(request, admission)


async def _checked_stream(requests: AsyncIterator[Message], admission: Admission) -> AsyncIterator[Message]:
    async for request in requests:
        admission.received(request.ByteSize())
        require_valid(request)
        yield request
