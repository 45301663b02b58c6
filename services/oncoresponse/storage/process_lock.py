"""A lock that a process holds until it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from oncoresponse.errors import ConfigurationError


class ProcessLock:
    """Held from the making to :meth:`close` or to the end of the process, ``kill -9`` included.

    It is a record lock (POSIX ``fcntl``), because of the locks that the kernel ends with the process it is the one that
    child processes do not share: a child that outlives its parent would keep an ``flock``.

    Args:
        path: File of the lock; its folder is made.

    Attributes:
        place: Name of the file that no other file has. Whoever holds a lock of the same place knows that no process is
            left that held it before. On a file system without locks it is another one each time.

    Raises:
        ConfigurationError: Another process holds it; the message says which.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.place = str(uuid.uuid4())
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            process = os.read(self._descriptor, 100).decode("ascii", "replace").partition(" ")[2].strip() or "(unknown)"
            self.close()
            raise ConfigurationError(
                f"Process {process} on this machine still runs under the name {path.stem}. Two of one name would take "
                "each other's work: end that one, or give this one a name of its own.",
                process=process,
            ) from None
        except OSError:
            # A network file system without locks: nothing is known of who else is there.
            return
        self.place = os.read(self._descriptor, 100).decode("ascii", "replace").partition(" ")[0] or self.place
        os.pwrite(self._descriptor, f"{self.place} {os.getpid():<10}".encode("ascii"), 0)

    def close(self) -> None:
        """Give it up."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
