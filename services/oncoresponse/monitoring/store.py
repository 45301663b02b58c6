"""Two tables in the database of the server: what was predicted, and what happened.

The database is the one of the assessments (SQLite in the data folder, or PostgreSQL), so that one backup holds both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table, func, select
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import IntegrityError, OperationalError

from oncoresponse.errors import DiskFull, PeerUnavailable, PredictionAlreadyRecorded, PredictionNotFound
from oncoresponse.monitoring.records import MonitoredCase, OutcomeRecord, PredictionRecord
from oncoresponse.storage.database_compaction import compact_database
from oncoresponse.storage.database_engine import database_engine, migrate_database
from oncoresponse.storage.disk_space import NO_ROOM_MESSAGE

_AREA = "monitoring"

_METADATA = MetaData()
_PREDICTIONS = Table(
    "monitoring_prediction",
    _METADATA,
    Column("assessment", String(100), primary_key=True),
    Column("month", String(7), nullable=False),
    Column("model_name", String(63), nullable=False, index=True),
    Column("model_version", String(50), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("answer", String(50), nullable=False),
    Column("abstained", Boolean, nullable=False),
    Column("probability", Float(53)),
    Column("interval_low", Float(53)),
    Column("interval_high", Float(53)),
    Column("outside_score", Float(53)),
    Column("abstain_codes", JSON, nullable=False),
    Column("baseline_probability", Float(53)),
    Column("groups", JSON, nullable=False),
)
_OUTCOMES = Table(
    "monitoring_outcome",
    _METADATA,
    Column("assessment", String(100), ForeignKey("monitoring_prediction.assessment"), primary_key=True),
    Column("favorable", Boolean),
    Column("follow_up_months", Integer),
    Column("groups", JSON, nullable=False),
)


class MonitoringStore:
    """Predictions and outcomes. All methods block; any thread and any number of processes may use them.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
    """

    def __init__(self, database_url: str) -> None:
        self._engine = database_engine(database_url)

    def prepare(self) -> None:
        """Reach the database, make the tables where there are none, migrate those of an earlier release.

        Raises:
            SchemaTooNew: A newer release has written them.
            PeerUnavailable: The database does not answer.
            DiskFull: There is no room for the tables.
        """
        with _known_failures():
            migrate_database(self._engine, _AREA)

    def record_prediction(self, record: PredictionRecord) -> bool:
        """Keep a prediction.

        Returns:
            Whether it is new; ``False`` when the same one is there.

        Raises:
            PredictionAlreadyRecorded: Another prediction of this assessment is there.
            PeerUnavailable, DiskFull: The database is away, or full.
        """
        row = {
            **vars(record),
            "inputs": dict(record.inputs),
            "abstain_codes": list(record.abstain_codes),
            "groups": dict(record.groups),
        }
        with _known_failures():
            try:
                with self._engine.begin() as connection:
                    connection.execute(_PREDICTIONS.insert().values(row))
            except IntegrityError:
                with self._engine.connect() as connection:
                    known = _prediction_row(connection, record.assessment)
                if known is None:
                    raise
                if _prediction(known) == record:
                    return False
                raise PredictionAlreadyRecorded(
                    "Another prediction of this assessment was recorded before, and it stays. Assess the study again "
                    "for a new prediction."
                ) from None
        return True

    def record_outcome(self, record: OutcomeRecord) -> bool:
        """Keep an outcome; the last one counts. Groups are added to those of an earlier call.

        Returns:
            Whether it replaced another one.

        Raises:
            PredictionNotFound: No prediction of this assessment is there.
            PeerUnavailable, DiskFull: The database is away, or full.
        """
        with _known_failures():
            try:
                return self._put_outcome(record)
            except IntegrityError:
                # The same assessment's first outcome came in twice at once; now it is there to be replaced.
                return self._put_outcome(record)

    def _put_outcome(self, record: OutcomeRecord) -> bool:
        with self._engine.begin() as connection:
            if _prediction_row(connection, record.assessment) is None:
                raise prediction_not_found()
            here = _OUTCOMES.c.assessment == record.assessment
            found = connection.execute(select(_OUTCOMES).where(here)).mappings().one_or_none()
            values = {"favorable": record.favorable, "follow_up_months": record.follow_up_months}
            if found is None:
                row = {"assessment": record.assessment, **values, "groups": dict(record.groups)}
                connection.execute(_OUTCOMES.insert().values(row))
                return False
            groups = {**found["groups"], **record.groups}
            connection.execute(_OUTCOMES.update().where(here).values({**values, "groups": groups}))
            return any(found[name] != value for name, value in values.items())

    def cases(self, model_name: str, *, since_month: str = "", until_month: str = "") -> list[MonitoredCase]:
        """Every prediction of a model with its outcome, by month and then by name.

        Args:
            model_name: Name of the model; all of its versions are given.
            since_month: First month, ``YYYY-MM``; empty for no bound.
            until_month: Last month, included.

        Raises:
            PeerUnavailable: The database does not answer.
        """
        outcome = [column.label(f"outcome_{column.name}") for column in _OUTCOMES.c]
        query = (
            select(_PREDICTIONS, *outcome)
            .select_from(_PREDICTIONS.outerjoin(_OUTCOMES))
            .where(_PREDICTIONS.c.model_name == model_name)
            .order_by(_PREDICTIONS.c.month, _PREDICTIONS.c.assessment)
        )
        if since_month:
            query = query.where(_PREDICTIONS.c.month >= since_month)
        if until_month:
            query = query.where(_PREDICTIONS.c.month <= until_month)
        with _known_failures(), self._engine.connect() as connection:
            return [
                MonitoredCase(_prediction(row), _outcome(row)) for row in connection.execute(query).mappings().all()
            ]

    def assessments_before(self, month: str) -> list[str]:
        """Assessments (``assessments/{assessment}``) whose prediction is of a month before this one, YYYY-MM."""
        query = select(_PREDICTIONS.c.assessment).where(_PREDICTIONS.c.month < month)
        with _known_failures(), self._engine.connect() as connection:
            return [str(row[0]) for row in connection.execute(query)]

    def count(self, assessments: Collection[str]) -> int:
        """Predictions and outcomes of these assessments."""
        with _known_failures(), self._engine.connect() as connection:
            return sum(
                connection.execute(select(func.count()).where(table.c.assessment == assessment)).scalar_one()
                for table in (_OUTCOMES, _PREDICTIONS)
                for assessment in assessments
            )

    def forget(self, assessments: Collection[str]) -> None:
        """Remove prediction and outcome of assessments; nothing happens where they are gone already."""
        with _known_failures(), self._engine.begin() as connection:
            for assessment in assessments:
                for table in (_OUTCOMES, _PREDICTIONS):
                    connection.execute(table.delete().where(table.c.assessment == assessment))

    def compact(self) -> bool:
        """Leave nothing of what was removed in the files of the database; whether that was possible."""
        return compact_database(self._engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def prediction_not_found() -> PredictionNotFound:
    """What is said of an assessment of which there is no record, or none for who asks."""
    return PredictionNotFound(
        "No prediction of this assessment is recorded. Check the name; a prediction is recorded within seconds after "
        "its report, and only of assessments that succeeded."
    )


def _prediction_row(connection: Connection, assessment: str) -> RowMapping | None:
    query = select(_PREDICTIONS).where(_PREDICTIONS.c.assessment == assessment)
    return connection.execute(query).mappings().one_or_none()


def _prediction(row: Mapping[Any, Any]) -> PredictionRecord:
    values = {column.name: row[column.name] for column in _PREDICTIONS.c}
    return PredictionRecord(**{**values, "abstain_codes": tuple(values["abstain_codes"])})


def _outcome(row: RowMapping) -> OutcomeRecord | None:
    values = {column.name: row[f"outcome_{column.name}"] for column in _OUTCOMES.c}
    return None if values["assessment"] is None else OutcomeRecord(**values)


@contextmanager
def _known_failures() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        cause = error.orig
        if isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise DiskFull(NO_ROOM_MESSAGE) from error
        raise PeerUnavailable(
            "The database of monitoring does not answer. Check database_url and that the database runs, then try again."
        ) from error
