"""docs/integrate.md from nothing to a signed report and a card: its file and commands, in their order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.documented import BIN, ROOT
from tests.acceptance.story import Story, until

SECTION = "From nothing to a signed report and a card"
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def story(tmp_path: Path, require_installed: Callable[..., None]) -> Iterator[Story]:
    require_installed("curl", "curl")
    if not (ROOT / "tests" / "fhir_server" / "node_modules").is_dir() or not (BIN / "node").exists():
        what = "The FHIR server of the tests is not installed; 'make fhir-server' installs it."
        pytest.fail(what) if os.environ.get("CI") else pytest.skip(what)
    ports = ("8090", "8042", "50051")
    begun = Story(tmp_path, "integrate.md", SECTION, ports, ENVIRONMENT, links=("examples", "tests"))
    yield begun
    begun.close_terminals()


def test_from_nothing_to_a_signed_report_and_a_card(story: Story) -> None:
    assert len(story.commands) == 10
    story.open_terminal(story.next("PORT=8090 node"), "8090")
    patient = json.loads(story.run(story.next("curl"))[0])
    story.run(story.next("python examples/ehr.py keys"))
    story.run(story.next("oncoresponse users add"))
    story.open_terminal(story.next("oncoresponse serve"), "50051", "8042")
    story.run(story.next("oncoresponse assess"))
    deliveries = story.next("oncoresponse deliveries list")
    until(lambda: re.search(r"\bsent\b", story.run(deliveries)[0]))
    story.run(story.next("oncoresponse sign"))
    final = story.next("curl")
    until(lambda: json.loads(story.run(final)[0]).get("entry"))
    (entry,) = json.loads(story.run(final)[0])["entry"]
    report = entry["resource"]
    assert report["subject"]["reference"] == f"Patient/{patient['id']}"
    assert report["resultsInterpreter"] and "As seen." in report["conclusion"]
    (card,) = json.loads(story.run(story.next("python examples/ehr.py card"))[0])["cards"]
    assert len(card["summary"]) < 140 and card["indicator"] == "info"
    assert not story.commands


def test_the_example_explains_itself() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "ehr.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "ehr.py keys" in done.stderr
