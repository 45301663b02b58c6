"""Finished runs expire: what the workflow engine keeps of them, inputs and steps included, is deleted after a while.

What an assessment ended with is kept beside the chart first, in the same transaction, so that nobody who asks for an
assessment, lists it or fetches its files sees a difference.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine

from oncoresponse.storage.database_engine import exclude_other_writers
from oncoresponse.storage.database_errors import known_database_error
from oncoresponse.storage.result_store import KeptResult, keep_result_within
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import assessment_of
from oncoresponse.workflow.assessment_workflow import WORKFLOW_NAME
from oncoresponse.workflow.run_removal import RECORDING_SUFFIX, SCHEMA_ON_POSTGRESQL, remove_runs_within
from oncoresponse.workflow.run_states import UNFINISHED, RunState, runs_within, with_engine_tables

_RUNS_AT_ONCE = 100
_INTERVAL_SECONDS = 3600.0
_DAY_MILLISECONDS = 24 * 3600 * 1000

_log = logging.getLogger(__name__)


async def expire_regularly(engine: Engine, retention_days: int) -> None:
    """Once an hour, beginning now; runs until it is cancelled.

    Args:
        engine: The workflow database, with the tables of the chart.
        retention_days: Age of the end of a run from which on it expires; 0 for never.
    """
    while retention_days:
        before_ms = int(time.time() * 1000) - retention_days * _DAY_MILLISECONDS
        try:
            while await asyncio.to_thread(expire_runs, engine, before_ms) == _RUNS_AT_ONCE:
                pass
        except Exception as error:
            if known_database_error(error) is None:
                # Wrong in one row or in this code; the service goes on, and an administrator has to know.
                _log.exception("finished assessments did not expire")
        await asyncio.sleep(_INTERVAL_SECONDS)


def expire_runs(engine: Engine, ended_before_ms: int, limit: int = _RUNS_AT_ONCE) -> int:
    """Expire the runs of assessments that ended before a time (milliseconds since 1970, UTC), in one transaction.

    An assessment whose prediction is still to be recorded for monitoring stays until that has ended too.

    Args:
        engine: The workflow database, with the tables of the chart.
        ended_before_ms: Later ones stay.
        limit: At most this many.

    Returns:
        How many assessments expired.
    """
    with with_engine_tables(engine).connect() as connection:
        exclude_other_writers(connection)
        schema = f"{SCHEMA_ON_POSTGRESQL}." if connection.dialect.name == "postgresql" else ""
        unfinished = ", ".join(f"'{each}'" for each in UNFINISHED)
        rows = connection.execute(
            text(
                f"SELECT workflow_uuid FROM {schema}workflow_status AS run "  # noqa: S608 - constants of this package
                f"WHERE name = :name AND status NOT IN ({unfinished}) AND completed_at < :before "
                f"AND NOT EXISTS (SELECT 1 FROM {schema}workflow_status AS recording WHERE "
                f"recording.workflow_uuid = run.workflow_uuid || :suffix AND recording.status IN ({unfinished})) "
                "ORDER BY completed_at LIMIT :limit"
            ),
            {"name": WORKFLOW_NAME, "before": ended_before_ms, "suffix": RECORDING_SUFFIX, "limit": limit},
        )
        expired = [str(row[0]) for row in rows]
        if not expired:
            return 0
        for run in runs_within(connection, expired).values():
            _keep(connection, run)
        remove_runs_within(connection, expired)
        connection.commit()
    _log.info("%d finished assessments expired from the workflow database", len(expired))
    return len(expired)


def _keep(connection: Connection, run: RunState) -> None:
    message = assessment_of(run)
    # Of the run itself, not of what the message says: a row that cannot be read has no create time.
    row = {
        "assessment": run.assessment,
        "create_time_ms": run.create_time_ms,
        "study": run.attributes.get("study", ""),
        "model": run.attributes.get("model", ""),
        "tenant": run.attributes.get("tenant", ""),
        "state": message.state,
    }
    connection.execute(
        text(
            "INSERT INTO chart_assessment "
            "(assessment, create_time_ms, study, model, state, patient_known, study_date, tenant) "
            "VALUES (:assessment, :create_time_ms, :study, :model, 0, 0, '', :tenant) ON CONFLICT DO NOTHING"
        ),
        row,
    )
    connection.execute(text("UPDATE chart_assessment SET state = :state WHERE assessment = :assessment"), row)
    text_of_message = json.dumps(MessageToDict(message, preserving_proto_field_name=True), separators=(",", ":"))
    kept = KeptResult(run.assessment, text_of_message, run.attributes.get("request_sha256", ""))
    keep_result_within(connection, kept)


def assessment_of_kept(kept: KeptResult) -> assessment_pb2.Assessment:
    """The message that was kept; what cannot be read is as an unreadable record of a run."""
    try:
        return ParseDict(json.loads(kept.message), assessment_pb2.Assessment(), ignore_unknown_fields=True)
    except (ParseError, ValueError, RecursionError):
        return assessment_of(RunState(kept.assessment, "ERROR", 0, end_time_ms=1, unread=True))
