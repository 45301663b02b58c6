"""Files and folders that nobody but the user of the service may open, whatever its umask was."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def only_for_this_user() -> None:
    """Let this process and those that it starts make files 0600 and folders 0700: SQLite's, libraries' and our own."""
    os.umask(0o077)


def mend_modes(folder: Path) -> int:
    """Take from others what they may do in a folder that an earlier release, or a copy of a backup, left open to them.

    What belongs to another user is left as it is, and a symbolic link is not followed.

    Returns:
        How many files and folders were mended.
    """
    mended = _mend(folder, _FOLDER_MODE)
    for path, folders, files in os.walk(folder):
        here = Path(path)
        mended += sum(_mend(here / name, _FOLDER_MODE) for name in folders)
        mended += sum(_mend(here / name, _FILE_MODE) for name in files)
    return mended


def make_private(path: Path) -> None:
    """Make an empty file where there is none, and close it to others; SQLite gives its journals the same mode."""
    path.touch(mode=_FILE_MODE)
    _mend(path, _FILE_MODE)


def _mend(path: Path, mode: int) -> int:
    # Another process may remove its files meanwhile.
    with suppress(FileNotFoundError, PermissionError):
        found = path.lstat().st_mode
        if not stat.S_ISLNK(found) and stat.S_IMODE(found) & _OF_OTHERS:
            path.chmod(mode)
            return 1
    return 0
