"""Whose assessments are, for those who erase and correct: rows of the chart, removed or given to another patient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import text
from sqlalchemy.engine import Engine

from oncoresponse.case.study_index import IndexedPatient

_OF_PATIENT = """
SELECT assessment FROM chart_patient
WHERE patient_id = :patient_id AND (:any_issuer = 1 OR issuer_of_patient_id = :issuer)
"""
_WITH_STATISTICS = """
SELECT relname, attname FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
WHERE relname IN ('chart_patient', 'chart_former_patient') AND attname IN ('patient_id', 'issuer_of_patient_id')
AND attstattarget IS DISTINCT FROM 0 AND pg_table_is_visible(pg_class.oid) ORDER BY relname, attname
"""
_OF_FORMER_PATIENT = _OF_PATIENT.replace("chart_patient", "chart_former_patient")
_REMEMBER = """
INSERT INTO chart_former_patient
SELECT patient_id, issuer_of_patient_id, assessment FROM chart_patient WHERE assessment = :assessment
ON CONFLICT DO NOTHING
"""


def assessments_of_patient(
    engine: Engine, patient: IndexedPatient, *, any_issuer: bool = False, former: bool = True
) -> list[str]:
    """Assessments whose study is of the patient; with ``former`` also those of which it was when they were made."""
    values = {
        "patient_id": patient.patient_id,
        "issuer": patient.issuer_of_patient_id,
        "any_issuer": int(any_issuer),
    }
    statements = (_OF_PATIENT, _OF_FORMER_PATIENT) if former else (_OF_PATIENT,)
    with engine.connect() as connection:
        return sorted({str(row[0]) for each in statements for row in connection.execute(text(each), values)})


def assessments_of_studies(engine: Engine, studies: Iterable[str]) -> list[str]:
    """Assessments of these studies (``studies/{study}``)."""
    statement = text("SELECT assessment FROM chart_assessment WHERE study = :study")
    with engine.connect() as connection:
        found = {str(row[0]) for study in studies for row in connection.execute(statement, {"study": study})}
    return sorted(found)


def everybody(engine: Engine) -> set[IndexedPatient]:
    """Each patient of whom there is an assessment, or was when it was made."""
    statement = text(
        "SELECT patient_id, issuer_of_patient_id FROM chart_patient "
        "UNION SELECT patient_id, issuer_of_patient_id FROM chart_former_patient"
    )
    with engine.connect() as connection:
        rows = connection.execute(statement).all()
    return {IndexedPatient(patient_id=str(row[0]), issuer_of_patient_id=str(row[1])) for row in rows}


def every_assessment(engine: Engine) -> list[str]:
    """All assessments."""
    with engine.connect() as connection:
        return [str(row[0]) for row in connection.execute(text("SELECT assessment FROM chart_assessment"))]


def studies_of_assessments(engine: Engine, assessments: Iterable[str]) -> set[str]:
    """Studies (``studies/{study}``) of these assessments."""
    statement = text("SELECT study FROM chart_assessment WHERE assessment = :assessment")
    with engine.connect() as connection:
        return {
            str(row[0])
            for assessment in assessments
            for row in connection.execute(statement, {"assessment": assessment})
        }


def assessments_created_before(engine: Engine, create_time_ms: int) -> list[str]:
    """Assessments that were created before a time, in milliseconds since 1970 (UTC)."""
    statement = text("SELECT assessment FROM chart_assessment WHERE create_time_ms < :time ORDER BY assessment")
    with engine.connect() as connection:
        return [str(row[0]) for row in connection.execute(statement, {"time": create_time_ms})]


def keep_no_statistics(engine: Engine) -> None:
    """Keep PostgreSQL from copying Patient IDs into its statistics (pg_statistic), which no erasure reaches.

    The planner finds patients by the primary keys without them.
    """
    if engine.dialect.name == "sqlite":
        return
    with engine.begin() as connection:
        for table, column in connection.execute(text(_WITH_STATISTICS)).all():
            # A change of the type, here to the same one, drops what was kept before.
            connection.execute(
                text(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0, ALTER COLUMN {column} TYPE TEXT")
            )


def chart_rows(engine: Engine, assessments: Sequence[str]) -> int:
    """How many rows the chart has of these assessments."""
    with engine.connect() as connection:
        return sum(
            connection.execute(
                text(f"SELECT count(*) FROM {table} WHERE assessment = :assessment"),  # noqa: S608 - names of ours
                {"assessment": assessment},
            ).scalar_one()
            for assessment in assessments
            for table in _TABLES
        )


def forget_assessments(engine: Engine, assessments: Sequence[str]) -> None:
    """Remove what assessments are found by; nothing happens where it is gone already."""
    if not assessments:
        return
    rows = [{"assessment": assessment} for assessment in assessments]
    with engine.begin() as connection:
        for table in _TABLES:
            connection.execute(text(f"DELETE FROM {table} WHERE assessment = :assessment"), rows)  # noqa: S608


def give_to(engine: Engine, assessments: Sequence[str], patient: IndexedPatient) -> None:
    """Make assessments those of a patient; whom they named until now is kept for erasures."""
    with engine.begin() as connection:
        for assessment in assessments:
            named = {"assessment": assessment}
            connection.execute(text(_REMEMBER), named)
            connection.execute(text("DELETE FROM chart_patient WHERE assessment = :assessment"), named)
            connection.execute(
                text("INSERT INTO chart_patient VALUES (:patient_id, :issuer, :assessment)"),
                {**named, "patient_id": patient.patient_id, "issuer": patient.issuer_of_patient_id},
            )


# Rows that refer to others first.
_TABLES = ("chart_patient", "chart_former_patient", "chart_assessment")
