"""How runs stand, read from the workflow engine's tables: many of them with one query, and without the engine.

The engine's own lookups read one run at a time where its progress is wanted, wait without end while the database is
away, and fail as a whole where one row of many cannot be read. Only JSON that this service wrote is read here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, MetaData, Table, Text, and_, cast, func, or_, select
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.sql import Select

from oncoresponse.errors import OncoResponseError
from oncoresponse.workflow.assessment_workflow import PROGRESS_EVENT, WORKFLOW_NAME
from oncoresponse.workflow.run_removal import SCHEMA_ON_POSTGRESQL
from oncoresponse.workflow.stored_json import NAME, StoredJson

WAITING = ("ENQUEUED", "DELAYED")
"""States of the engine in which a run was not begun."""
UNFINISHED = (*WAITING, "PENDING")
"""States of the engine that will change."""

# SQLite takes 32,766 values in a statement, PostgreSQL 65,535.
_IDS_AT_ONCE = 5000
_JSON = StoredJson()
_METADATA = MetaData(schema=SCHEMA_ON_POSTGRESQL)


def _table(name: str, *columns: str) -> Table:
    return Table(name, _METADATA, *(Column(each) for each in columns))


_STATUS = _table(
    "workflow_status",
    *("workflow_uuid", "status", "name", "created_at", "updated_at", "completed_at", "attributes"),
    *("queue_name", "serialization", "output", "error"),
)
_OUTPUT = _table("workflow_output", "workflow_uuid", "output", "error")
_EVENTS = _table("workflow_events", "workflow_uuid", "key", "value", "serialization")


@dataclass(frozen=True)
class RunState:
    """A run of the workflow of an assessment.

    Attributes:
        assessment: Identifier.
        status: State in the engine's words.
        create_time_ms: Milliseconds since 1970 (UTC), as the next two.
        update_time_ms: 0 where there is none.
        end_time_ms: 0 where there is none.
        attributes: What was noted of the request when it was created.
        progress: Last stage that it began; ``None`` before the first.
        output: What it gave back; ``None`` where it has not or could not be read.
        error: What ended it.
        unread: Output or error is not what this service writes.
    """

    assessment: str
    status: str
    create_time_ms: int
    update_time_ms: int = 0
    end_time_ms: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    error: OncoResponseError | None = None
    unread: bool = False

    @property
    def is_unfinished(self) -> bool:
        """Whether the state will change."""
        return self.status in UNFINISHED


@dataclass(frozen=True)
class RunMark:
    """What changes whenever the public state of a run does."""

    status: str
    progress: str | None


class RunStates:
    """All methods block; any thread may use them. Errors are those of SQLAlchemy.

    Args:
        engine: The workflow database, see :func:`~oncoresponse.storage.database_engine.database_engine`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = with_engine_tables(engine)

    def of(self, assessments: Collection[str]) -> dict[str, RunState]:
        """The runs of these assessments, by identifier; one statement."""
        with self._engine.connect() as connection:
            return runs_within(connection, assessments)

    def newest(self, limit: int, offset: int) -> list[RunState]:
        """Runs by time of creation, newest first, without progress and output."""
        status = _STATUS.c
        query = (
            select(status.workflow_uuid, status.status, status.created_at, cast(status.attributes, Text))
            .where(status.name == WORKFLOW_NAME)
            .order_by(status.created_at.desc(), status.workflow_uuid)
            .limit(limit)
            .offset(offset)
        )
        with self._engine.connect() as connection:
            return [
                RunState(str(row[0]), str(row[1]), _number(row[2]), attributes=_plain_object(row[3]))
                for row in connection.execute(query)
            ]

    def waiting(self, queue: str) -> int:
        """How many runs wait in a queue of the engine."""
        query = select(func.count()).where(_STATUS.c.queue_name == queue, _STATUS.c.status.in_(WAITING))
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def unfinished(self) -> dict[str, tuple[int, int]]:
        """Of the runs that are not finished, by state in the engine's words: how many, and when the oldest was created
        (milliseconds since 1970)."""
        status = _STATUS.c
        query = (
            select(status.status, func.count(), func.min(status.created_at))
            .where(status.name == WORKFLOW_NAME, status.status.in_(UNFINISHED))
            .group_by(status.status)
        )
        with self._engine.connect() as connection:
            return {str(row[0]): (int(row[1]), _number(row[2])) for row in connection.execute(query)}

    def marks(self, ended_since_ms: int) -> dict[str, RunMark]:
        """Of every run that is at work, and of those that ended at this time or later; one statement of one length."""
        status, events = _STATUS.c, _EVENTS.c
        query = (
            select(status.workflow_uuid, status.status, events.value)
            .select_from(_STATUS.outerjoin(_EVENTS, _is_progress_of_run()))
            .where(status.name == WORKFLOW_NAME, or_(status.status == "PENDING", status.completed_at >= ended_since_ms))
        )
        with self._engine.connect() as connection:
            return {str(row[0]): RunMark(str(row[1]), row[2]) for row in connection.execute(query)}

    def statuses(self, assessments: Collection[str]) -> dict[str, str]:
        """States of these runs in the engine's words, by identifier."""
        found: dict[str, str] = {}
        with self._engine.connect() as connection:
            for some in _batches(assessments):
                query = select(_STATUS.c.workflow_uuid, _STATUS.c.status).where(_STATUS.c.workflow_uuid.in_(some))
                found |= {str(row[0]): str(row[1]) for row in connection.execute(query)}
        return found


def with_engine_tables(engine: Engine) -> Engine:
    """The same connections, in which the tables of the workflow engine are found where they are."""
    place = SCHEMA_ON_POSTGRESQL if engine.dialect.name == "postgresql" else None
    return engine.execution_options(schema_translate_map={SCHEMA_ON_POSTGRESQL: place})


def runs_within(connection: Connection, assessments: Collection[str]) -> dict[str, RunState]:
    """:meth:`RunStates.of` as a part of the caller's transaction, on :func:`with_engine_tables`."""
    found = (
        _run(row)
        for some in _batches(assessments)
        for row in connection.execute(_whole_runs().where(_STATUS.c.workflow_uuid.in_(some)))
    )
    return {run.assessment: run for run in found}


def _whole_runs() -> Select[Any]:
    status, output, events = _STATUS.c, _OUTPUT.c, _EVENTS.c
    return (
        select(
            *(status.workflow_uuid, status.status, status.created_at, status.updated_at, status.completed_at),
            *(cast(status.attributes, Text).label("attributes"), status.serialization),
            func.coalesce(output.output, status.output).label("output"),
            func.coalesce(output.error, status.error).label("error"),
            *(events.value.label("progress"), events.serialization.label("progress_serialization")),
        )
        .select_from(
            _STATUS.outerjoin(_OUTPUT, output.workflow_uuid == status.workflow_uuid).outerjoin(
                _EVENTS, _is_progress_of_run()
            )
        )
        .where(status.name == WORKFLOW_NAME)
    )


def _is_progress_of_run() -> Any:
    return and_(_EVENTS.c.workflow_uuid == _STATUS.c.workflow_uuid, _EVENTS.c.key == PROGRESS_EVENT)


def _run(row: Row[Any]) -> RunState:
    output, output_read = _value(row.output, row.serialization)
    error, error_read = _value(row.error, row.serialization)
    progress, _ = _value(row.progress, row.progress_serialization)
    return RunState(
        assessment=str(row.workflow_uuid),
        status=str(row.status),
        create_time_ms=_number(row.created_at),
        update_time_ms=_number(row.updated_at),
        end_time_ms=_number(row.completed_at),
        attributes=_plain_object(row.attributes),
        progress=progress if isinstance(progress, dict) else None,
        output=output if isinstance(output, dict) else None,
        error=error if isinstance(error, OncoResponseError) else None,
        unread=not output_read or not error_read or not isinstance(output, dict | None),
    )


def _value(text: object, serialization: object) -> tuple[Any, bool]:
    """A value, and whether what stands there could be read."""
    if text is None:
        return None, True
    if not isinstance(text, str) or serialization not in (None, NAME):
        return None, False
    try:
        return _JSON.deserialize(text), True
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, False


def _plain_object(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _number(value: object) -> int:
    # SQLite keeps what it is given, whatever the type of the column.
    return value if isinstance(value, int) else 0


def _batches(ids: Iterable[str]) -> list[list[str]]:
    every = sorted(ids)
    return [every[start : start + _IDS_AT_ONCE] for start in range(0, len(every), _IDS_AT_ONCE)]
