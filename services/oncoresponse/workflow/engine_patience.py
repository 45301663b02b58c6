"""How the workflow engine waits for a database that is away: for as long as that lasts, and no longer.

The engine repeats what a lost connection interrupted. Two things in it lose work or time, and are mended here:

- It knows such an interruption by the words of the driver, and takes others (a host name that is not there while its
  container restarts, a socket file that is not there) for a defect of the run, which then ends.
- It waits twice as long after each attempt, up to a minute and a half. A database that was away for a minute would be
  noticed again a minute later.

The engine offers no setting for either, and pyproject.toml bounds its version.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import psycopg
from dbos import _sys_db, _utils
from sqlalchemy.exc import DBAPIError

LONGEST_PAUSE_SECONDS = 2.0
"""Between two attempts; the engine varies it by half."""

_BACKOFF = "max_backoff"
_of_the_engine = _utils.retriable_postgres_exception


def outlast_the_database() -> int:
    """Mend both; to be called before the engine is started, and as often as one likes.

    Returns:
        How many operations of the engine wait no longer than :data:`LONGEST_PAUSE_SECONDS` now.
    """
    _sys_db.retriable_postgres_exception = is_interruption  # type: ignore[assignment,attr-defined]
    _sys_db.db_retry.__defaults__ = (1.0, LONGEST_PAUSE_SECONDS)
    return sum(_shorten(each) for each in vars(_sys_db.SystemDatabase).values())


def is_interruption(error: Exception) -> bool:
    """Whether an operation failed because the connection did, so that it is to be repeated.

    PostgreSQL gives a code to each of its own errors (appendix A of its manual). An error of the driver without one
    never came from the server.
    """
    if _of_the_engine(error):
        return True
    origin = getattr(error, "orig", None)
    return isinstance(error, DBAPIError) and isinstance(origin, psycopg.OperationalError) and origin.sqlstate is None


def _shorten(operation: Any) -> bool:
    """Set the longest pause of an operation that ``db_retry`` has wrapped: it stands in a variable of the wrapper."""
    if not isinstance(operation, FunctionType) or _BACKOFF not in operation.__code__.co_freevars:
        return False
    cells = dict(zip(operation.__code__.co_freevars, operation.__closure__ or (), strict=True))
    cells[_BACKOFF].cell_contents = LONGEST_PAUSE_SECONDS
    return True
