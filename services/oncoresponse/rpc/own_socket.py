"""The Unix socket through which a process reaches its own services.

A server certificate says who the server is to others: it names no loopback address, is signed by an authority that this
machine need not trust, and is seldom allowed to act as a client. None of that matters for calls that never leave the
process. The socket lies in a folder that only the user of the service may enter, so whoever calls through it is the
service itself; calls pass the same interceptors as those from outside.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from oncoresponse.errors import ConfigurationError
from oncoresponse.storage.process_folder import ProcessFolder

_SOCKET_NAME = "own"
_LONGEST_PATH_BYTES = 107
"""sun_path of Linux (unix(7)) holds 108 bytes with the closing zero."""

_log = logging.getLogger(__name__)


@contextmanager
def own_socket(data_directory: Path) -> Iterator[str]:
    """gRPC address, ``unix:PATH``, of a socket that nobody else uses; its folder goes when the block ends.

    The folder lies in the data folder, where those of processes that were killed are removed on the way (each process
    holds a lock in its own), or in that for temporary files where the path would be too long for a socket.

    Raises:
        ConfigurationError: No such folder can be made.
    """
    with ExitStack() as stack:
        ways: tuple[Callable[[], Path], ...] = (
            lambda: _folder_below(data_directory / "sockets", stack),
            lambda: _temporary_folder(stack),
        )
        for make in ways:
            try:
                folder = make()
            except OSError as error:
                _log.info("no folder for the socket of this process: %s", error.strerror)
                continue
            if len(os.fsencode(folder / _SOCKET_NAME)) <= _LONGEST_PATH_BYTES:
                break
        else:
            raise ConfigurationError(
                "The process cannot make the socket through which it calls its own services: the data folder's path is "
                "too long and the folder for temporary files cannot be used. Give a shorter --data-dir, or set TMPDIR."
            )
        yield f"unix:{folder / _SOCKET_NAME}"


def _folder_below(parent: Path, stack: ExitStack) -> Path:
    folder = ProcessFolder(parent)
    stack.callback(folder.close)
    return folder.path


def _temporary_folder(stack: ExitStack) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="oncoresponse-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder
