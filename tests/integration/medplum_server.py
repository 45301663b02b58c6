"""A FHIR server of others in a process of its own: Medplum's router over its memory (tests/fhir_server)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[1] / "fhir_server"


@contextmanager
def running_fhir_server(port: int = 0) -> Iterator[str]:
    """Its base URL; it begins without any resource. Skips where it is not installed, and fails there in CI."""
    node = Path(sys.executable).parent / "node"
    if not (SERVER / "node_modules").is_dir() or not node.exists():
        what = "The FHIR server of the tests is not installed; 'make fhir-server' installs it."
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    # A session of its own: the wheel's node is a launcher, and what it launches has to end with it.
    process = subprocess.Popen(
        [node, SERVER / "server.mjs"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PORT": str(port)},
    )
    try:
        base = process.stdout.readline().strip()
        assert base.startswith("http://127.0.0.1:")
        yield base
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        process.stdout.close()
