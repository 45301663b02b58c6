"""Bytes under a key: in a local folder, or in anything else that fsspec knows.

Keys are lower-case hexadecimal SHA-256 digests, so writing one again can only write the same bytes.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from oncoresponse.errors import ConfigurationError
from oncoresponse.storage.disk_space import disk_full_when_no_room, require_free_space
from oncoresponse.storage.process_folder import ProcessFolder

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_KEY = re.compile(r"[0-9a-f]{64}")
_SCRATCH_FOLDER = "scratch"


@dataclass(frozen=True)
class StoredBytes:
    """What lies under one key.

    Attributes:
        key: SHA-256.
        size_bytes: Length.
        written: Seconds since 1970 (UTC) when it was last written.
    """

    key: str
    size_bytes: int
    written: float


class ByteStore(ABC):
    """The boundary to whatever holds the bytes. Everything may be called from several threads and processes."""

    @abstractmethod
    def take(self, key: str, path: Path) -> None:
        """Bring the file at ``path`` in under ``key``, whole or not at all. The file at ``path`` is used up.

        Raises:
            DiskFull: There is no room; nothing is stored under ``key``.
        """

    @abstractmethod
    def local_path(self, key: str) -> AbstractContextManager[Path]:
        """A local file with the bytes, to be read only.

        Raises:
            FileNotFoundError: Nothing is stored under ``key``.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the bytes; nothing happens when they are gone already."""

    @abstractmethod
    def look(self, key: str) -> StoredBytes | None:
        """What lies under a key, without reading it; ``None`` for nothing."""

    @abstractmethod
    def everything(self) -> Iterator[StoredBytes]:
        """All that is stored. What comes or goes meanwhile may be given or not."""

    @abstractmethod
    def scratch_folder(self, needed_bytes: int) -> AbstractContextManager[Path]:
        """An empty folder to write a file in that :meth:`take` will get; removed afterwards.

        Raises:
            DiskFull: Less than the configured minimum would be left after writing ``needed_bytes``.
        """


class FolderByteStore(ByteStore):
    """A local folder, two levels deep (``ab/cd/abcd...``), readable by this user alone.

    A file is written beside its place, flushed to the disk and renamed, so that a reader or a restart
    after a crash sees all of it or nothing. Writing an existing key replaces it, which also repairs it.
    """

    def __init__(self, root: Path, minimum_free_bytes: int) -> None:
        self._root = root
        self._minimum_free_bytes = minimum_free_bytes
        root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        # What a killed process left is removed here.
        self._scratch = ProcessFolder(root / _SCRATCH_FOLDER)

    def take(self, key: str, path: Path) -> None:
        """See :meth:`ByteStore.take`. A file on the same disk is renamed, not copied."""
        target = self._path(key)
        with disk_full_when_no_room():
            for folder in (target.parent.parent, target.parent):
                folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            _make_durable(path)
            try:
                path.replace(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with self.scratch_folder(path.stat().st_size) as scratch:
                    copy = scratch / key
                    shutil.copyfile(path, copy)
                    _make_durable(copy)
                    copy.replace(target)
                path.unlink()
            _make_name_durable(target)

    @contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        """See :meth:`ByteStore.local_path`; the stored file itself."""
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        yield path

    def delete(self, key: str) -> None:
        """See :meth:`ByteStore.delete`."""
        self._path(key).unlink(missing_ok=True)

    def look(self, key: str) -> StoredBytes | None:
        """See :meth:`ByteStore.look`."""
        with suppress(FileNotFoundError):
            found = self._path(key).stat()
            return StoredBytes(key, found.st_size, found.st_mtime)
        return None

    def everything(self) -> Iterator[StoredBytes]:
        """See :meth:`ByteStore.everything`."""
        for path in self._root.glob("??/??/*"):
            if _KEY.fullmatch(path.name) and (found := self.look(path.name)) is not None:
                yield found

    @contextmanager
    def scratch_folder(self, needed_bytes: int) -> Iterator[Path]:
        """See :meth:`ByteStore.scratch_folder`; on the same disk as the store."""
        require_free_space(self._root, needed_bytes, self._minimum_free_bytes)
        folder = self._scratch.path / uuid.uuid4().hex
        with disk_full_when_no_room():
            folder.mkdir(mode=_FOLDER_MODE)
            try:
                yield folder
            finally:
                shutil.rmtree(folder)

    def _path(self, key: str) -> Path:
        return self._root / key[:2] / key[2:4] / key


class RemoteByteStore(ByteStore):
    """Any other fsspec file system: an object store, or memory for tests.

    Object stores show an object only when it has been written whole. On file systems that do not, a
    half-written one is caught by the digest when it is read, and writing it again replaces it.
    """

    def __init__(self, file_system: Any, root: str) -> None:
        self._file_system = file_system
        self._root = root.rstrip("/")

    def take(self, key: str, path: Path) -> None:
        """See :meth:`ByteStore.take`."""
        target = self._path(key)
        with disk_full_when_no_room():
            self._file_system.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._file_system.put_file(str(path), target)
            path.unlink()

    @contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        """See :meth:`ByteStore.local_path`; a copy that is removed afterwards."""
        with self.scratch_folder(0) as scratch:
            copy = scratch / key
            with disk_full_when_no_room():
                self._file_system.get_file(self._path(key), str(copy))
            yield copy

    def delete(self, key: str) -> None:
        """See :meth:`ByteStore.delete`."""
        with suppress(FileNotFoundError):
            self._file_system.rm_file(self._path(key))

    def look(self, key: str) -> StoredBytes | None:
        """See :meth:`ByteStore.look`."""
        path = self._path(key)
        with suppress(FileNotFoundError):
            return StoredBytes(key, int(self._file_system.size(path)), self._file_system.modified(path).timestamp())
        return None

    def everything(self) -> Iterator[StoredBytes]:
        """See :meth:`ByteStore.everything`."""
        for path in self._file_system.find(self._root):
            key = str(path).rpartition("/")[2]
            if _KEY.fullmatch(key) and (found := self.look(key)) is not None:
                yield found

    @contextmanager
    def scratch_folder(self, needed_bytes: int) -> Iterator[Path]:  # noqa: ARG002 - a remote store has no local limit
        """See :meth:`ByteStore.scratch_folder`; in the system's folder for temporary files."""
        with disk_full_when_no_room(), tempfile.TemporaryDirectory(prefix="oncoresponse-") as folder:
            yield Path(folder)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key[2:4]}/{key}"


def open_byte_store(url: str, minimum_free_bytes: int) -> ByteStore:
    """The store at an fsspec URL (``file:///...``, ``memory://...``, ``s3://...``) or at a plain path.

    Raises:
        ConfigurationError: fsspec does not know the protocol, or its package is not installed.
    """
    try:
        file_system, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            "artifact_url has a protocol that is not installed here. Use a folder (file:///...), "
            "or install the fsspec package of the protocol."
        ) from error
    if isinstance(file_system, LocalFileSystem):
        return FolderByteStore(Path(root), minimum_free_bytes)
    return RemoteByteStore(file_system, root)


def _make_name_durable(path: Path) -> None:
    # Folders above that are new as well are in the same transaction of a journaling file system.
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fchmod(descriptor, _FILE_MODE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
