"""Erasures that were begun: what has to go is written down first, so that one which a crash interrupts is ended later.

What is written down names studies, assessments and digests of files, and is overwritten when they are gone. Whose they
were stands there as a keyed digest alone, until then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.engine import Engine

from oncoresponse.errors import Busy, RequestConflict
from oncoresponse.storage.database_engine import migrate_database

_AREA = "administration"
_LEASE_SECONDS = 60.0
_ROW = "SELECT erasure, state, confirmation, what_goes, answer, sweep_time_ms FROM administration_erasure"
_INSERT = """
INSERT INTO administration_erasure
(erasure, create_time_ms, state, confirmation, what_goes, answer, sweep_time_ms, worker, lease_until_ms)
VALUES (:erasure, :now, :state, :confirmation, :what_goes, :answer, 0, :worker, 0) ON CONFLICT DO NOTHING
"""


class ErasureState(StrEnum):
    """How far an erasure is."""

    STARTED = "started"
    REMOVED = "removed"
    DONE = "done"


class WhatGoes(BaseModel):
    """Names and digests of what an erasure removes.

    Attributes:
        studies: ``studies/{study}``.
        assessments: Identifiers, without ``assessments/``.
        orders: ``orders/{order}``.
        artifacts: SHA-256 of what may go, where nothing that lives refers to it.
        patients: What stands for them in the register of erasures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    studies: tuple[str, ...] = ()
    assessments: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()


@dataclass(frozen=True)
class ErasureRecord:
    """One erasure.

    Attributes:
        erasure: Id, of its request.
        state: How far it is.
        confirmation: Of its dry run.
        what_goes: Empty when it is done.
        answer: What the caller is told (JSON), without patient data.
        sweep_time_ms: When what cancelled work wrote meanwhile is removed; milliseconds since 1970 (UTC).
    """

    erasure: str
    state: ErasureState
    confirmation: str
    what_goes: WhatGoes
    answer: str
    sweep_time_ms: int


class ErasureStore:
    """All methods block; any thread and any number of processes may use them. Errors are those of SQLAlchemy.

    Args:
        engine: The database of the assessments.
        worker: Name of this worker.
    """

    def __init__(self, engine: Engine, worker: str) -> None:
        self._engine = engine
        self._worker = worker

    def prepare(self) -> None:
        """Make the tables where there are none, and migrate those of an earlier release.

        Raises:
            SchemaTooNew: A newer release has written them.
        """
        migrate_database(self._engine, _AREA)

    def find(self, erasure: str, confirmation: str) -> ErasureRecord | None:
        """The erasure that the same request began.

        Raises:
            RequestConflict: The id was used for another erasure.
        """
        found = self._read(erasure)
        if found is not None and found.confirmation != confirmation:
            raise RequestConflict("This request_id was used for a different erasure. Use a new UUID for a new one.")
        return found

    def begin(self, erasure: str, confirmation: str, what_goes: WhatGoes, answer: str) -> ErasureRecord:
        """Write down what has to go. This worker has the lease of it.

        Raises:
            RequestConflict: The id was used for another erasure.
        """
        row = {
            "erasure": erasure,
            "now": _now_ms(),
            "state": ErasureState.STARTED.value,
            "confirmation": confirmation,
            "what_goes": what_goes.model_dump_json(),
            "answer": answer,
            "worker": self._worker,
        }
        with self._engine.begin() as connection:
            connection.execute(text(_INSERT), row)
        found = self.find(erasure, confirmation)
        if found is None:
            raise Busy("The erasure is being worked on. Send the request again.")
        return found

    def take(self, erasure: str) -> bool:
        """Get or prolong the lease: whether this worker, and no other, is to go on with the erasure now."""
        now = _now_ms()
        with self._engine.begin() as connection:
            taken = connection.execute(
                text(
                    "UPDATE administration_erasure SET worker = :worker, lease_until_ms = :until "
                    "WHERE erasure = :erasure AND (worker = :worker OR lease_until_ms < :now)"
                ),
                {
                    "erasure": erasure,
                    "worker": self._worker,
                    "now": now,
                    "until": now + int(_LEASE_SECONDS * 1000),
                },
            )
            return bool(taken.rowcount)

    def note(self, erasure: str, state: ErasureState, what_goes: WhatGoes, answer: str, sweep_time_ms: int) -> None:
        """Write down how far it is."""
        values: Mapping[str, object] = {
            "erasure": erasure,
            "state": state.value,
            "what_goes": what_goes.model_dump_json(),
            "answer": answer,
            "sweep": sweep_time_ms,
        }
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE administration_erasure SET state = :state, what_goes = :what_goes, answer = :answer, "
                    "sweep_time_ms = :sweep, lease_until_ms = 0 WHERE erasure = :erasure"
                ),
                values,
            )

    def unfinished(self) -> list[ErasureRecord]:
        """What has to be ended: begun, or with a last sweep that is due."""
        statement = text(
            _ROW + " WHERE state = 'started' OR (state = 'removed' AND sweep_time_ms <= :now) ORDER BY create_time_ms"
        )
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(statement, {"now": _now_ms()})]

    def first_today(self, task: str, day: str) -> bool:
        """Whether nobody has begun a daily task yet today; it is begun then.

        Args:
            task: Its name.
            day: YYYY-MM-DD.
        """
        with self._engine.begin() as connection:
            row = {"task": task, "day": day}
            connection.execute(text("DELETE FROM administration_daily_task WHERE task = :task AND day < :day"), row)
            done = connection.execute(
                text("INSERT INTO administration_daily_task VALUES (:task, :day) ON CONFLICT DO NOTHING"), row
            )
            return bool(done.rowcount)

    def _read(self, erasure: str) -> ErasureRecord | None:
        statement = text(_ROW + " WHERE erasure = :erasure")
        with self._engine.connect() as connection:
            row = connection.execute(statement, {"erasure": erasure}).first()
        return None if row is None else _record(row)


def _record(row: Sequence[Any]) -> ErasureRecord:
    erasure, state, confirmation, what_goes, answer, sweep = row
    return ErasureRecord(
        str(erasure),
        ErasureState(state),
        str(confirmation),
        WhatGoes.model_validate_json(what_goes),
        str(answer),
        int(sweep),
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
