"""A section of a page that is a story: its files and commands, in their order, with ports that are free."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.acceptance.documented import ROOT
from tests.integration.orthanc_server import free_port

_SECONDS = 240


class Story:
    """The folder in which it happens, and what runs in its terminals.

    Args:
        folder: An empty one.
        page: File name below ``docs``.
        section: Its heading.
        ports: That the page names.
        environment: Of each command.
        links: Folders of the checkout that commands name.
    """

    def __init__(
        self,
        folder: Path,
        page: str,
        section: str,
        ports: Sequence[str],
        environment: dict[str, str],
        links: Sequence[str] = ("examples",),
    ) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ports}
        self._environment = {**environment, "ONCORESPONSE_MODELS_DIRECTORY": str(ROOT / "models")}
        self._running: list[subprocess.Popen[str]] = []
        for name in links:
            (folder / name).symlink_to(ROOT / name)
        text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]

        def blocks(language: str) -> list[str]:
            return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

        for file in (*blocks("yaml"), *blocks("json")):
            name = re.search(r"[a-z]+\.(?:yaml|json)", file)
            assert name is not None
            (folder / name[0]).write_text(self.at_free_ports(file))
        self.commands = [line for block in blocks("bash") for line in block.splitlines()]

    def at_free_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def next(self, beginning: str) -> str:
        """The next command of the page, which begins so."""
        command = self.commands.pop(0)
        assert command.startswith(beginning)
        return self.at_free_ports(command)

    def open_terminal(self, command: str, *ports: str) -> None:
        """Run a command until the end, and wait until it listens."""
        with (self.folder / f"{ports[0]}.log").open("w") as log:
            self._running.append(
                subprocess.Popen(
                    ["bash", "-c", command],
                    cwd=self.folder,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                    # With it end the programs that it starts.
                    start_new_session=True,
                )
            )
        for port in ports:
            until(lambda port=port: is_listening(int(self.ports[port])))

    def run(self, command: str) -> tuple[str, str]:
        """Run a command that has to succeed; gives its two outputs."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, done.stderr

    def close_terminals(self) -> None:
        for process in reversed(self._running):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def is_listening(port: int) -> bool:
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.5)
