"""Removes runs from the workflow database: their state, inputs, steps, events, and those of the runs that they started.

The engine's own deletion needs the engine to run, and follows runs that were started but not copies (``forked_from``).
The tables are read from the database, so that a table which a later version of the engine adds is emptied too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import sqlalchemy
from sqlalchemy import Column, MetaData, Table, select
from sqlalchemy.engine import Connection, Engine

from oncoresponse.storage.database_engine import exclude_other_writers

SCHEMA_ON_POSTGRESQL = "dbos"
"""Where the engine's tables are; on SQLite they stand beside ours."""

RECORDING_SUFFIX = "-record"
"""Of the run that hands the prediction of an assessment to monitoring."""

_STATUS = "workflow_status"
# A column that names the run which a row belongs to.
_NAMES_A_RUN = ("workflow_uuid", "destination_uuid")
# SQLite takes 32,766 values in a statement, older ones 999.
_IDS_AT_ONCE = 500


def remove_runs(engine: Engine, ids: Collection[str]) -> int:
    """Delete every row of these assessments' runs, in one transaction.

    A run that has not finished is to be cancelled first: the process that works on it would go on until it wants to
    store a step, and then end it for want of its row.

    Args:
        engine: The workflow database.
        ids: Identifiers of assessments, without ``assessments/``. Ids that are not there are no error.

    Returns:
        Number of rows that are gone. Freed pages are not overwritten by this.
    """
    with engine.connect() as connection:
        exclude_other_writers(connection)
        removed = remove_runs_within(connection, ids)
        connection.commit()
    return removed


def remove_runs_within(connection: Connection, ids: Collection[str]) -> int:
    """:func:`remove_runs` as a part of the caller's transaction."""
    tables = _tables_of_runs(connection)
    status = next((table for table in tables if table.name == _STATUS), None)
    if status is None:
        return 0
    runs = _with_descendants(connection, status, {each for id_ in ids for each in (id_, f"{id_}{RECORDING_SUFFIX}")})
    removed = 0
    # The row in workflow_status last: others refer to it.
    for table in sorted(tables, key=lambda each: each.name == _STATUS):
        for column in _columns_that_name_a_run(table):
            for some in _batches(runs):
                removed += connection.execute(table.delete().where(column.in_(some))).rowcount
    return removed


def _with_descendants(connection: Connection, status: Table, roots: set[str]) -> set[str]:
    """The runs, those that they started, and copies of any of them."""
    found, waiting = set(roots), set(roots)
    origins = [status.c[name] for name in ("parent_workflow_id", "forked_from") if name in status.c]
    while waiting:
        children: set[str] = set()
        for some in _batches(waiting):
            for origin in origins:
                children.update(connection.scalars(select(status.c.workflow_uuid).where(origin.in_(some))))
        waiting = children - found
        found |= waiting
    return found


def _tables_of_runs(connection: Connection) -> list[Table]:
    schema = SCHEMA_ON_POSTGRESQL if connection.dialect.name == "postgresql" else None
    metadata = MetaData()
    columns = sqlalchemy.inspect(connection).get_multi_columns(schema=schema)
    tables = (
        Table(name, metadata, *(Column(each["name"], each["type"]) for each in found), schema=schema)
        for (_, name), found in columns.items()
    )
    return [table for table in tables if _columns_that_name_a_run(table)]


def _columns_that_name_a_run(table: Table) -> list[Column[str]]:
    return [table.c[name] for name in _NAMES_A_RUN if name in table.c]


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    every = sorted(ids)
    return (every[start : start + _IDS_AT_ONCE] for start in range(0, len(every), _IDS_AT_ONCE))
