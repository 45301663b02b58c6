"""The SQLite file that says which studies exist and which instances belong to each.

SQLite because a killed process leaves it intact, several processes of one machine may use it at once,
and it needs no server. It holds digests and sizes, and of a complete study what it is found by: Patient ID, Study Date,
UIDs and modalities of the series.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import IndexedPatient, StudyIndex
from oncoresponse.errors import Busy, DiskFull, RequestConflict, StudyNotFound
from oncoresponse.storage.artifact_store import JSON_MEDIA_TYPE
from oncoresponse.storage.database_errors import LOCKED_MESSAGE, is_locked
from oncoresponse.storage.disk_space import NO_ROOM_MESSAGE
from oncoresponse.storage.page_position import position_of_token, token_of_row
from oncoresponse.storage.private_files import make_private
from oncoresponse.storage.schema_migrations import migrate
from oncoresponse.storage.study_filter import StudyFilter

_AREA = "studies"
_SELECT_STUDY = """
SELECT study.*,
(SELECT group_concat(DISTINCT modality) FROM series WHERE series.study_id = study.study_id) AS modalities,
(SELECT count(DISTINCT series_instance_uid) FROM series WHERE series.study_id = study.study_id) AS series_count,
(SELECT later.study_id FROM study AS later WHERE later.supersedes = study.study_id AND later.supersedes != ''
AND later.manifest_sha256 IS NOT NULL ORDER BY later.create_time_ns DESC LIMIT 1) AS superseded_by
FROM study
"""
# Less than a caller waits: who holds the database longer is told as BUSY.
_WAIT_FOR_OTHER_WRITERS_SECONDS = 4.0


@dataclass(frozen=True)
class StudyRecord:
    """A study as the store knows it.

    Attributes:
        name: Resource name, ``studies/{study}``.
        create_time_ns: Nanoseconds since 1970 (UTC).
        instance_count: Instances that have arrived whole.
        size_bytes: Their bytes.
        manifest: The :class:`StudyManifest` artifact, once the study is complete.
        index: The :class:`~oncoresponse.case.study_index.StudyIndex` artifact, once it is made.
        study_date: YYYYMMDD; empty without index, or where the files give none.
        modalities: DICOM modalities of the index, in alphabetical order.
        series_count: Series of the index.
        tenant: Whose it is, where the installation serves several tenants.
        supersedes: Earlier study whose instances this one holds too, ``studies/{study}``; empty for none.
        superseded_by: The newest complete study that holds those of this one too; empty for none.
    """

    name: str
    create_time_ns: int
    instance_count: int
    size_bytes: int
    manifest: StoredArtifact | None
    index: StoredArtifact | None = None
    study_date: str = ""
    modalities: tuple[str, ...] = ()
    series_count: int = 0
    tenant: str = ""
    supersedes: str = ""
    superseded_by: str = ""

    @property
    def complete(self) -> bool:
        """Whether the study is frozen."""
        return self.manifest is not None


@dataclass(frozen=True)
class InstanceRow:
    """An instance that a study has or was promised.

    Attributes:
        size_bytes: Its size; of an unfinished one the bytes that count against the quotas.
    """

    sha256: str
    size_bytes: int
    finished: bool


@dataclass(frozen=True)
class StudyPage:
    """One page of a listing; ``next_token`` is empty on the last one."""

    studies: tuple[StudyRecord, ...]
    next_token: str


class StudyDatabase:
    """Opens one connection for each piece of work, so that any thread may do it.

    Args:
        path: The file; made when it is not there, and migrated when an earlier release made it.

    Raises:
        SchemaTooNew: A newer release has written it.
        DiskFull: There is no room for the tables.
        Busy: Another process holds the file for longer than a caller waits; so says every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        make_private(path)
        with closing(self._connect()) as connection, _errors_of_sqlite():
            # With a write-ahead log, readers do not wait for writers.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            migrate(_AREA, lambda statement, values: connection.execute(statement, dict(values)).fetchall())
            connection.execute("COMMIT")
        # The last connection that closes writes the log into the database file, which takes several
        # flushes of the disk. One that stays open keeps that from happening after each piece of work.
        keeper = self._connect(check_same_thread=False)
        keeper.execute("SELECT count(*) FROM study").fetchone()
        weakref.finalize(self, keeper.close)

    @contextmanager
    def reading(self) -> Iterator[StudyTables]:
        """The tables in one state throughout."""
        with closing(self._connect()) as connection, _errors_of_sqlite():
            connection.execute("BEGIN")
            yield StudyTables(connection)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[StudyTables]:
        """A transaction that excludes every other writer, of this process and others.

        It is committed at the end and then survives the end of the process; an exception undoes it.

        Args:
            durable: Survive a power loss as well, with everything that was committed before. Takes a
                flush of the disk.

        Raises:
            DiskFull: The file could not grow; nothing changed.
        """
        with closing(self._connect()) as connection, _errors_of_sqlite():
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            # Closing without COMMIT rolls back.
            yield StudyTables(connection)
            connection.execute("COMMIT")

    def _connect(self, *, check_same_thread: bool = True) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=_WAIT_FOR_OTHER_WRITERS_SECONDS,
            isolation_level=None,
            check_same_thread=check_same_thread,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        # What is removed is overwritten: it holds Patient IDs.
        connection.execute("PRAGMA secure_delete = ON")
        return connection


class StudyTables:
    """The statements, inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> sqlite3.Connection:
        """The transaction, for statements that stand elsewhere."""
        return self._connection

    def create_study(self, study_id: str, purpose_sha256: str, create_time_ns: int, tenant: str) -> StudyRecord:
        """Insert a study, or find it.

        Raises:
            RequestConflict: It exists for another purpose.
        """
        self._connection.execute(
            "INSERT INTO study (study_id, purpose_sha256, create_time_ns, tenant) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (study_id, purpose_sha256, create_time_ns, tenant),
        )
        row = self._study_row(study_id)
        if row["purpose_sha256"] != purpose_sha256:
            raise RequestConflict("This request_id was used for a different request. Use a new UUID for a new study.")
        return _record(row)

    def take_over(self, study_id: str, earlier_id: str) -> None:
        """Let an open study hold the instances of a complete one too, and be found by the same patient."""
        self._connection.execute("UPDATE study SET supersedes = ? WHERE study_id = ?", (earlier_id, study_id))
        self._connection.execute(
            "INSERT INTO instance SELECT ?, sha256, size_bytes, 1 FROM instance WHERE study_id = ? AND finished "
            "ON CONFLICT DO NOTHING",
            (study_id, earlier_id),
        )
        self._connection.execute(
            "INSERT INTO study_patient SELECT patient_key, ? FROM study_patient WHERE study_id = ? "
            "ON CONFLICT DO NOTHING",
            (study_id, earlier_id),
        )

    def study(self, study_id: str) -> StudyRecord:
        """One study.

        Raises:
            StudyNotFound: There is none of this id.
        """
        return _record(self._study_row(study_id))

    def page(self, page_size: int, page_token: str, wanted: StudyFilter) -> StudyPage:
        """Newest first; the token names the last study of the page before.

        Raises:
            InvalidRequest: The token is malformed.
        """
        time, study_id = position_of_token(page_token)
        conditions, values = wanted.conditions()
        rows = self._connection.execute(
            f"{_SELECT_STUDY} WHERE (study.create_time_ns, study.study_id) < (:time, :study_id){conditions} "
            "ORDER BY study.create_time_ns DESC, study.study_id DESC LIMIT :limit",
            {"time": time, "study_id": study_id, "limit": page_size + 1, **values},
        ).fetchall()
        token = ""
        if len(rows) > page_size:
            last = rows[page_size - 1]
            token = token_of_row(last["create_time_ns"], last["study_id"])
        return StudyPage(tuple(_record(row) for row in rows[:page_size]), token)

    def patients_of(self, study_id: str) -> tuple[IndexedPatient, ...]:
        """Whose a study is, as far as its index says."""
        rows = self._connection.execute(
            "SELECT patient_id, issuer_of_patient_id FROM study_patient JOIN patient USING (patient_key) "
            "WHERE study_id = ? ORDER BY patient_id, issuer_of_patient_id",
            (study_id,),
        )
        return tuple(IndexedPatient(patient_id=row[0], issuer_of_patient_id=row[1]) for row in rows)

    def studies_of_manifest(self, sha256: str) -> list[StudyRecord]:
        """Complete studies of the same instances."""
        rows = self._connection.execute(f"{_SELECT_STUDY} WHERE study.manifest_sha256 = ?", (sha256,))
        return [_record(row) for row in rows]

    def manifests_without_index(self) -> list[StoredArtifact]:
        """Manifests of complete studies that an earlier release did not index."""
        rows = self._connection.execute(
            "SELECT DISTINCT manifest_sha256, manifest_size_bytes FROM study "
            "WHERE manifest_sha256 IS NOT NULL AND index_sha256 IS NULL"
        )
        return [_document(row["manifest_sha256"], row["manifest_size_bytes"]) for row in rows]

    def set_index(self, study_id: str, artifact: StoredArtifact, index: StudyIndex) -> None:
        """Note what a study is found by."""
        self._connection.execute(
            "UPDATE study SET index_sha256 = ?, index_size_bytes = ?, study_date = ? WHERE study_id = ?",
            (artifact.sha256, artifact.size_bytes, index.study_date, study_id),
        )
        self._connection.execute("DELETE FROM series WHERE study_id = ?", (study_id,))
        self._connection.executemany(
            "INSERT INTO series VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(study_id, series.series_instance_uid, series.modality) for series in index.series],
        )
        self.note_accession_numbers(study_id, index.accession_numbers)
        self._connection.execute("DELETE FROM study_patient WHERE study_id = ?", (study_id,))
        for patient in index.patients:
            who = (patient.patient_id, patient.issuer_of_patient_id)
            self._connection.execute(
                "INSERT INTO patient (patient_id, issuer_of_patient_id) VALUES (?, ?) ON CONFLICT DO NOTHING", who
            )
            self._connection.execute(
                "INSERT INTO study_patient SELECT patient_key, ? FROM patient "
                "WHERE patient_id = ? AND issuer_of_patient_id = ?",
                (study_id, *who),
            )

    def note_accession_numbers(self, study_id: str, numbers: Iterable[str]) -> None:
        """Note by which orders a study is found."""
        self._connection.execute("DELETE FROM study_accession WHERE study_id = ?", (study_id,))
        self._connection.executemany(
            "INSERT INTO study_accession VALUES (?, ?)", [(number, study_id) for number in numbers]
        )
        self._connection.execute("UPDATE study SET accession_known = 1 WHERE study_id = ?", (study_id,))

    def without_accession_numbers(self) -> list[StudyRecord]:
        """Some studies that an earlier release has indexed; none when all are noted."""
        rows = self._connection.execute(
            f"{_SELECT_STUDY} WHERE NOT accession_known AND index_sha256 IS NOT NULL LIMIT 100"
        )
        return [_record(row) for row in rows]

    def study_ids(self) -> set[str]:
        """All of them."""
        return {row["study_id"] for row in self._connection.execute("SELECT study_id FROM study")}

    def set_manifest(self, study_id: str, manifest: StoredArtifact) -> None:
        """Freeze the study."""
        self._connection.execute(
            "UPDATE study SET manifest_sha256 = ?, manifest_size_bytes = ? WHERE study_id = ?",
            (manifest.sha256, manifest.size_bytes, study_id),
        )

    def remove_study(self, study_id: str) -> None:
        """Remove the study and its instances, and a patient who has no other."""
        patients = self._connection.execute(
            "SELECT patient_key FROM study_patient WHERE study_id = ?", (study_id,)
        ).fetchall()
        self._connection.execute("DELETE FROM study WHERE study_id = ?", (study_id,))
        self._connection.executemany(
            "DELETE FROM patient WHERE patient_key = ?1 "
            "AND NOT EXISTS (SELECT 1 FROM study_patient WHERE patient_key = ?1)",
            [(row["patient_key"],) for row in patients],
        )

    def instances(self, study_id: str) -> list[InstanceRow]:
        """Instances of a study, ordered by digest."""
        rows = self._connection.execute("SELECT * FROM instance WHERE study_id = ? ORDER BY sha256", (study_id,))
        return [_instance(row) for row in rows]

    def instance(self, study_id: str, sha256: str) -> InstanceRow | None:
        """One instance of a study."""
        row = self._connection.execute(
            "SELECT * FROM instance WHERE study_id = ? AND sha256 = ?", (study_id, sha256)
        ).fetchone()
        return None if row is None else _instance(row)

    def put_instance(self, study_id: str, sha256: str, size_bytes: int) -> None:
        """Note an unfinished instance, or how many bytes are kept for it now."""
        self._connection.execute(
            "INSERT INTO instance (study_id, sha256, size_bytes) VALUES (?, ?, ?) "
            "ON CONFLICT (study_id, sha256) DO UPDATE SET size_bytes = excluded.size_bytes",
            (study_id, sha256, size_bytes),
        )

    def finish_instance(self, study_id: str, sha256: str, size_bytes: int) -> None:
        """Note that an instance is in the artifact store."""
        self._connection.execute(
            "INSERT INTO instance (study_id, sha256, size_bytes, finished) VALUES (?, ?, ?, 1) "
            "ON CONFLICT (study_id, sha256) DO UPDATE SET finished = 1, size_bytes = excluded.size_bytes",
            (study_id, sha256, size_bytes),
        )

    def remove_unfinished_instance(self, study_id: str, sha256: str) -> None:
        """Remove an instance unless it is finished."""
        self._connection.execute(
            "DELETE FROM instance WHERE study_id = ? AND sha256 = ? AND NOT finished", (study_id, sha256)
        )

    def unfinished_instances(self) -> list[tuple[str, InstanceRow]]:
        """Those of every study, each with the id of its study."""
        rows = self._connection.execute("SELECT * FROM instance WHERE NOT finished")
        return [(row["study_id"], _instance(row)) for row in rows]

    def open_studies(self) -> list[tuple[str, int]]:
        """Id and time of creation (ns since 1970) of the studies that are not complete."""
        rows = self._connection.execute("SELECT study_id, create_time_ns FROM study WHERE manifest_sha256 IS NULL")
        return [(row["study_id"], row["create_time_ns"]) for row in rows]

    def reserved_bytes(self, study_id: str | None = None) -> int:
        """What counts against the quotas, of one study or of all: finished instances, and what is kept for others."""
        if study_id is None:
            row = self._connection.execute("SELECT counted_bytes FROM store_total").fetchone()
        else:
            row = self._connection.execute("SELECT counted_bytes FROM study WHERE study_id = ?", (study_id,)).fetchone()
        return 0 if row is None else int(row[0])

    def is_used(self, sha256: str) -> bool:
        """Whether a study has, awaits, or is described by the artifact of this digest."""
        row = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM instance WHERE sha256 = ?1) "
            "OR EXISTS (SELECT 1 FROM study WHERE manifest_sha256 = ?1) "
            "OR EXISTS (SELECT 1 FROM study WHERE index_sha256 = ?1)",
            (sha256,),
        ).fetchone()
        return bool(row[0])

    def _study_row(self, study_id: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._connection.execute(
            f"{_SELECT_STUDY} WHERE study.study_id = ?", (study_id,)
        ).fetchone()
        if row is None:
            raise study_not_found()
        return row


def study_not_found() -> StudyNotFound:
    """What is said of a study that is not there, or not for who asks."""
    return StudyNotFound("There is no study of this name. ListStudies gives the names.")


def _record(row: sqlite3.Row) -> StudyRecord:
    return StudyRecord(
        name=f"studies/{row['study_id']}",
        create_time_ns=row["create_time_ns"],
        instance_count=row["instance_count"],
        size_bytes=row["size_bytes"],
        manifest=_document_or_none(row["manifest_sha256"], row["manifest_size_bytes"]),
        index=_document_or_none(row["index_sha256"], row["index_size_bytes"]),
        study_date=row["study_date"] or "",
        modalities=tuple(sorted(filter(None, (row["modalities"] or "").split(",")))),
        series_count=row["series_count"],
        tenant=row["tenant"],
        supersedes=f"studies/{row['supersedes']}" if row["supersedes"] else "",
        superseded_by=f"studies/{row['superseded_by']}" if row["superseded_by"] else "",
    )


def _document_or_none(sha256: str | None, size_bytes: int) -> StoredArtifact | None:
    return None if sha256 is None else _document(sha256, size_bytes)


def _document(sha256: str, size_bytes: int) -> StoredArtifact:
    return StoredArtifact(sha256=sha256, size_bytes=size_bytes, media_type=JSON_MEDIA_TYPE)


def _instance(row: sqlite3.Row) -> InstanceRow:
    return InstanceRow(row["sha256"], row["size_bytes"], bool(row["finished"]))


@contextmanager
def _errors_of_sqlite() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise DiskFull(NO_ROOM_MESSAGE) from error
        if is_locked(error):
            raise Busy(LOCKED_MESSAGE) from error
        raise
