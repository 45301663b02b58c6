"""Errors as HTTP answers: problem details (RFC 9457) with the stable reason code."""

from __future__ import annotations

import json
import math

import grpc
from starlette.responses import Response

from oncoresponse.errors import Busy, ErrorKind, OncoResponseError, ResourceGone
from oncoresponse.rpc.status import FieldViolations, from_rpc_error, intended_error

STATUS_OF_KIND = {
    ErrorKind.INVALID_INPUT: 400,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.ALREADY_EXISTS: 409,
    ErrorKind.WRONG_STATE: 409,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.DATA_DAMAGED: 422,
    ErrorKind.EXHAUSTED: 429,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.DEADLINE: 504,
    ErrorKind.CANCELLED: 503,
    ErrorKind.INTERNAL: 500,
    ErrorKind.ABORTED: 409,
}
"""The HTTP status of each kind of error."""

_STATUS_OF_REASON = {"DISK_FULL": 507, "QUOTA_EXCEEDED": 413, Busy.reason: 503, ResourceGone.reason: 410}
# RFC 9110 section 15, the ones that are sent here.
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
}
_RETRY_SECONDS = 5


class Refusal(Exception):
    """An error that has an HTTP status of its own, more exact than that of its kind.

    Args:
        status: HTTP status.
        error: What is wrong.
        headers: Of the answer.
    """

    def __init__(self, status: int, error: OncoResponseError, headers: dict[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status, self.error, self.headers = status, error, headers or {}


def error_behind(error: Exception) -> OncoResponseError:
    """What an exception of a handler means; what nobody foresaw goes to the log, without its text."""
    if isinstance(error, Refusal):
        return error.error
    return from_rpc_error(error) if isinstance(error, grpc.RpcError) else intended_error(error)


def http_status(error: OncoResponseError) -> int:
    """The status of an error."""
    return _STATUS_OF_REASON.get(error.reason, STATUS_OF_KIND[error.kind])


def answer_of(error: Exception) -> tuple[OncoResponseError, int, dict[str, str]]:
    """What an exception of a handler means, with the status and the headers of the answer."""
    meant = error_behind(error)
    status = error.status if isinstance(error, Refusal) else http_status(meant)
    headers = dict(error.headers) if isinstance(error, Refusal) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if meant.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(meant.retry_after_seconds))
    elif status == 503:
        headers["Retry-After"] = str(_RETRY_SECONDS)
    return meant, status, headers


def problem(error: Exception, correlation_id: str) -> Response:
    """The answer that tells an error."""
    meant, status, headers = answer_of(error)
    content: dict[str, object] = {
        "type": f"urn:oncoresponse:error:{meant.reason}",
        "title": _TITLES[status],
        "status": status,
        "detail": meant.message,
        "reason": meant.reason,
        "correlation_id": correlation_id,
    }
    if meant.metadata:
        content["metadata"] = dict(meant.metadata)
    if isinstance(meant, FieldViolations):
        content["violations"] = [{"field": field, "detail": text} for field, text, _ in meant.violations]
    return Response(json.dumps(content), status, headers, media_type="application/problem+json")
