"""Whether the workflow database answers, for as long as a worker runs: what its health says depends on it.

A file (SQLite) is there or the process cannot do anything at all, so only PostgreSQL is watched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg

from oncoresponse.storage.database_engine import POSTGRESQL_CONNECTION, libpq_url

_INTERVAL_SECONDS = 0.5
# Longer than a busy server takes for SELECT, shorter than anybody notices.
_PATIENCE_SECONDS = 1.0
_CONNECT_SECONDS = 3
# A replica after a failover answers too, and nothing can be written to it.
_QUESTION = "SELECT NOT pg_is_in_recovery()"

_log = logging.getLogger(__name__)

Report = Callable[[bool], Awaitable[None]]
"""Is told whether the service can work."""


async def watch_database(database_url: str, report: Report) -> None:
    """Ask twice a second, and report each change, beginning with the first time that there is no answer.

    Runs until it is cancelled. A question without an answer is not withdrawn: a server that was only stopped answers it
    as soon as it goes on.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``.
        report: Awaited at each change.
    """
    if database_url.startswith("sqlite"):
        return
    connection = _Connection(libpq_url(database_url))
    answering = True
    try:
        while True:
            question = asyncio.ensure_future(connection.answers())
            try:
                await asyncio.wait((question,), timeout=_PATIENCE_SECONDS)
                if not question.done() and answering:
                    answering = False
                    await _tell(report, answering)
                found = await question
            finally:
                question.cancel()
            if found is not answering:
                answering = found
                await _tell(report, answering)
            await asyncio.sleep(_INTERVAL_SECONDS)
    finally:
        connection.drop()


async def _tell(report: Report, answering: bool) -> None:
    if answering:
        _log.warning("the workflow database answers again")
    else:
        _log.error("the workflow database does not answer; what runs waits for it")
    await report(answering)


class _Connection:
    """One connection, opened anew after each failure."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: psycopg.AsyncConnection | None = None

    async def answers(self) -> bool:
        """Whether the database answers and can be written to; returns when that is known."""
        try:
            if self._open is None:
                arguments = {**POSTGRESQL_CONNECTION, "connect_timeout": _CONNECT_SECONDS}
                self._open = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **arguments)
            row = await (await self._open.execute(_QUESTION)).fetchone()
        except (psycopg.Error, OSError):
            self.drop()
            return False
        return row is not None and bool(row[0])

    def drop(self) -> None:
        """Close without asking the server, which may not answer."""
        if self._open is not None:
            with suppress(psycopg.Error):
                self._open.pgconn.finish()
            self._open = None
