"""docs/integrate.md from nothing to a signed report and a card: its file and commands, in their order."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.documented import BIN, ROOT
from tests.integration.orthanc_server import free_port

SECTION = "## From nothing to a signed report and a card\n"
SECONDS = 120
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "ONCORESPONSE_MODELS_DIRECTORY": str(ROOT / "models"),
}


def blocks(language: str) -> list[str]:
    page = (ROOT / "docs" / "integrate.md").read_text(encoding="utf-8")
    section = page.split(SECTION)[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


class Story:
    """The folder in which it happens, and what runs in its terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ("8090", "8042", "50051")}
        self._running: list[subprocess.Popen[str]] = []
        for name in ("examples", "tests"):
            (folder / name).symlink_to(ROOT / name)
        (settings,) = blocks("yaml")
        (folder / "settings.yaml").write_text(self.at_free_ports(settings))
        self.commands = [line for block in blocks("bash") for line in block.splitlines()]

    def at_free_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def next(self, beginning: str) -> str:
        command = self.commands.pop(0)
        assert command.startswith(beginning)
        return self.at_free_ports(command)

    def open_terminal(self, command: str, port: str) -> None:
        """Run a command until the end, and wait until it listens."""
        with (self.folder / f"{port}.log").open("w") as log:
            self._running.append(
                subprocess.Popen(
                    ["bash", "-c", command],
                    cwd=self.folder,
                    env=ENVIRONMENT,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        until(lambda: is_listening(int(self.ports[port])))

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close_terminals(self) -> None:
        for process in reversed(self._running):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def is_listening(port: int) -> bool:
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.3)


@pytest.fixture
def story(tmp_path: Path, require_installed: Callable[..., None]) -> Iterator[Story]:
    require_installed("curl", "curl")
    if not (ROOT / "tests" / "fhir_server" / "node_modules").is_dir() or not (BIN / "node").exists():
        what = "The FHIR server of the tests is not installed; 'make fhir-server' installs it."
        pytest.fail(what) if os.environ.get("CI") else pytest.skip(what)
    begun = Story(tmp_path)
    yield begun
    begun.close_terminals()


def test_from_nothing_to_a_signed_report_and_a_card(story: Story) -> None:
    assert len(story.commands) == 10
    story.open_terminal(story.next("PORT=8090 node"), "8090")
    patient = json.loads(story.run(story.next("curl")))
    story.run(story.next("python examples/ehr.py keys"))
    story.run(story.next("oncoresponse users add"))
    story.open_terminal(story.next("oncoresponse serve"), "50051")
    until(lambda: is_listening(int(story.ports["8042"])))
    story.run(story.next("oncoresponse assess"))
    deliveries = story.next("oncoresponse deliveries list")
    until(lambda: re.search(r"\bsent\b", story.run(deliveries)))
    story.run(story.next("oncoresponse sign"))
    final = story.next("curl")
    until(lambda: json.loads(story.run(final)).get("entry"))
    (entry,) = json.loads(story.run(final))["entry"]
    report = entry["resource"]
    assert report["subject"]["reference"] == f"Patient/{patient['id']}"
    assert report["resultsInterpreter"] and "As seen." in report["conclusion"]
    (card,) = json.loads(story.run(story.next("python examples/ehr.py card")))["cards"]
    assert len(card["summary"]) < 140 and card["indicator"] == "info"
    assert not story.commands


def test_the_example_explains_itself() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "ehr.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "ehr.py keys" in done.stderr
