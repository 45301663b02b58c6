"""Tables of ours: numbered SQL files, one number in the database, a newer one refused by name."""

from __future__ import annotations

import re
import sqlite3

import oncoresponse
import pytest
import sqlalchemy
from oncoresponse.errors import SchemaTooNew
from oncoresponse.monitoring import store as monitoring_store
from oncoresponse.monitoring.store import MonitoringStore
from oncoresponse.storage import schema_migrations
from oncoresponse.storage.schema_migrations import Migration, migrate, migrations
from oncoresponse.storage.study_database import StudyDatabase

AREAS = ["studies", "chart", "monitoring", "reports", "resources"]


def rows(path, statement):
    with sqlite3.connect(path) as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


def executed(connection):
    return lambda statement, values: connection.execute(statement, dict(values)).fetchall()


@pytest.mark.parametrize("area", AREAS)
def test_files_are_numbered_without_a_gap(area):
    found = migrations(area)
    assert [each.version for each in found] == list(range(1, len(found) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", each.name) for each in found)
    assert all(each.statements for each in found)


def test_new_database_gets_the_newest_schema_and_its_number(tmp_path):
    StudyDatabase(tmp_path / "studies.sqlite")
    assert rows(tmp_path / "studies.sqlite", "SELECT * FROM oncoresponse_schema") == [
        ("studies", migrations("studies")[-1].version, oncoresponse.__version__)
    ]


def test_database_of_0_1_0_keeps_its_rows_and_gets_a_number(tmp_path):
    """That release ran the statements of the first file and kept no number."""
    path = tmp_path / "studies.sqlite"
    with sqlite3.connect(path) as connection:
        for statement in migrations("studies")[0].statements:
            connection.execute(statement)
        connection.execute("INSERT INTO study VALUES ('a', 'b', 1, NULL, NULL)")
    connection.close()
    with StudyDatabase(path).reading() as tables:
        assert tables.study_ids() == {"a"}
    assert rows(path, "SELECT version FROM oncoresponse_schema") == [(migrations("studies")[-1].version,)]


def test_database_of_a_newer_release_is_refused_by_name(tmp_path):
    path = tmp_path / "studies.sqlite"
    StudyDatabase(path)
    url = f"sqlite:///{tmp_path / 'oncoresponse.sqlite'}"
    MonitoringStore(url).prepare()
    for each in (path, tmp_path / "oncoresponse.sqlite"):
        with sqlite3.connect(each) as connection:
            connection.execute("UPDATE oncoresponse_schema SET version = 99, release = '7.1.0'")
        connection.close()
    with pytest.raises(SchemaTooNew, match=r"studies has schema 99, written by OncoResponse 7\.1\.0") as caught:
        StudyDatabase(path)
    assert caught.value.metadata["newest"] == str(migrations("studies")[-1].version)
    with pytest.raises(SchemaTooNew, match="monitoring has schema 99"):
        MonitoringStore(url).prepare()


def test_only_files_above_the_number_are_run_and_a_failed_one_leaves_nothing(tmp_path, monkeypatch):
    first = Migration(1, "0001_a.sql", ("CREATE TABLE a (x INTEGER)",))
    second = Migration(2, "0002_b.sql", ("ALTER TABLE a ADD COLUMN y INTEGER", "UPDATE a SET y = 2 * x"))
    broken = Migration(3, "0003_c.sql", ("CREATE TABLE c (x INTEGER)", "CREATE TABLE a (x INTEGER)"))
    connection = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)

    def run(*files):
        monkeypatch.setattr(schema_migrations, "migrations", lambda area: files)
        connection.execute("BEGIN IMMEDIATE")
        try:
            count = migrate("x", executed(connection))
        except sqlite3.OperationalError:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return count

    assert run(first) == 1
    connection.execute("INSERT INTO a VALUES (21)")
    assert run(first, second) == 1
    assert run(first, second) == 0
    with pytest.raises(sqlite3.OperationalError):
        run(first, second, broken)
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(21, 42)]
    assert connection.execute("SELECT version FROM oncoresponse_schema").fetchall() == [(2,)]
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'c'").fetchone() == (0,)
    connection.close()


def test_files_of_monitoring_make_what_its_code_reads(tmp_path):
    url = f"sqlite:///{tmp_path / 'oncoresponse.sqlite'}"
    MonitoringStore(url).prepare()
    engine = sqlalchemy.create_engine(url)
    found = sqlalchemy.inspect(engine)
    for table in monitoring_store._METADATA.sorted_tables:
        columns = {each["name"]: each for each in found.get_columns(table.name)}
        assert list(columns) == [each.name for each in table.columns]
        for each in table.columns:
            assert columns[each.name]["nullable"] == each.nullable
            assert columns[each.name]["type"].as_generic()._type_affinity is each.type._type_affinity
        assert {each["name"] for each in found.get_indexes(table.name)} == {each.name for each in table.indexes}
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [each.name for each in table.primary_key]
    engine.dispose()
