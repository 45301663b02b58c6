"""docs/deployment.md from nothing to three processes with PACS and EHR: its files and commands, in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.acceptance.documented import BIN, ROOT
from tests.acceptance.story import Story, is_listening, until
from tests.integration.medplum_server import running_fhir_server
from tests.integration.orthanc_server import running_orthanc

PORTS = ("50051", "50061", "50062", "50151", "8042", "8043", "8090", "11112")
LOGIN = {"RegisteredUsers": {"radiology": "change-me"}}
ANY_LISTED = re.compile(r"\b(waiting|sending|held|dead)\b")


@pytest.fixture
def story(
    tmp_path: Path, postgresql: Any, postgresql_programs: Path, require_installed: Callable[..., None]
) -> Iterator[Story]:
    require_installed("dcmtk", "storescu")
    require_installed("curl", "curl")
    require_installed("openssl", "openssl")
    host = str(postgresql.get_uri()).split("host=")[1].split("&")[0]
    path = (only(tmp_path / "bin", "oncoresponse"), postgresql_programs, os.environ["PATH"])
    environment = {
        **os.environ,
        # dcmtk's programs come before those of pynetdicom, which have the same names.
        "PATH": os.pathsep.join(map(str, path)),
        "PGHOST": host,
        "PGUSER": "postgres",
    }
    folder = tmp_path / "story"
    folder.mkdir()
    links = ("examples", "deploy")
    begun = Story(folder, "deployment.md", "From nothing to three processes", PORTS, environment, links)
    yield begun
    begun.close_terminals()


def only(folder: Path, name: str) -> Path:
    """A folder with this program of the environment alone."""
    folder.mkdir()
    (folder / name).symlink_to(BIN / name)
    return folder


def test_from_nothing_to_three_processes(story: Story, tmp_path: Path, require_installed: Callable[..., None]) -> None:
    orthanc_folder = tmp_path / "orthanc"
    orthanc_folder.mkdir()
    with (
        running_orthanc(orthanc_folder, require_installed, int(story.ports["8043"]), LOGIN),
        running_fhir_server(int(story.ports["8090"])) as chart,
    ):
        while not story.commands[0].startswith("deploy/run"):
            story.run(story.at_free_ports(story.commands.pop(0)))
        story.open_terminal(story.next("deploy/run etc/environment segmentation"), "50061")
        story.open_terminal(story.next("deploy/run etc/environment radiomics"), "50062")
        story.open_terminal(story.next("deploy/run etc/environment front"), "50051")
        until(lambda: is_listening(int(story.ports["11112"])))
        checked, _ = story.run(story.next("deploy/run etc/environment front doctor --deep"))
        assert "WRONG" not in checked
        for subject in ("database: PostgreSQL", "dicomweb_servers.orthanc: answers", "destinations.chart: answers"):
            assert subject in checked
        for _ in range(3):
            story.run(story.next("oncoresponse models"))
        story.run(story.next("storescu"))
        deliveries = story.next("oncoresponse deliveries list")
        until(lambda: len(re.findall(r"\bsent\b", story.run(deliveries)[0])) == 2)
        assert not ANY_LISTED.search(story.run(deliveries)[0])
        metrics, _ = story.run(story.next("curl"))
        for command in ("oncoresponse backup-key", "deploy/run etc/environment front backup", "oncoresponse restore"):
            story.run(story.next(command))
        assert not story.commands
        assert len(re.findall(r"^oncoresponse_up\{.*\} 1\.0$", metrics, re.MULTILINE)) == 3
        for name in ("oncoresponse_assessments{", 'oncoresponse_deliveries{destination="chart",state="sent"} 1.0'):
            assert name in metrics
        reports = requests.get(f"{chart}/DiagnosticReport", timeout=30).json()
        assert reports["entry"]
        series = requests.get(
            f"http://127.0.0.1:{story.ports['8043']}/series?expand", auth=("radiology", "change-me"), timeout=30
        ).json()
        modalities = {each["MainDicomTags"]["Modality"] for each in series}
        assert {"SEG", "SR", "DOC"} <= modalities


def test_run_explains_itself(tmp_path: Path) -> None:
    done = subprocess.run([ROOT / "deploy" / "run"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "deploy/run FOLDER NAME" in done.stderr


def test_run_gives_values_as_they_stand(tmp_path: Path) -> None:
    """As systemd and compose read them: no shell looks at quotes, blanks and braces."""
    (tmp_path / "common.env").write_text('# A remark\n\nONE={"a": "b c"}\nTWO=x=y $HOME\n')
    (tmp_path / "front.env").write_text("TWO=z\nTHREE='q'")
    program = tmp_path / "oncoresponse"
    program.write_text('#!/bin/sh\nprintf "%s|%s|%s|%s" "$ONE" "$TWO" "$THREE" "$*"\n')
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "deploy" / "run", tmp_path, "front"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == '{"a": "b c"}|z|\'q\'|serve'
    assert shutil.which("sh")
