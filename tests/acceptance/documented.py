"""The command lines of a documentation page, and how a test runs one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROGRAMS = ("make", "node", "oncoresponse", "oncoradiomics", "python")


def commands_of(page: Path) -> list[str]:
    """Command lines in fenced blocks without a language, continuation lines joined, in their order."""
    found, fence = [], None
    for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fence = line if fence is None else None
        elif fence == "```" and line.split()[:1] and line.split()[0] in PROGRAMS:
            found.append(" ".join(line.split()))
    return found


def run(command: str, folder: Path, *more: str, replaced: dict[str, str] | None = None) -> str:
    """Run a documented command in ``folder`` and return what it printed."""
    words = [(replaced or {}).get(word, word) for word in shlex.split(command)]
    words = [
        name
        for word in words
        for name in (sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else [word])
    ]
    if words[0] != "make":
        words[0] = str(BIN / words[0])
    # A make below another one says so between the lines.
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run([*words, *more], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
