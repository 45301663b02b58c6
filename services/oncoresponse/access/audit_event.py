"""One line of the audit record: who did what to whose data, when, from where, and how it ended."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from oncoresponse.access.caller import Caller
from oncoresponse.case.study_index import IndexedPatient


class AuditAction(StrEnum):
    """What was done, in the letters of FHIR AuditEvent.action (https://hl7.org/fhir/R4/valueset-audit-event-action.html)."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


@dataclass(frozen=True)
class AuditEvent:
    """What happened.

    Attributes:
        time: When, UTC.
        caller: Who.
        address: From where: IP address or ``unix``; empty where it is not known.
        action: What kind of thing was done.
        operation: What exactly: the full name of an RPC (``oncoresponse.v1.StudyService/GetStudy``), or of a command.
        outcome: ``OK``, or the reason code of the error.
        correlation_id: Of the call, through stages and logs.
        objects: Resource names that were touched, such as ``assessments/...``; no patient data.
        patients: Whose data. The record keeps a keyed digest of each, never the identifier itself.
        emergency_reason: What the caller gave as reason for reading what is closed to it; empty for a usual call.
        remark: What else is to be kept, such as a digest of a settings change; no patient data.
    """

    time: datetime.datetime
    caller: Caller
    address: str
    action: AuditAction
    operation: str
    outcome: str
    correlation_id: str
    objects: tuple[str, ...] = ()
    patients: tuple[IndexedPatient, ...] = field(default=(), repr=False)
    emergency_reason: str = ""
    remark: str = ""


class AuditSink(Protocol):
    """Where events are kept. Blocks; any thread may call it."""

    def record(self, event: AuditEvent) -> None:
        """Keep an event; it is durable when this returns.

        Raises:
            AuditUnavailable: It cannot be kept. What the caller asked for is not handed out then.
        """
