"""The checkout that a release is made of: its files, its version, its time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version_here() -> str:
    """The version, from its one place.

    Raises:
        ValueError: It is not stated there.
    """
    text = (ROOT / "services" / "oncoresponse" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise ValueError("services/oncoresponse/__init__.py states no version.")
    return found[1]


def commit_time() -> int:
    """``SOURCE_DATE_EPOCH``, or when the commit was made: seconds since 1970, the time of everything in a release."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or _git("log", "-1", "--format=%ct"))


def tracked_files(*below: str) -> list[Path]:
    """The files that git knows, in the order of their names, relative to the checkout."""
    return sorted(Path(name) for name in _git("ls-files", "-z", "--", *below).split("\0") if name)


def changed_files() -> str:
    """What is not as it was committed, as git lists it; empty for a clean checkout."""
    return _git("status", "--porcelain")


def copy_tracked(target: Path, time: int, *below: str) -> None:
    """Copy what git knows, with that time and with no rights that depend on who copied."""
    for file in tracked_files(*below):
        copy = target / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, copy)
        copy.chmod(0o644)
        os.utime(copy, (time, time))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
