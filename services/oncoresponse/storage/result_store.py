"""What assessments ended with, for those whose rows in the workflow engine's tables have expired. Beside the chart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import column, select, table, text
from sqlalchemy.engine import Connection, Engine

from oncoresponse.storage.database_engine import migrate_database

_AREA = "results"
# SQLite takes 32,766 values in a statement, PostgreSQL 65,535.
_IDS_AT_ONCE = 5000
_RESULTS = table("chart_result", *map(column, ("assessment", "message", "request_sha256")))


@dataclass(frozen=True)
class KeptResult:
    """An assessment that has ended. Holds what was found of a patient.

    Attributes:
        assessment: Identifier.
        message: ``oncoresponse.v1.Assessment`` as JSON.
        request_sha256: Digest of the request that made it.
    """

    assessment: str
    message: str
    request_sha256: str


class ResultStore:
    """All methods block; any thread may use them. Errors are those of SQLAlchemy.

    Args:
        engine: Of the database that holds the chart.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prepare(self) -> None:
        """Make the table where there is none; that of the chart has to be there.

        Raises:
            SchemaTooNew: A newer release has written it.
        """
        migrate_database(self._engine, _AREA)

    def of(self, assessments: Collection[str]) -> dict[str, KeptResult]:
        """What is kept of these, by identifier."""
        found: dict[str, KeptResult] = {}
        wanted = sorted(assessments)
        with self._engine.connect() as connection:
            for start in range(0, len(wanted), _IDS_AT_ONCE):
                some = _RESULTS.c.assessment.in_(wanted[start : start + _IDS_AT_ONCE])
                found |= {row[0]: KeptResult(*row) for row in connection.execute(select(_RESULTS).where(some))}
        return found


def keep_result_within(connection: Connection, kept: KeptResult) -> None:
    """Keep one as a part of the caller's transaction; one that is there stays as it is."""
    connection.execute(
        text(
            "INSERT INTO chart_result (assessment, message, request_sha256) "
            "VALUES (:assessment, :message, :request_sha256) ON CONFLICT DO NOTHING"
        ),
        vars(kept),
    )
