"""``python -m tools.lock``: write requirements.lock anew, from pyproject.toml and constraints.txt. Asks PyPI.

Every package that is installed to run the service (flavour cpu) on Linux x86-64, Python 3.11 or newer, with the SHA-256
of its files. Where files come from is not said: the digests are those of PyPI, whichever mirror sends them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.checkout import ROOT
from tools.pins import LOCK

_HEAD = (
    "# Every package that runs the service on Linux x86-64, with the SHA-256 of its files: docs/release.md.\n"
    "# Written by `make lock` from pyproject.toml and constraints.txt.\n"
)


def main() -> int:
    """Let uv resolve, and keep what it says."""
    command = [
        *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "pyproject.toml", "--extra", "cpu"),
        *("--constraints", "constraints.txt", "--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--no-header", "--quiet"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        return done.returncode
    LOCK.write_text(_HEAD + done.stdout, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
