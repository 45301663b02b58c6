"""The record of change control of models, and which version each assessment was pinned to.

In the database of the assessments, SQLite or PostgreSQL. Rows of the record are added and never changed; two processes
that decide at the same time do so one after the other. No patient data; :meth:`ModelControlStore.recall` reads those of
the chart beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import column, inspect, select, table, text, true, tuple_
from sqlalchemy.engine import Connection

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.model.control import ALL_MODELS, Change, ChangeKind, ModelControl, ModelState, control_of
from oncoresponse.storage.database_engine import database_engine, exclude_other_writers, migrate_database
from oncoresponse.storage.database_errors import known_database_errors

_AREA = "model_control"
_CHANGES = table(
    "model_change",
    *map(
        column,
        (
            *("number", "time_ms", "kind", "model", "version", "sha256", "state", "reason", "caller", "proposal"),
            *("proposed_by", "emergency"),
        ),
    ),
)
_USES = table("model_use", *map(column, ("assessment", "model", "sha256", "create_time_ms")))
_CHART = table(
    "chart_assessment", *map(column, ("assessment", "create_time_ms", "study", "model", "state", "study_date"))
)
_PATIENTS = table("chart_patient", *map(column, ("patient_id", "issuer_of_patient_id", "assessment")))
_PREDICTIONS = table("monitoring_prediction", *map(column, ("assessment", "model_name", "model_sha256")))
_ROWS_AT_ONCE = 200
_UPGRADE = "upgrade"

Decide = Callable[[ModelControl], Sequence[Change]]
"""From what holds to the changes to be added; their number and time are filled in."""


@dataclass(frozen=True)
class RecalledAssessment:
    """An assessment that got a model.

    Attributes:
        assessment: Identifier, without ``assessments/``.
        study: ``studies/{study}``.
        create_time_ms: Milliseconds since 1970 (UTC).
        sha256: Of the model; empty where an earlier release did not note it.
        state: Number of the state it ended in; 0 while that has not been noted.
        study_date: YYYYMMDD, or empty.
        patients: Whose the study is.
    """

    assessment: str
    study: str
    create_time_ms: int
    sha256: str
    state: int
    study_date: str
    patients: tuple[IndexedPatient, ...]


class ModelControlStore:
    """All methods block; any thread and any number of processes may use them.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.

    Raises:
        PeerUnavailable: From every method: the database does not answer.
        DiskFull: From every method that writes.
    """

    def __init__(self, database_url: str) -> None:
        self._engine = database_engine(database_url)

    def prepare(self, installed: Mapping[str, tuple[str, str]]) -> None:
        """Make the tables where there are none, and migrate those of an earlier release.

        In a database without change control, a version that is installed and that assessments there have used counts as
        active: an upgrade does not take away what is in use. Which version they used is noted for them too.

        Args:
            installed: Semantic version and SHA-256 of each installed model, by name.

        Raises:
            SchemaTooNew: A newer release has written them.
        """
        with known_database_errors():
            migrate_database(self._engine, _AREA)
            with self._engine.connect() as connection:
                exclude_other_writers(connection)
                if connection.execute(select(_CHANGES.c.number).limit(1)).first() is None:
                    self._adopt(connection, installed)
                connection.commit()

    def control(self, name: str) -> ModelControl:
        """What holds for a model."""
        with known_database_errors(), self._engine.connect() as connection:
            return control_of(name, _changes_of(connection, name))

    def controls(self, names: Sequence[str]) -> dict[str, ModelControl]:
        """The same for several, in one read."""
        with known_database_errors(), self._engine.connect() as connection:
            changes = [_change(row) for row in connection.execute(select(_CHANGES).order_by(_CHANGES.c.number))]
        return {name: control_of(name, changes) for name in names}

    def decide(self, name: str, decide: Decide) -> list[Change]:
        """Add changes that follow from what holds; nobody else changes it meanwhile.

        Args:
            name: Of the model, or :data:`~oncoresponse.model.control.ALL_MODELS`.
            decide: May raise: then nothing is added.

        Returns:
            The rows that were added.
        """
        with known_database_errors(), self._engine.connect() as connection:
            exclude_other_writers(connection)
            added = [_add(connection, change) for change in decide(control_of(name, _changes_of(connection, name)))]
            connection.commit()
        return added

    def model_of_change(self, number: int) -> str | None:
        """The model that a change is about; ``None`` where there is no change of this number."""
        query = select(_CHANGES.c.model).where(_CHANGES.c.number == number)
        with known_database_errors(), self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def changes(self, name: str = "", *, before: int = 0, limit: int = 50) -> list[Change]:
        """The record, newest first.

        Args:
            name: Of a model, with the changes of all models; empty for every change.
            before: Only numbers below this one; 0 for all.
            limit: At most this many.
        """
        query = select(_CHANGES).order_by(_CHANGES.c.number.desc()).limit(limit)
        query = query.where(_CHANGES.c.model.in_((name, ALL_MODELS)) if name else true())
        query = query.where(_CHANGES.c.number < before if before else true())
        with known_database_errors(), self._engine.connect() as connection:
            return [_change(row) for row in connection.execute(query)]

    def note_use(self, assessment: str, model: str, sha256: str, create_time_ms: int) -> None:
        """Note which version an assessment is pinned to; once noted it stays.

        Args:
            assessment: Identifier, without ``assessments/``.
            model: Name of the model.
            sha256: Of the version.
            create_time_ms: When it was created.
        """
        statement = text(
            "INSERT INTO model_use (assessment, model, sha256, create_time_ms) "
            "VALUES (:assessment, :model, :sha256, :create_time_ms) ON CONFLICT DO NOTHING"
        )
        row = {"assessment": assessment, "model": model, "sha256": sha256, "create_time_ms": create_time_ms}
        with known_database_errors(), self._engine.begin() as connection:
            connection.execute(statement, row)

    def forget_use(self, assessments: Sequence[str]) -> int:
        """Remove what was noted of assessments that are erased; gives how many there were."""
        with known_database_errors(), self._engine.begin() as connection:
            return connection.execute(_USES.delete().where(_USES.c.assessment.in_(list(assessments)))).rowcount

    def recall(self, name: str, sha256: str, from_ms: int, before_ms: int) -> Iterator[list[RecalledAssessment]]:
        """Who got a model, oldest first, page by page. Assessments of which nobody noted the version are among them.

        Args:
            name: Of the model.
            sha256: Of one version; empty for all.
            from_ms: Created at this time or later.
            before_ms: Created before this time.
        """
        row = _CHART.c
        position = (from_ms, "")
        while True:
            query = (
                select(row.assessment, row.study, row.create_time_ms, _USES.c.sha256, row.state, row.study_date)
                .select_from(_CHART.outerjoin(_USES, _USES.c.assessment == row.assessment))
                .where(row.model == f"models/{name}", row.create_time_ms < before_ms)
                .where(tuple_(row.create_time_ms, row.assessment) > position)
                .order_by(row.create_time_ms, row.assessment)
                .limit(_ROWS_AT_ONCE)
            )
            if sha256:
                query = query.where((_USES.c.sha256 == sha256) | _USES.c.sha256.is_(None))
            with known_database_errors(), self._engine.connect() as connection:
                if not inspect(connection).has_table("chart_assessment"):
                    return
                found = connection.execute(query).all()
                patients = _patients(connection, [each[0] for each in found])
            if found:
                yield [
                    RecalledAssessment(each[0], each[1], each[2], each[3] or "", each[4], each[5], patients[each[0]])
                    for each in found
                ]
            if len(found) < _ROWS_AT_ONCE:
                return
            position = (found[-1][2], found[-1][0])

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _adopt(self, connection: Connection, installed: Mapping[str, tuple[str, str]]) -> None:
        known = inspect(connection)
        if not known.has_table("monitoring_prediction"):
            return
        if known.has_table("chart_assessment"):
            connection.execute(
                text(
                    "INSERT INTO model_use (assessment, model, sha256, create_time_ms) "
                    "SELECT c.assessment, m.model_name, m.model_sha256, c.create_time_ms FROM monitoring_prediction m "
                    "JOIN chart_assessment c ON m.assessment = 'assessments/' || c.assessment WHERE true "
                    "ON CONFLICT DO NOTHING"
                )
            )
        for name, (version, sha256) in sorted(installed.items()):
            used = select(_PREDICTIONS.c.assessment).where(
                _PREDICTIONS.c.model_name == name, _PREDICTIONS.c.model_sha256 == sha256
            )
            if connection.execute(used.limit(1)).first() is not None:
                reason = "In use before this installation had change control"
                _add(
                    connection,
                    Change(0, 0, ChangeKind.STATE, name, reason, _UPGRADE, version, sha256, ModelState.ACTIVE),
                )


def _add(connection: Connection, change: Change) -> Change:
    last = connection.execute(text("SELECT COALESCE(MAX(number), 0) FROM model_change")).scalar_one()
    added = replace(change, number=int(last) + 1, time_ms=time.time_ns() // 1_000_000)
    row = {**vars(added), "state": added.state or "", "emergency": int(added.emergency)}
    connection.execute(_CHANGES.insert().values({key: _plain(value) for key, value in row.items()}))
    return added


def _plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value


def _changes_of(connection: Connection, name: str) -> list[Change]:
    query = select(_CHANGES).where(_CHANGES.c.model.in_((name, ALL_MODELS))).order_by(_CHANGES.c.number)
    return [_change(row) for row in connection.execute(query)]


def _change(row: Any) -> Change:
    values = dict(row._mapping)
    state = ModelState(values["state"]) if values["state"] else None
    return Change(
        **{**values, "kind": ChangeKind(values["kind"]), "state": state, "emergency": bool(values["emergency"])}
    )


def _patients(connection: Connection, assessments: Sequence[str]) -> dict[str, tuple[IndexedPatient, ...]]:
    found: dict[str, list[IndexedPatient]] = {each: [] for each in assessments}
    query = select(_PATIENTS).where(_PATIENTS.c.assessment.in_(list(assessments)))
    for patient_id, issuer, assessment in connection.execute(query):
        found[assessment].append(IndexedPatient(patient_id=patient_id, issuer_of_patient_id=issuer))
    return {each: tuple(patients) for each, patients in found.items()}
