"""What another version of the service left in the workflow database, put in order before the engine starts.

The engine takes up only runs of its own version, so after an upgrade all others would wait for ever. Therefore:

- an assessment that waits and was never begun is done by this version: its request is a message of the public API;
- one that was begun begins anew with its first stage, so that its report is of one version throughout; where its result
  had been put together already, some of it may have gone out, and it ends with ``ENDED_BY_UPGRADE``;
- the hand-over of a prediction to monitoring, which may be repeated safely, begins anew;
- what is finished stays, and its pickles (release 0.1.0) become JSON.

Begun runs of another worker are left to that worker for as long as it lives, so that for the time of an upgrade workers
of two versions may run on one database: the later one takes what waits, and what a worker that was stopped or lost had
begun; the earlier one finishes what it has begun. What a later release created is never touched: this code may not be
able to read it.

The tables are the engine's. Nothing in its API does this under the same assessment name, and pyproject.toml bounds its
version.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy import MetaData, Table, select, text
from sqlalchemy.engine import Connection, Engine

from oncoresponse.errors import EndedByUpgrade, OncoResponseError, RecordUnreadable
from oncoresponse.storage.database_engine import exclude_other_writers
from oncoresponse.storage.schema_migrations import release_number
from oncoresponse.storage.worker_store import workers
from oncoresponse.workflow import assessment_workflow, recording_workflow
from oncoresponse.workflow.plain_pickles import plain_value
from oncoresponse.workflow.run_removal import SCHEMA_ON_POSTGRESQL
from oncoresponse.workflow.stored_json import NAME, PICKLED, StoredJson
from oncoresponse.workflow.worker_takeover import LOCK_WAIT_MS, engine_runs

UNREAD = RecordUnreadable(
    "What the workflow database held of this assessment is not plain data and was not read. Create the assessment "
    "again, with a new request_id."
)
"""What is said of an assessment whose values are not plain data."""

_STATUS = "workflow_status"
# Columns that hold values; those of the second kind take their serializer's name from the run's row in workflow_status.
_VALUES = {
    "operation_outputs": ("output", "error"),
    "workflow_events": ("value",),
    "workflow_events_history": ("value",),
    "streams": ("value",),
    "notifications": ("message",),
    _STATUS: ("inputs", "output", "error"),
}
_VALUES_OF_RUNS = {"workflow_input": ("inputs",), "workflow_output": ("output", "error")}
_UNFINISHED = ("PENDING", "ENQUEUED", "DELAYED")
# Steps after which something may have been delivered, indexed or recorded.
_PUT_TOGETHER = {"collect"}
# As the engine's own recovery gives a run back to its queue (worker_takeover.requeue), with starts counted anew.
_ANEW = {"status": "ENQUEUED", "owner_xid": None, "started_at_epoch_ms": None, "recovery_attempts": 0}
_JSON = StoredJson()
_log = logging.getLogger(__name__)


@dataclass
class Settled:
    """What was done.

    Attributes:
        adopted: Assessments that waited and are done by this version.
        anew: Assessments that were begun and begin anew.
        ended: Assessments that were ended.
        restarted: Hand-overs to monitoring that begin anew.
        left_to: Begun runs of other workers, number by worker.
        later: Runs of a later release.
        unreadable: Runs with a value that is not plain data.
    """

    adopted: int = 0
    anew: int = 0
    ended: int = 0
    restarted: int = 0
    left_to: dict[str, int] = field(default_factory=dict)
    later: int = 0
    unreadable: set[str] = field(default_factory=set)


def settle_earlier_versions(engine: Engine, executor_id: str, version: str, *, of_the_lost: bool = False) -> Settled:
    """Convert pickles, then adopt, begin anew or end the runs of every earlier version than ``version``.

    Args:
        engine: The workflow database; one whose tables are not all there is left as it is: it is new, or another
            worker is making it at this moment, so it holds no run.
        executor_id: The worker that starts here, or that is lost: nobody works on what it began.
        version: Of this code, see :func:`~oncoresponse.workflow.code_version.workflow_version`.
        of_the_lost: Put in order what workers had begun that were declared lost, and leave alone what others have, also
            of releases that gave no signs of life. Without, that of ``executor_id`` is, and no other's.

    Raises:
        sqlalchemy.exc.OperationalError: With ``of_the_lost``, a row is held by a process that was stopped in the middle
            of a transaction.
    """
    settled = Settled()
    with engine.connect() as connection:
        if of_the_lost and connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
        exclude_other_writers(connection)
        tables = _tables(connection)
        if not _is_whole(tables):
            return settled
        _convert_pickles(connection, tables, settled.unreadable)
        lost = {each.executor_id for each in workers(connection) if not each.living} if of_the_lost else set()
        status = tables[_STATUS]
        unfit = status.c.application_version.is_distinct_from(version) | status.c.workflow_uuid.in_(
            sorted(settled.unreadable)
        )
        for run in connection.execute(select(status).where(status.c.status.in_(_UNFINISHED), unfit)).mappings().all():
            worker = run["executor_id"]
            left = worker not in lost if of_the_lost else worker != executor_id
            _settle(connection, tables, run, version, settled, left=left)
        connection.commit()
    if settled.ended or settled.anew or settled.adopted or settled.unreadable:
        _log.warning(
            "of assessments from an earlier version, %d waiting ones are done by this one, %d begun ones begin anew, "
            "%d are ended; %d records were not plain data and were not read",
            *(settled.adopted, settled.anew, settled.ended, len(settled.unreadable)),
        )
    if not of_the_lost:
        for worker, count in sorted(settled.left_to.items()):
            _log.warning(
                "%d runs of %s were begun by another version, and are left to it while it lives", count, worker
            )
        if settled.later:
            _log.warning("%d runs of a later release are left to its workers", settled.later)
    return settled


def has_earlier_runs(connection: Connection, version: str) -> bool:
    """Whether runs of earlier versions are not finished; cheap, and the tables have to be there."""
    runs = engine_runs(connection).c
    query = select(runs.application_version).distinct().where(runs.status.in_(_UNFINISHED))
    found = set(connection.execute(query).scalars())
    return any(each != version and not is_later(each, version) for each in found)


def is_later(version: str | None, than: str) -> bool:
    """Whether a version is of a later release; of the same release none is."""
    return release_number(_release(version)) > release_number(_release(than))


def _settle(
    connection: Connection,
    tables: Mapping[str, Table],
    run: Mapping[Any, Any],
    version: str,
    settled: Settled,
    *,
    left: bool,
) -> None:
    status, steps = tables[_STATUS], tables["operation_outputs"]
    run_id = run["workflow_uuid"]
    this = status.c.workflow_uuid == run_id
    if run_id in settled.unreadable:
        return _end(connection, tables, run_id, UNREAD, settled)
    if is_later(run["application_version"], version):
        settled.later += 1
        return None
    if run["status"] == "PENDING" and left:
        settled.left_to[run["executor_id"]] = settled.left_to.get(run["executor_id"], 0) + 1
        return None
    # A worker of the earlier version may take it at this moment: then it is that one's.
    unchanged = (
        this,
        status.c.status == run["status"],
        status.c.executor_id.is_not_distinct_from(run["executor_id"]),
        status.c.owner_xid.is_not_distinct_from(run["owner_xid"]),
    )

    def take(**more: Any) -> bool:
        taken = connection.execute(status.update().where(*unchanged).values(application_version=version, **more))
        if taken.rowcount:
            # Without its steps the run begins anew.
            connection.execute(steps.delete().where(steps.c.workflow_uuid == run_id))
        return bool(taken.rowcount)

    if run["name"] == recording_workflow.WORKFLOW_NAME:
        # The engine itself takes up what is of its version.
        settled.restarted += take()
        return None
    done = set(connection.execute(select(steps.c.function_name).where(steps.c.workflow_uuid == run_id)).scalars())
    if run["name"] == assessment_workflow.WORKFLOW_NAME and not done & _PUT_TOGETHER:
        begun = run["status"] == "PENDING" or bool(done)
        taken = take(**(_ANEW if begun else {}))
        settled.anew += taken and begun
        settled.adopted += taken and not begun
        return None
    error = EndedByUpgrade(
        "The service was upgraded after this assessment had begun, and one report never comes from two versions. "
        "Create the assessment again, with a new request_id.",
        begun_under=_release(run["application_version"]),
    )
    return _end(connection, tables, run_id, error, settled)


def _end(
    connection: Connection, tables: Mapping[str, Table], run_id: str, error: OncoResponseError, settled: Settled
) -> None:
    now_ms = int(time.time() * 1000)
    status = tables[_STATUS]
    connection.execute(
        status.update()
        .where(status.c.workflow_uuid == run_id)
        .values(
            status="ERROR",
            serialization=NAME,
            owner_xid=None,
            deduplication_id=None,
            updated_at=now_ms,
            completed_at=now_ms,
        )
    )
    outcome = tables["workflow_output"]
    connection.execute(outcome.delete().where(outcome.c.workflow_uuid == run_id))
    connection.execute(
        outcome.insert().values(workflow_uuid=run_id, error=_JSON.serialize(error), retention_timestamp=now_ms)
    )
    settled.ended += 1


def _convert_pickles(connection: Connection, tables: Mapping[str, Table], unreadable: set[str]) -> None:
    """Write every value that is marked as a pickle as JSON; what is not plain data becomes an error, or nothing."""
    status = tables[_STATUS]
    pickled_runs = select(status.c.workflow_uuid).where(status.c.serialization == PICKLED)
    for name, columns in _VALUES_OF_RUNS.items():
        if (table := tables.get(name)) is not None:
            rows = select(table).where(table.c.workflow_uuid.in_(pickled_runs))
            _convert(connection, table, columns, rows, {}, unreadable)
    # The runs' own rows come last: their mark says how the two tables above are written.
    for name, columns in _VALUES.items():
        if (table := tables.get(name)) is not None and "serialization" in table.c:
            rows = select(table).where(table.c.serialization == PICKLED)
            _convert(connection, table, columns, rows, {"serialization": NAME}, unreadable)
    # A finished run is one without a result where that could not be read.
    outcome = tables["workflow_output"]
    with_result = select(outcome.c.workflow_uuid).where(outcome.c.output.is_not(None))
    connection.execute(
        status.update()
        .where(
            status.c.workflow_uuid.in_(sorted(unreadable)),
            status.c.status == "SUCCESS",
            status.c.output.is_(None),
            status.c.workflow_uuid.not_in(with_result),
        )
        .values(status="ERROR")
    )


def _convert(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Any,
    mark: Mapping[str, str],
    unreadable: set[str],
) -> None:
    for row in connection.execute(rows).mappings().all():
        values: dict[str, Any] = dict(mark)
        for column in columns:
            if row[column] is None:
                continue
            try:
                values[column] = _JSON.serialize(plain_value(row[column]))
            except (RecordUnreadable, TypeError, ValueError):
                values |= _REPLACED[column]
                # An exception was always a pickle with a class in it; its class is lost, and nothing is wrong with it.
                if column != "error":
                    unreadable.add(row.get("workflow_uuid") or row["destination_uuid"])
        this = [each == row[each.name] for each in table.primary_key]
        connection.execute(table.update().where(*this).values(values))


def _tables(connection: Connection) -> dict[str, Table]:
    schema = SCHEMA_ON_POSTGRESQL if connection.dialect.name == "postgresql" else None
    names = {*_VALUES, *_VALUES_OF_RUNS}
    here = names & set(sqlalchemy.inspect(connection).get_table_names(schema=schema))
    metadata = MetaData()
    return {name: Table(name, metadata, schema=schema, autoload_with=connection) for name in sorted(here)}


def _is_whole(tables: Mapping[str, Table]) -> bool:
    """Whether the engine has made all tables and columns that runs are read from; it makes them one after another."""
    if not {_STATUS, "operation_outputs", "workflow_output"} <= set(tables):
        return False
    return {"application_version", "serialization"} <= set(tables[_STATUS].c.keys())


def _release(version: str | None) -> str:
    return (version or "unknown").partition("+")[0]


_REPLACED: Mapping[str, Mapping[str, Any]] = {
    "inputs": {"inputs": None},
    "output": {"output": None, "error": _JSON.serialize(UNREAD)},
    "error": {"error": _JSON.serialize(Exception())},
    "value": {"value": json.dumps(None)},
    "message": {"message": json.dumps(None)},
}
