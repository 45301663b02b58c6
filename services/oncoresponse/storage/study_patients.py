"""Studies as an administrator sees them: whose they are, how much they hold; removed, or given to another patient."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from oncoresponse.case.study_index import IndexedPatient, ObjectHeader, StudyIndex
from oncoresponse.errors import DicomError, DocumentVersionUnsupported, StudyNotComplete, StudyNotFound
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.database_compaction import compact_sqlite
from oncoresponse.storage.study_database import StudyDatabase, StudyTables
from oncoresponse.storage.study_indexing import ReadObject
from oncoresponse.storage.study_manifest import IdentityCorrection, StudyManifest

_PREFIX = "studies/"
_ROWS = """
SELECT (SELECT count(*) FROM series WHERE study_id = ?1) + (SELECT count(*) FROM study_patient WHERE study_id = ?1)
+ (SELECT count(*) FROM received_study WHERE study_id = ?1)
"""

_USERS = """
SELECT study_id FROM instance WHERE sha256 = ?1
UNION SELECT study_id FROM study WHERE manifest_sha256 = ?1
UNION SELECT study_id FROM study WHERE index_sha256 = ?1
"""


@dataclass(frozen=True)
class StoredStudy:
    """A study and how much it holds.

    Attributes:
        name: ``studies/{study}``.
        issuers: Of the Patient ID that was asked for; an empty one for none.
        instances: That arrived.
        index_rows: Rows it is found by.
        files: Of unfinished uploads.
        size_bytes: Their length.
    """

    name: str
    issuers: tuple[str, ...]
    instances: int
    index_rows: int
    files: int
    size_bytes: int


class StudyPatients:
    """All methods block; several threads and processes of one machine may use them.

    Args:
        data_directory: As of :class:`~oncoresponse.storage.study_store.StudyStore`, which has made its folders.
        artifacts: Where instances are.
        read: Reads the header of a file, also of one that has not arrived whole.
    """

    def __init__(self, data_directory: Path, artifacts: ArtifactStore, read: ReadObject) -> None:
        self._folder = data_directory / "studies"
        self._database = StudyDatabase(self._folder / "studies.sqlite")
        self._artifacts = artifacts
        self._read = read

    def find(
        self, patient_id: str = "", *, created_before_ns: int | None = None, complete: bool | None = None
    ) -> list[StoredStudy]:
        """Studies by patient, age and completeness; what is not given asks for nothing.

        Of an unfinished study the headers of its files say whose it is, and rows where it supersedes another one.
        """
        with self._database.reading() as table:
            rows = table.connection.execute(
                "SELECT study_id, manifest_sha256 IS NOT NULL FROM study WHERE (?1 IS NULL OR create_time_ns < ?1) "
                "AND (?2 IS NULL OR (manifest_sha256 IS NOT NULL) = ?2) ORDER BY study_id",
                (created_before_ns, complete),
            ).fetchall()
            indexed = self._indexed(table, patient_id) if patient_id else {}
            found = []
            for study_id, is_complete in rows:
                issuers = indexed.get(study_id, set())
                if patient_id and not is_complete:
                    issuers = issuers | self._issuers_of_unfinished(study_id, patient_id)
                if not patient_id or issuers:
                    found.append(self._stored(table, study_id, issuers))
        return found

    def everybody(self) -> set[IndexedPatient]:
        """Each patient of whom there is a study, complete or not, or an order."""
        with self._database.reading() as table:
            rows = table.connection.execute(
                "SELECT patient_id, issuer_of_patient_id FROM patient "
                "UNION SELECT patient_id, issuer_of_patient_id FROM imaging_order"
            ).fetchall()
        found = {IndexedPatient(patient_id=row[0], issuer_of_patient_id=row[1]) for row in rows}
        parts = self._folder / "parts"
        for path in parts.glob("*/*") if parts.is_dir() else ():
            if (patient := self._patient_of(path)) is not None:
                found.add(patient)
        return found

    def artifacts_of(self, name: str) -> list[str]:
        """Digests of instances, manifest and index; none where there is no such study."""
        with self._database.reading() as table:
            try:
                study = table.study(_study_id(name))
            except StudyNotFound:
                return []
            digests = [row.sha256 for row in table.instances(_study_id(name)) if row.finished]
        return digests + [item.sha256 for item in (study.manifest, study.index) if item is not None]

    def forget(self, names: Iterable[str]) -> None:
        """Remove studies from the index, with what is unfinished of them. Artifacts stay for the caller to remove."""
        for name in names:
            study_id = _study_id(name)
            with self._database.writing() as table:
                table.remove_study(study_id)
            shutil.rmtree(self._folder / "parts" / study_id, ignore_errors=True)

    def used(self, digests: Iterable[str], except_studies: Iterable[str] = ()) -> list[str]:
        """Which of these artifacts a study has, awaits, or is described by, those left out that are to go."""
        going = {_study_id(name) for name in except_studies}
        with self._database.reading() as table:
            return [
                digest
                for digest in digests
                if any(row[0] not in going for row in table.connection.execute(_USERS, (digest,)))
            ]

    def correct(self, name: str, correction: IdentityCorrection, corrected: Callable[[StudyIndex], StudyIndex]) -> None:
        """Give a complete study to another patient: it gets a manifest and an index that say so.

        Assessments that run go on with the manifest that they began with. The DICOM files stay as they are.

        Args:
            name: The study.
            correction: What is kept of it, for the reports to say.
            corrected: Makes the index with the right identity.

        Raises:
            StudyNotFound, StudyNotComplete: There is no such study, or it still accepts instances.
            InvalidRequest: What ``corrected`` raises.
        """
        study_id = _study_id(name)
        with self._database.writing() as table:
            study = table.study(study_id)
            if study.manifest is None or study.index is None:
                raise StudyNotComplete(
                    "The study still accepts instances. Complete it, or delete it and send it again."
                )
            index = corrected(self._artifacts.read_document(study.index, StudyIndex))
            manifest = self._artifacts.read_document(study.manifest, StudyManifest)
            stored = self._artifacts.put_document(index)
            manifest = manifest.model_copy(update={"index": stored, "corrections": (*manifest.corrections, correction)})
            before = _patients_of(table, study_id)
            table.set_manifest(study_id, self._artifacts.put_document(manifest))
            table.set_index(study_id, stored, index)
            for key in before:
                table.connection.execute(
                    "DELETE FROM patient WHERE patient_key = ?1 "
                    "AND NOT EXISTS (SELECT 1 FROM study_patient WHERE patient_key = ?1)",
                    (key,),
                )

    def compact(self) -> bool:
        """Leave nothing of what was removed in the files of the database; whether that was possible."""
        return compact_sqlite(self._folder / "studies.sqlite")

    def _indexed(self, table: StudyTables, patient_id: str) -> dict[str, set[str]]:
        rows = table.connection.execute(
            "SELECT study_id, issuer_of_patient_id FROM study_patient JOIN patient USING (patient_key) "
            "WHERE patient_id = ?",
            (patient_id,),
        )
        found: dict[str, set[str]] = {}
        for study_id, issuer in rows:
            found.setdefault(study_id, set()).add(issuer)
        return found

    def _issuers_of_unfinished(self, study_id: str, patient_id: str) -> set[str]:
        issuers = set()
        folder = self._folder / "parts" / study_id
        for path in folder.iterdir() if folder.is_dir() else ():
            patient = self._patient_of(path)
            if patient is not None and patient.patient_id == patient_id:
                issuers.add(patient.issuer_of_patient_id)
        return issuers

    def _patient_of(self, path: Path) -> IndexedPatient | None:
        with suppress(OSError, ValidationError, DocumentVersionUnsupported, DicomError):
            if path.suffix == ".json":
                return ObjectHeader.model_validate_json(path.read_bytes()).patient
            return self._read(path).patient
        return None

    def _stored(self, table: StudyTables, study_id: str, issuers: set[str]) -> StoredStudy:
        folder = self._folder / "parts" / study_id
        files = [path.stat().st_size for path in folder.iterdir()] if folder.is_dir() else []
        return StoredStudy(
            name=_PREFIX + study_id,
            issuers=tuple(sorted(issuers)),
            instances=sum(row.finished for row in table.instances(study_id)),
            index_rows=int(table.connection.execute(_ROWS, (study_id,)).fetchone()[0]),
            files=len(files),
            size_bytes=sum(files),
        )


def _patients_of(table: StudyTables, study_id: str) -> list[int]:
    rows = table.connection.execute("SELECT patient_key FROM study_patient WHERE study_id = ?", (study_id,))
    return [int(row[0]) for row in rows]


def _study_id(name: str) -> str:
    return name.removeprefix(_PREFIX)
