"""What assessments are found by: patient, study, model, state, time. In the database of the assessments, SQLite or
PostgreSQL, beside the tables of the workflow engine.

It holds Patient IDs, and nothing that was found of a patient.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import column, literal, select, table, text, tuple_
from sqlalchemy.engine import Connection

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.storage.database_engine import database_engine, migrate_database
from oncoresponse.storage.page_position import position_of_token

_AREA = "chart"
_ASSESSMENTS = table(
    "chart_assessment",
    *map(column, ("assessment", "create_time_ms", "study", "model", "state", "patient_known", "study_date", "tenant")),
)
_PATIENTS = table("chart_patient", *map(column, ("patient_id", "issuer_of_patient_id", "assessment")))


@dataclass(frozen=True)
class Subject:
    """Whose a study is, and of when.

    Attributes:
        patients: As the study's index names them.
        study_date: YYYYMMDD, empty when the files give none.
    """

    patients: tuple[IndexedPatient, ...] = ()
    study_date: str = ""


@dataclass(frozen=True)
class AssessmentRow:
    """An assessment as far as it is found by something.

    Attributes:
        assessment: Identifier, without ``assessments/``.
        create_time_ms: Milliseconds since 1970 (UTC).
        study: ``studies/{study}``.
        model: ``models/{model}``.
        state: Number of the state it ended in; 0 while its end has not been noted.
        tenant: Whose it is, where the installation serves several tenants.
    """

    assessment: str
    create_time_ms: int
    study: str
    model: str
    state: int = 0
    tenant: str = ""


@dataclass(frozen=True)
class AssessmentFilter:
    """What a listed assessment has; empty, 0 and ``None`` ask for nothing.

    Attributes:
        patient_id: DICOM Patient ID (0010,0020). Looked up, never logged.
        issuer_of_patient_id: (0010,0021), with ``patient_id``; without it any issuer fits.
        study: ``studies/{study}``.
        model: ``models/{model}``.
        ended_in: State that it ended in, or 0 for any; those whose end has not been noted are given too.
        create_time_from_ms: Created at this time or later.
        create_time_before_ms: Created before this time.
        tenant: Of this tenant, empty for those without one; ``None`` for all.
    """

    patient_id: str = ""
    issuer_of_patient_id: str = ""
    study: str = ""
    model: str = ""
    ended_in: int = 0
    create_time_from_ms: int | None = None
    create_time_before_ms: int | None = None
    tenant: str | None = None


class ChartStore:
    """All methods block; any thread and any number of processes may use them. Errors are those of SQLAlchemy.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
    """

    def __init__(self, database_url: str) -> None:
        self._engine = database_engine(database_url)

    def prepare(self) -> None:
        """Make the tables where there are none, and migrate those of an earlier release.

        Raises:
            SchemaTooNew: A newer release has written them.
        """
        migrate_database(self._engine, _AREA)

    def add(self, rows: Iterable[AssessmentRow], subject: Subject | None = None) -> None:
        """Note assessments; one that is there stays as it is.

        Args:
            rows: The assessments.
            subject: Of their study; ``None`` where that is not known yet.
        """
        statement = text(
            "INSERT INTO chart_assessment "
            "(assessment, create_time_ms, study, model, state, patient_known, study_date, tenant) "
            "VALUES (:assessment, :create_time_ms, :study, :model, :state, 0, '', :tenant) ON CONFLICT DO NOTHING"
        )
        with self._engine.begin() as connection:
            for row in rows:
                connection.execute(statement, vars(row))
                if subject is not None:
                    _set_subject(connection, row.assessment, subject)

    def note_end(self, assessment: str, state: int) -> None:
        """Note the state that an assessment ended in."""
        with self._engine.begin() as connection:
            connection.execute(
                text("UPDATE chart_assessment SET state = :state WHERE assessment = :assessment"),
                {"assessment": assessment, "state": state},
            )

    def known(self, assessments: Collection[str]) -> set[str]:
        """Which of these are noted."""
        statement = text("SELECT 1 FROM chart_assessment WHERE assessment = :assessment")
        with self._engine.connect() as connection:
            return {each for each in assessments if connection.execute(statement, {"assessment": each}).first()}

    def tenant_of(self, assessment: str) -> str | None:
        """Whose an assessment is; ``None`` where it is not noted."""
        statement = text("SELECT tenant FROM chart_assessment WHERE assessment = :assessment")
        with self._engine.connect() as connection:
            found = connection.execute(statement, {"assessment": assessment}).first()
        return None if found is None else str(found[0])

    def patients_of(self, *assessments: str) -> tuple[IndexedPatient, ...]:
        """Whose data assessments are of, as far as that is noted."""
        patient = _PATIENTS.c
        query = (
            select(patient.patient_id, patient.issuer_of_patient_id)
            .where(patient.assessment.in_(assessments))
            .distinct()
            .order_by(patient.patient_id, patient.issuer_of_patient_id)
        )
        with self._engine.connect() as connection:
            return tuple(
                IndexedPatient(patient_id=row[0], issuer_of_patient_id=row[1]) for row in connection.execute(query)
            )

    def studies_without_subject(self) -> list[str]:
        """Studies of which nobody has noted yet whose they are."""
        statement = text("SELECT DISTINCT study FROM chart_assessment WHERE patient_known = 0 ORDER BY study")
        with self._engine.connect() as connection:
            return [str(row[0]) for row in connection.execute(statement)]

    def set_subject(self, study: str, subject: Subject) -> None:
        """Note whose a study is, with all of its assessments."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                text("SELECT assessment FROM chart_assessment WHERE study = :study"), {"study": study}
            ).all()
            for row in rows:
                _set_subject(connection, row[0], subject)

    def page(self, wanted: AssessmentFilter, page_token: str, limit: int) -> list[AssessmentRow]:
        """Assessments after a position, newest first.

        Args:
            wanted: Which ones.
            page_token: See :mod:`~oncoresponse.storage.page_position`.
            limit: At most this many.

        Raises:
            InvalidRequest: The token is malformed.
        """
        row = _ASSESSMENTS.c
        query = (
            select(row.assessment, row.create_time_ms, row.study, row.model, row.state)
            .where(tuple_(row.create_time_ms, row.assessment) < tuple_(*map(literal, position_of_token(page_token))))
            .order_by(row.create_time_ms.desc(), row.assessment.desc())
            .limit(limit)
        )
        if wanted.patient_id:
            patient = _PATIENTS.c
            of_patient = select(patient.assessment).where(patient.patient_id == wanted.patient_id)
            if wanted.issuer_of_patient_id:
                of_patient = of_patient.where(patient.issuer_of_patient_id == wanted.issuer_of_patient_id)
            query = query.where(row.assessment.in_(of_patient))
        if wanted.tenant is not None:
            query = query.where(row.tenant == wanted.tenant)
        if wanted.study:
            query = query.where(row.study == wanted.study)
        if wanted.model:
            query = query.where(row.model == wanted.model)
        if wanted.ended_in:
            query = query.where(row.state.in_((0, wanted.ended_in)))
        if wanted.create_time_from_ms is not None:
            query = query.where(row.create_time_ms >= wanted.create_time_from_ms)
        if wanted.create_time_before_ms is not None:
            query = query.where(row.create_time_ms < wanted.create_time_before_ms)
        with self._engine.connect() as connection:
            return [AssessmentRow(*found) for found in connection.execute(query)]

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _set_subject(connection: Connection, assessment: str, subject: Subject) -> None:
    connection.execute(
        text("UPDATE chart_assessment SET patient_known = 1, study_date = :date WHERE assessment = :assessment"),
        {"assessment": assessment, "date": subject.study_date},
    )
    for patient in subject.patients:
        connection.execute(
            text("INSERT INTO chart_patient VALUES (:patient_id, :issuer, :assessment) ON CONFLICT DO NOTHING"),
            {
                "patient_id": patient.patient_id,
                "issuer": patient.issuer_of_patient_id,
                "assessment": assessment,
            },
        )
