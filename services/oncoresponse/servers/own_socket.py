"""The Unix socket through which a process reaches its own services.

A server certificate says who the server is to others: it names no loopback address, is signed by an authority that this
machine need not trust, and is seldom allowed to act as a client. None of that matters for calls that never leave the
process. The socket lies in a folder that only the user of the service may enter, so whoever calls through it is the
service itself; calls pass the same interceptors as those from outside.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oncoresponse.errors import ConfigurationError

_SOCKET_NAME = "own"
_LONGEST_PATH_BYTES = 107
"""sun_path of Linux (unix(7)) holds 108 bytes with the closing zero."""

_log = logging.getLogger(__name__)


@contextmanager
def own_socket(data_directory: Path) -> Iterator[str]:
    """gRPC address, ``unix:PATH``, of a socket that nobody else uses; its folder goes when the block ends.

    The folder lies in the data folder, or in that for temporary files where the path would be too long for a socket.
    Folders of processes that were killed are removed on the way: each process holds a lock in its own.

    Raises:
        ConfigurationError: No such folder can be made.
    """
    folder = descriptor = None
    for parent in (data_directory / "sockets", Path(tempfile.gettempdir()) / f"oncoresponse-sockets-{os.getuid()}"):
        longest = parent / "12345678" / _SOCKET_NAME
        if len(os.fsencode(longest)) > _LONGEST_PATH_BYTES:
            continue
        try:
            folder, descriptor = _locked_folder(parent)
            break
        except OSError as error:
            _log.info("no folder for the socket of this process in %s: %s", parent, error.strerror)
    if folder is None or descriptor is None:
        raise ConfigurationError(
            "The process cannot make the socket through which it calls its own services: the data folder's path is too "
            "long and the folder for temporary files cannot be used. Give a shorter --data-dir, or set TMPDIR."
        )
    try:
        yield f"unix:{folder / _SOCKET_NAME}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder below ``parent``, and the open lock file that tells others that it is in use."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = parent.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        # In the folder for temporary files somebody else may have been there first.
        raise PermissionError(1, "it belongs to another user, or others may enter it")
    with (parent / ".lock").open("w") as everybody:
        fcntl.flock(everybody, fcntl.LOCK_EX)
        for other in parent.iterdir():
            if other.is_dir() and _is_abandoned(other):
                shutil.rmtree(other, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="", dir=parent))
        descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return folder, descriptor


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
