"""What became of reports after the chain had made them: signatures, judgements, replacements.

In the database of the assessments, SQLite or PostgreSQL. A row is written once and never changed: the database itself
refuses it. The one exception is :meth:`ReportStore.delete`, for the erasure of a patient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from oncoresponse.case.sign_off import (
    FIRST_VERSION,
    Agreement,
    PhysicianJudgement,
    RecordedJudgement,
    ReportStatus,
    SignOff,
    WithdrawalReason,
)
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import JudgementAlreadyRecorded, ReportChanged, RequestConflict
from oncoresponse.storage.database_engine import database_engine, exclude_other_writers, migrate_database

_AREA = "reports"
_KEPT = ("report_version", "report_judgement", "report_object")
BUNDLE_MEDIA_TYPE, PAGE_MEDIA_TYPE, OBJECT_MEDIA_TYPE = "application/fhir+json", "application/pdf", "application/dicom"
_MEDIA_TYPES = {"json": BUNDLE_MEDIA_TYPE, "html": "text/html"}

_REFUSE_SQLITE = """
CREATE TRIGGER IF NOT EXISTS {table}_is_kept BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, 'what is signed is never rewritten'); END
"""
# CREATE TRIGGER waits for everybody who uses the table, so it is done once.
_REFUSE_POSTGRESQL = """
DO $do$ BEGIN
    CREATE OR REPLACE FUNCTION {table}_is_kept() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'what is signed is never rewritten'; END $$;
    IF NOT EXISTS (
        SELECT 1 FROM pg_trigger WHERE tgname = '{table}_is_kept' AND tgrelid = '{table}'::regclass
    ) THEN
        CREATE TRIGGER {table}_is_kept BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_is_kept();
    END IF;
END $do$
"""


@dataclass(frozen=True)
class SignedVersion:
    """One version of a report, as it is kept.

    Attributes:
        sign_off: Who did what.
        bundle, page: Its FHIR Bundle and its PDF in the artifact store.
        objects: Everything else that was made of it, by file name: DICOM objects, the page for the patient, other
            forms of the Bundle.
    """

    sign_off: SignOff
    bundle: StoredArtifact
    page: StoredArtifact
    objects: Mapping[str, StoredArtifact] = field(default_factory=dict)

    @property
    def artifacts(self) -> Mapping[str, StoredArtifact]:
        """By the file names of the artifacts of an assessment."""
        return {"report.json": self.bundle, "report.pdf": self.page, **self.objects}


@dataclass(frozen=True)
class ReportHistory:
    """What is kept of the report of one assessment.

    Attributes:
        versions: From version 2 on, in order.
        judgements: In the order of their time.
        replaces: Assessment that this one replaces; empty for none. Identifiers, without ``assessments/``.
        replaced_by: Newest assessment that replaces this one; empty for none.
    """

    versions: tuple[SignedVersion, ...] = ()
    judgements: tuple[RecordedJudgement, ...] = ()
    replaces: str = ""
    replaced_by: str = ""

    @property
    def sign_offs(self) -> tuple[SignOff, ...]:
        """The steps, in order."""
        return tuple(version.sign_off for version in self.versions)


class ReportStore:
    """All methods block; any thread and any number of processes may use them. Other errors are those of SQLAlchemy.

    Args:
        database_url: ``sqlite:///...`` or ``postgresql://...``, as in the server's settings.
    """

    def __init__(self, database_url: str) -> None:
        self._engine = database_engine(database_url)

    def prepare(self) -> None:
        """Make the tables and their guards where there are none, and migrate those of an earlier release.

        Raises:
            SchemaTooNew: A newer release has written them.
        """
        migrate_database(self._engine, _AREA)
        with self._engine.connect() as connection:
            exclude_other_writers(connection)
            refuse = _REFUSE_SQLITE if connection.dialect.name == "sqlite" else _REFUSE_POSTGRESQL
            for table in _KEPT:
                connection.exec_driver_sql(refuse.format(table=table))
            connection.commit()

    def history(self, assessment: str) -> ReportHistory:
        """Everything that is kept of one report."""
        return self.histories([assessment])[assessment]

    def histories(self, assessments: Collection[str]) -> dict[str, ReportHistory]:
        """The same of several, in five queries however many there are."""
        wanted = list(dict.fromkeys(assessments))
        if not wanted:
            return {}
        with self._engine.connect() as connection:
            versions = _by_assessment(connection, "SELECT * FROM report_version {of} ORDER BY version", wanted)
            objects = _by_assessment(connection, "SELECT * FROM report_object {of} ORDER BY name", wanted)
            judgements = _by_assessment(
                connection, "SELECT * FROM report_judgement {of} ORDER BY time_seconds, physician", wanted
            )
            replaces = _by_assessment(connection, "SELECT assessment, replaced FROM report_replacement {of}", wanted)
            replaced_by = _by_assessment(
                connection,
                "SELECT replaced AS assessment, assessment AS newer FROM report_replacement {of} "
                "ORDER BY time_ms, assessment",
                wanted,
                "replaced",
            )
        return {
            each: ReportHistory(
                tuple(_signed_version(row, objects[each]) for row in versions[each]),
                tuple(map(_judgement, judgements[each])),
                next((str(row.replaced) for row in replaces[each]), ""),
                next((str(row.newer) for row in reversed(replaced_by[each])), ""),
            )
            for each in wanted
        }

    def version_of_request(self, assessment: str, request_id: str, request_sha256: str) -> int | None:
        """Number of the version that the same request made before.

        Raises:
            RequestConflict: The ``request_id`` was used for another request.
        """
        with self._engine.connect() as connection:
            return _version_of_request(connection, assessment, request_id, request_sha256)

    def append(
        self,
        assessment: str,
        sign_off: SignOff,
        request: tuple[str, str],
        artifacts: tuple[StoredArtifact, StoredArtifact],
        keep: Callable[[], None] = lambda: None,
        objects: Mapping[str, StoredArtifact] = MappingProxyType({}),
        along: Callable[[Connection], None] = lambda _: None,
    ) -> int:
        """Add a version after the one before it, if that still is the newest one: of several who try, one succeeds.

        Args:
            assessment: Identifier, without ``assessments/``.
            sign_off: The step; its version is that which the signer has read, and one.
            request: Its ``request_id`` and the SHA-256 of all that it asks.
            artifacts: FHIR Bundle and PDF of the version.
            keep: Stores their bytes; called once the place of the version is taken, before the transaction ends.
            objects: Everything else of the version, by file name.
            along: Writes what belongs to the version in the same transaction.

        Returns:
            The version; where the same request has made one before, that.

        Raises:
            ReportChanged: Somebody else was faster.
            RequestConflict: The ``request_id`` was used for another request.
        """
        bundle, page = artifacts
        row = {
            "assessment": assessment,
            "version": sign_off.version,
            "status": sign_off.status.value,
            "signer": sign_off.signer,
            "signer_name": sign_off.signer_name,
            "time_seconds": int(sign_off.time.timestamp()),
            "agreement": "" if sign_off.agreement is None else sign_off.agreement.value,
            "comment": sign_off.comment,
            "reason": "" if sign_off.reason is None else sign_off.reason.value,
            "request_id": request[0],
            "request_sha256": request[1],
            "bundle_sha256": bundle.sha256,
            "bundle_bytes": bundle.size_bytes,
            "page_sha256": page.sha256,
            "page_bytes": page.size_bytes,
        }
        names = ", ".join(row)
        statement = text(
            f"INSERT INTO report_version ({names}) VALUES ({', '.join(f':{name}' for name in row)})"  # noqa: S608 - own names
        )
        try:
            with self._engine.connect() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                # In this order: a copy of the request that ends in between is then seen by the second question.
                newest = _newest(connection, assessment)
                if (earlier := _version_of_request(connection, assessment, *request)) is not None:
                    return earlier
                if newest != sign_off.version - 1:
                    raise _changed(newest)
                # On PostgreSQL two may come so far; the key (assessment, version) lets one of them through.
                connection.execute(statement, row)
                for name, stored in objects.items():
                    connection.execute(
                        text(
                            "INSERT INTO report_object (assessment, version, name, sha256, size_bytes) "
                            "VALUES (:assessment, :version, :name, :sha256, :size_bytes)"
                        ),
                        {
                            "assessment": assessment,
                            "version": sign_off.version,
                            "name": name,
                            "sha256": stored.sha256,
                            "size_bytes": stored.size_bytes,
                        },
                    )
                along(connection)
                keep()
                connection.commit()
                return sign_off.version
        except IntegrityError:
            with self._engine.connect() as connection:
                if (earlier := _version_of_request(connection, assessment, *request)) is not None:
                    return earlier
                newest = _newest(connection, assessment)
            if newest < sign_off.version:
                raise
            raise _changed(newest) from None

    def judge(self, assessment: str, judgement: RecordedJudgement) -> None:
        """Keep a judgement; the same again changes nothing.

        Raises:
            JudgementAlreadyRecorded: The physician has made another one.
        """
        statement = text(
            "INSERT INTO report_judgement "
            "(assessment, physician, physician_name, judgement, comment, time_seconds, answer_withheld) VALUES "
            "(:assessment, :physician, :physician_name, :judgement, :comment, :time_seconds, :answer_withheld) "
            "ON CONFLICT DO NOTHING"
        )
        values = {
            "assessment": assessment,
            "physician": judgement.physician,
            "physician_name": judgement.physician_name,
            "judgement": judgement.judgement.value,
            "comment": judgement.comment,
            "time_seconds": int(judgement.time.timestamp()),
            "answer_withheld": int(judgement.answer_withheld),
        }
        with self._engine.begin() as connection:
            connection.execute(statement, values)
            kept = connection.execute(
                text(
                    "SELECT judgement, comment FROM report_judgement "
                    "WHERE assessment = :assessment AND physician = :physician"
                ),
                values,
            ).one()
        if tuple(kept) != (judgement.judgement.value, judgement.comment):
            raise JudgementAlreadyRecorded(
                "You have recorded another judgement of this assessment, and it is made once. Say what has changed in "
                "the comment of the signature."
            )

    def note_replacement(self, assessment: str, replaced: str, time_ms: int) -> None:
        """Note that an assessment replaces an earlier one; the same again changes nothing."""
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO report_replacement (assessment, replaced, time_ms) "
                    "VALUES (:assessment, :replaced, :time_ms) ON CONFLICT DO NOTHING"
                ),
                {"assessment": assessment, "replaced": replaced, "time_ms": time_ms},
            )

    def totals(self) -> dict[tuple[str, str], int]:
        """What physicians did: how many ``version`` by status, ``agreement`` of signatures, ``judgement``, and
        ``replacement`` (assessments made anew in place of an earlier one)."""
        queries = {
            "version": "SELECT status, count(*) FROM report_version GROUP BY status",
            "agreement": "SELECT agreement, count(*) FROM report_version WHERE agreement <> '' GROUP BY agreement",
            "judgement": "SELECT judgement, count(*) FROM report_judgement GROUP BY judgement",
            "replacement": "SELECT '', count(*) FROM report_replacement",
        }
        with self._engine.connect() as connection:
            return {
                (kind, str(row[0])): int(row[1])
                for kind, query in queries.items()
                for row in connection.execute(text(query))
            }

    def artifacts(self, assessments: Collection[str]) -> tuple[StoredArtifact, ...]:
        """Documents of all signed versions of these assessments, for erasure and backup."""
        return tuple(
            artifact
            for history in self.histories(assessments).values()
            for version in history.versions
            for artifact in version.artifacts.values()
        )

    def delete(self, assessments: Collection[str]) -> int:
        """Forget everything about the reports of these assessments: the one exception, for the erasure of a patient.

        The artifacts stay; see :meth:`artifacts`. A link from another assessment goes with the one it leads to.

        Returns:
            How many rows were deleted.
        """
        wanted = list(dict.fromkeys(assessments))
        if not wanted:
            return 0
        count = 0
        with self._engine.begin() as connection:
            for where in (
                "report_version WHERE assessment",
                "report_object WHERE assessment",
                "report_judgement WHERE assessment",
                "report_replacement WHERE assessment",
                "report_replacement WHERE replaced",
            ):
                statement = text(f"DELETE FROM {where} IN :wanted")  # noqa: S608 - one of the five above
                found = connection.execute(
                    statement.bindparams(bindparam("wanted", expanding=True)), {"wanted": wanted}
                )
                count += found.rowcount
        return count

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _by_assessment(
    connection: Connection, query: str, wanted: Sequence[str], key: str = "assessment"
) -> dict[str, list[Row[Any]]]:
    statement = text(query.format(of=f"WHERE {key} IN :wanted")).bindparams(bindparam("wanted", expanding=True))
    found: dict[str, list[Row[Any]]] = {each: [] for each in wanted}
    for row in connection.execute(statement, {"wanted": list(wanted)}):
        found[row.assessment].append(row)
    return found


def _newest(connection: Connection, assessment: str) -> int:
    newest = connection.execute(
        text("SELECT MAX(version) FROM report_version WHERE assessment = :assessment"), {"assessment": assessment}
    ).scalar()
    return FIRST_VERSION if newest is None else int(newest)


def _version_of_request(connection: Connection, assessment: str, request_id: str, request_sha256: str) -> int | None:
    row = connection.execute(
        text("SELECT assessment, version, request_sha256 FROM report_version WHERE request_id = :request_id"),
        {"request_id": request_id},
    ).first()
    if row is None:
        return None
    if (row.assessment, row.request_sha256) != (assessment, request_sha256):
        raise RequestConflict("This request_id was used for a different request. Use a new UUID for a new request.")
    return int(row.version)


def _changed(newest: int) -> ReportChanged:
    return ReportChanged(
        f"The report has changed since you have read it: its newest version is {newest}. Read that, then decide again.",
        version=newest,
    )


def _signed_version(row: Row[Any], objects: Sequence[Row[Any]]) -> SignedVersion:
    return SignedVersion(
        SignOff(
            version=row.version,
            status=ReportStatus(row.status),
            signer=row.signer,
            signer_name=row.signer_name,
            time=datetime.fromtimestamp(row.time_seconds, UTC),
            agreement=Agreement(row.agreement) if row.agreement else None,
            comment=row.comment,
            reason=WithdrawalReason(row.reason) if row.reason else None,
        ),
        StoredArtifact(sha256=row.bundle_sha256, size_bytes=row.bundle_bytes, media_type=BUNDLE_MEDIA_TYPE),
        StoredArtifact(sha256=row.page_sha256, size_bytes=row.page_bytes, media_type=PAGE_MEDIA_TYPE),
        {
            each.name: StoredArtifact(
                sha256=each.sha256, size_bytes=each.size_bytes, media_type=media_type_of(each.name)
            )
            for each in objects
            if each.version == row.version
        },
    )


def media_type_of(name: str) -> str:
    """Media type of what is kept under a file name."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2], OBJECT_MEDIA_TYPE)


def _judgement(row: Row[Any]) -> RecordedJudgement:
    return RecordedJudgement(
        row.physician,
        row.physician_name,
        PhysicianJudgement(row.judgement),
        row.comment,
        datetime.fromtimestamp(row.time_seconds, UTC),
        bool(row.answer_withheld),
    )
