"""The call that is being answered: who makes it, and what of it the audit record has to name.

It is a context variable, so that it is there in handlers and in the threads that they start (asyncio.to_thread), and
nobody has to hand it down.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import TypeVar

from oncoresponse.access.caller import Caller
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.study_index import IndexedPatient

_T = TypeVar("_T")
_CORRELATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


@dataclass
class Call:
    """One call.

    Attributes:
        caller: Who calls.
        operation: Full name of the RPC, without the leading slash.
        correlation_id: Of this call and all that it causes.
        address: From where.
        emergency_reason: Reason for emergency access (break glass); empty for a usual call.
    """

    caller: Caller
    operation: str
    correlation_id: str
    address: str = ""
    emergency_reason: str = ""
    _objects: dict[str, None] = field(default_factory=dict)
    _patients: dict[IndexedPatient, None] = field(default_factory=dict)

    def concerns(self, *objects: str, patients: Iterable[IndexedPatient] = ()) -> None:
        """Say what the call reads or changes, for the audit record: resource names, and whose data it is."""
        self._objects.update(dict.fromkeys(name for name in objects if name))
        self._patients.update(dict.fromkeys(patients))

    @property
    def objects(self) -> tuple[str, ...]:
        """What :meth:`concerns` was told."""
        return tuple(self._objects)

    @property
    def patients(self) -> tuple[IndexedPatient, ...]:
        """What :meth:`concerns` was told."""
        return tuple(self._patients)

    @property
    def tenant(self) -> str | None:
        """Whose studies may be seen; ``None`` for all: services among themselves, and emergency access."""
        if AccessRole.STAGE in self.caller.roles or self.emergency_reason:
            return None
        return self.caller.tenant


_current: ContextVar[Call] = ContextVar("oncoresponse_call")
_correlation_id: ContextVar[str] = ContextVar("oncoresponse_correlation_id", default="")


def current_call() -> Call:
    """The call that is being answered.

    Raises:
        LookupError: None is: the code runs in no RPC.
    """
    return _current.get()


@contextmanager
def answering(call: Call) -> Iterator[Call]:
    """Make ``call`` the current one, and its correlation id the one of logs and of calls to other services."""
    token = _current.set(call)
    try:
        with correlated(call.correlation_id):
            yield call
    finally:
        _give_back(_current, token)


@contextmanager
def correlated(correlation_id: str) -> Iterator[None]:
    """Work under a correlation id: of a call, or of the assessment that a workflow step belongs to."""
    token = _correlation_id.set(correlation_id)
    try:
        yield
    finally:
        _give_back(_correlation_id, token)


def _give_back(variable: ContextVar[_T], token: Token[_T]) -> None:
    # A stream whose caller went away while an answer was being sent is closed by the event loop, in another context,
    # where there is nothing to give back.
    with suppress(ValueError):
        variable.reset(token)


def current_correlation_id() -> str:
    """Of the work at hand; empty where there is none."""
    return _correlation_id.get()


def accepted_correlation_id(asked: str) -> str:
    """The id that a caller gave, or a new one where it gave none or one that does not fit into a log line."""
    return asked if _CORRELATION_ID.fullmatch(asked) else uuid.uuid4().hex
