"""Whether the SQLite of this Python can hold the workflow database."""

from __future__ import annotations

import sqlite3
import sys

from oncoresponse.errors import ConfigurationError

# DBOS goes by the version of Python, not by that of SQLite: from Python 3.12 on it writes times with
# unixepoch('subsec'), which gives NULL before SQLite 3.42. Debian 12 has 3.40.
_PYTHON = (3, 12)
_SQLITE = (3, 42, 0)


def require_usable_sqlite(
    python: tuple[int, ...] = sys.version_info[:2], sqlite: tuple[int, ...] = sqlite3.sqlite_version_info
) -> None:
    """Check the SQLite of this Python.

    Raises:
        ConfigurationError: The workflow database cannot be in it; the message says what to do.
    """
    if python >= _PYTHON and sqlite < _SQLITE:
        found = ".".join(map(str, sqlite))
        raise ConfigurationError(
            f"From Python 3.12 on the workflow database needs SQLite 3.42, and this Python has {found}. "
            "Use Python 3.11, a Python that brings a newer SQLite, or PostgreSQL (database_url)."
        )
