"""Which SQLite the workflow database may be in."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from dbos._migration import get_sqlite_timestamp_expr
from oncoresponse.cli import doctor
from oncoresponse.errors import ConfigurationError
from oncoresponse.workflow.sqlite_version import require_usable_sqlite


def test_old_sqlite_is_refused_where_the_engine_would_write_no_time() -> None:
    with pytest.raises(ConfigurationError, match=r"has 3\.40\.1\. Use Python 3\.11"):
        require_usable_sqlite((3, 12), (3, 40, 1))
    require_usable_sqlite((3, 11), (3, 40, 1))
    require_usable_sqlite((3, 13), (3, 42, 0))


def test_the_engine_writes_no_time_in_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what DBOS takes for Python 3.12, in the SQLite that is here."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 0, "final", 0))
    expression = get_sqlite_timestamp_expr()
    with closing(sqlite3.connect(":memory:")) as database:
        (time,) = database.execute(f"SELECT {expression}").fetchone()
    assert (time is None) == (sqlite3.sqlite_version_info < (3, 42, 0))


def test_doctor_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        require_usable_sqlite((3, 13), (3, 40, 1))

    monkeypatch.setattr(doctor, "require_usable_sqlite", refuse)
    found = {each.subject: each for each in doctor.findings(tmp_path, tmp_path, None)}
    assert found["workflow database"].ok is False
    assert "PostgreSQL" in found["workflow database"].text
