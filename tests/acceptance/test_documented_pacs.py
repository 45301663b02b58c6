"""docs/pacs.md from nothing to results in Orthanc: its files and commands, in their order, with ports that are free."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from oncoresponse.v1 import delivery_pb2

from tests.acceptance.documented import BIN, ROOT
from tests.acceptance.story import Story, until

MODALITIES = {"SEG", "SR", "DOC", "OT", "M3D"}
# Last: pynetdicom brings programs of the same names as dcmtk's.
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}{os.pathsep}{BIN}"}


@pytest.fixture
def story(tmp_path: Path, require_installed: Callable[..., None]) -> Iterator[Story]:
    require_installed("orthanc", "Orthanc")
    require_installed("orthanc-dicomweb", "/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    require_installed("dcmtk", "echoscu", "storescu", "findscu")
    ports = ("11112", "8043", "4242", "50051")
    begun = Story(tmp_path, "pacs.md", "From nothing to results in Orthanc", ports, ENVIRONMENT)
    yield begun
    begun.close_terminals()


def test_from_nothing_to_results_in_orthanc(story: Story) -> None:
    story.open_terminal(story.next("Orthanc"), "4242")
    story.open_terminal(story.next("oncoresponse serve"), "11112")
    assert "sts-petct" in shown(story, story.next("oncoresponse routes test"))
    shown(story, story.next("echoscu"))
    shown(story, story.next("storescu"))

    received = story.next("oncoresponse pacs received")
    until(lambda: "started" in shown(story, received))
    deliveries = story.next("oncoresponse deliveries list")
    until(lambda: re.search(r"\b(sent|dead)\b", shown(story, deliveries)))
    assert "dead" not in shown(story, deliveries)
    found = shown(story, story.next("findscu"))
    (named,) = re.findall(r"\(0008,0061\) CS \[(.*?)\s*\]", found)
    assert set(named.split("\\")) >= MODALITIES
    assert not story.commands
    held_objects_are_of_the_study(story)


def shown(story: Story, command: str) -> str:
    """Both outputs: dcmtk writes what it finds to the second."""
    return "".join(story.run(command))


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
