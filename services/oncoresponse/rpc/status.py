"""Errors of this project to google.rpc.Status and back (https://google.aip.dev/193)."""

from __future__ import annotations

import errno
import logging
import traceback
import uuid
from collections.abc import Iterable

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from oncoresponse.errors import (
    DOMAIN,
    Cancelled,
    ConfigurationError,
    DeadlineExceeded,
    DiskFull,
    ErrorKind,
    InternalError,
    InvalidRequest,
    OncoResponseError,
    OutOfMemory,
    PeerUnavailable,
    QuotaExceeded,
    error_for_reason,
)
from oncoresponse.storage.database_errors import known_database_error

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key of the serialized google.rpc.Status (gRPC's own convention)."""

STATUS_OF_KIND = {
    ErrorKind.INVALID_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.WRONG_STATE: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.DATA_DAMAGED: grpc.StatusCode.DATA_LOSS,
    ErrorKind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
    ErrorKind.ABORTED: grpc.StatusCode.ABORTED,
}
"""The gRPC status of each kind of error."""

_log = logging.getLogger(__name__)


class FieldViolations(InvalidRequest):
    """An :class:`InvalidRequest` that names each field; sent as google.rpc.BadRequest."""

    def __init__(self, violations: Iterable[tuple[str, str, str]]) -> None:
        """``violations``: field path, what is wrong, rule id."""
        self.violations = tuple(violations)
        # A rule about several fields is of none of them: its own words say which.
        places = ", ".join(sorted({field or text for field, text, _ in self.violations}))
        super().__init__(f"The request breaks the rules of the proto at: {places}. The details say how.")


def to_status(error: OncoResponseError) -> status_pb2.Status:
    """The google.rpc.Status of an error: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    details: list[Any] = []
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata))
    details.append(_packed(info))
    if isinstance(error, FieldViolations):
        bad = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=field, description=text, reason=rule.upper())
                for field, text, rule in error.violations
            ]
        )
        details.append(_packed(bad))
    # Others may delete studies and so make room for this one, but a study or a call that is too large stays so.
    hopeless = isinstance(error, QuotaExceeded) and error.metadata.get("scope") in ("study", "call")
    if error.retry_after_seconds is not None and not hopeless:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_seconds * 1000))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=STATUS_OF_KIND[error.kind].value[0], message=error.message, details=details)


def from_status(status: status_pb2.Status) -> OncoResponseError:
    """The error that a peer sent; one of our own classes when its ErrorInfo is of this project."""
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return _field_violations(status) or error_for_reason(info.reason, status.message, dict(info.metadata))
    if status.code == code_pb2.DEADLINE_EXCEEDED:
        return DeadlineExceeded("The call did not finish within its deadline. Try again, or allow more time.")
    if status.code == code_pb2.UNAVAILABLE:
        return PeerUnavailable("The service does not answer. Check that it runs and that the address is right.")
    if status.code == code_pb2.UNIMPLEMENTED:
        return ConfigurationError(
            "What answers at this address does not offer the service. Check the address, and which services run there."
        )
    if status.code == code_pb2.CANCELLED:
        return Cancelled("The call was cancelled.")
    if status.code == code_pb2.RESOURCE_EXHAUSTED:
        # gRPC's own: a message too large, or a proxy's limit. A service of ours that is busy says so by its reason.
        return QuotaExceeded("The call is beyond a limit of the service, or of a proxy before it.", scope="call")
    return InternalError(f"The service answered {code_pb2.Code.Name(status.code)}.")


def _field_violations(status: status_pb2.Status) -> FieldViolations | None:
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(bad):
            return FieldViolations((found.field, found.description, found.reason) for found in bad.field_violations)
    return None


def is_answered(error: grpc.RpcError) -> bool:
    """Whether a service of this project said so itself, and not gRPC for want of an answer."""
    return DETAILS_KEY in dict(error.trailing_metadata() or ())


def from_rpc_error(error: grpc.RpcError) -> OncoResponseError:
    """The error inside a failed call, sync or async."""
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if details is not None:
        return from_status(status_pb2.Status.FromString(details))
    return from_status(status_pb2.Status(code=error.code().value[0], message=error.details() or ""))


def intended_error(error: Exception) -> OncoResponseError:
    """Any exception as one of ours.

    What nobody foresaw becomes INTERNAL with a random id. The log gets the id, the type and the lines
    of code, not the exception's own text: texts of libraries may hold what stood in a DICOM file.
    """
    if isinstance(error, OncoResponseError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("The data folder is full. Free space on the server, then send the request again.")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory("The stage ran out of memory. Try again when less is running.")
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("The stage did not finish in time. Try again, or allow more time.")
    if (known := known_database_error(error)) is not None:
        return known
    error_id = uuid.uuid4().hex[:12]
    frames = " < ".join(
        f"{frame.name} ({frame.filename.rsplit('/', 1)[-1]}:{frame.lineno})"
        for frame in reversed(traceback.extract_tb(error.__traceback__))
    )
    _log.error("internal error %s: %s at %s", error_id, type(error).__name__, frames)
    return InternalError(f"The service failed. Its log has the cause under error id {error_id}.", error_id=error_id)


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
