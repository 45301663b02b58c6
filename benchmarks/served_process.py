"""``oncoresponse serve`` as a process of its own, for the benchmarks that start several."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[1]


class ServedProcess:
    """One process; what it prints to stderr is kept in ``log``.

    Args:
        folder: For its log, with the data folder ``data``.
        arguments: Of the command.
        settings: Settings file.
        environment: Beside that of this process.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        settings: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        more = {"ONCORESPONSE_SETTINGS_FILE": str(settings)} if settings else {}
        command = [sys.executable, "-m", "oncoresponse.cli.main", "serve", "--listen", "127.0.0.1:0"]
        command += ["--allow-anonymous", "--data-dir", str(folder / "data"), *arguments]
        self.log = folder / f"log-{uuid.uuid4().hex[:8]}.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, "ONCORESPONSE_DRAIN_SECONDS": "1", **more, **environment},
            )
        self.address = self.stage_address = ""

    def wait_until_ready(self) -> str:
        """The address."""
        while not self.address:
            line = self.process.stdout.readline() if self.process.stdout else ""
            if line.startswith("stages "):
                self.stage_address = line.split()[1]
            elif line.startswith("ready "):
                self.address = line.split()[1]
            else:
                raise SystemExit(f"a process did not start: {self.log.read_text()[-2000:]}")
        return self.address

    def stop(self) -> None:
        """End it, and its children with it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)
