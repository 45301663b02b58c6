"""The database of the server, SQLite or PostgreSQL, as SQLAlchemy opens it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import OperationalError

from oncoresponse.errors import RestoreUnfinished
from oncoresponse.storage.private_files import make_private
from oncoresponse.storage.schema_migrations import migrate

# Less than a caller waits: who holds the database longer is told as BUSY.
_WAIT_FOR_OTHER_WRITERS_SECONDS = 4
POSTGRESQL_CONNECTION: Mapping[str, Any] = MappingProxyType(
    {
        "connect_timeout": 5,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
)
"""Parameters of each connection to PostgreSQL (libpq, "Parameter Key Words"), in seconds, the last in milliseconds: a
host that is gone without a word is noticed after 20 to 25 s, not after the hours that TCP allows. None of them limits a
statement: one that waits for a server that was only stopped is answered when it goes on."""
RESTORING_SCHEMA = "oncoresponse_restoring"
"""A schema of this name says that a restore into the database has not ended."""
# Any number that no other program on the database uses: "onco" in ASCII.
_LOCK = 0x6F6E636F


def database_engine(database_url: str) -> Engine:
    """Connections to ``sqlite:///...`` or ``postgresql://...``, as in the server's settings; nothing is opened yet.

    Parameters stay out of messages, because they hold what was measured of a patient.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:" and Path(url.database).parent.is_dir():
            make_private(Path(url.database))
        engine = sqlalchemy.create_engine(
            url, hide_parameters=True, connect_args={"timeout": _WAIT_FOR_OTHER_WRITERS_SECONDS}
        )

        @sqlalchemy.event.listens_for(engine, "connect")
        def enforce_foreign_keys(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")
            # What is removed is overwritten: it holds Patient IDs and what was found.
            connection.execute("PRAGMA secure_delete = ON")

        return engine
    # A bare postgresql:// means psycopg2 to SQLAlchemy and psycopg 3 to the rest of this project.
    return sqlalchemy.create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args=dict(POSTGRESQL_CONNECTION),
    )


def libpq_url(database_url: str) -> str:
    """A ``postgresql://...`` of the settings as libpq reads it, with its password."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


def require_restored(database_url: str) -> None:
    """Refuse a database that a restore has not filled to the end. One that does not answer is not refused here.

    Raises:
        RestoreUnfinished: A restore was interrupted, or is under way.
    """
    if make_url(database_url).get_backend_name() == "sqlite":
        return
    engine = database_engine(database_url)
    try:
        with engine.connect() as connection:
            query = text("SELECT count(*) FROM pg_namespace WHERE nspname = :name")
            unfinished = connection.execute(query, {"name": RESTORING_SCHEMA}).scalar_one()
    except OperationalError:
        return
    finally:
        engine.dispose()
    if unfinished:
        raise RestoreUnfinished(
            "A restore into this database was interrupted, or is still under way. Wait for its end; if there is none, "
            "drop the database, make it anew and restore again."
        )


def exclude_other_writers(connection: Connection) -> None:
    """Begin a transaction that changes what tables there are: on one database, one at a time.

    On SQLite nobody else writes at all until it ends. Python's sqlite3 begins a transaction before INSERT, UPDATE and
    DELETE alone: what is read before, and CREATE TABLE, would stand outside of it. On PostgreSQL those wait that call
    this too.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def migrate_database(engine: Engine, area: str) -> None:
    """Make the tables of an area where there are none, and migrate those of an earlier release; one process at a time.

    Raises:
        SchemaTooNew: A newer release has written them.
    """
    with engine.connect() as connection:
        exclude_other_writers(connection)

        def execute(statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else []

        migrate(area, execute)
        connection.commit()
