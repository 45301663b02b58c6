"""What a database says about itself, as an error of ours.

By names and codes, not by classes: a process without the workflow loads neither SQLAlchemy nor psycopg.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from oncoresponse.errors import Busy, DiskFull, OncoResponseError, PeerUnavailable

LOCKED_MESSAGE = "Another process holds the database. Send the request again in a moment, with the same request_id."

_SQLITE_PRIMARY_CODE = 0xFF
"""https://www.sqlite.org/rescode.html: the lower eight bits of an extended result code."""
# PostgreSQL, appendix A: class 53, insufficient resources.
_POSTGRESQL_DISK_FULL = "53100"

_P = ParamSpec("_P")
_T = TypeVar("_T")


def known_database_error(error: BaseException) -> OncoResponseError | None:
    """The meaning of an error of SQLite, psycopg or SQLAlchemy; ``None`` for any other and for a defect of ours."""
    causes = tuple(_causes(error))
    if any(_says_disk_full(each) for each in causes):
        return DiskFull("The disk of the workflow database is full. Free space, then send the request again.")
    if any(is_locked(each) for each in causes):
        return Busy(LOCKED_MESSAGE)
    if any(
        type(each).__name__ == "OperationalError" and type(each).__module__.startswith(("sqlalchemy.", "psycopg."))
        for each in causes
    ):
        return PeerUnavailable("The workflow database does not answer. Check that it runs and that its URL is right.")
    return None


@contextmanager
def known_database_errors() -> Iterator[None]:
    """Raises what is known of a database as an error of ours: PeerUnavailable, Busy or DiskFull."""
    try:
        yield
    except Exception as error:
        if (known := known_database_error(error)) is None:
            raise
        raise known from error


def once_more(work: Callable[_P, _T], *args: _P.args, **more: _P.kwargs) -> _T:
    """Does it, and a second time where another connection holds the database.

    Args:
        work: What may be done twice.
        args, more: Its arguments.

    Raises:
        PeerUnavailable, Busy, DiskFull: The database does not answer, is still held, or cannot write.
    """
    try:
        with known_database_errors():
            return work(*args, **more)
    except Busy:
        with known_database_errors():
            return work(*args, **more)


def is_locked(error: BaseException) -> bool:
    """Whether SQLite gave up waiting for another connection (SQLITE_BUSY, SQLITE_LOCKED)."""
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    return code is not None and code & _SQLITE_PRIMARY_CODE in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        # SQLAlchemy keeps the driver's own error in ``orig``.
        error = getattr(error, "orig", None) or error.__cause__


def _says_disk_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(error, "sqlstate", None) == _POSTGRESQL_DISK_FULL
