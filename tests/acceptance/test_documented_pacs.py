"""docs/pacs.md from nothing to results in Orthanc: its files and commands, in their order, with ports that are free."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from oncoresponse.v1 import delivery_pb2

from tests.acceptance.documented import BIN, ROOT
from tests.integration.orthanc_server import free_port

SECTION = "## From nothing to results in Orthanc\n"
MODALITIES = {"SEG", "SR", "DOC", "OT", "M3D"}
SECONDS = 240


def blocks(language: str) -> list[str]:
    """Fenced blocks of the section, in their order."""
    page = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8")
    section = page.split(SECTION)[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


class Story:
    """The folder in which it happens, and what runs in its terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ("11112", "8043", "4242", "50051")}
        self._running: list[subprocess.Popen[str]] = []
        (folder / "examples").symlink_to(ROOT / "examples")
        for text in (*blocks("yaml"), *blocks("json")):
            name = re.search(r"[a-z]+\.(?:yaml|json)", text)
            assert name is not None
            (folder / name[0]).write_text(self.at_free_ports(text))
        self._commands = [line for block in blocks("bash") for line in block.splitlines()]

    def at_free_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def next(self, beginning: str) -> str:
        command = self._commands.pop(0)
        assert command.startswith(beginning)
        return self.at_free_ports(command)

    @property
    def is_over(self) -> bool:
        return not self._commands

    def open_terminal(self, command: str, port: str) -> None:
        """Run a command until the end, and wait until it listens."""
        log = (self.folder / f"{port}.log").open("w")
        self._running.append(
            subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=ENVIRONMENT, stdout=log, stderr=log
            )
        )
        log.close()
        until(lambda: is_listening(int(self.ports[port])))

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def close_terminals(self) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
            process.wait(60)


ENVIRONMENT = {
    **os.environ,
    # Last: pynetdicom brings programs of the same names as dcmtk's.
    "PATH": f"{os.environ['PATH']}{os.pathsep}{BIN}",
    "ONCORESPONSE_MODELS_DIRECTORY": str(ROOT / "models"),
}


def is_listening(port: int) -> bool:
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.5)


@pytest.fixture
def story(tmp_path: Path, require_installed: Callable[..., None]) -> Iterator[Story]:
    require_installed("orthanc", "Orthanc")
    require_installed("orthanc-dicomweb", "/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    require_installed("dcmtk", "echoscu", "storescu", "findscu")
    begun = Story(tmp_path)
    yield begun
    begun.close_terminals()


def test_from_nothing_to_results_in_orthanc(story: Story) -> None:
    story.open_terminal(story.next("Orthanc"), "4242")
    story.open_terminal(story.next("oncoresponse serve"), "11112")
    assert "sts-petct" in story.run(story.next("oncoresponse routes test"))
    story.run(story.next("echoscu"))
    story.run(story.next("storescu"))

    received = story.next("oncoresponse pacs received")
    until(lambda: "started" in story.run(received))
    deliveries = story.next("oncoresponse deliveries list")
    until(lambda: re.search(r"\b(sent|dead)\b", story.run(deliveries)))
    assert "dead" not in story.run(deliveries)
    found = story.run(story.next("findscu"))
    (named,) = re.findall(r"\(0008,0061\) CS \[(.*?)\s*\]", found)
    assert set(named.split("\\")) >= MODALITIES
    assert story.is_over
    held_objects_are_of_the_study(story)


def held_objects_are_of_the_study(story: Story) -> None:
    """Each is in the study that was sent, and refers to instances of it or to another result."""
    source = [pydicom.dcmread(path, stop_before_pixels=True) for path in (ROOT / "examples/STS_032").rglob("*.dcm")]
    own = {str(each.SOPInstanceUID) for each in source} | {str(each.SeriesInstanceUID) for each in source}
    origin = f"http://127.0.0.1:{story.ports['8043']}"
    results = []
    for name in requests.get(f"{origin}/instances", timeout=60).json():
        file = story.folder / "held.dcm"
        file.write_bytes(requests.get(f"{origin}/instances/{name}/file", timeout=60).content)
        results.append(pydicom.dcmread(file))
    assert {str(each.Modality) for each in results} == MODALITIES
    assert {str(each.StudyInstanceUID) for each in results} == {str(source[0].StudyInstanceUID)}
    made = {str(each.SOPInstanceUID) for each in results}
    for each in results:
        referenced = {
            str(element.value)
            for element in each.iterall()
            if element.keyword in ("ReferencedSOPInstanceUID", "SeriesInstanceUID") and element.value
        } - {str(each.SeriesInstanceUID)}
        assert referenced & (own | made), each.Modality


def test_the_other_commands_of_the_page_are_those_of_the_command_line() -> None:
    """Options that a page names exist: the blocks that need an archive of a hospital are not run."""
    page = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.split()
            if words[:1] != ["oncoresponse"]:
                continue
            count = 1 if words[1] in ("serve", "edges", "assess") else 2
            shown = subprocess.run(
                [
                    BIN / "oncoresponse",
                    *words[1 : 1 + count],
                    "--help",
                ],
                capture_output=True,
                text=True,
                env={**ENVIRONMENT, "COLUMNS": "200"},
                timeout=60,
            )
            assert shown.returncode == 0
            for option in (word for word in words if word.startswith("--")):
                assert option in shown.stdout, line


def test_states_of_the_page_are_those_of_the_service() -> None:
    page = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8").split("## Send\n")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE))
    names = delivery_pb2.DeliveryState.DESCRIPTOR.values_by_name
    known = {name.removeprefix("DELIVERY_STATE_").lower() for name in names}
    assert named == known - {"unspecified"}
