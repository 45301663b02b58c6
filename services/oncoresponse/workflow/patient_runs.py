"""What the database of the assessments holds of each: rows of the workflow engine, and references to artifacts.

Tables are looked up, not listed: a table that a later release adds is searched for references too, so that nothing it
needs is taken for garbage.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache

from dbos import DBOS
from sqlalchemy import Column, MetaData, Table, func, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.sql.sqltypes import JSON, String

from oncoresponse.storage.reachability import digests_in
from oncoresponse.storage.resource_index import INDEX_TABLES
from oncoresponse.workflow.run_removal import RECORDING_SUFFIX, SCHEMA_ON_POSTGRESQL

_UNFINISHED = ("ENQUEUED", "DELAYED", "PENDING")
_STATUS = "workflow_status"
# These say whose a row is.
_OWNER_COLUMNS = ("workflow_uuid", "destination_uuid", "assessment")
_ASSESSMENT_PREFIX = "assessments/"
# What an erasure has written down is no reason to keep it; the audit record names no artifact, and is long. What the
# index of resources names, the rows of the report do too.
_NO_OWNERS = frozenset({"administration_erasure", "audit_event", *INDEX_TABLES})
_AT_ONCE = 200


@cache
def _tables(engine: Engine) -> tuple[Table, ...]:
    """All tables of the database, with those of the workflow engine; looked up once, after both were made."""
    metadata = MetaData()
    metadata.reflect(engine, resolve_fks=False)
    if engine.dialect.name != "sqlite":
        metadata.reflect(engine, schema=SCHEMA_ON_POSTGRESQL, resolve_fks=False)
    return tuple(metadata.tables.values())


def _owner(table: Table) -> Column[str] | None:
    return next((table.c[name] for name in _OWNER_COLUMNS if name in table.c), None)


def _engine_tables(engine: Engine) -> list[Table]:
    """Of the workflow engine: whatever has a row for a run."""
    return [table for table in _tables(engine) if {"workflow_uuid", "destination_uuid"} & set(table.c.keys())]


def assessment_of_run(owner: str) -> str:
    """Identifier of the assessment that a run or a row belongs to."""
    return owner.removeprefix(_ASSESSMENT_PREFIX).removesuffix(RECORDING_SUFFIX)


def _runs(assessments: Collection[str]) -> list[str]:
    return [run for each in assessments for run in (each, each + RECORDING_SUFFIX)]


def _pages(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def references(engine: Engine, assessments: Collection[str]) -> set[str]:
    """Digests in all rows of these assessments."""
    found: set[str] = set()
    with engine.connect() as connection:
        for table in _searched(engine):
            owner = _owner(table)
            if owner is None:
                continue
            names = [*_runs(assessments), *(_ASSESSMENT_PREFIX + each for each in assessments)]
            for page in _pages(names):
                found.update(_digests(connection, table, owner.in_(page)))
    return found


def references_of_others(engine: Engine, assessments: Collection[str]) -> set[str]:
    """Digests in all rows of the database that belong to none of these assessments."""
    going = set(assessments)
    found: set[str] = set()
    with engine.connect().execution_options(stream_results=True) as connection:
        for table in _searched(engine):
            owner = _owner(table)
            texts = _texts(table)
            columns = [*texts] if owner is None else [owner, *texts]
            for row in connection.execute(select(*columns)):
                if owner is not None and assessment_of_run(str(row[0])) in going:
                    continue
                for value in row[0 if owner is None else 1 :]:
                    found.update(_digests_of(value))
    return found


def run_rows(engine: Engine, assessments: Collection[str]) -> int:
    """How many rows the workflow engine has of these assessments."""
    count = 0
    with engine.connect() as connection:
        for table in _engine_tables(engine):
            owner = _owner(table)
            for page in _pages(_runs(assessments)):
                count += connection.execute(select(func.count()).where(owner.in_(page))).scalar_one()  # type: ignore[union-attr]
    return count


def unfinished(engine: Engine, assessments: Collection[str] | None = None) -> list[str]:
    """Runs of these assessments, or of all, that wait or are under way."""
    status = next(table for table in _tables(engine) if table.name == _STATUS)
    query = select(status.c.workflow_uuid).where(status.c.status.in_(_UNFINISHED))
    with engine.connect() as connection:
        found = [str(row[0]) for row in connection.execute(query)]
    return found if assessments is None else sorted(set(found) & set(_runs(assessments)))


async def cancel(engine: Engine, assessments: Collection[str]) -> int:
    """Cancel what waits or is under way of these assessments; gives how many runs that were."""
    runs = unfinished(engine, assessments)
    for run in runs:
        await DBOS.cancel_workflow_async(run)
    return len(runs)


def _searched(engine: Engine) -> list[Table]:
    return [table for table in _tables(engine) if table.name not in _NO_OWNERS and _texts(table)]


def _texts(table: Table) -> list[Column[str]]:
    return [column for column in table.c if isinstance(column.type, String | JSON) and not column.primary_key]


def _digests(connection: Connection, table: Table, condition: object) -> Iterable[str]:
    for row in connection.execute(select(*_texts(table)).where(condition)):  # type: ignore[arg-type]
        for value in row:
            yield from _digests_of(value)


def _digests_of(value: object) -> set[str]:
    if value is None:
        return set()
    text = value if isinstance(value, str) else str(value)
    found = digests_in(text)
    if not found and text[:1] not in ("{", "[", '"'):
        # Release 0.1.0 wrote its values in base64.
        with suppress(binascii.Error, ValueError):
            found = digests_in(base64.b64decode(text, validate=True))
    return found
