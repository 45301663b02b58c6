"""The files below a directory, links followed, without loops."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(
    directory: Path,
    *,
    enter: Callable[[Path], bool] = lambda _folder: True,
    on_error: Callable[[OSError], object] | None = None,
) -> Iterator[Path]:
    """Every file below a directory, in the order of the names; folders and files may be symbolic links.

    A folder that is reached twice, by a link to itself or to one above it, is searched once. A link that leads nowhere,
    and what is no regular file, is given too, so that the caller can count it.

    Args:
        directory: Where to look; a file is given as it is.
        enter: Whether to search a subfolder.
        on_error: Told when a folder cannot be listed; without it such a folder is an error.

    Raises:
        OSError: A folder cannot be listed.
    """
    if directory.is_file():
        yield directory
        return
    known: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(directory, followlinks=True, onerror=on_error or _refuse):
        here = Path(folder)
        found = here.stat()
        if (found.st_dev, found.st_ino) in known:
            subfolders.clear()
            continue
        known.add((found.st_dev, found.st_ino))
        subfolders[:] = sorted(name for name in subfolders if enter(here / name))
        for name in sorted(names):
            yield here / name


def _refuse(error: OSError) -> None:
    raise error
