"""Nothing of a removed run stays in any table of the workflow engine; every other run stays as it was."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import sqlalchemy
from oncoresponse.model.plan import STAGES
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_records import is_finished
from oncoresponse.workflow.run_removal import remove_runs
from sqlalchemy import MetaData, func, insert, select

pytestmark = pytest.mark.slow
# Refer to a run, but are rows of the chart.
CHART = {"chart_assessment", "chart_patient"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """URL and schema of the engine's tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'oncoresponse.sqlite'}", None
    server = request.getfixturevalue("postgresql")
    server.psql("create database removal;")
    return server.get_uri(database="removal"), "dbos"


async def ended(records, data_folder):
    """Identifier of a new assessment that has failed, for want of its study."""
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study="studies/gone", model="models/sts-petct"
    )
    manifest = ArtifactStore((data_folder / "artifacts").as_uri()).put_bytes(b"{}", "application/json")
    name = (await records.create(request, manifest, "0" * 64, tuple(STAGES))).name
    while not is_finished(await records.get(name)):
        await asyncio.sleep(0.02)
    return name.removeprefix("assessments/")


def _mentions(connection, tables, texts):
    return [
        table.name
        for table in tables
        for row in connection.execute(select(table)).all()
        if any(text in str(value) for value in row for text in texts)
    ]


async def test_every_row_of_a_run_and_of_those_it_started_is_gone(tmp_path, launched, database):
    url, schema = database
    folder = tmp_path / "data"
    async with launched(folder, database_url="" if schema is None else url) as records:
        kept, removed = [await ended(records, folder) for _ in range(2)]
    engine = database_engine(url)
    metadata = MetaData()
    metadata.reflect(engine, schema=schema)
    tables = [table for table in metadata.tables.values() if table.name not in CHART]
    status = next(table for table in tables if table.name == "workflow_status")
    names = [f"{removed}-record", "started", "copied", "started-by-started"]
    origins = [{}, {"parent_workflow_id": removed}, {"forked_from": removed}, {"parent_workflow_id": "started"}]
    with engine.begin() as connection:
        row = connection.execute(select(status).where(status.c.workflow_uuid == removed)).mappings().one()
        for name, origin in zip(names, origins, strict=True):
            connection.execute(insert(status), {**row, "workflow_uuid": name, **origin})
        for name in (removed, "started"):
            for table in tables:
                _add_a_row(connection, table, name)
        before = {table.name: connection.scalar(select(func.count()).select_from(table)) for table in tables}
    found = set(_mentions_of(engine, tables, [removed, *names]))
    assert {"workflow_status", "workflow_input", "workflow_output", "operation_outputs", "streams"} <= found
    assert {"workflow_events", "workflow_events_history", "notifications"} <= found
    count = remove_runs(engine, [removed, "never-there"])
    assert _mentions_of(engine, tables, [removed, *names]) == []
    assert "workflow_status" in _mentions_of(engine, tables, [kept])
    with engine.connect() as connection:
        after = {table.name: connection.scalar(select(func.count()).select_from(table)) for table in tables}
    assert count == sum(before.values()) - sum(after.values())
    assert remove_runs(engine, [removed]) == 0
    engine.dispose()
    async with launched(folder, database_url="" if schema is None else url) as records:
        assert is_finished(await records.get(f"assessments/{kept}"))


def test_database_without_tables_of_runs_is_left_as_it_is(tmp_path):
    engine = database_engine(f"sqlite:///{tmp_path / 'new.sqlite'}")
    assert remove_runs(engine, ["any"]) == 0
    engine.dispose()


def _mentions_of(engine, tables, texts):
    with engine.connect() as connection:
        return _mentions(connection, tables, texts)


def _add_a_row(connection, table, run):
    column = next((name for name in ("workflow_uuid", "destination_uuid") if name in table.c), None)
    if column is None or table.name in ("workflow_status", "workflow_input", "workflow_output"):
        return
    values = {
        each.name: "x" if isinstance(each.type, sqlalchemy.types.String) else 99
        for each in table.c
        if not each.nullable and each.server_default is None
    }
    values = {name: False if name == "consumed" else value for name, value in values.items()}
    connection.execute(insert(table), values | {column: run})
