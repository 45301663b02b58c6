"""Rows of the audit record that are moved to a file, so that the database does not grow for ever.

The file has one row a line, oldest first, and the chain goes through it into the database: each line is JSON with
number, event, previous and own hash. A row at the end of the record tells of it, and allows the rows to be missing.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from oncoresponse.access.audit_event import AuditEvent
from oncoresponse.errors import AuditUnavailable, ConfigurationError
from oncoresponse.storage.audit_anchor import canonical_json
from oncoresponse.storage.audit_store import (
    AuditRow,
    AuditStore,
    append_rows,
    archive_remark,
    audit_rows,
    exclude_other_appenders,
    lift_guards,
    opened_audit,
    set_guards,
    verify,
)

_DELETE = text("DELETE FROM audit_event WHERE sequence <= :last")


@dataclass(frozen=True)
class Archived:
    """What was moved.

    Attributes:
        count: Rows.
        last: Number of the last one; 0 where there was none to move.
    """

    count: int
    last: int


def archive_rows(
    database_url: str, store: AuditStore, before: datetime.datetime, out: Path, event: AuditEvent
) -> Archived:
    """Move the rows from before a time to a new file. They leave the database when the file is on disk.

    Args:
        database_url: Of the record.
        store: The record, for the row that tells of it.
        before: UTC. Rows up to the first one from then or later are moved.
        out: A file that is not there yet; mode 0600.
        event: Who does it; its remark is filled in.

    Raises:
        ConfigurationError: The chain is broken, or the file is there or cannot be written.
        AuditUnavailable: The database does not answer.
    """
    fault = verify(audit_rows(database_url)).fault
    if fault:
        raise ConfigurationError(
            f"The chain of the audit record is broken ({fault}), so nothing is archived: an archive would hide it. "
            "Keep the database as it is and find out who changed it."
        )
    rows = _before(audit_rows(database_url), before)
    count, last = 0, None
    try:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            for row in rows:
                values = {
                    "sequence": row.sequence,
                    "event": row.event,
                    "previous_hash": row.previous_hash,
                    "own_hash": row.own_hash,
                }
                stream.write(canonical_json(values) + "\n")
                count, last = count + 1, row
            stream.flush()
            os.fsync(stream.fileno())
        folder = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigurationError(
            "The archive cannot be written; nothing was removed. Give a new file in a folder that is yours."
        ) from error
    if last is None:
        out.unlink()
        return Archived(0, 0)
    _remove(
        database_url, last.sequence, store.text_of(replace(event, remark=archive_remark(last.sequence, last.own_hash)))
    )
    return Archived(count, last.sequence)


def archived_rows(files: Iterable[Path]) -> Iterator[AuditRow]:
    """Rows of archives, in the order of the files.

    Raises:
        ConfigurationError: One cannot be read.
    """
    for path in files:
        try:
            with path.open(encoding="utf-8") as stream:
                for line in stream:
                    values = json.loads(line)
                    yield AuditRow(
                        int(values["sequence"]),
                        str(values["event"]),
                        str(values["previous_hash"]),
                        str(values["own_hash"]),
                    )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError("An archive of the audit record cannot be read, or is none.") from error


def _before(rows: Iterator[AuditRow], when: datetime.datetime) -> Iterator[AuditRow]:
    for row in rows:
        if datetime.datetime.fromisoformat(row.values["time"]) >= when:
            return
        yield row


def _remove(database_url: str, last: int, event: str) -> None:
    engine = opened_audit(database_url)
    try:
        with engine.connect() as connection:
            exclude_other_appenders(connection)
            append_rows(connection, [event])
            lift_guards(connection)
            connection.execute(_DELETE, {"last": last})
            set_guards(connection)
            connection.commit()
    except SQLAlchemyError as error:
        raise AuditUnavailable(
            "The audit record cannot be written. The archive is written, and nothing was removed: try again with "
            "another file."
        ) from error
    finally:
        engine.dispose()
