"""Archives of the audit record: the chain goes through them, and nothing is removed that is not in one."""

from __future__ import annotations

import datetime
import json
import sqlite3

import pytest
import sqlalchemy
from oncoresponse.access.audit_event import AuditAction
from oncoresponse.cli.audit import app
from oncoresponse.errors import ConfigurationError
from oncoresponse.storage.audit_archive import archive_rows, archived_rows
from oncoresponse.storage.audit_store import AuditStore, PatientDigests, audit_rows, verify
from oncoresponse.storage.database_engine import database_engine
from sqlalchemy import text
from typer.testing import CliRunner

from tests.unit.storage.test_audit_store import database, event  # noqa: F401 - a fixture

NOW = datetime.datetime.now(datetime.UTC)


def at(days: int):
    return event(f"call-{days:04d}", time=NOW - datetime.timedelta(days=days))


def stored(url, tmp_path, days):
    store = AuditStore(url, PatientDigests(tmp_path / "secrets" / "audit.key"))
    for day in days:
        store.record(at(day))
    return store


def test_the_chain_goes_through_the_archives(database, tmp_path):  # noqa: F811
    store = stored(database, tmp_path, range(9, 0, -1))
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file, days in zip(files, (6.5, 3.5), strict=True):
        moved = archive_rows(database, store, NOW - datetime.timedelta(days=days), file, event("archiving-it"))
        assert moved.count == 3
        assert file.stat().st_mode & 0o777 == 0o600
    store.record(event("afterwards-1"))
    store.close()
    live = list(audit_rows(database))
    assert [row.sequence for row in live] == [7, 8, 9, 10, 11, 12]
    assert not verify(iter(live)).fault
    archives = list(archived_rows(files))
    both = verify(iter([*archives, *live]))
    assert (both.count, both.fault) == (12, "")
    # An archive that is left out, or a row of it that was changed, shows.
    assert verify(iter([*archived_rows(files[:1]), *live])).fault == "row 4 was removed"
    lines = files[0].read_text().splitlines()
    files[0].write_text("\n".join([lines[0], lines[1].replace("127.0.0.1", "127.0.0.2"), lines[2]]))
    assert verify(iter([*archived_rows(files), *live])).fault == "row 2 was changed"
    # The database refuses changes as before.
    engine = database_engine(database)
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"):
        connection.execute(text("DELETE FROM audit_event WHERE sequence = 7"))
    engine.dispose()


def test_rows_that_are_missing_without_an_archive_show(tmp_path):
    url = f"sqlite:///{tmp_path / 'audit.sqlite'}"
    store = stored(url, tmp_path, (3, 2, 1))
    archive_rows(url, store, NOW - datetime.timedelta(days=2.5), tmp_path / "archive", event("archiving-it"))
    store.close()
    assert not verify(audit_rows(url)).fault
    with sqlite3.connect(tmp_path / "audit.sqlite") as connection:
        connection.execute("DROP TRIGGER audit_event_no_delete")
        connection.execute("DELETE FROM audit_event WHERE sequence = 2")
    connection.close()
    assert verify(audit_rows(url)).fault == "row 2 was removed, and no row says that it was archived"
    store = AuditStore(url, PatientDigests(tmp_path / "secrets" / "audit.key"))
    with pytest.raises(ConfigurationError, match="broken"):
        archive_rows(url, store, NOW, tmp_path / "another", event("archiving-it"))
    store.close()
    assert not (tmp_path / "another").exists()


def test_an_archive_is_never_written_over(tmp_path):
    url = f"sqlite:///{tmp_path / 'audit.sqlite'}"
    store = stored(url, tmp_path, (3, 2, 1))
    (tmp_path / "archive").write_text("what was kept")
    with pytest.raises(ConfigurationError, match="nothing was removed"):
        archive_rows(url, store, NOW, tmp_path / "archive", event("archiving-it"))
    store.close()
    assert (tmp_path / "archive").read_text() == "what was kept"
    assert len(list(audit_rows(url))) == 3


def test_the_command(tmp_path):
    stored(f"sqlite:///{tmp_path / 'audit.sqlite'}", tmp_path, (3, 2, 1)).close()
    before = (NOW - datetime.timedelta(days=1.5)).strftime("%Y-%m-%dT%H:%M:%S")
    run, data = CliRunner(), ("--data-dir", str(tmp_path))
    done = run.invoke(app, ["archive", *data, "--before", before, "--out", str(tmp_path / "archive")])
    assert done.output.startswith("2 events, up to row 2, in ")
    done = run.invoke(app, ["archive", *data, "--before", before, "--out", str(tmp_path / "more")])
    assert done.output == "No event is older. No file was written.\n"
    assert not (tmp_path / "more").exists()
    done = run.invoke(app, ["verify", *data, "--archive", str(tmp_path / "archive")])
    assert "4 events in one chain" in done.output
    last = list(audit_rows(f"sqlite:///{tmp_path / 'audit.sqlite'}"))[-2].values
    assert (last["action"], last["remark"].split(",")[0]) == (AuditAction.DELETE, "archived up to row 2")
    assert json.loads((tmp_path / "archive").read_text().splitlines()[0])["sequence"] == 1


def test_no_key_is_made_where_there_is_none(tmp_path):
    stored(f"sqlite:///{tmp_path / 'audit.sqlite'}", tmp_path, (1,)).close()
    (tmp_path / "secrets" / "audit.key").unlink()
    done = CliRunner().invoke(app, ["list", "--data-dir", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert not (tmp_path / "secrets" / "audit.key").exists()
