"""Studies: which instances belong together, what has arrived of each, and when the whole is complete."""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.left_out import LeftOutInstance
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import IndexedPatient, ObjectHeader, StudyIndex
from oncoresponse.errors import (
    ArtifactNotFound,
    ChecksumMismatch,
    DicomError,
    OncoResponseError,
    QuotaExceeded,
    StudyAlreadyComplete,
    StudyNotComplete,
    StudyNotFound,
)
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE, ArtifactStore
from oncoresponse.storage.disk_space import disk_full_when_no_room, require_free_space
from oncoresponse.storage.instance_upload import InstanceUpload
from oncoresponse.storage.kept_headers import KeptHeaders
from oncoresponse.storage.process_folder import ProcessFolder
from oncoresponse.storage.study_database import InstanceRow, StudyDatabase, StudyPage, StudyRecord, study_not_found
from oncoresponse.storage.study_filter import StudyFilter
from oncoresponse.storage.study_indexing import ReadObject, index_of
from oncoresponse.storage.study_manifest import ManifestInstance, StudyManifest
from oncoresponse.storage.study_reservation import (
    STEP_BYTES,
    Clock,
    Reservations,
    StudyQuota,
    already_complete,
    digest_mismatch,
    part_of,
    require_count,
    require_quota,
)

_PREFIX = "studies/"
# Names derive from request ids, so that the same request finds its study after any crash.
_NAMESPACE = uuid.UUID("5d1c2c1e-7a55-5b62-8d3a-0d0a86f0a3c4")
# Where an earlier release made the copies of an import.
_COPY_SUFFIX = ".copy"

_EVERY_STUDY = StudyFilter()


class InstanceState(BaseModel):
    """What has arrived of one instance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    received_bytes: int
    finished: bool


class StudyStore:
    """Studies in one data folder, for several threads and processes of one machine. All methods block.

    Everything survives the end of the process at any moment. Instances of a study that is not complete may
    have to be sent again after a power loss; a complete study survives that too.

    Every method that takes a study's name raises :class:`StudyNotFound` when there is none of that name.

    Args:
        data_directory: Gets a folder ``studies`` with the database and what has arrived of unfinished instances.
        artifacts: Where finished instances go.
        quota: Limits.
        clock: Seconds since 1970; another one for tests.
    """

    def __init__(
        self, data_directory: Path, artifacts: ArtifactStore, quota: StudyQuota, clock: Clock = time.time
    ) -> None:
        folder = data_directory / "studies"
        self._parts = folder / "parts"
        self._parts.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._artifacts = artifacts
        self._quota = quota
        self._headers = KeptHeaders(self._parts, artifacts)
        self._copies = ProcessFolder(folder / "copies")
        self._database = StudyDatabase(folder / "studies.sqlite")
        self._reservations = Reservations(self._database, self._parts, quota, clock)
        self._without_index: set[str] = set()
        self._remove_leftovers()

    def create(self, request_id: str, purpose: str = "", tenant: str = "", supersedes: str = "") -> StudyRecord:
        """Create a study, or find the one the same request created. It is empty, or holds the instances of another one.

        Args:
            request_id: UUID of the request.
            purpose: What the request asks for beside the id; only its digest is kept.
            tenant: Whose it is. The same id of another tenant is another request.
            supersedes: Complete study of the same tenant whose instances it holds too, by reference.

        Raises:
            RequestConflict: The ``request_id`` was used for another purpose.
            StudyNotFound, StudyNotComplete: There is nothing to supersede, or not yet.
            QuotaExceeded: The instances do not fit a second time: both studies count.
            DiskFull: The record could not be written.
        """
        study_id = str(uuid.uuid5(_NAMESPACE, f"{tenant} {request_id.lower()}" if tenant else request_id.lower()))
        purpose = f"{purpose} supersedes {supersedes}" if supersedes else purpose
        with self._database.writing() as table:
            study = table.create_study(study_id, hashlib.sha256(purpose.encode()).hexdigest(), time.time_ns(), tenant)
            if not supersedes or study.supersedes:
                return study
            earlier = table.study(_study_id(supersedes))
            if earlier.tenant != tenant:
                raise study_not_found()
            if not earlier.complete:
                raise StudyNotComplete("The study to be superseded still accepts instances. Complete it first.")
            total = table.reserved_bytes() + earlier.size_bytes
            require_quota("total", total, self._quota.quota_bytes_total)
            table.take_over(study_id, _study_id(supersedes))
            return table.study(study_id)

    def get(self, name: str, tenant: str | None = None) -> StudyRecord:
        """Look one up; one of another tenant is as if there were none.

        Args:
            name: The study.
            tenant: Who asks; ``None`` for the installation itself.
        """
        with self._database.reading() as table:
            study = table.study(_study_id(name))
        if tenant not in (None, study.tenant):
            raise study_not_found()
        return study

    def patients_of(self, names: Iterable[str]) -> tuple[IndexedPatient, ...]:
        """Whose studies are, as far as their indexes say."""
        with self._database.reading() as table:
            return tuple(patient for name in names for patient in table.patients_of(_study_id(name)))

    def instance_files(self, name: str) -> tuple[StoredArtifact, ...]:
        """The files of a complete study, in the order of its manifest.

        Raises:
            StudyNotFound, StudyNotComplete: There is none, or not yet.
        """
        study = self.get(name)
        if study.manifest is None:
            raise StudyNotComplete("The study is not complete. Send every instance, then CompleteStudy.")
        manifest = self._artifacts.read_document(study.manifest, StudyManifest)
        return tuple(instance.artifact for instance in manifest.instances)

    def read_instance(self, instance: StoredArtifact) -> bytes:
        """The bytes of a file, checked against its digest."""
        return self._artifacts.read_bytes(instance)

    def list_page(self, page_size: int, page_token: str = "", wanted: StudyFilter = _EVERY_STUDY) -> StudyPage:
        """Newest first.

        Args:
            page_size: At most this many.
            page_token: ``next_token`` of the page before, or empty.
            wanted: Which ones; the same for each page.

        Raises:
            InvalidRequest: The token is none of ours.
        """
        with self._database.reading() as table:
            return table.page(page_size, page_token, wanted)

    def index_of_manifest(self, manifest: StoredArtifact, read: ReadObject) -> StudyIndex:
        """The index of the complete studies of a manifest; made and kept now where an earlier release made none.

        Raises:
            ArtifactNotFound, ChecksumMismatch, InvalidRequest: The manifest, the index or a file is not in the store,
                or is not what it should be.
            DicomError: There is no index, and a file cannot be read.
        """
        document = self._artifacts.read_document(manifest, StudyManifest)
        with self._database.reading() as table:
            known = next((study.index for study in table.studies_of_manifest(manifest.sha256) if study.index), None)
        if document.index is None and known is not None:
            document = document.model_copy(update={"index": known})
        index = index_of(self._artifacts, document, read)
        if document.index is None:
            with self._database.writing() as table:
                artifact = self._artifacts.put_document(index)
                for study in table.studies_of_manifest(manifest.sha256):
                    table.set_index(_study_id(study.name), artifact, index)
                self._delete_unless_used(table.is_used(artifact.sha256), artifact.sha256)
        return index

    def index_older_studies(self, read: ReadObject) -> None:
        """Index the complete studies that an earlier release left without, so that they are found.

        One of which a file is lost or unreadable stays without; this process does not try it again.
        """
        with self._database.reading() as table:
            manifests = table.manifests_without_index()
        for manifest in manifests:
            if manifest.sha256 in self._without_index:
                continue
            try:
                self.index_of_manifest(manifest, read)
            except (ArtifactNotFound, ChecksumMismatch, DicomError):
                self._without_index.add(manifest.sha256)

    def instances(self, name: str) -> tuple[InstanceState, ...]:
        """What has arrived, ordered by digest; an instance of which nothing arrived is left out."""
        study_id = _study_id(name)
        with self._database.reading() as table:
            table.study(study_id)
            rows = table.instances(study_id)
        states = (self._state(study_id, row) for row in rows)
        return tuple(state for state in states if state.received_bytes)

    def receive(self, name: str, sha256: str, size_bytes: int, offset_bytes: int) -> InstanceUpload | None:
        """Begin or continue an instance; ``None`` when it is finished already. The caller closes the upload.

        Bytes are not taken from another study that holds the same digest: knowing a digest is no proof
        of having the file.

        Raises:
            StudyAlreadyComplete: The study is frozen and the instance is not in it.
            InvalidRequest: The offset is past what has arrived.
            QuotaExceeded: The study or the store would grow over its limit; what had arrived is removed.
            Busy: Another stream sends this instance at the moment.
            DiskFull: There is no room.
        """
        study_id = _study_id(name)
        path = self._part(study_id, sha256)
        try:
            if self._reservations.reserve(study_id, sha256, size_bytes, STEP_BYTES):
                return None
        except QuotaExceeded:
            path.unlink(missing_ok=True)
            self._forget(study_id, sha256)
            raise
        with disk_full_when_no_room():
            path.parent.mkdir(mode=0o700, exist_ok=True)
        upload = InstanceUpload(path, sha256, size_bytes, self._artifacts.minimum_free_bytes)
        try:
            # Another stream may have finished it between our look at the database and our lock.
            if self._reservations.begin(study_id, upload):
                upload.discard()
                upload.close()
                return None
            upload.go_to(offset_bytes)
        except BaseException:
            upload.close()
            raise
        return upload

    def write(self, name: str, upload: InstanceUpload, data: bytes) -> None:
        """Append bytes to an instance.

        Raises:
            InvalidRequest: More bytes than the size that was named; all of them are dropped.
            QuotaExceeded, StudyAlreadyComplete: See :meth:`receive`; what had arrived before stays.
            DiskFull: There is no room; what had arrived before stays.
        """
        self._reservations.before_writing(_study_id(name), upload, len(data))
        upload.write(data)

    def leave(self, name: str, upload: InstanceUpload) -> None:
        """Close an upload that a stream goes away from. What has arrived stays, room for the rest is not kept."""
        try:
            if not upload.whole:
                self._reservations.leave(_study_id(name), upload)
        finally:
            upload.close()

    def remove_abandoned(self) -> int:
        """Keep no room for uploads that do not go on, and remove the studies that nobody completes.

        Returns:
            How many studies were removed.
        """
        self._reservations.release_expired()
        removed = 0
        for study_id in self._reservations.abandoned_studies():
            with suppress(StudyNotFound):
                self.delete(f"{_PREFIX}{study_id}", only_incomplete=True)
                removed += 1
        return removed

    def finish(self, name: str, upload: InstanceUpload, check: ReadObject, *, durable: bool = False) -> None:
        """Check an instance of which every byte has arrived and make it part of the study.

        Args:
            name: The study.
            upload: Of the instance.
            check: Refuses what is none, and reads its header.
            durable: Survive a power loss at once, not only when the study is complete.

        Raises:
            ChecksumMismatch: The bytes are not those of the digest. They are removed.
            DicomError: ``check`` refused the file. It is removed.
            StudyAlreadyComplete, StudyNotFound: The study was completed or deleted meanwhile.
            DiskFull: There is no room; the bytes stay, to be finished later.
        """
        study_id = _study_id(name)
        try:
            try:
                if file_sha256(upload.path) != upload.sha256:
                    raise digest_mismatch()
                header = check(upload.path)
            except (ChecksumMismatch, DicomError):
                upload.discard()
                self._forget(study_id, upload.sha256)
                raise
            self._admit(study_id, upload.path, upload.sha256, header, durable=durable)
        except FileNotFoundError:
            raise self._gone(name) from None

    def add(self, name: str, blocks: Iterable[bytes], check: ReadObject) -> None:
        """Make a file that the server itself has read part of the study.

        Raises:
            DicomError: ``check`` refused the file.
            StudyAlreadyComplete, QuotaExceeded, DiskFull: See :meth:`receive`; nothing of the file stays.
        """
        self.get(name)
        study_id = _study_id(name)
        copy = self._copies.path / uuid.uuid4().hex
        size_bytes, digest = 0, hashlib.sha256()
        try:
            with disk_full_when_no_room():
                self._part(study_id, "").parent.mkdir(mode=0o700, exist_ok=True)
                copy.touch(mode=0o600)
                with copy.open("wb") as file:
                    for block in blocks:
                        size_bytes += len(block)
                        require_quota("study", size_bytes, self._quota.quota_bytes_per_study)
                        require_free_space(copy.parent, len(block), self._artifacts.minimum_free_bytes)
                        digest.update(block)
                        file.write(block)
            sha256 = digest.hexdigest()
            header = check(copy)
            if not self._reservations.reserve(study_id, sha256, size_bytes):
                self._admit(study_id, copy, sha256, header)
        except FileNotFoundError:
            raise self._gone(name) from None
        finally:
            copy.unlink(missing_ok=True)

    def store(self, name: str, sha256: str, data: bytes, check: ReadObject) -> None:
        """Make an instance that is at hand whole part of the study; it survives a power loss when this returns.

        Raises:
            ChecksumMismatch: The bytes are not those of the digest.
            DicomError: ``check`` refused the file.
            StudyAlreadyComplete, QuotaExceeded, DiskFull: See :meth:`receive`; nothing of the file stays.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise digest_mismatch()
        study_id = _study_id(name)
        header = check(data)
        self._artifacts.put_bytes(data, DICOM_MEDIA_TYPE)
        with self._database.writing() as table:
            try:
                self._reservations.count(table, study_id, sha256, len(data))
            except OncoResponseError:
                self._delete_unless_used(table.is_used(sha256), sha256)
                raise
        with disk_full_when_no_room():
            self._part(study_id, "").parent.mkdir(mode=0o700, exist_ok=True)
        self._headers.keep(study_id, sha256, header)

    def complete(
        self,
        name: str,
        instance_count: int | None = None,
        left_out: Iterable[LeftOutInstance] = (),
        *,
        read: ReadObject,
    ) -> StudyRecord:
        """Freeze the study and write its index and its manifest. What has not arrived whole is removed.

        Args:
            name: The study.
            instance_count: How many different instances the caller sent; ``None`` when nobody counted.
            left_out: Damaged objects that came with them.
            read: Reads the header of a file again where the one that was kept is lost.

        Raises:
            StudyNotComplete: Fewer instances have arrived whole.
            InvalidRequest: More have.
            StudyAlreadyComplete: The study is complete with another number of instances.
            DiskFull: The manifest could not be written; the study stays open.
        """
        study_id = _study_id(name)
        indexed: tuple[tuple[ManifestInstance, ...], StudyIndex] | None = None
        while True:
            with self._database.writing() as table:
                study = table.study(study_id)
                require_count(study, study.instance_count if instance_count is None else instance_count)
                if study.complete:
                    return study
                rows = table.instances(study_id)
                instances = tuple(
                    ManifestInstance(sha256=row.sha256, size_bytes=row.size_bytes) for row in rows if row.finished
                )
                if indexed is not None and indexed[0] == instances:
                    artifact = self._artifacts.put_document(indexed[1])
                    manifest = StudyManifest(instances=instances, left_out=tuple(left_out), index=artifact)
                    for row in rows:
                        if not row.finished:
                            table.remove_unfinished_instance(study_id, row.sha256)
                            self._delete_unless_used(table.is_used(row.sha256), row.sha256)
                    table.set_manifest(study_id, self._artifacts.put_document(manifest))
                    table.set_index(study_id, artifact, indexed[1])
                    study = table.study(study_id)
                    break
            # Outside of the transaction, which keeps every other writer waiting; again if an instance comes meanwhile.
            indexed = instances, StudyIndex.of(self._headers.of(study_id, instances, read))
        shutil.rmtree(self._parts / study_id, ignore_errors=True)
        return study

    def delete(self, name: str, *, only_incomplete: bool = False) -> None:
        """Remove the study and every instance that no other study holds.

        The files go before the record does, so that a crash in between leaves a study that can be deleted again.
        """
        study_id = _study_id(name)
        with self._database.writing() as table:
            study = table.study(study_id)
            if only_incomplete and study.complete:
                return
            digests = [row.sha256 for row in table.instances(study_id)]
            digests += [document.sha256 for document in (study.manifest, study.index) if document is not None]
            table.remove_study(study_id)
            for sha256 in digests:
                self._delete_unless_used(table.is_used(sha256), sha256)
        shutil.rmtree(self._parts / study_id, ignore_errors=True)

    def _admit(self, study_id: str, path: Path, sha256: str, header: ObjectHeader, *, durable: bool = False) -> None:
        """Move a checked file into the artifact store, note it as finished, and keep its header."""
        artifact = self._artifacts.take_file(path, sha256, DICOM_MEDIA_TYPE)
        with self._database.writing(durable=durable) as table:
            try:
                study = table.study(study_id)
                if study.complete:
                    raise already_complete()
                table.finish_instance(study_id, sha256, artifact.size_bytes)
            except (StudyNotFound, StudyAlreadyComplete):
                self._delete_unless_used(table.is_used(sha256), sha256)
                raise
        self._headers.keep(study_id, sha256, header)

    def _gone(self, name: str) -> OncoResponseError:
        """Why the unfinished files of a study are not there any more."""
        try:
            self.get(name)
        except StudyNotFound as error:
            return error
        return already_complete()

    def _forget(self, study_id: str, sha256: str) -> None:
        with self._database.writing(durable=False) as table:
            table.remove_unfinished_instance(study_id, sha256)

    def _delete_unless_used(self, used: bool, sha256: str) -> None:
        # Only inside a writing transaction: nobody can begin to use the digest meanwhile.
        if not used:
            self._artifacts.delete(StoredArtifact(sha256=sha256, size_bytes=0, media_type=DICOM_MEDIA_TYPE))

    def _state(self, study_id: str, row: InstanceRow) -> InstanceState:
        received = row.size_bytes if row.finished else 0
        path = self._part(study_id, row.sha256)
        if not row.finished and path.is_file():
            received = path.stat().st_size
        return InstanceState(sha256=row.sha256, received_bytes=received, finished=row.finished)

    def _part(self, study_id: str, sha256: str) -> Path:
        return part_of(self._parts, study_id, sha256)

    def _remove_leftovers(self) -> None:
        # In this order: a study is noted before its folder is made, so each of these folders has been.
        folders = list(self._parts.iterdir())
        with self._database.reading() as table:
            known = table.study_ids()
        for folder in folders:
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for copy in folder.glob(f"*{_COPY_SUFFIX}"):
                copy.unlink(missing_ok=True)


def _study_id(name: str) -> str:
    return name.removeprefix(_PREFIX)
