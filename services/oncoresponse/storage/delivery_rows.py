"""The rows of deliveries: as data, and how they are written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from sqlalchemy import RowMapping, text
from sqlalchemy.engine import Connection

from oncoresponse.case.artifact_names import REJECTION_NOTE
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.storage.worker_store import now_ms

_NAMESPACE = uuid.UUID("6f7a3c52-6a52-5b5f-8c5e-0f0f6f1d9c11")
_COUNT = (
    "INSERT INTO delivery_count (destination, last) VALUES (:destination, 1) "
    "ON CONFLICT (destination) DO UPDATE SET last = delivery_count.last + 1"
)
_NUMBER = (
    "UPDATE delivery SET number = (SELECT last FROM delivery_count WHERE destination = :destination) "
    "WHERE delivery = :delivery"
)
SUPERSEDED = "SUPERSEDED"
"""Reason of a delivery that was dropped because its report was withdrawn."""


class DeliveryState(StrEnum):
    """State of a delivery; see ``DeliveryState`` of the protos."""

    WAITING = "waiting"
    HELD = "held"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    DROPPED = "dropped"


class DeliveryEvent(StrEnum):
    """What a delivery tells."""

    COMPLETED = "completed"
    SIGNED = "signed"
    AMENDED = "amended"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class SentFile:
    """A file of a delivery.

    Attributes:
        name: Key of the artifact.
        sha256, size_bytes, media_type: Of the artifact.
        stored: The destination has taken it.
        committed: The destination has promised to keep it.
        reason: Why it has not, in words.
    """

    name: str
    sha256: str
    size_bytes: int
    media_type: str
    stored: bool = False
    committed: bool = False
    reason: str = ""


@dataclass(frozen=True)
class StoredDelivery:
    """A row. Times are milliseconds since 1970, 0 for none. ``tried`` is 1 where something may have arrived; ``number``
    says which of its destination it is, from 1, and is 0 for those of an earlier release."""

    delivery: str
    assessment: str
    report_version: int
    destination: str
    event: DeliveryEvent
    state: DeliveryState
    attempts: int
    tried: int
    create_time_ms: int
    next_time_ms: int
    end_time_ms: int
    lease_token: str
    lease_end_ms: int
    reason: str
    message: str
    files: tuple[SentFile, ...]
    receipt: Mapping[str, str]
    number: int = 0


def insert_delivery(
    connection: Connection,
    assessment: str,
    version: int,
    destination: str,
    event: DeliveryEvent,
    artifacts: Mapping[str, StoredArtifact],
    state: DeliveryState = DeliveryState.WAITING,
) -> None:
    """Write a row where there is none of this assessment, version and destination."""
    now = database_time_ms(connection)
    # Archives refuse a note about objects that they do not hold yet.
    in_order = sorted(artifacts.items(), key=lambda item: (item[0] == REJECTION_NOTE, item[0]))
    files = [SentFile(name, each.sha256, each.size_bytes, each.media_type) for name, each in in_order]
    dropped = state is DeliveryState.DROPPED
    row = {
        "delivery": str(uuid.uuid5(_NAMESPACE, f"{assessment}\n{version}\n{destination}")),
        "assessment": assessment,
        "report_version": version,
        "destination": destination,
        "event": event.value,
        "state": state.value,
        "attempts": 0,
        "tried": 0,
        "create_time_ms": now,
        "next_time_ms": now,
        "end_time_ms": now if dropped else 0,
        "lease_token": "",
        "lease_end_ms": 0,
        "reason": SUPERSEDED if dropped else "",
        "message": "",
        "files": _files_json(files),
        "receipt": "{}",
    }
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    statement = f"INSERT INTO delivery ({names}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608 - own names
    if connection.execute(text(statement), row).rowcount == 1:
        counted = {"destination": destination, "delivery": row["delivery"]}
        connection.execute(text(_COUNT), counted)
        connection.execute(text(_NUMBER), counted)


def update_delivery(connection: Connection, seen: StoredDelivery, **changes: object) -> bool:
    """Change a row that still is as it was seen; whether it was."""
    values = {name: getattr(value, "value", value) for name, value in changes.items()}
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    statement = (
        f"UPDATE delivery SET {assignments} WHERE delivery = :seen "  # noqa: S608 - own names
        "AND state IN (:seen_state, :seen_or) AND attempts = :seen_attempts AND lease_token = :seen_token"
    )
    values |= {
        "seen": seen.delivery,
        # A row that is shown as held waits, or is held by what came of its last attempt.
        "seen_state": (DeliveryState.WAITING if seen.state is DeliveryState.HELD else seen.state).value,
        "seen_or": seen.state.value,
        "seen_attempts": seen.attempts,
        "seen_token": seen.lease_token,
    }
    return connection.execute(text(statement), values).rowcount == 1


def changed_columns(before: StoredDelivery, after: StoredDelivery) -> dict[str, object]:
    """The columns that differ."""
    changes: dict[str, object] = {name: value for name, value in vars(after).items() if value != getattr(before, name)}
    if "files" in changes:
        changes["files"] = _files_json(after.files)
    if "receipt" in changes:
        changes["receipt"] = json.dumps(dict(after.receipt), sort_keys=True)
    return changes


def settled_file(file: SentFile, tried: SentFile | None) -> SentFile:
    """A file after an attempt; as it was where it was not tried."""
    if tried is None:
        return file
    return replace(file, stored=tried.stored, committed=tried.committed, reason=tried.reason)


def delivery_of_row(row: RowMapping) -> StoredDelivery:
    """A row as data; ``is_held``, where it was asked for, makes one that waits one that is held."""
    fields = {name: row[name] for name in StoredDelivery.__dataclass_fields__}
    state = DeliveryState(fields["state"])
    held = state is DeliveryState.WAITING and bool(row.get("is_held", False))
    return StoredDelivery(
        **{
            **fields,
            "event": DeliveryEvent(fields["event"]),
            "state": DeliveryState.HELD if held else state,
            "files": tuple(SentFile(**each) for each in json.loads(fields["files"])),
            "receipt": json.loads(fields["receipt"]),
        }
    )


def _files_json(files: Collection[SentFile]) -> str:
    return json.dumps([asdict(file) for file in files])


def database_time_ms(connection: Connection) -> int:
    """The time by the clock of the database."""
    return int(connection.execute(text(f"SELECT {now_ms(connection)}")).scalar_one())
