"""Import of a study from a directory of the server."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from oncoresponse.case.directory_walk import files_below
from oncoresponse.case.left_out import LeftOutInstance
from oncoresponse.dicom.reading import is_dicom, is_media_directory
from oncoresponse.errors import NoImages, PathNotAllowed
from oncoresponse.storage.study_indexing import ReadObject
from oncoresponse.storage.study_store import StudyStore

_HEAD_BYTES = 1024
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ImportCount:
    """How far an import has come: files or instances looked at, taken, and left out.

    Attributes:
        unreadable: Those of ``left_out`` that are damaged; given with the last count only.
    """

    examined: int = 0
    imported: int = 0
    left_out: int = 0
    unreadable: tuple[LeftOutInstance, ...] = ()


def allowed_directory(directory: str, allowed: Sequence[Path]) -> Path:
    """The directory without symbolic links, when it is one of the allowed ones or below one.

    Raises:
        PathNotAllowed: It is not, or the path is not absolute. The answer does not depend on whether it exists.
        NoImages: It is allowed and is not a directory.
    """
    given = Path(directory)
    if "\0" in directory or not given.is_absolute():
        raise PathNotAllowed("The directory must be an absolute path on the server.")
    real = Path(os.path.realpath(given))
    if not _is_within(real, allowed):
        raise PathNotAllowed(
            "The directory is outside those that this server may import from. Ask its administrator to allow it."
        )
    if not real.is_dir():
        raise NoImages("The directory does not exist. Give the directory of the study.")
    return real


def import_directory(
    store: StudyStore, name: str, directory: Path, allowed: Sequence[Path], check: ReadObject
) -> Iterator[ImportCount]:
    """Add every DICOM file below a directory to a study, reporting after each file.

    Left out and counted: hidden files, what is no regular file, what is not DICOM, and DICOMDIR (PS3.10
    section 8). Symbolic links inside the allowed directories are followed; hidden directories are not entered.

    Args:
        store: Where the study is.
        name: The study.
        directory: From :func:`allowed_directory`.
        allowed: Directories that may be read.
        check: Refuses unreadable DICOM.

    Raises:
        PathNotAllowed: A symbolic link leads out of the allowed directories, or a file may not be read.
        DicomError, QuotaExceeded, DiskFull, StudyAlreadyComplete: See :meth:`StudyStore.add`.
    """
    imported = 0
    for examined, path in enumerate(_files(directory, allowed), start=1):
        descriptor = None if path.name.startswith(".") else _open_regular(path, allowed)
        if descriptor is not None:
            with os.fdopen(descriptor, "rb") as file:
                head = file.read(_HEAD_BYTES)
                if is_dicom(head) and not is_media_directory(head):
                    file.seek(0)
                    store.add(name, iter(lambda: file.read(_BLOCK_BYTES), b""), check)
                    imported += 1
        yield ImportCount(examined, imported, examined - imported)


def _files(directory: Path, allowed: Sequence[Path]) -> Iterator[Path]:
    def enter(folder: Path) -> bool:
        if folder.is_symlink():
            _require_within(folder, allowed)
        return not folder.name.startswith(".")

    return files_below(directory, enter=enter, on_error=_refuse)


def _open_regular(path: Path, allowed: Sequence[Path]) -> int | None:
    """Open a file for reading, or give ``None`` for what is no regular file."""
    real = _require_within(path, allowed)
    try:
        # Not to wait for the other end of a named pipe, nor to follow a link that was put there meanwhile.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ELOOP):
            return None
        _refuse(error)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _require_within(path: Path, allowed: Sequence[Path]) -> Path:
    real = Path(os.path.realpath(path))
    if not _is_within(real, allowed):
        raise PathNotAllowed(
            "A symbolic link in the directory leads out of those that this server may import from. "
            "Put the files themselves there."
        )
    return real


def _is_within(real: Path, allowed: Sequence[Path]) -> bool:
    return any(real.is_relative_to(os.path.realpath(root)) for root in allowed)


def _refuse(error: OSError) -> NoReturn:
    if isinstance(error, PermissionError):
        raise PathNotAllowed("A file or directory may not be read by the server. Correct its permissions.") from error
    raise error
