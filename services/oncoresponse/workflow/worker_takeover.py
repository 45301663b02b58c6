"""What a lost worker had begun, given back to the queue for the others, and how it is kept from going on with it.

The workflow engine gives each claim of a run a token (``workflow_status.owner_xid``) and checks it in the transaction
that stores a step, an event, a child or the outcome. Taking over clears the token of each run in the transaction that
takes the epoch from the worker. So a worker that was only stopped and comes back can store nothing more of them,
however far its stage has got: its write waits for that transaction, or that transaction for its write.

The number of starts of a run stays, so that a study that ends its worker is not handed round for ever, see
:mod:`~oncoresponse.workflow.assessment_workflow`.

The table is the engine's. What is done here is what its own recovery does at the start of a worker
(``reenqueue_for_recovery``), for which its API has no name; pyproject.toml bounds its version.
"""

from __future__ import annotations

from dataclasses import dataclass

from dbos._utils import INTERNAL_QUEUE_NAME
from sqlalchemy import column, func, literal_column, select, table, text, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.sql.expression import ColumnElement, TableClause

from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.worker_store import Worker, declare_lost, now_ms, prepare_workers, worker
from oncoresponse.workflow import assessment_workflow, recording_workflow

_NAMES = (assessment_workflow.WORKFLOW_NAME, recording_workflow.WORKFLOW_NAME)
# Who waits longer for a row meets a process that was stopped in the middle of a transaction; it is tried again later.
LOCK_WAIT_MS = 1000
# After this PostgreSQL ends the transaction of a process that was stopped in the middle of one.
_IDLE_TRANSACTION_MS = 5000


@dataclass(frozen=True)
class TakenOver:
    """What was given back to the queue: assessments, and predictions that were not recorded yet."""

    assessments: int = 0
    recordings: int = 0


def workers_with_runs(connection: Connection, version: str) -> set[str]:
    """Names of the workers that have begun runs of this version and not ended them."""
    runs = engine_runs(connection)
    begun = select(runs.c.executor_id).distinct().where(runs.c.status == "PENDING", *_ours(runs, version))
    return set(connection.execute(begun).scalars())


def take_over(engine: Engine, seen: Worker, version: str) -> TakenOver | None:
    """Declare a worker lost and give what it had begun back to the queue, in one transaction.

    Args:
        engine: The workflow database.
        seen: The worker, as it was judged.
        version: Of this code; runs of another one stay, see :mod:`~oncoresponse.workflow.earlier_versions`.

    Returns:
        ``None`` where the worker has given a sign of life since, or somebody else has taken over.

    Raises:
        sqlalchemy.exc.OperationalError: A row is held by a process that was stopped in the middle of a transaction;
            PostgreSQL ends that after some seconds.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {_IDLE_TRANSACTION_MS}"))
        if not declare_lost(connection, seen):
            return None
        return requeue(connection, seen.executor_id, version)


def hand_over_worker(database_url: str, executor_id: str, version: str) -> TakenOver:
    """Declare a worker lost because a person says so; one that lives nevertheless ends and starts anew."""
    engine = database_engine(database_url)
    try:
        prepare_workers(engine)
        while True:
            with engine.connect() as connection:
                seen = worker(connection, executor_id)
            if seen is None:
                # It never started since there is the table.
                with engine.begin() as connection:
                    return requeue(connection, executor_id, version)
            if (taken := take_over(engine, seen, version)) is not None:
                return taken
    finally:
        engine.dispose()


def requeue(connection: Connection, executor_id: str, version: str) -> TakenOver:
    """Give the begun runs of a worker back to the queue and clear their tokens. The caller commits."""
    runs = engine_runs(connection)
    given_back = connection.execute(
        update(runs)
        .where(runs.c.executor_id == executor_id, runs.c.status == "PENDING", *_ours(runs, version))
        .values(
            status="ENQUEUED",
            owner_xid=None,
            started_at_epoch_ms=None,
            updated_at=literal_column(now_ms(connection)),
            queue_name=func.coalesce(runs.c.queue_name, INTERNAL_QUEUE_NAME),
        )
        .returning(runs.c.name)
    )
    names = list(given_back.scalars())
    assessments = names.count(assessment_workflow.WORKFLOW_NAME)
    return TakenOver(assessments, len(names) - assessments)


def engine_runs(connection: Connection) -> TableClause:
    """The engine's table of runs, as far as a take-over reads it."""
    names = (
        *("name", "status", "executor_id", "application_version", "owner_xid", "queue_name"),
        *("started_at_epoch_ms", "updated_at"),
    )
    schema = "dbos" if connection.dialect.name == "postgresql" else None
    return table("workflow_status", *(column(name) for name in names), schema=schema)


def _ours(runs: TableClause, version: str) -> tuple[ColumnElement[bool], ...]:
    return (runs.c.application_version == version, runs.c.name.in_(_NAMES))
