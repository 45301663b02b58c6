"""Server processes as an administrator starts them, and what they leave behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """One ``oncoresponse serve``; ``address`` is known once it is ready."""

    def __init__(self, *arguments: str, settings: Path | None = None) -> None:
        environment = {**os.environ, **({"ONCORESPONSE_SETTINGS_FILE": str(settings)} if settings else {})}
        self._command = [sys.executable, "-m", "oncoresponse.cli.main", "serve", "--verbose", *arguments]
        self.log = Path(arguments[arguments.index("--data-dir") + 1]) / f"log-{time.monotonic_ns()}.txt"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=environment
            )
        self.address = ""

    def wait_until_ready(self) -> str:
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log.read_text()
        self.address = line.split()[1]
        return self.address

    def stop(self, number: int = signal.SIGTERM) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def serve(tmp_path):
    """Starts server processes; stops what is left at the end."""
    started: list[ServerProcess] = []

    def start(*arguments: str, settings: Path | None = None) -> ServerProcess:
        server = ServerProcess(*arguments, settings=settings)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()
