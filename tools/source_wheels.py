"""Wheels of the libraries that PyPI has as source alone, so that who installs a release needs no compiler.

pyradiomics 3.0.1 needs numpy to be built and does not say so, and its ``versioneer.py`` calls two names of configparser
that Python 3.12 removed. Both are given to it while it is built. The source is the one on PyPI, by its SHA-256.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.pins import LOCK, locked

SOURCE_ONLY = ("docopt", "pyradiomics")
_TO_BUILD = ("numpy", "setuptools")

REMOVED_NAMES = Path(__file__).parent / "removed_names"


def build_source_wheels(python: str, output: Path, epoch: int) -> None:
    """Build the wheels for one interpreter, given by its path or name, into ``output``. Asks PyPI.

    Raises:
        subprocess.CalledProcessError: pip failed; it has said why.
    """
    lock = locked(LOCK)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "build.txt").write_text("\n".join(lock[name].lines() for name in _TO_BUILD) + "\n")
        (place / "source.txt").write_text("\n".join(lock[name].lines() for name in SOURCE_ONLY) + "\n")
        subprocess.run([python, "-m", "venv", place / "venv"], check=True)
        pip = (place / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet")
        checked = ("--no-deps", "--require-hashes")
        subprocess.run([*pip, "install", *checked, "--only-binary", ":all:", "-r", place / "build.txt"], check=True)
        # Without debugging information, which holds the names of temporary folders.
        environment = os.environ | {
            "PYTHONPATH": str(REMOVED_NAMES),
            "SOURCE_DATE_EPOCH": str(epoch),
            "CFLAGS": "-g0",
        }
        how = ("--no-build-isolation", "--no-cache-dir", "--no-binary", ",".join(SOURCE_ONLY), "--wheel-dir", output)
        subprocess.run([*pip, "wheel", *checked, *how, "-r", place / "source.txt"], env=environment, check=True)
