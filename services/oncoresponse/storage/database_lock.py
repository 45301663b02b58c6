"""Whether another process holds the SQLite database, asked before work that would wait for it without end.

DBOS waits half a minute for a lock and then tries again for ever, which is right for a workflow and wrong for a caller.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

from oncoresponse.errors import Busy
from oncoresponse.storage.database_errors import LOCKED_MESSAGE, is_locked

_WAIT_SECONDS = 4.0
_GOOD_FOR_SECONDS = 0.5


class DatabaseLock:
    """Asks no more than twice a second, and once for all who ask at the same time. For one event loop.

    Args:
        database_url: As in the settings; on another database than SQLite nothing is asked.
    """

    def __init__(self, database_url: str) -> None:
        url = make_url(database_url)
        is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        self._path = Path(str(url.database)) if is_file else None
        self._free_at = 0.0
        self._asking: asyncio.Future[None] | None = None
        # Of its own: the threads of the loop may all be waiting for the lock.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database-lock")

    async def require_free(self) -> None:
        """Wait a few seconds for the lock, no longer.

        Raises:
            Busy: Another process holds it.
        """
        if self._path is None or time.monotonic() - self._free_at < _GOOD_FOR_SECONDS:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().run_in_executor(self._thread, _take_and_release, self._path)
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._asking)
        self._free_at = time.monotonic()


def _take_and_release(path: Path) -> None:
    if not path.is_file():
        return
    with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if is_locked(error):
                raise Busy(LOCKED_MESSAGE) from error
            raise
