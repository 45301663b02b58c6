"""The audit record: what tampers with it is found, what was acknowledged is there, no patient stands in the clear."""

import datetime
import json
import signal
import sqlite3
import stat
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy
from oncoresponse.access.audit_event import AuditAction, AuditEvent
from oncoresponse.access.caller import ANONYMOUS
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.cli.audit import app
from oncoresponse.errors import AuditUnavailable
from oncoresponse.storage.audit_anchor import FileAnchor, canonical_json
from oncoresponse.storage.audit_store import AuditStore, PatientDigests, audit_rows, row_hash, verify
from oncoresponse.storage.database_engine import database_engine
from sqlalchemy import text
from typer.testing import CliRunner

PATIENT = IndexedPatient(patient_id="PAT-4711-PLAIN", issuer_of_patient_id="HOSPITAL-NORTH")

APPENDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_audit_store import event
from oncoresponse.storage.audit_store import AuditStore, PatientDigests
store = AuditStore(sys.argv[1], PatientDigests(Path(sys.argv[2])))
for number in range(int(sys.argv[4])):
    store.record(event(f"{sys.argv[5]}-{number:08d}"))
    print(f"{sys.argv[5]}-{number:08d}", flush=True)
"""


def event(correlation_id="12345678", time=None, **values):
    return AuditEvent(
        time=time or datetime.datetime.now(datetime.UTC),
        caller=ANONYMOUS,
        address="127.0.0.1",
        action=AuditAction.READ,
        operation="oncoresponse.v1.StudyService/GetStudy",
        outcome="OK",
        correlation_id=correlation_id,
        patients=(PATIENT,),
        **values,
    )


@pytest.fixture
def folder(tmp_path):
    store = AuditStore(
        url_of(tmp_path), PatientDigests(tmp_path / "secrets" / "audit.key"), [FileAnchor(tmp_path / "anchor")]
    )
    for number in range(5):
        store.record(event(f"call-{number:04d}"))
    store.close()
    return tmp_path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        return url_of(tmp_path)
    server = request.getfixturevalue("postgresql")
    name = f"audit_{uuid.uuid4().hex[:12]}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(name)


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'audit.sqlite'}"


def tamper(folder: Path, *statements: str) -> None:
    """As somebody who owns the file can."""
    with sqlite3.connect(folder / "audit.sqlite") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def append(database: str, folder: Path, count: int, name: str) -> subprocess.Popen:
    arguments = [database, str(folder / "audit.key"), str(Path(__file__).parent), str(count), name]
    return subprocess.Popen([sys.executable, "-c", APPENDER, *arguments], stdout=subprocess.PIPE, text=True)


def test_untouched_record_is_whole(folder):
    found = verify(audit_rows(url_of(folder)), folder / "anchor")
    assert (found.count, found.fault) == (5, "")


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_event SET event = replace(event, 'OK', 'NO') WHERE sequence = 3", "row 3 was changed"),
        ("DELETE FROM audit_event WHERE sequence = 2", "row 2 was removed"),
        ("DELETE FROM audit_event WHERE sequence = 1", "row 1 was removed, and no row says that it was archived"),
        (
            "INSERT INTO audit_event SELECT 0, event, previous_hash, own_hash FROM audit_event WHERE sequence = 1",
            "row 0 has a number that none can have",
        ),
        ("DELETE FROM audit_event WHERE sequence = 5", "rows after 4 were cut off: the anchor knows row 5"),
    ],
)
def test_tampering_is_named(folder, statement, fault):
    tamper(folder, statement)
    assert verify(audit_rows(url_of(folder)), folder / "anchor").fault == fault


def test_row_that_was_replaced_with_a_fitting_hash_is_named(folder):
    rows = list(audit_rows(url_of(folder)))
    forged = canonical_json({**rows[2].values, "caller": "somebody else"})
    own = row_hash(3, rows[2].previous_hash, forged)
    statement = f"UPDATE audit_event SET event = '{forged}', own_hash = '{own}' WHERE sequence = 3"  # noqa: S608
    tamper(folder, statement)
    assert verify(audit_rows(url_of(folder))).fault.startswith("row 4 does not follow row 3")


def test_cut_at_the_end_needs_the_anchor(folder):
    tamper(folder, "DELETE FROM audit_event WHERE sequence = 5")
    assert not verify(audit_rows(url_of(folder))).fault


def test_database_refuses_changes(database, tmp_path):
    sqlite = database.startswith("sqlite")
    of_its_own = "REPLACE INTO audit_event VALUES (1, '', '', '')" if sqlite else "TRUNCATE audit_event"
    store = AuditStore(database, PatientDigests(tmp_path / "audit.key"))
    store.record(event())
    engine = database_engine(database)
    for statement in ("UPDATE audit_event SET event = ''", "DELETE FROM audit_event", of_its_own):
        with engine.connect() as connection, pytest.raises(sqlalchemy.exc.SQLAlchemyError, match="append-only"):
            connection.execute(text(statement))
    engine.dispose()
    store.close()


def test_processes_and_threads_append_to_one_chain(database, tmp_path):
    appenders = [append(database, tmp_path, 40, f"process-{number}") for number in range(2)]
    store = AuditStore(database, PatientDigests(tmp_path / "audit.key"))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: store.record(event(f"thread-{number:04d}")), range(40)))
    store.close()
    for each in appenders:
        each.communicate(timeout=60)
        assert each.returncode == 0
    found = verify(audit_rows(database))
    assert (found.count, found.fault) == (120, "")


def test_kill_loses_nothing_that_was_acknowledged(database, tmp_path):
    appender = append(database, tmp_path, 100_000, "process")
    acknowledged = [appender.stdout.readline().strip() for _ in range(30)]
    appender.send_signal(signal.SIGKILL)
    rest, _ = appender.communicate()
    acknowledged += [line for line in rest.splitlines(keepends=False) if len(line) == len(acknowledged[0])]
    kept = {row.values["correlation_id"] for row in audit_rows(database)}
    assert set(acknowledged) <= kept
    assert not verify(audit_rows(database)).fault


def test_no_patient_in_the_clear_and_files_are_the_owners_alone(tmp_path):
    store = AuditStore(url_of(tmp_path), PatientDigests(tmp_path / "audit.key"), [FileAnchor(tmp_path / "anchor")])
    store.record(event())
    files = list(tmp_path.iterdir())
    assert any(path.name.endswith("-wal") for path in files)
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
        data = path.read_bytes()
        assert PATIENT.patient_id.encode() not in data
        assert PATIENT.issuer_of_patient_id.encode() not in data
    store.close()


def test_locked_database_is_audit_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr("oncoresponse.storage.audit_store._SQLITE_WAIT_MILLISECONDS", 50)
    store = AuditStore(url_of(tmp_path), PatientDigests(tmp_path / "audit.key"))
    other = sqlite3.connect(tmp_path / "audit.sqlite")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(AuditUnavailable):
        store.record(event())
    other.close()
    store.record(event())
    assert verify(audit_rows(url_of(tmp_path))).count == 1
    store.close()


def test_anchor_that_cannot_be_written_is_logged_and_the_event_kept(tmp_path, caplog):
    store = AuditStore(
        url_of(tmp_path), PatientDigests(tmp_path / "audit.key"), [FileAnchor(tmp_path / "absent" / "anchor")]
    )
    store.record(event())
    store.close()
    assert "anchor" in caplog.text
    assert verify(audit_rows(url_of(tmp_path))).count == 1


def test_commands(folder):
    run = CliRunner().invoke
    where = ["--data-dir", str(folder)]
    assert run(app, ["verify", *where, "--anchor", str(folder / "anchor")]).exit_code == 0
    found = run(app, ["list", *where, "--patient", PATIENT.patient_id])
    # The five, and that somebody looks; row 6 says that the chain was verified.
    assert [json.loads(line)["sequence"] for line in found.stdout.splitlines()] == [1, 2, 3, 4, 5, 7]
    assert PATIENT.patient_id not in found.stdout
    other = run(app, ["list", *where, "--patient", PATIENT.patient_id, "--issuer", "ELSEWHERE"])
    assert len(other.stdout.splitlines()) == 1
    assert run(app, ["list", *where, "--emergency"]).stdout == ""
    tamper(folder, "DELETE FROM audit_event WHERE sequence = 2")
    broken = run(app, ["verify", *where])
    assert broken.exit_code == 1
    assert "row 2 was removed" in broken.output


def test_key_is_made_once(tmp_path):
    first = PatientDigests(tmp_path / "secrets" / "audit.key").of(PATIENT)
    assert first == PatientDigests(tmp_path / "secrets" / "audit.key").of(PATIENT)
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["audit.key"]
