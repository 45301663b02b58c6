"""The base of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

DOMAIN = "oncoresponse"
"""Value of ``google.rpc.ErrorInfo.domain`` on every error this project raises."""


class ErrorKind(StrEnum):
    """What kind of failure it is, without a protocol; tables at the edges turn it into a gRPC, HTTP or DIMSE status."""

    INVALID_INPUT = "invalid input"
    NOT_FOUND = "not found"
    ALREADY_EXISTS = "already exists"
    WRONG_STATE = "wrong state"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    DATA_DAMAGED = "data damaged"
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    ABORTED = "aborted"


class OncoResponseError(Exception):
    """Base of every intended error. Catch it at a boundary, never in the middle of a stage.

    Args:
        message: One or two sentences: what is wrong, then what to do. No patient data.
        **metadata: Short machine-readable facts (a DICOM keyword, a limit, a count). No patient data.
    """

    reason: ClassVar[str]
    kind: ClassVar[ErrorKind]
    retry_after_seconds: float | None = None

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}

    def __reduce__(self) -> tuple[object, ...]:
        # Child processes send errors home by pickle; keyword metadata needs this to survive.
        return _rebuild, (type(self), self.message, dict(self.metadata))


def _rebuild(kind: type[OncoResponseError], message: str, metadata: dict[str, str]) -> OncoResponseError:
    return kind(message, **metadata)
