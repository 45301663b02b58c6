"""A worker tells the others that it lives, and takes over from those that have fallen silent.

Each process that runs assessments gives a sign of life every few seconds (``worker_beat_seconds``) and looks after the
others at the same pace. Who has given none at :data:`LOST_AFTER_BEATS` looks in a row is lost, and one of the others
takes over, see :mod:`~oncoresponse.workflow.worker_takeover`. Looks are counted, not seconds: while the database is
away, or the one who looks stands still, nobody looks, and afterwards the count begins anew; so a worker has several
beats of time to come back to the database before anybody may judge it.

A worker that finds that it was declared lost ends its process: what it was doing is somebody else's by now, and its
service manager starts it anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from oncoresponse.errors import ConfigurationError, DeclaredLost, OncoResponseError
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.process_lock import ProcessLock
from oncoresponse.storage.worker_store import Worker, beat, join, prepare_workers, worker, workers
from oncoresponse.workflow.earlier_versions import has_earlier_runs, settle_earlier_versions
from oncoresponse.workflow.worker_takeover import take_over, workers_with_runs

LOST_AFTER_BEATS = 4
"""Looks in a row without a sign of life, at the pace that the silent worker itself had set."""

_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A
_log = logging.getLogger(__name__)


class WorkerPresence:
    """This process in the table of workers, from :meth:`join` to :meth:`close`.

    Args:
        database_url: Of the assessments.
        executor_id: Name of this worker.
        lock_folder: Where the lock of the name lies; shared by the processes of one machine.
        beat_seconds: See above.
        version: Of this code; only runs of the same are taken over.
        on_lost: Called once, by a thread, when this worker was declared lost or another process has its name.
    """

    def __init__(
        self,
        database_url: str,
        executor_id: str,
        lock_folder: Path,
        beat_seconds: float,
        version: str,
        on_lost: Callable[[OncoResponseError], None],
    ) -> None:
        self._engine = database_engine(database_url)
        self._executor_id = executor_id
        self._lock_path = lock_folder / f"{executor_id}.lock"
        self._beat_seconds = beat_seconds
        self._version = version
        self._on_lost = on_lost
        self._lock: ProcessLock | None = None
        self._epoch = 0
        self._stopped = threading.Event()
        self._may_judge = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker-presence", daemon=True)
        self._silent: dict[str, tuple[tuple[int, int], int]] = {}
        self._database_answers = True

    def join(self) -> None:
        """Begin to live: a new epoch, and signs of life from now on.

        It waits a few beats where a worker of this name may still live on another machine.

        Raises:
            ConfigurationError: Another process of this name lives.
            SchemaTooNew: A newer release has written the table.
        """
        prepare_workers(self._engine)
        self._lock = ProcessLock(self._lock_path)
        try:
            while not self._epoch:
                seen = self._row()
                if seen is not None and seen.living and seen.place != self._lock.place:
                    self._require_silence(seen)
                with self._engine.begin() as connection:
                    epoch = join(connection, self._executor_id, self._lock.place, self._beat_seconds, seen)
                self._epoch = epoch or 0
        except BaseException:
            self.close()
            raise
        self._thread.start()

    def judge_others(self) -> None:
        """Look after the other workers from now on; the tables of the workflow engine have to be there."""
        self._may_judge.set()

    def close(self) -> None:
        """Give no more signs of life. The row stays: what this worker had begun goes on when it starts again, or with
        the others after a while."""
        self._stopped.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            # Bounded, because the thread may wait for a database that is away.
            self._thread.join(timeout=2 * self._beat_seconds)
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def _row(self) -> Worker | None:
        with self._engine.connect() as connection:
            return worker(connection, self._executor_id)

    def _require_silence(self, seen: Worker) -> None:
        """Its lock lies elsewhere, so that only its signs of life can say whether it lives."""
        deadline = time.monotonic() + 2.5 * seen.beat_seconds
        while time.monotonic() < deadline and not self._stopped.wait(min(seen.beat_seconds, 0.5)):
            now = self._row()
            if now is not None and (now.epoch, now.beat_ms) != (seen.epoch, seen.beat_ms):
                raise ConfigurationError(
                    f"A worker named {self._executor_id} lives on another machine or data folder. Two of one name "
                    "would take each other's work: give each a name of its own (executor_id).",
                    setting="executor_id",
                )

    def _run(self) -> None:
        while not self._stopped.wait(self._beat_seconds):
            try:
                if not self._beat():
                    self._say_lost()
                    return
                if self._may_judge.is_set():
                    self._look_after_others()
                self._database_answers = True
            except DBAPIError as error:
                # Whoever did not see the others must not count that as their silence.
                self._silent.clear()
                if self._database_answers and not self._stopped.is_set():
                    _log.warning("no sign of life could be given: the database says %s", type(error).__name__)
                self._database_answers = False

    def _beat(self) -> bool:
        # Without a transaction, so that a process that is stopped just here holds no row.
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return beat(connection, self._executor_id, self._epoch)

    def _look_after_others(self) -> None:
        with self._engine.connect() as connection:
            others = [each for each in workers(connection) if each.executor_id != self._executor_id]
            busy = workers_with_runs(connection, self._version)
            earlier = has_earlier_runs(connection, self._version)
        for other in others:
            # One that was declared lost may have begun something before it noticed.
            if self._is_silent(other) if other.living else other.executor_id in busy:
                self._take_over(other)
        if earlier:
            # For the time of an upgrade: what waits, and what those had begun that were declared lost.
            self._settle_earlier_versions()

    def _settle_earlier_versions(self) -> None:
        try:
            settle_earlier_versions(self._engine, self._executor_id, self._version, of_the_lost=True)
        except DBAPIError as error:
            if not _is_held(error):
                raise
            _log.info("runs of an earlier version are held by a process that was stopped; they are looked at again")

    def _is_silent(self, other: Worker) -> bool:
        sign = (other.epoch, other.beat_ms)
        known, looks = self._silent.get(other.executor_id, ((-1, -1), 0))
        looks = looks + 1 if sign == known else 0
        self._silent[other.executor_id] = (sign, looks)
        return looks * self._beat_seconds >= LOST_AFTER_BEATS * other.beat_seconds

    def _take_over(self, other: Worker) -> None:
        try:
            taken = take_over(self._engine, other, self._version)
        except DBAPIError as error:
            if not _is_held(error):
                raise
            _log.info("%s was stopped in the middle of a transaction, which the database will end", other.executor_id)
            return
        if taken is None:
            return
        self._silent.pop(other.executor_id, None)
        _log.warning(
            "worker %s is lost: %d assessments and %d records for monitoring go on with other workers",
            *(other.executor_id, taken.assessments, taken.recordings),
        )

    def _say_lost(self) -> None:
        self._on_lost(
            DeclaredLost(
                f"Worker {self._executor_id} gave no sign of life for too long, or another process took its name: "
                "others go on with what it had begun, and it ends. Its service manager starts it anew; if this "
                "happens often, look for what stops it (a machine that sleeps, memory, the way to the database)."
            )
        )


def _is_held(error: DBAPIError) -> bool:
    """Whether a row was held for longer than anybody waits for it here."""
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE
