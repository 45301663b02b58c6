"""The audit record in a database: append-only, each row chained to the one before by SHA-256.

A row is a sequence number, the event as canonical JSON (the form of RFC 8785 for texts and whole numbers), the hash of
the row before, and its own. A patient stands in it as a keyed digest, so that the record can be searched by who knows
the Patient ID and survives the erasure of the patient.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from oncoresponse.access.audit_event import AuditEvent
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import AuditUnavailable, ConfigurationError
from oncoresponse.storage.audit_anchor import AuditAnchor, anchored_rows, canonical_json
from oncoresponse.storage.database_engine import database_engine, migrate_database

BEFORE_THE_FIRST = "0" * 64
"""What stands as previous hash in the first row."""

# "audt" in ASCII; another number than that of the migrations, which must not wait for it.
_LOCK = 0x61756474
_KEY_BYTES = 32
_ANCHOR_EVENTS = 100
_ANCHOR_SECONDS = 60.0
_PAGE = 1000
_SQLITE_WAIT_MILLISECONDS = 5000

_SQLITE_GUARDS = (
    "CREATE TRIGGER IF NOT EXISTS audit_event_no_update BEFORE UPDATE ON audit_event "
    "BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS audit_event_no_delete BEFORE DELETE ON audit_event "
    "BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END",
    # INSERT OR REPLACE deletes without asking the trigger above.
    "CREATE TRIGGER IF NOT EXISTS audit_event_no_replace BEFORE INSERT ON audit_event "
    "WHEN EXISTS (SELECT 1 FROM audit_event WHERE sequence = NEW.sequence) "
    "BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END",
)
_POSTGRESQL_GUARDS = (
    "CREATE OR REPLACE FUNCTION audit_event_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit record is append-only'; END $$",
    "CREATE OR REPLACE TRIGGER audit_event_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_event_append_only()",
)
_LAST = text("SELECT sequence, own_hash FROM audit_event ORDER BY sequence DESC LIMIT 1")
_INSERT = text(
    "INSERT INTO audit_event (sequence, event, previous_hash, own_hash) VALUES (:sequence, :event, :previous, :own)"
)
_READ = text(
    "SELECT sequence, event, previous_hash, own_hash FROM audit_event WHERE sequence > :after "
    "ORDER BY sequence LIMIT :page"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditRow:
    """One row as it is stored."""

    sequence: int
    event: str
    previous_hash: str
    own_hash: str

    @property
    def values(self) -> dict[str, Any]:
        """The event."""
        return dict(json.loads(self.event))


@dataclass(frozen=True)
class Verification:
    """What a walk along the chain found.

    Attributes:
        count: Rows that were walked, up to the first fault.
        first_time, last_time: Of those rows, ISO 8601; empty where there is none.
        fault: The first broken link in words; empty where the chain is whole.
    """

    count: int
    first_time: str
    last_time: str
    fault: str


class PatientDigests:
    """Keyed digests (HMAC-SHA-256) of patients; the key is a secret of the installation.

    Args:
        key_file: Made with mode 0600 where there is none. Who has it can test whether a Patient ID is in the record.
        make: Whether one may be made. Another key than that of the record would find nobody.

    Raises:
        ConfigurationError: There is no key and none may be made, or it is damaged.
    """

    def __init__(self, key_file: Path, *, make: bool = True) -> None:
        if not make and not key_file.is_file():
            raise ConfigurationError(
                "The key of the audit record (secrets/audit.key) is not here. Run the command on the host of the "
                "server, with its data folder, or restore the key from a backup."
            )
        self._key = _secret(key_file)

    def of(self, patient: IndexedPatient) -> tuple[str, str]:
        """Digest of the Patient ID alone, and together with its issuer. Padding of DICOM does not count."""
        patient_id, issuer = (each.strip(" \0") for each in (patient.patient_id, patient.issuer_of_patient_id))
        return self._digest([patient_id]), self._digest([issuer, patient_id])

    def of_name(self, name: str) -> str:
        """Digest of the name of a study, an assessment or an order."""
        return self._digest(["", "", name])

    @property
    def key_name(self) -> str:
        """Tells whether two digests were made with the same key."""
        return self._digest([])

    def _digest(self, parts: list[str]) -> str:
        return hmac.new(self._key, canonical_json(parts).encode(), hashlib.sha256).hexdigest()


class _Waiting:
    def __init__(self, event: str) -> None:
        self.event = event
        self.done = False
        self.error: Exception | None = None


class AuditStore:
    """Keeps events (:class:`oncoresponse.access.audit_event.AuditSink`). Any thread and several processes may append.

    Those who wait while a transaction is under way share the next one.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``.
        digests: Of patients.
        anchors: Get number and hash of the newest row now and then.

    Raises:
        AuditUnavailable: The database cannot be opened.
    """

    def __init__(self, database_url: str, digests: PatientDigests, anchors: Sequence[AuditAnchor] = ()) -> None:
        self._engine = opened_audit(database_url)
        self._digests = digests
        self._anchors = anchors
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._writing = threading.Lock()
        self._head: tuple[int, str] | None = None
        self._anchored = (0, time.monotonic())

    def record(self, event: AuditEvent) -> None:
        """Keep an event; it is durable when this returns.

        Raises:
            AuditUnavailable: It cannot be kept.
        """
        waiting = _Waiting(self.text_of(event))
        with self._queue_lock:
            self._queue.append(waiting)
        with self._writing:
            if not waiting.done:
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                self._write(batch)
        if waiting.error is not None:
            raise AuditUnavailable(
                "The audit record cannot be written, so nothing is handed out. Look at its disk or database."
            ) from waiting.error

    def anchor(self) -> None:
        """Tell the anchors of the newest row, unless they know it.

        To be called now and then: where nobody calls a server, no event does it.
        """
        with self._writing:
            self._write_anchor()

    def close(self) -> None:
        """Write the anchor and close the database."""
        self.anchor()
        self._engine.dispose()

    def text_of(self, event: AuditEvent) -> str:
        """The event as it stands in a row."""
        return canonical_json(self._values(event))

    def _values(self, event: AuditEvent) -> dict[str, object]:
        digests = [self._digests.of(patient) for patient in event.patients]
        return {
            "time": event.time.astimezone(datetime.UTC).isoformat(timespec="microseconds"),
            "caller": event.caller.name,
            "caller_roles": sorted(event.caller.roles),
            "identified_by": event.caller.identified_by.value,
            "tenant": event.caller.tenant,
            "address": event.address,
            "action": event.action.value,
            "operation": event.operation,
            "outcome": event.outcome,
            "correlation_id": event.correlation_id,
            "objects": list(event.objects),
            "patients": [{"id": alone, "id_and_issuer": both} for alone, both in digests],
            "emergency_reason": event.emergency_reason,
            "remark": event.remark,
        }

    def _write(self, batch: list[_Waiting]) -> None:
        try:
            with self._engine.connect() as connection:
                exclude_other_appenders(connection)
                head = append_rows(connection, [waiting.event for waiting in batch])
                connection.commit()
            self._head = head
        except (SQLAlchemyError, OSError) as error:
            for waiting in batch:
                waiting.error = error
        finally:
            for waiting in batch:
                waiting.done = True
        anchored, when = self._anchored
        if self._head and (self._head[0] - anchored >= _ANCHOR_EVENTS or time.monotonic() - when >= _ANCHOR_SECONDS):
            self._write_anchor()

    def _write_anchor(self) -> None:
        if self._head is None or self._head[0] == self._anchored[0]:
            return
        sequence, own = self._head
        self._anchored = sequence, time.monotonic()
        for anchor in self._anchors:
            try:
                anchor.keep(sequence, own)
            except OSError:
                _log.warning("an anchor of the audit record cannot be written; row %d is not anchored there", sequence)


def append_rows(connection: Connection, events: Sequence[str]) -> tuple[int, str]:
    """Write rows at the end of the chain, in a transaction that has excluded other appenders.

    Returns:
        Number and hash of the last one.
    """
    last = connection.execute(_LAST).first()
    sequence, previous = (int(last[0]), str(last[1])) if last else (0, BEFORE_THE_FIRST)
    rows = []
    for event in events:
        sequence += 1
        own = row_hash(sequence, previous, event)
        rows.append({"sequence": sequence, "event": event, "previous": previous, "own": own})
        previous = own
    connection.execute(_INSERT, rows)
    return sequence, previous


def audit_rows(database_url: str) -> Iterator[AuditRow]:
    """All rows, oldest first.

    Raises:
        AuditUnavailable: The database cannot be read.
    """
    engine, after = opened_audit(database_url), -(2**62)
    try:
        while True:
            with engine.connect() as connection:
                page = [AuditRow(*row) for row in connection.execute(_READ, {"after": after, "page": _PAGE})]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].sequence
    except SQLAlchemyError as error:
        raise AuditUnavailable("The audit record cannot be read. Look at its disk or database.") from error
    finally:
        engine.dispose()


def verify(rows: Iterator[AuditRow], anchor: Path | None = None) -> Verification:
    """Walk the chain.

    That rows were cut off at the end, or everything was written anew, shows by the anchor alone. Rows that were
    archived are missing at the beginning: a row that tells of it has to follow, with the hash of the last of them.

    Raises:
        ConfigurationError: The anchor cannot be read.
    """
    anchors = anchored_rows(anchor) if anchor is not None else {}
    count, first_time, last_time, previous = 0, "", "", BEFORE_THE_FIRST
    archived: tuple[int, str] | None = None
    sequence = 0

    def found(fault: str) -> Verification:
        return Verification(count, first_time, last_time, fault)

    for row in rows:
        if count == 0 and row.sequence > 1:
            archived = row.sequence - 1, row.previous_hash
            sequence, previous = archived
            anchors = {number: own for number, own in anchors.items() if number > sequence}
        expected = sequence + 1
        if row.sequence != expected:
            word = "was removed" if row.sequence > expected else "has a number that none can have"
            return found(f"row {min(row.sequence, expected)} {word}")
        if row.own_hash != row_hash(row.sequence, row.previous_hash, row.event):
            return found(f"row {row.sequence} was changed")
        if row.previous_hash != previous:
            return found(f"row {row.sequence} does not follow row {row.sequence - 1}: one was replaced or inserted")
        if anchors.pop(row.sequence, row.own_hash) != row.own_hash:
            return found(f"row {row.sequence} is not the one that was anchored")
        if archived is not None and row.values.get("remark") == archive_remark(*archived):
            archived = None
        count, sequence, previous, last_time = count + 1, expected, row.own_hash, _time(row)
        first_time = first_time or last_time
    if archived is not None:
        return found(f"row {archived[0]} was removed, and no row says that it was archived")
    if anchors:
        return found(f"rows after {sequence} were cut off: the anchor knows row {max(anchors)}")
    return found("")


def archive_remark(sequence: int, own_hash: str) -> str:
    """What the row of the record says that tells of an archive: its last row, and the hash of that."""
    return f"archived up to row {sequence}, {own_hash}"


def row_hash(sequence: int, previous: str, event: str) -> str:
    """SHA-256 over number, previous hash and event."""
    return hashlib.sha256(f"{sequence}\n{previous}\n{event}".encode()).hexdigest()


def _time(row: AuditRow) -> str:
    return str(row.values.get("time", ""))


def exclude_other_appenders(connection: Connection) -> None:
    """Until the end of the transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def set_guards(connection: Connection) -> None:
    """Let the database refuse every change but new rows."""
    for statement in _SQLITE_GUARDS if connection.dialect.name == "sqlite" else _POSTGRESQL_GUARDS:
        connection.exec_driver_sql(statement)


def lift_guards(connection: Connection) -> None:
    """The opposite, for the one who has archived rows, until the end of its transaction."""
    if connection.dialect.name == "sqlite":
        for name in ("no_update", "no_delete", "no_replace"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS audit_event_{name}")
    else:
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS audit_event_no_change ON audit_event")


def opened_audit(database_url: str) -> Engine:
    """The database of the record, with its tables and the triggers that refuse changes.

    Raises:
        AuditUnavailable: It cannot be opened.
    """
    engine = database_engine(database_url)
    sqlite = engine.dialect.name == "sqlite"
    try:
        if sqlite:
            if engine.url.database:
                # Its companions (-wal, -shm) take the mode of the file.
                os.close(os.open(engine.url.database, os.O_RDWR | os.O_CREAT, 0o600))

            @sqlalchemy.event.listens_for(engine, "connect")
            def be_durable(connection: sqlite3.Connection, _: object) -> None:
                connection.execute(f"PRAGMA busy_timeout = {_SQLITE_WAIT_MILLISECONDS}")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")

        migrate_database(engine, "audit")
        with engine.connect() as connection:
            exclude_other_appenders(connection)
            set_guards(connection)
            connection.commit()
    except (SQLAlchemyError, OSError) as error:
        raise AuditUnavailable("The audit record cannot be opened. Look at its disk or database.") from error
    return engine


def _secret(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written whole under another name first, so that of two processes that start together one wins with a whole key.
    mine = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    if not path.exists():
        file = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, secrets.token_bytes(_KEY_BYTES))
            os.fsync(file)
        finally:
            os.close(file)
        try:
            os.link(mine, path)
        except FileExistsError:
            pass
        finally:
            mine.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            "The key of the audit record (secrets/audit.key) is damaged. Restore it from a backup."
        )
    return key
