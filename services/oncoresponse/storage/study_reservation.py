"""Room that studies have in the store: what has arrived, and a little more for each upload that goes on.

A size that somebody declares costs nothing and is no reason to refuse others. So an upload counts with what has arrived
and :data:`STEP_BYTES` more, as long as a stream sends it, and asks for the next step when it needs it. A stream that
goes away leaves what has arrived; one that sends nothing for a while loses the rest of its step. What nobody completes
goes altogether after a longer time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from oncoresponse.errors import (
    Busy,
    ChecksumMismatch,
    InvalidRequest,
    QuotaExceeded,
    StudyAlreadyComplete,
    StudyNotComplete,
)
from oncoresponse.storage.instance_upload import InstanceUpload, UploadLock
from oncoresponse.storage.study_database import StudyDatabase, StudyRecord, StudyTables

STEP_BYTES = 64 * 1024**2
"""Kept for an upload beyond what has arrived of it."""

_SECONDS_OF_MINUTE = 60.0
_SECONDS_OF_HOUR = 3600.0
_NANOSECONDS_OF_SECOND = 10**9

Clock = Callable[[], float]
"""Seconds since 1970 (UTC), as the times of files are."""


class StudyQuota(BaseModel):
    """How much may be stored, and how long what is not finished stays.

    Attributes:
        quota_bytes_per_study: Largest study.
        quota_bytes_total: All studies together; an instance that two studies share counts twice.
        reservation_minutes: A stream that sends nothing for so long keeps no room beyond what it has sent.
        incomplete_study_hours: A study that is not complete and to which nothing was added for so long is removed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quota_bytes_per_study: int = Field(default=4 * 1024**3, gt=0)
    quota_bytes_total: int = Field(default=200 * 1024**3, gt=0)
    reservation_minutes: float = Field(default=15.0, gt=0)
    incomplete_study_hours: float = Field(default=7 * 24.0, gt=0)


class Reservations:
    """The bytes that count against the quotas.

    Args:
        database: Of the studies.
        parts: Folder in which instances arrive.
        quota: Limits.
        clock: Another one for tests.
    """

    def __init__(self, database: StudyDatabase, parts: Path, quota: StudyQuota, clock: Clock = time.time) -> None:
        self._database = database
        self._parts = parts
        self._quota = quota
        self._clock = clock

    def reserve(self, study_id: str, sha256: str, size_bytes: int, kept_bytes: int | None = None) -> bool:
        """Keep room for an instance; whether it is finished already.

        Args:
            study_id: The study.
            sha256: Digest of the instance.
            size_bytes: Its whole size, which must fit into what is free now.
            kept_bytes: What is to count from now on; all of it when not given.

        Raises:
            StudyNotFound: There is no such study.
            StudyAlreadyComplete: The study is frozen and the instance is not in it.
            QuotaExceeded: The study or the store would grow over its limit, also without what has expired.
        """
        kept = size_bytes if kept_bytes is None else min(kept_bytes, size_bytes)
        try:
            return self._try(study_id, sha256, size_bytes, kept)
        except QuotaExceeded:
            if not self.release_expired():
                raise
        return self._try(study_id, sha256, size_bytes, kept)

    def begin(self, study_id: str, upload: InstanceUpload) -> bool:
        """Keep the next step for an upload; whether the instance is finished already. Raises as :meth:`reserve`."""
        kept = upload.received_bytes + STEP_BYTES
        finished = self.reserve(study_id, upload.sha256, upload.size_bytes, kept)
        upload.kept_bytes = min(kept, upload.size_bytes)
        upload.kept_until = self._clock() + self._reservation_seconds / 2
        return finished

    def before_writing(self, study_id: str, upload: InstanceUpload, count: int) -> None:
        """Keep room for bytes that have come, where the step is used up or may have expired; raises as that does."""
        if upload.received_bytes + count > upload.kept_bytes or self._clock() > upload.kept_until:
            self.begin(study_id, upload)
        upload.kept_until = self._clock() + self._reservation_seconds / 2

    def leave(self, study_id: str, upload: InstanceUpload) -> None:
        """A stream goes away: what has arrived stays and counts, nothing else."""
        with self._database.writing(durable=False) as table:
            self._shrink(table, study_id, upload.sha256, upload.received_bytes)
        if not upload.received_bytes:
            upload.discard()

    def release_expired(self) -> int:
        """Keep no more than what has arrived of an upload that no stream sends, or of which nothing came for long.

        Returns:
            Bytes that count no longer.
        """
        released = 0
        with self._database.writing(durable=False) as table:
            for study_id, row in table.unfinished_instances():
                path = part_of(self._parts, study_id, row.sha256)
                try:
                    found = path.stat()
                except FileNotFoundError:
                    # Noted, but no stream has opened the file yet: it will be noted once more when one does.
                    released += self._shrink(table, study_id, row.sha256, 0, row.size_bytes)
                    continue
                if self._clock() - found.st_mtime > self._reservation_seconds:
                    released += self._shrink(table, study_id, row.sha256, found.st_size, row.size_bytes)
                    continue
                try:
                    with UploadLock(path) as lock:
                        released += self._shrink(table, study_id, row.sha256, lock.size_bytes, row.size_bytes)
                        if not lock.size_bytes:
                            path.unlink(missing_ok=True)
                except (Busy, FileNotFoundError):
                    continue
        return released

    def abandoned_studies(self) -> list[str]:
        """Ids of the studies that nobody completes: nothing was added for as long as the setting says."""
        with self._database.reading() as table:
            studies = table.open_studies()
        limit = self._quota.incomplete_study_hours * _SECONDS_OF_HOUR
        return [
            study_id
            for study_id, created_ns in studies
            if self._clock() - self._last_change(study_id, created_ns / _NANOSECONDS_OF_SECOND) > limit
        ]

    @property
    def _reservation_seconds(self) -> float:
        return self._quota.reservation_minutes * _SECONDS_OF_MINUTE

    def _last_change(self, study_id: str, created: float) -> float:
        folder = self._parts / study_id
        times = [created]
        if folder.is_dir():
            try:
                times += [folder.stat().st_mtime, *(path.stat().st_mtime for path in folder.iterdir())]
            except FileNotFoundError:
                # An instance was finished, or the study deleted, this moment.
                return self._clock()
        return max(times)

    def count(self, table: StudyTables, study_id: str, sha256: str, size_bytes: int) -> None:
        """Note an instance that has arrived whole, in a transaction of the caller. Raises as :meth:`reserve`."""
        if not self._is_finished(table, study_id, sha256, size_bytes):
            table.finish_instance(study_id, sha256, size_bytes)

    def _try(self, study_id: str, sha256: str, size_bytes: int, kept_bytes: int) -> bool:
        with self._database.writing(durable=False) as table:
            if self._is_finished(table, study_id, sha256, size_bytes):
                return True
            table.put_instance(study_id, sha256, kept_bytes)
            return False

    def _is_finished(self, table: StudyTables, study_id: str, sha256: str, size_bytes: int) -> bool:
        """Whether an instance has arrived already; raises where it may not."""
        study = table.study(study_id)
        known = table.instance(study_id, sha256)
        if known is not None and known.finished:
            return True
        if study.complete:
            raise already_complete()
        counted = 0 if known is None else known.size_bytes
        quota = self._quota
        require_quota("study", table.reserved_bytes(study_id) - counted + size_bytes, quota.quota_bytes_per_study)
        require_quota("total", table.reserved_bytes() - counted + size_bytes, quota.quota_bytes_total)
        return False

    def _shrink(self, table: StudyTables, study_id: str, sha256: str, received_bytes: int, kept_bytes: int = 0) -> int:
        row = table.instance(study_id, sha256)
        if row is None or row.finished:
            return 0
        if received_bytes:
            table.put_instance(study_id, sha256, received_bytes)
        else:
            table.remove_unfinished_instance(study_id, sha256)
        return max(0, kept_bytes - received_bytes)


def part_of(parts: Path, study_id: str, sha256: str) -> Path:
    """The file in which an instance of a study arrives."""
    return parts / study_id / f"{sha256}.part"


def require_quota(scope: str, size_bytes: int, limit_bytes: int) -> None:
    """Refuse what is larger than allowed.

    Args:
        scope: ``study``, or ``total`` for all studies together.
        size_bytes: What it would be.
        limit_bytes: What it may be.

    Raises:
        QuotaExceeded: It is larger.
    """
    if size_bytes > limit_bytes:
        whose = "The study" if scope == "study" else "All studies together"
        raise QuotaExceeded(
            f"{whose} would be larger than this server allows. Send only the series that are needed, delete "
            "studies that are not, or ask the administrator for more.",
            scope=scope,
            limit_bytes=limit_bytes,
        )


def already_complete() -> StudyAlreadyComplete:
    """What is said to whoever adds to a frozen study."""
    return StudyAlreadyComplete(
        "The study was declared complete and takes no more instances. Create a new study for them."
    )


def require_count(study: StudyRecord, expected: int) -> None:
    """Compare what has arrived whole with what a sender counted.

    Raises:
        StudyNotComplete: Fewer instances have arrived.
        InvalidRequest: More have.
        StudyAlreadyComplete: The study is complete with another number of instances.
    """
    if study.instance_count == expected:
        return
    counts = {"arrived": study.instance_count, "expected": expected}
    if study.complete:
        raise StudyAlreadyComplete("The study is complete with another number of instances.", **counts)
    if study.instance_count < expected:
        raise StudyNotComplete(
            "Fewer instances have arrived whole than instance_count says. ListInstances tells which are missing.",
            **counts,
        )
    raise InvalidRequest(
        "More instances have arrived than instance_count says. Count those of every upload to this study.", **counts
    )


def digest_mismatch() -> ChecksumMismatch:
    """What is said of bytes that are not those of their digest."""
    return ChecksumMismatch(
        "The bytes of an instance do not have the SHA-256 that its header names. Send the instance again from its "
        "first byte."
    )
