"""Pickles in every column of the workflow database: none is loaded, and the service answers for each row.

Each column of each table has rows of its own in which it, and nothing else, holds a canary: a pickle that would make a
folder when it is loaded. Then the service starts on that database.
"""

from __future__ import annotations

import asyncio
import base64
import os
import pickle
import uuid
from contextlib import aclosing, closing, suppress

import pytest
import sqlalchemy
from google.rpc import error_details_pb2
from oncoresponse.errors import OncoResponseError
from oncoresponse.model.plan import STAGES
from oncoresponse.monitoring.store import MonitoringStore
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentFilter
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import is_finished
from oncoresponse.workflow.stored_json import NAME
from sqlalchemy import MetaData, insert, select

pytestmark = pytest.mark.slow
VALUES = {"inputs", "output", "error", "value", "message"}
MARKS = ("py_pickle", None, NAME, "portable_json", "canary")
STATUSES = ("SUCCESS", "ERROR", "PENDING", "ENQUEUED")
RUN_COLUMNS = ("workflow_uuid", "destination_uuid")
# Numbers of a schema that our code and the engine's compare before they open a database at all.
VERSIONS = {"dbos_migrations", "oncoresponse_schema", "sqlite_sequence"}


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'oncoresponse.sqlite'}", (None,)
    server = request.getfixturevalue("postgresql")
    server.psql("create database planted;")
    return server.get_uri(database="planted"), (None, "dbos")


@pytest.fixture
def no_pickle_is_loaded(monkeypatch):
    """The engine calls these by their module; what they would load is noted, and loaded all the same."""
    loaded = []
    for name in ("loads", "load"):
        genuine = getattr(pickle, name)
        monkeypatch.setattr(pickle, name, lambda *args, f=genuine, **kw: (loaded.append(args), f(*args, **kw))[1])
    yield
    assert loaded == []


async def created(records, data_folder):
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study="studies/gone", model="models/sts-petct"
    )
    manifest = ArtifactStore((data_folder / "artifacts").as_uri()).put_bytes(b"{}", "application/json")
    return await records.create(request, manifest, "0" * 64, tuple(STAGES))


async def ended(records, name):
    while not is_finished(found := await records.get(name)):
        await asyncio.sleep(0.02)
    return found


def reason(assessment):
    found = error_details_pb2.ErrorInfo()
    assert assessment.error.details[0].Unpack(found)
    return found.reason


def _is_text(column):
    return isinstance(column.type, (sqlalchemy.types.String, sqlalchemy.types.LargeBinary, sqlalchemy.types.JSON))


class Planter:
    """Writes rows with one canary each. ``planted`` is (run, status, table, column, mark)."""

    def __init__(self, connection, schemas, run, aviary):
        metadata = MetaData()
        for schema in schemas:
            metadata.reflect(connection, schema=schema)
        self.tables = [table for table in metadata.sorted_tables if table.name not in VERSIONS]
        self.connection, self.aviary = connection, aviary
        self.rows = {table.name: self._rows_of(table, run) for table in self.tables}
        self.planted = []
        self.columns = set()

    def _rows_of(self, table, run):
        key = next((name for name in RUN_COLUMNS if name in table.c), None)
        wanted = select(table) if key is None else select(table).where(table.c[key] == run)
        return [dict(row) for row in self.connection.execute(wanted.limit(20)).mappings()] or [_invented(table, run)]

    def canary(self, name):
        return base64.b64encode(pickle.dumps(Canary(self.aviary / name))).decode()

    def plant_all(self):
        for table in self.tables:
            for column in filter(_is_text, table.c):
                if not any(name in table.c for name in RUN_COLUMNS):
                    self._plant_row(table, column)
                    continue
                if column.name in RUN_COLUMNS:
                    continue
                of_values = column.name in VALUES
                for mark in MARKS if of_values else MARKS[:1]:
                    statuses = STATUSES if of_values else STATUSES[:1]
                    for status in statuses:
                        self._plant_run(table, column, mark, status)

    def _plant_run(self, table, column, mark, status):
        run = str(uuid.uuid4())
        name = f"{table.name}.{column.name}.{mark}.{status}"
        for other in self.tables:
            key = next((each for each in RUN_COLUMNS if each in other.c), None)
            here = other is table
            if key is None or (not here and other.name in ("notifications", "streams")):
                continue
            for row in self.rows[other.name]:
                values = {**row, key: run}
                if other.name == "workflow_status":
                    values |= {"status": status, "executor_id": "worker-1", "deduplication_id": None}
                if other.name == "notifications":
                    values["message_uuid"] = run
                marked = here or (other.name == "workflow_status" and "serialization" not in table.c)
                if marked and column.name in VALUES and "serialization" in other.c:
                    values["serialization"] = mark
                if here:
                    values[column.name] = self._fitting(column, name)
                self.connection.execute(insert(other), values)
        self.columns.add((table.name, column.name))
        self.planted.append((run, status, table.name, column.name, mark))

    def _plant_row(self, table, column):
        unique = {each.name for each in table.primary_key} | {"name", "schedule_name", "version_name"}
        values = dict(self.rows[table.name][0])
        for each in table.c:
            if each.name in unique and _is_text(each) and not each.foreign_keys:
                values[each.name] = str(uuid.uuid4())
        values[column.name] = self._fitting(column, f"{table.name}.{column.name}")
        with suppress(sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError), self.connection.begin_nested():
            # A column that names a row of another table holds no text of its own, and PostgreSQL keeps to lengths.
            self.connection.execute(insert(table), values)
            self.columns.add((table.name, column.name))

    def _fitting(self, column, name):
        text = self.canary(name)
        if isinstance(column.type, sqlalchemy.types.JSON):
            return {"canary": text}
        if isinstance(column.type, sqlalchemy.types.LargeBinary):
            return base64.b64decode(text)
        return text


def _invented(table, run):
    row = {}
    for each in table.c:
        if isinstance(each.type, sqlalchemy.types.JSON):
            row[each.name] = {}
        elif each.name in RUN_COLUMNS or each.foreign_keys:
            row[each.name] = run
        elif _is_text(each):
            row[each.name] = "[]" if each.name in ("inputs", "groups", "abstain_codes") else "x"
        elif isinstance(each.type, sqlalchemy.types.Boolean):
            row[each.name] = False
        else:
            row[each.name] = 1
    return row


async def test_no_column_of_the_database_reaches_pickle(tmp_path, launched, database, no_pickle_is_loaded):
    url, schemas = database
    folder, aviary = tmp_path / "data", tmp_path / "aviary"
    aviary.mkdir()
    url_setting = url if len(schemas) > 1 else ""
    make_monitoring_tables(url, folder)
    async with launched(folder, database_url=url_setting) as records:
        name = (await created(records, folder)).name
        before = await ended(records, name)
    engine = database_engine(url)
    with closing(engine.connect()) as connection, connection.begin():
        planter = Planter(connection, schemas, name.removeprefix("assessments/"), aviary)
        planter.plant_all()
    engine.dispose()
    assert {table for table, _ in planter.columns} >= {
        *("workflow_status", "workflow_input", "workflow_output", "operation_outputs", "workflow_events"),
        *("workflow_events_history", "notifications", "streams", "workflow_schedules", "application_versions"),
        *("queues", "chart_patient", "chart_result", "monitoring_prediction"),
    }
    async with asyncio.timeout(120), launched(folder, database_url=url_setting) as records:
        assert await records.get(name) == before
        runs = [run for run, *_ in planter.planted]
        answers = dict(zip(runs, await asyncio.gather(*(_asked(records, run) for run in runs)), strict=True))
        await _listed(records)
        # What was planted in runs that wait was taken up and has ended too; a new assessment works.
        fresh = await created(records, folder)
        assert reason(await ended(records, fresh.name)) == reason(before)
    with closing(MonitoringStore(url)) as store, suppress(OncoResponseError, ValueError):
        store.cases("sts-petct")
    assert [path.name for path in aviary.iterdir()] == []
    for run, status, table, column, mark in planter.planted:
        if table == "workflow_output" and column == "output" and status == "SUCCESS":
            assert answers[run] == "RECORD_UNREADABLE", (table, column, mark)


def make_monitoring_tables(url, folder):
    folder.mkdir(exist_ok=True)
    with closing(MonitoringStore(url)) as store:
        store.prepare()


async def _asked(records, run):
    """Reason or state that is given for a planted run by every way of asking; an error has to be one of ours."""
    name = f"assessments/{run}"
    try:
        found = await records.get(name)
        async with aclosing(records.watching.follow(run)) as updates:
            found = await anext(updates)
        found = await records.cancel(name)
    except OncoResponseError as error:
        return error.reason
    return reason(found) if found.error.details else assessment_pb2.AssessmentState.Name(found.state)


async def _listed(records):
    token, count = "", 0
    while True:
        page = await records.lists.page(AssessmentFilter(), 0, 100, token)
        count += len(page.assessments)
        if not (token := page.next_token):
            return count


async def test_pickle_planted_while_the_service_runs_is_not_loaded(tmp_path, launched, no_pickle_is_loaded):
    folder = tmp_path / "data"
    canary = base64.b64encode(pickle.dumps(Canary(tmp_path / "sung"))).decode()
    async with launched(folder) as records:
        name = (await created(records, folder)).name
        await ended(records, name)
        engine = database_engine(f"sqlite:///{folder / 'oncoresponse.sqlite'}")
        for mark in MARKS:
            with engine.begin() as connection:
                connection.execute(sqlalchemy.text("UPDATE workflow_status SET serialization = :mark"), {"mark": mark})
                connection.execute(sqlalchemy.text("UPDATE workflow_output SET output = :text"), {"text": canary})
            assert reason(await records.get(name)) == "RECORD_UNREADABLE"
        engine.dispose()
    assert not (tmp_path / "sung").exists()


def test_the_canary_sings_where_pickles_are_loaded(tmp_path):
    pickle.loads(base64.b64decode(base64.b64encode(pickle.dumps(Canary(tmp_path / "sung")))))  # noqa: S301
    assert (tmp_path / "sung").exists()
