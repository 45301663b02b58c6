"""A silent worker is declared lost, and what it stores afterwards is refused; the engine and databases are real."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import uuid

import psutil
import pytest
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.errors import ConfigurationError, DeclaredLost
from oncoresponse.model.plan import STAGES
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.process_lock import ProcessLock
from oncoresponse.storage.worker_store import declare_lost, join, prepare_workers, worker
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_records import is_finished
from oncoresponse.workflow.code_version import workflow_version
from oncoresponse.workflow.worker_presence import LOST_AFTER_BEATS, WorkerPresence
from oncoresponse.workflow.worker_takeover import TakenOver, requeue
from sqlalchemy import text

pytestmark = pytest.mark.slow
VERSION = workflow_version()
COLUMNS = (
    "name TEXT, status TEXT, executor_id TEXT, application_version TEXT, owner_xid TEXT, queue_name TEXT, "
    "started_at_epoch_ms BIGINT, updated_at BIGINT"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'workers.sqlite'}"
    postgresql = request.getfixturevalue("postgresql")
    name = f"workers_{uuid.uuid4().hex}"
    postgresql.psql(f"create database {name};")
    return postgresql.get_uri(database=name)


def row_of(engine, executor_id="worker-1"):
    with engine.connect() as connection:
        return worker(connection, executor_id)


class Stage:
    """A conversion whose first call ends when it is told to; it counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.called, self.go_on = asyncio.Event(), asyncio.Event()
        self.called_again, self.end = asyncio.Event(), asyncio.Event()

    async def run(self, case, model, model_sha256):
        self.calls += 1
        first = self.calls == 1
        (self.called if first else self.called_again).set()
        await (self.go_on if first else self.end).wait()
        return case.with_changes(result_summary=f"call {1 if first else 2}")

    def software(self):
        return StageSoftware()


class Stuck:
    """A conversion of which no call ends before the next one comes."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Event] = []

    async def run(self, case, model, model_sha256):
        if self.calls:
            self.calls[-1].set()
        self.calls.append(asyncio.Event())
        await self.calls[-1].wait()
        return case

    def software(self):
        return StageSoftware()


async def create(records, folder):
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study="studies/s-1", model="models/m-1"
    )
    manifest = ArtifactStore((folder / "artifacts").as_uri()).put_bytes(b"{}", "application/json")
    return (await records.create(request, manifest, "0" * 64, tuple(STAGES)[:1])).name


def stored(engine, name):
    """Steps of an assessment that are stored, and what the outcome tells."""
    schema = "dbos." if engine.dialect.name == "postgresql" else ""
    run = {"run": name.removeprefix("assessments/")}
    with engine.connect() as connection:
        steps = f"SELECT function_name FROM {schema}operation_outputs WHERE workflow_uuid = :run ORDER BY function_id"  # noqa: S608
        return list(connection.execute(text(steps), run).scalars())


class Spoken(logging.Handler):
    """Knows whether the engine has warned."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.something = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.something.set()


async def test_what_is_stored_after_a_takeover_is_refused(launched, tmp_path, database):
    """The step that a worker had begun ends after the takeover: its result is not the one that is kept."""
    stage, folder, engine, spoken = Stage(), tmp_path / "data", database_engine(database), Spoken()
    async with launched(folder, database_url=database, stages={"conversion": stage}) as records:
        name = await create(records, folder)
        await asyncio.wait_for(stage.called.wait(), 20)
        with engine.begin() as connection:
            assert requeue(connection, "worker-1", VERSION) == TakenOver(assessments=1)
        # The run goes on: here with the same process, under another token of the engine.
        await asyncio.wait_for(stage.called_again.wait(), 20)
        logging.getLogger("dbos").addHandler(spoken)
        stage.go_on.set()
        while not spoken.something.is_set() and "stage" not in stored(engine, name):
            await asyncio.sleep(0.02)
        assert "stage" not in stored(engine, name), "the step of the lost worker was stored"
        stage.end.set()
        while not is_finished(found := await records.get(name)):
            await asyncio.sleep(0.02)
        logging.getLogger("dbos").removeHandler(spoken)
        assert found.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED, found.message
        assert found.result.summary == "call 2"
        assert stored(engine, name).count("stage") == 1
        engine.dispose()


async def test_a_study_that_ends_each_worker_is_not_handed_round_for_ever(launched, tmp_path):
    """The third takeover in one stage is the last one, whoever had it."""
    stage, folder = Stuck(), tmp_path / "data"
    database = f"sqlite:///{tmp_path / 'workers.sqlite'}"
    engine = database_engine(database)
    async with launched(folder, database_url=database, stages={"conversion": stage}) as records:
        name = await create(records, folder)
        for calls in (1, 2, 3):
            while len(stage.calls) < calls:
                await asyncio.sleep(0.02)
            with engine.begin() as connection:
                assert requeue(connection, "worker-1", VERSION).assessments == 1
        while not is_finished(found := await records.get(name)):
            await asyncio.sleep(0.02)
        assert len(stage.calls) == 3
        assert "stopped 3 times in this stage" in found.message
        stage.calls[-1].set()
    engine.dispose()


def presence(database, folder, name, **changes):
    lost = []
    told = threading.Event()

    def on_lost(error):
        lost.append(error)
        told.set()

    found = WorkerPresence(database, name, folder, 0.1, VERSION, on_lost, **changes)
    return found, lost, told


def test_a_silent_worker_is_declared_lost_once_and_a_beating_one_never(tmp_path, database):
    engine = database_engine(database)
    with engine.begin() as connection:
        # The tables of the engine are not the matter here.
        schema = "dbos." if engine.dialect.name == "postgresql" else ""
        if schema:
            connection.execute(text("CREATE SCHEMA dbos"))
        connection.execute(text(f"CREATE TABLE {schema}workflow_status ({COLUMNS})"))
        rows = f"INSERT INTO {schema}workflow_status (name, status, executor_id, application_version, owner_xid) "
        for version in (VERSION, "0.1.0+other"):
            values = {"version": version}
            connection.execute(text(rows + "VALUES ('assess', 'PENDING', 'dead', :version, 'token')"), values)
    prepare_workers(engine)
    with engine.begin() as connection:
        assert join(connection, "dead", "elsewhere", 0.1, None) == 1
    watchers = [presence(database, tmp_path, name) for name in ("worker-1", "worker-2")]
    for watcher, _, _ in watchers:
        watcher.join()
        watcher.judge_others()
    runs = text(f"SELECT status, owner_xid, queue_name FROM {schema}workflow_status ORDER BY application_version")  # noqa: S608
    pause = threading.Event()
    while row_of(engine, "dead").living:
        pause.wait(0.02)
    while True:
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(runs)]
        if ("ENQUEUED", None, "_dbos_internal_queue") in found:
            break
        pause.wait(0.02)
    assert ("PENDING", "token", None) in found, "a run of another version keeps its rules"
    pause.wait(0.1 * LOST_AFTER_BEATS * 3)
    assert row_of(engine, "dead").epoch == 2, "one of the two declared it lost, and once"
    assert not any(lost for _, lost, _ in watchers)
    assert all(row_of(engine, name).living for name in ("worker-1", "worker-2"))
    with engine.connect() as connection, connection.begin():
        seen = worker(connection, "worker-1")
    # As though it had been stopped: others have taken its epoch, and it notices at its next beat.
    while True:
        with engine.begin() as connection:
            if declare_lost(connection, seen):
                break
        seen = row_of(engine, "worker-1")
    watcher, lost, told = watchers[0]
    assert told.wait(10)
    assert isinstance(lost[0], DeclaredLost)
    for watcher, _, _ in watchers:
        watcher.close()
    engine.dispose()


@pytest.mark.parametrize("way", ["paused", "restarted"])
def test_nobody_is_judged_because_the_database_was_away(tmp_path, postgresql, way):
    """It is away for many times as long as a worker may be silent."""
    name = f"workers_{uuid.uuid4().hex}"
    postgresql.psql(f"create database {name};")
    database = postgresql.get_uri(database=name)
    engine = database_engine(database)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA dbos"))
        connection.execute(text(f"CREATE TABLE dbos.workflow_status ({COLUMNS})"))
    engine.dispose()
    watchers = [presence(database, tmp_path, name) for name in ("worker-1", "worker-2", "worker-3")]
    for watcher, _, _ in watchers:
        watcher.join()
        watcher.judge_others()
    before, away = row_of(engine).beat_ms, threading.Event()
    engine.dispose()
    if way == "paused":
        postmaster = psutil.Process(postgresql.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.suspend()
        away.wait(0.1 * LOST_AFTER_BEATS * 6)
        for process in processes:
            process.resume()
    else:
        postgresql.stop()
        away.wait(0.1 * LOST_AFTER_BEATS * 6)
        postgresql.start()
    names = ("worker-1", "worker-2", "worker-3")
    while not all(row_of(engine, each).beat_ms > before + 100 * LOST_AFTER_BEATS * 6 for each in names):
        away.wait(0.05)
    away.wait(0.1 * LOST_AFTER_BEATS * 2)
    assert [(row.living, row.epoch) for row in (row_of(engine, each) for each in names)] == [(True, 1)] * 3
    assert not any(lost for _, lost, _ in watchers)
    for watcher, _, _ in watchers:
        watcher.close()
    engine.dispose()


def test_a_second_process_of_one_name_is_refused_on_this_machine_and_on_another(tmp_path, database):
    first, _, _ = presence(database, tmp_path / "one", "worker-1")
    first.join()
    elsewhere, _, _ = presence(database, tmp_path / "two", "worker-1")
    with pytest.raises(ConfigurationError, match="another machine"):
        elsewhere.join()
    code = "import sys; from pathlib import Path; from oncoresponse.storage.process_lock import ProcessLock as L"
    code += "; L(Path(sys.argv[1]))"
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "one" / "worker-1.lock")], capture_output=True, text=True
    )
    assert second.returncode == 1
    assert "still runs under the name worker-1" in second.stderr
    first.close()
    # The lock says that it is gone, so the next one does not wait for silence.
    again, lost, _ = presence(database, tmp_path / "one", "worker-1")
    again.join()
    engine = database_engine(database)
    assert row_of(engine).epoch == 2
    assert not lost
    again.close()
    engine.dispose()


def test_a_lock_survives_no_kill(tmp_path):
    """And a child of the process that was killed does not keep it."""
    path = tmp_path / "worker-1.lock"
    code = (
        "import os, sys, time; from pathlib import Path; from oncoresponse.storage.process_lock import ProcessLock;"
        "lock = ProcessLock(Path(sys.argv[1])); child = os.fork();"
        "child or time.sleep(60); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as holder:
        holder.stdout.readline()
        with pytest.raises(ConfigurationError, match=str(holder.pid)):
            ProcessLock(path)
        holder.kill()
        holder.wait()
        lock = ProcessLock(path)
        lock.close()
        os.killpg(holder.pid, signal.SIGKILL)  # the child
    assert lock.place == path.read_text().split()[0]
