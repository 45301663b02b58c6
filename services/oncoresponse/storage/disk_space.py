"""A full disk as one clear error, before and while writing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oncoresponse.errors import DiskFull

# EFBIG is what a process limit on file size gives (setrlimit(2), RLIMIT_FSIZE).
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_ROOM_MESSAGE = "The data folder has no room left. Free space on the server, then send the request again."


@contextmanager
def disk_full_when_no_room() -> Iterator[None]:
    """Turn the operating system's "no space" into :class:`DiskFull`; every other error passes as it is."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull(NO_ROOM_MESSAGE) from error
        raise


def require_free_space(folder: Path, needed_bytes: int, minimum_free_bytes: int) -> None:
    """Refuse to write when less than ``minimum_free_bytes`` would be left on the disk of ``folder``.

    Raises:
        DiskFull: Too little is free.
    """
    if shutil.disk_usage(folder).free - needed_bytes < minimum_free_bytes:
        raise DiskFull(NO_ROOM_MESSAGE, minimum_free_bytes=minimum_free_bytes)
