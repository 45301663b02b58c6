"""Tables of ours are made and changed by numbered SQL files, ``sql/AREA/NNNN_what_it_does.sql``.

Each area (``studies``, ``chart``, ``monitoring``) has a number in the table ``oncoresponse_schema`` of its own
database: the last file that was run there. Opening the database runs the files above it, in order, inside the caller's
transaction, so that a process that is killed leaves either the old schema or the new one. A database with a higher
number than the newest file was written by a newer release and is refused, because there a column may have another
meaning.

A release never changes a file of an earlier one; it adds a file. The assessments lie in tables of the workflow engine,
which migrates them itself.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import oncoresponse
from oncoresponse.errors import SchemaTooNew

_VERSIONS = """
CREATE TABLE IF NOT EXISTS oncoresponse_schema (
    area VARCHAR(63) NOT NULL PRIMARY KEY, version INTEGER NOT NULL, release VARCHAR(63) NOT NULL
)
"""
_READ = "SELECT version, release FROM oncoresponse_schema WHERE area = :area"
_FORGET = "DELETE FROM oncoresponse_schema WHERE area = :area"
_NOTE = "INSERT INTO oncoresponse_schema (area, version, release) VALUES (:area, :version, :release)"

Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Runs one statement with named parameters (``:name``) inside an open transaction and gives its rows, if it has any."""


@dataclass(frozen=True)
class Migration:
    """One SQL file.

    Attributes:
        version: Its number; the first is 1, and none is left out.
        name: Its file name.
        statements: Its statements, without comments between them.
    """

    version: int
    name: str
    statements: tuple[str, ...]


def release_number(release: str) -> tuple[int, ...]:
    """A release, so that releases can be compared; what has no number comes before all."""
    return tuple(map(int, re.findall(r"\d+", release)[:3]))


def areas() -> tuple[str, ...]:
    """All of them, by name."""
    folder = resources.files("oncoresponse.storage") / "sql"
    return tuple(sorted(each.name for each in folder.iterdir() if each.is_dir()))


def migrations(area: str) -> tuple[Migration, ...]:
    """The files of an area, in order."""
    folder = resources.files("oncoresponse.storage") / "sql" / area
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda each: each.name)
    return tuple(
        Migration(int(each.name[:4]), each.name, _statements(each.read_text(encoding="utf-8"))) for each in found
    )


def migrate(area: str, execute: Execute) -> int:
    """Bring the tables of an area to the newest schema; nothing is written when they have it.

    Args:
        area: Name of a folder below ``sql``.
        execute: See :data:`Execute`; the transaction has to exclude other writers and is committed by the caller.

    Returns:
        How many files were run.

    Raises:
        SchemaTooNew: A newer release has written this database.
    """
    known = migrations(area)
    execute(_VERSIONS, {})
    rows = execute(_READ, {"area": area})
    version = int(rows[0][0]) if rows else 0
    newest = known[-1].version
    if version > newest:
        raise SchemaTooNew(
            f"The database of {area} has schema {version}, written by OncoResponse {rows[0][1]}; this is OncoResponse "
            f"{oncoresponse.__version__}, which knows schemas up to {newest}. Start that release or a newer one, or "
            "restore a backup from before the upgrade.",
            area=area,
            found=version,
            newest=newest,
        )
    pending = [each for each in known if each.version > version]
    for each in pending:
        for statement in each.statements:
            execute(statement, {})
    if pending:
        execute(_FORGET, {"area": area})
        execute(_NOTE, {"area": area, "version": newest, "release": oncoresponse.__version__})
    return len(pending)


def _statements(text: str) -> tuple[str, ...]:
    found, lines = [], []
    for line in text.splitlines():
        if line.lstrip().startswith("--") or not line.strip():
            continue
        lines.append(line)
        # SQLite knows where a statement ends, semicolons in texts and triggers included.
        if sqlite3.complete_statement("\n".join(lines)):
            found.append("\n".join(lines).rstrip().removesuffix(";"))
            lines = []
    if lines:
        raise ValueError("the last statement of a migration does not end with a semicolon")
    return tuple(found)
