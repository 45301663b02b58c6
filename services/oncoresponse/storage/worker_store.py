"""The table of the processes that run assessments: who lives, under which fencing token, and since when it is silent.

Times are those of the database's clock, and nobody compares them with a clock of its own: what counts is whether they
change. Each statement that changes a row names the epoch (and, where it judges, the beat) that it saw, so that of two
processes that try the same, one succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine

from oncoresponse.storage.database_engine import migrate_database

AREA = "workers"
"""Of the schema, see :mod:`~oncoresponse.storage.schema_migrations`."""

_NOW_MS = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
_COLUMNS = "executor_id, epoch, living, beat_ms, beat_seconds, place"


@dataclass(frozen=True)
class Worker:
    """A row.

    Attributes:
        executor_id: Name of the worker.
        epoch: Fencing token; grows at each start and when the worker is declared lost.
        living: Nobody has declared it lost since its start.
        beat_ms: Time of the last sign of life, milliseconds since 1970 by the clock of the database.
        beat_seconds: How often it means to give one.
        place: Which folder holds the lock of the process, see :mod:`~oncoresponse.storage.process_lock`.
    """

    executor_id: str
    epoch: int
    living: bool
    beat_ms: int
    beat_seconds: float
    place: str


def prepare_workers(engine: Engine) -> None:
    """Make the table where there is none.

    Raises:
        SchemaTooNew: A newer release has written it.
    """
    migrate_database(engine, AREA)


def workers(connection: Connection) -> list[Worker]:
    """All of them, those that are lost too."""
    rows = connection.execute(text(f"SELECT {_COLUMNS} FROM worker ORDER BY executor_id"))  # noqa: S608
    return [Worker(**{**row, "living": bool(row["living"])}) for row in rows.mappings()]


def worker(connection: Connection, executor_id: str) -> Worker | None:
    """The one of this name; ``None`` where there was never one."""
    return next((each for each in workers(connection) if each.executor_id == executor_id), None)


def join(connection: Connection, executor_id: str, place: str, beat_seconds: float, seen: Worker | None) -> int | None:
    """Begin a new epoch of a worker.

    Args:
        connection: The caller commits.
        executor_id: Its name.
        place: Where it holds its lock.
        beat_seconds: How often it will call :func:`beat`.
        seen: The row as the caller read it and found that nobody else is behind it; ``None`` where there was none.

    Returns:
        The new epoch; ``None`` when the row has changed since, so that it has to be looked at anew.
    """
    values = {"id": executor_id, "place": place, "seconds": beat_seconds}
    if seen is None:
        insert = (
            f"INSERT INTO worker ({_COLUMNS}) VALUES (:id, 1, 1, {now_ms(connection)}, :seconds, :place) "  # noqa: S608
            "ON CONFLICT (executor_id) DO NOTHING"
        )
        return 1 if _changed_one(connection, insert, values) else None
    update = (
        f"UPDATE worker SET epoch = epoch + 1, living = 1, beat_ms = {now_ms(connection)}, "  # noqa: S608
        "beat_seconds = :seconds, place = :place WHERE executor_id = :id AND epoch = :epoch AND beat_ms = :beat"
    )
    values |= {"epoch": seen.epoch, "beat": seen.beat_ms}
    return seen.epoch + 1 if _changed_one(connection, update, values) else None


def beat(connection: Connection, executor_id: str, epoch: int) -> bool:
    """Give a sign of life.

    Returns:
        Whether the worker still is who it was; if not, it was declared lost, or another process has its name.
    """
    update = f"UPDATE worker SET beat_ms = {now_ms(connection)} WHERE executor_id = :id AND epoch = :epoch"  # noqa: S608
    return _changed_one(connection, update, {"id": executor_id, "epoch": epoch})


def declare_lost(connection: Connection, seen: Worker) -> bool:
    """Take the epoch from a worker, and keep it from beginning a new one until the caller commits.

    Args:
        connection: The caller commits.
        seen: The row as the caller judged it; a worker that was declared lost before keeps its epoch.

    Returns:
        Whether it still was as seen, so that the caller is the one who takes over.
    """
    update = (
        "UPDATE worker SET epoch = epoch + living, living = 0 "
        "WHERE executor_id = :id AND epoch = :epoch AND beat_ms = :beat"
    )
    return _changed_one(connection, update, {"id": seen.executor_id, "epoch": seen.epoch, "beat": seen.beat_ms})


def now_ms(connection: Connection) -> str:
    """SQL for the time by the clock of the database, milliseconds since 1970."""
    return _NOW_MS[connection.dialect.name]


def _changed_one(connection: Connection, statement: str, values: dict[str, Any]) -> bool:
    return connection.execute(text(statement), values).rowcount == 1
