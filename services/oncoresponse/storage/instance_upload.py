"""The bytes of one unfinished instance, in a file that survives a lost connection and a restart."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from oncoresponse.errors import Busy, InvalidRequest
from oncoresponse.storage.disk_space import disk_full_when_no_room, require_free_space


class InstanceUpload:
    """An open part file. Only one at a time may be open for a path, also among processes.

    Args:
        path: The part file; made when it is not there.
        sha256: Digest that the whole file shall have.
        size_bytes: Length that the whole file shall have.
        minimum_free_bytes: To be left on the disk when the whole file has arrived.

    Raises:
        Busy: Another stream sends this instance at the moment.
        DiskFull: There is no room for the rest.

    Attributes:
        kept_bytes: How many of its bytes count against the quotas.
        kept_until: Until when they do although nothing comes, by the clock of
            :class:`~oncoresponse.storage.study_reservation.Reservations`.
    """

    def __init__(self, path: Path, sha256: str, size_bytes: int, minimum_free_bytes: int) -> None:
        self.path = path
        self.sha256 = sha256
        self.size_bytes = size_bytes
        self.kept_bytes = 0
        self.kept_until = 0.0
        self._descriptor = _open_locked(path)
        try:
            self.received_bytes = os.fstat(self._descriptor).st_size
            if self.received_bytes > size_bytes:
                # The size was named differently before, so these bytes are of something else.
                self._cut_to(0)
            require_free_space(path.parent, size_bytes - self.received_bytes, minimum_free_bytes)
        except BaseException:
            self.close()
            raise

    @property
    def whole(self) -> bool:
        """Whether every byte has arrived."""
        return self.received_bytes == self.size_bytes

    def go_to(self, offset_bytes: int) -> None:
        """Continue at a byte; what had arrived after it is dropped.

        Raises:
            InvalidRequest: The offset is past what has arrived.
        """
        if offset_bytes > self.received_bytes:
            raise InvalidRequest(
                "offset_bytes is past what has arrived of the instance. ListInstances says where to go on.",
                received_bytes=self.received_bytes,
            )
        self._cut_to(offset_bytes)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            InvalidRequest: More bytes than the size that was named; all of them are dropped.
            DiskFull: There is no room; what had arrived before stays.
        """
        if self.received_bytes + len(data) > self.size_bytes:
            self.discard()
            raise InvalidRequest(
                "More bytes arrived than the header's size_bytes. Send the instance again from its first byte."
            )
        before = self.received_bytes
        try:
            with disk_full_when_no_room():
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except BaseException:
            self._cut_to(before)
            raise
        self.received_bytes += len(data)

    def discard(self) -> None:
        """Drop everything that has arrived. Not after the file was moved to another place."""
        self.path.unlink(missing_ok=True)
        self._cut_to(0)

    def close(self) -> None:
        """Close the file and let others send the instance. Bytes that arrived stay."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> InstanceUpload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _cut_to(self, length: int) -> None:
        os.ftruncate(self._descriptor, length)
        os.lseek(self._descriptor, length, os.SEEK_SET)
        self.received_bytes = length


class UploadLock:
    """The lock of an upload, to look at what has arrived while no stream sends it.

    Raises:
        Busy: A stream sends it.
        FileNotFoundError: There is no such file.

    Attributes:
        size_bytes: What has arrived.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise Busy("A stream sends this instance at the moment.") from error
        self.size_bytes = os.fstat(self._descriptor).st_size

    def __enter__(self) -> UploadLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def _open_locked(path: Path) -> int:
    while True:
        with disk_full_when_no_room():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have moved the file into the artifact store, where it must not be written to.
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                os.lseek(descriptor, 0, os.SEEK_END)
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise Busy("Another stream sends this instance at the moment. Wait for it, or try again.") from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
