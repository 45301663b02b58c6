"""Folders that belong to one process, so that a later start removes what a killed one left.

Each holds a file on which its process has a lock (flock(2)). The operating system releases the lock when the process
ends, however it ends, so the folder of a living process is never taken for a left one, whatever its age.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

_LOCK_NAME = "lock"
EVERYBODY_LOCK = ".lock"
"""File in the folder of all processes that each of them locks while it makes its own."""


class ProcessFolder:
    """A new folder below ``parent``; removed by :meth:`close`, with this object, and at the end of the process.

    Making one removes those of processes that have ended, and whatever else lies in ``parent``.

    Args:
        parent: Holds nothing else; made where it is not there, for this user alone.

    Raises:
        OSError: It cannot be made, or belongs to another user.

    Attributes:
        path: The folder.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_ISLNK(parent.lstat().st_mode) or parent.stat().st_uid != os.geteuid():
            raise PermissionError(f"the folder {parent.name} is not of this user")
        parent.chmod(0o700)
        with _opened(parent / EVERYBODY_LOCK) as everybody:
            fcntl.flock(everybody, fcntl.LOCK_EX)
            for other in parent.iterdir():
                if other.name == EVERYBODY_LOCK:
                    continue
                if not other.is_dir():
                    other.unlink(missing_ok=True)
                elif _is_abandoned(other):
                    shutil.rmtree(other, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(prefix="", dir=parent))
            lock = _opened(self.path / _LOCK_NAME)
            fcntl.flock(lock, fcntl.LOCK_EX)
        self._finalizer = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def close(self) -> None:
        """Remove the folder with everything in it."""
        self._finalizer()


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Let this process, its libraries and the processes that it starts put temporary files in a folder of its own.

    They hold parts of images. The folder lies in the one for temporary files, whose path is short enough for sockets;
    what a killed process left there goes when the next one of this user begins.
    """
    former, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    parent = Path(tempfile.gettempdir()) / f"oncoresponse-{os.geteuid()}"
    try:
        folder = ProcessFolder(parent)
    except OSError:
        # Somebody else has made one of this name, or the disk is full: what uses it will say so.
        yield Path(tempfile.gettempdir())
        return
    # A cache of compiled networks is to outlive the process.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor_{os.geteuid()}")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder.path)
    try:
        yield folder.path
    finally:
        tempfile.tempdir = former
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable
        folder.close()


def _opened(path: Path) -> TextIO:
    return open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600))


def _remove(folder: Path, lock: TextIO, process: int) -> None:
    # A forked child has a copy of this, and of the lock.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        lock.close()


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / _LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
