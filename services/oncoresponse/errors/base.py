"""The base of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import grpc

DOMAIN = "oncoresponse"
"""Value of ``google.rpc.ErrorInfo.domain`` on every error this project raises."""


class OncoResponseError(Exception):
    """Base of every intended error. Catch it at a boundary, never in the middle of a stage.

    Args:
        message: One or two sentences: what is wrong, then what to do. No patient data.
        **metadata: Short machine-readable facts (a DICOM keyword, a limit, a count). No patient data.
    """

    reason: ClassVar[str]
    status: ClassVar[grpc.StatusCode]
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
