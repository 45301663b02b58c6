"""The index of the resources of reports: filled in the transaction that adds a version of a report.

In the database of the assessments, SQLite or PostgreSQL. A version replaces the one before: the same ids, a higher
number for what has changed. What a version has no more, as after a withdrawal, is known to be gone.

Whose a resource is, says the report that it belongs to: the patient whom its Bundle names, and the Patient ID of the
images. Two patients that became one are one here too; a report whose study was moved to another person is found by no
patient until it is withdrawn, because it names the wrong one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from oncoresponse.case.resource_search import PatientName
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.storage.database_engine import database_engine, migrate_database
from oncoresponse.storage.delivery_rows import database_time_ms
from oncoresponse.storage.resource_values import LAST_MS, IndexedResource, indexed_bundle

_AREA = "resources"
_BY_RESOURCE = ("fhir_token", "fhir_date", "fhir_reference")
_BY_ASSESSMENT = ("fhir_patient", "fhir_use", "fhir_report")
INDEX_TABLES = (*_BY_RESOURCE, *_BY_ASSESSMENT, "fhir_resource")
"""All tables. They are made of the Bundles of the reports, and name no artifact that those do not."""
# Columns with what names a patient or tells a finding: PostgreSQL would copy values into its statistics.
_PRIVATE = (
    ("fhir_patient", "system"),
    ("fhir_patient", "value"),
    ("fhir_token", "value"),
    ("fhir_reference", "target"),
    ("fhir_resource", "content"),
)
_KEEPS_STATISTICS = """
SELECT 1 FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid WHERE relname = :table AND attname = :column
AND attstattarget IS DISTINCT FROM 0 AND pg_table_is_visible(pg_class.oid)
"""
_UPSERT = text(
    "INSERT INTO fhir_resource (id, type, tenant, version, last_updated_ms, sort_ms, deleted, digest, content, place, "
    "source_sha256, source_bytes) VALUES (:id, :type, :tenant, :version, :now, :sort_ms, 0, :digest, :content, :place, "
    ":source_sha256, :source_bytes) ON CONFLICT (id) DO UPDATE SET version = excluded.version, "
    "last_updated_ms = excluded.last_updated_ms, sort_ms = excluded.sort_ms, deleted = 0, digest = excluded.digest, "
    "content = excluded.content, place = excluded.place, source_sha256 = excluded.source_sha256, "
    "source_bytes = excluded.source_bytes"
)
_MOVE_SOURCE = text(
    "UPDATE fhir_resource SET place = :place, source_sha256 = :source_sha256, source_bytes = :source_bytes "
    "WHERE id = :id"
)
_USE = text("INSERT INTO fhir_use (assessment, type, id) VALUES (:assessment, :type, :id) ON CONFLICT DO NOTHING")
_TOKEN = text("INSERT INTO fhir_token (parameter, value, system, id) VALUES (:parameter, :value, :system, :id)")
_DATE = text("INSERT INTO fhir_date (parameter, low_ms, high_ms, id) VALUES (:parameter, :low_ms, :high_ms, :id)")
_REFERENCE = text("INSERT INTO fhir_reference (parameter, target, id) VALUES (:parameter, :target, :id)")
_PATIENT = text(
    "INSERT INTO fhir_patient (assessment, kind, system, value) VALUES (:assessment, :kind, :system, :value) "
    "ON CONFLICT DO NOTHING"
)


_MERGED = (("dicom", ":old_issuer", ":new_issuer"), ("identifier", "system", "system"))


def index_version(
    connection: Connection,
    assessment: str,
    version: int,
    bundle: bytes,
    stored: StoredArtifact,
    *,
    withdrawn: bool = False,
) -> None:
    """Put the resources of a version in the place of those before; one that is not newer changes nothing.

    Args:
        connection: In the transaction that adds the version; the caller commits.
        assessment: Identifier, without ``assessments/``.
        version: Of its report.
        bundle: Its Bundle.
        stored: The same in the artifact store.
        withdrawn: The version says that the report was entered in error.

    Raises:
        ValueError: It is no Bundle.
    """
    named = {"assessment": assessment}
    chart = connection.execute(
        text("SELECT tenant FROM chart_assessment WHERE assessment = :assessment"), named
    ).first()
    before = connection.execute(
        text("SELECT version, moved FROM fhir_report WHERE assessment = :assessment"), named
    ).first()
    if before is not None and before.version >= version:
        return
    tenant = "" if chart is None else str(chart.tenant)
    found = indexed_bundle(bundle, assessment, tenant)
    moved = _write_patients(
        connection, assessment, found.patients, withdrawn, None if before is None else bool(before.moved)
    )
    connection.execute(text("DELETE FROM fhir_report WHERE assessment = :assessment"), named)
    connection.execute(
        text("INSERT INTO fhir_report VALUES (:assessment, :tenant, :version, :withdrawn, :moved)"),
        {**named, "tenant": tenant, "version": version, "withdrawn": int(withdrawn), "moved": int(moved)},
    )
    now = database_time_ms(connection)
    # In one order, so that two that write at once do not wait for each other.
    resources = sorted(found.resources, key=lambda each: each.id)
    _delete_missing(connection, assessment, {each.id for each in resources}, now)
    _write(connection, resources, tenant, stored, now)
    rows = [{**named, "type": each.resource_type, "id": each.id} for each in resources]
    connection.execute(_USE, rows)


def _write_patients(
    connection: Connection,
    assessment: str,
    in_bundle: Sequence[PatientName],
    withdrawn: bool,
    moved_before: bool | None,
) -> bool:
    """Note whose the report is; whether it names somebody else than its study.

    ``moved_before`` is ``None`` where the report was not here yet.
    """
    named = {"assessment": assessment}
    query = text("SELECT issuer_of_patient_id, patient_id FROM chart_patient WHERE assessment = :assessment")
    in_images = [PatientName("dicom", str(row[0]), str(row[1])) for row in connection.execute(query, named)]
    former = text("SELECT 1 FROM chart_former_patient WHERE assessment = :assessment")
    corrected = connection.execute(former, named).first() is not None
    # A report of before the index whose patient was corrected since: nobody says whether two became one.
    moved = corrected if moved_before is None else moved_before
    if moved_before is not None and corrected and not moved:
        # Two patients became one: its names are up to date already.
        return False
    connection.execute(text("DELETE FROM fhir_patient WHERE assessment = :assessment"), named)
    if moved and not withdrawn:
        return True
    # A note of withdrawal holds no finding, and is for whom the report was filed under.
    names = in_bundle if moved else (*in_bundle, *in_images)
    if names:
        connection.execute(_PATIENT, [{**named, **asdict(each)} for each in names])
    return moved


def _delete_missing(connection: Connection, assessment: str, present: set[str], now: int) -> None:
    used = connection.execute(
        text(
            "SELECT u.id, (SELECT count(*) FROM (SELECT 1 FROM fhir_use o WHERE o.id = u.id LIMIT 2) few) AS uses "
            "FROM fhir_use u WHERE u.assessment = :assessment ORDER BY u.id"
        ),
        {"assessment": assessment},
    ).all()
    for row in used:
        if row.id in present:
            continue
        if row.uses > 1:
            connection.execute(
                text("DELETE FROM fhir_use WHERE assessment = :assessment AND id = :id"),
                {"assessment": assessment, "id": row.id},
            )
            continue
        # That it was there stays known, and whose it was; what it said goes.
        values = {"id": row.id, "now": now}
        connection.execute(
            text(
                "UPDATE fhir_resource SET deleted = 1, version = version + 1, last_updated_ms = :now, digest = '', "
                "content = '', place = '' WHERE id = :id AND deleted = 0"
            ),
            values,
        )
        for table in _BY_RESOURCE:
            connection.execute(text(f"DELETE FROM {table} WHERE id = :id"), values)  # noqa: S608 - names of ours


def _write(
    connection: Connection, resources: Sequence[IndexedResource], tenant: str, stored: StoredArtifact, now: int
) -> None:
    query = text("SELECT id, version, digest, deleted FROM fhir_resource WHERE id IN :ids")
    ids = [each.id for each in resources]
    there = {
        row.id: row for row in connection.execute(query.bindparams(bindparam("ids", expanding=True)), {"ids": ids})
    }
    source = {"source_sha256": stored.sha256, "source_bytes": stored.size_bytes}
    nowhere = {"source_sha256": "", "source_bytes": 0}
    changed = []
    for each in resources:
        before = there.get(each.id)
        if before is not None and not before.deleted and before.digest == each.digest:
            # The bytes are read from the newest Bundle.
            if each.place:
                connection.execute(_MOVE_SOURCE, {"id": each.id, "place": each.place, **source})
            continue
        changed.append((each, 1 if before is None else before.version + 1))
    for each, version in changed:
        if version > 1:
            for table in _BY_RESOURCE:
                connection.execute(text(f"DELETE FROM {table} WHERE id = :id"), {"id": each.id})  # noqa: S608 - names of ours
    rows = [
        {
            "id": each.id,
            "type": each.resource_type,
            "tenant": tenant,
            "version": version,
            "now": now,
            "sort_ms": now if each.sort_ms is None else max(0, each.sort_ms),
            "digest": each.digest,
            "content": each.content,
            "place": each.place,
            **(source if each.place else nowhere),
        }
        for each, version in changed
    ]
    if rows:
        connection.execute(_UPSERT, rows)
    for statement, name in ((_TOKEN, "tokens"), (_DATE, "dates"), (_REFERENCE, "references")):
        values = [{"id": each.id, **asdict(value)} for each, _ in changed for value in getattr(each, name)]
        if values:
            connection.execute(statement, values)


class ResourceIndex:
    """All methods block; any thread and any number of processes may use them. Errors are those of SQLAlchemy.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
    """

    def __init__(self, database_url: str) -> None:
        self._engine = database_engine(database_url)

    def prepare(self) -> None:
        """Make the tables where there are none. Needs those of reports and chart.

        Raises:
            SchemaTooNew: A newer release has written them.
        """
        migrate_database(self._engine, _AREA)
        if self._engine.dialect.name == "sqlite":
            return
        with self._engine.begin() as connection:
            for table, column in _PRIVATE:
                if connection.execute(text(_KEEPS_STATISTICS), {"table": table, "column": column}).first():
                    connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def add(
        self, assessment: str, version: int, bundle: bytes, stored: StoredArtifact, *, withdrawn: bool = False
    ) -> None:
        """A version that is kept already; see :func:`index_version`. The same again changes nothing."""
        with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            index_version(connection, assessment, version, bundle, stored, withdrawn=withdrawn)
            connection.commit()

    def missing(self, succeeded: int, limit: int, after: tuple[int, str] | None = None) -> list[tuple[int, str]]:
        """Assessments that may have a report and are not in the index, newest first: time of creation and identifier.

        Args:
            succeeded: Number of the state of those that ended with a report; those whose end has not been noted are
                given too.
            limit: At most this many.
            after: The last one of those before.
        """
        query = text(
            "SELECT c.create_time_ms, c.assessment FROM chart_assessment c WHERE c.state IN (0, :succeeded) "
            "AND NOT EXISTS (SELECT 1 FROM fhir_report f WHERE f.assessment = c.assessment) "
            "AND (c.create_time_ms, c.assessment) < (:time, :name) "
            "ORDER BY c.create_time_ms DESC, c.assessment DESC LIMIT :limit"
        )
        with self._engine.connect() as connection:
            time, name = (LAST_MS, "") if after is None else after
            values = {"succeeded": succeeded, "limit": limit, "time": time, "name": name}
            return [(int(row[0]), str(row[1])) for row in connection.execute(query, values)]

    def merge(self, assessments: Collection[str], given_up: IndexedPatient, kept: IndexedPatient) -> None:
        """Two patients became one: their reports are found by the one that stays."""
        names: Mapping[str, str] = {
            "old": given_up.patient_id,
            "old_issuer": given_up.issuer_of_patient_id,
            "new": kept.patient_id,
            "new_issuer": kept.issuer_of_patient_id,
        }
        with self._engine.begin() as connection:
            for assessment in assessments:
                values = {"assessment": assessment, **names}
                for kind, before, after in _MERGED:
                    connection.execute(
                        text(
                            "INSERT INTO fhir_patient (assessment, kind, system, value) "  # noqa: S608 - words of ours
                            f"SELECT assessment, kind, {after}, :new FROM fhir_patient WHERE assessment = :assessment "
                            f"AND kind = '{kind}' AND value = :old AND system = {before} ON CONFLICT DO NOTHING"
                        ),
                        values,
                    )
                    if (given_up.patient_id, before) != (kept.patient_id, "system"):
                        connection.execute(
                            text(
                                "DELETE FROM fhir_patient WHERE assessment = :assessment AND value = :old "  # noqa: S608
                                f"AND kind = '{kind}' AND system = {before}"
                            ),
                            values,
                        )

    def move(self, assessments: Collection[str]) -> None:
        """Their study was given to another person: who is not withdrawn is found by no patient any more."""
        with self._engine.begin() as connection:
            for assessment in assessments:
                values = {"assessment": assessment}
                connection.execute(text("UPDATE fhir_report SET moved = 1 WHERE assessment = :assessment"), values)
                connection.execute(
                    text(
                        "DELETE FROM fhir_patient WHERE assessment = :assessment AND (kind = 'dicom' OR EXISTS "
                        "(SELECT 1 FROM fhir_report r WHERE r.assessment = :assessment AND r.withdrawn = 0))"
                    ),
                    values,
                )

    def delete(self, assessments: Collection[str]) -> int:
        """Forget the resources of these assessments, that they were there included; gives how many rows went."""
        count = 0
        with self._engine.begin() as connection:
            for assessment in assessments:
                values = {"assessment": assessment}
                own = connection.execute(
                    text(
                        "SELECT u.id FROM fhir_use u WHERE u.assessment = :assessment AND NOT EXISTS "
                        "(SELECT 1 FROM fhir_use o WHERE o.id = u.id AND o.assessment <> :assessment) ORDER BY u.id"
                    ),
                    values,
                ).scalars()
                for resource in own.all():
                    for table in (*_BY_RESOURCE, "fhir_resource"):
                        statement = text(f"DELETE FROM {table} WHERE id = :id")  # noqa: S608 - names of ours
                        count += connection.execute(statement, {"id": resource}).rowcount
                for table in _BY_ASSESSMENT:
                    statement = text(f"DELETE FROM {table} WHERE assessment = :assessment")  # noqa: S608 - names of ours
                    count += connection.execute(statement, values).rowcount
        return count
