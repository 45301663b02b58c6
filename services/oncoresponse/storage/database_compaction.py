"""After a removal: nothing of the removed rows stays in the files of a database, its free pages and its log.

A database only marks removed rows as free. On SQLite the file is written anew (VACUUM) and the write-ahead log is put
into it and cut to nothing. On PostgreSQL the tables are written anew (VACUUM FULL); its own log, the archives of that
and backups keep what they have until they are recycled, which is for the administrator of the database.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError, ProgrammingError

_log = logging.getLogger(__name__)
_WAIT_SECONDS = 30.0
_POSTGRESQL_LOCK_WAIT = "10s"
DBOS_SCHEMA = "dbos"


def compact_sqlite(path: Path) -> bool:
    """Write a SQLite file anew and empty its log.

    Returns:
        Whether it was done; ``False`` where others had the file locked for half a minute.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as error:
        _log.warning("a database file could not be written anew: %s", error.sqlite_errorname)
        return False
    return not busy


def compact_database(engine: Engine) -> bool:
    """Write all tables anew that an engine reaches; on PostgreSQL those of ours and those of the workflow engine.

    Returns:
        Whether it was done; ``False`` where others held a lock for too long, or the user may not.
    """
    if engine.dialect.name == "sqlite":
        database = engine.url.database
        return database is None or compact_sqlite(Path(database))
    whole = True
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"SET lock_timeout = '{_POSTGRESQL_LOCK_WAIT}'"))
        found = inspect(connection)
        default = found.default_schema_name or "public"
        for schema in (default, DBOS_SCHEMA):
            for table in found.get_table_names(schema) if schema in found.get_schema_names() else ():
                try:
                    connection.execute(text(f'VACUUM (FULL) "{schema}"."{table}"'))
                except (OperationalError, ProgrammingError) as error:
                    _log.warning("a table could not be written anew: %s", getattr(error.orig, "sqlstate", "?"))
                    whole = False
        # The connection goes back to the pool, where nobody else wants to give up so soon.
        connection.execute(text("RESET lock_timeout"))
    return whole
