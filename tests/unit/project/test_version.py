"""The version has one place, and everything that shows one takes it from there."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import oncoresponse

ROOT = Path(__file__).parents[3]


def test_version_stands_in_one_place():
    """The installed package is asked too; after a change of the version it is installed again."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "oncoresponse.__version__"}
    assert importlib.metadata.version("oncoresponse") == oncoresponse.__version__
    named = [
        path.name
        for path in (ROOT / "services").rglob("*.py")
        if re.search(rf"[\"']{re.escape(oncoresponse.__version__)}[\"']", path.read_text(encoding="utf-8"))
    ]
    assert named == ["__init__.py"]


def test_version_heads_the_changelog():
    heads = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert heads[0] == oncoresponse.__version__
    assert heads == sorted(heads, key=lambda each: [int(part) for part in each.split(".")], reverse=True)


def test_command_line_says_the_version():
    said = subprocess.run(
        [sys.executable, "-m", "oncoresponse.cli.main", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == oncoresponse.__version__


def test_workflow_engine_is_bound_to_the_minor_release_that_was_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    bounds = next(each for each in project["project"]["dependencies"] if each.startswith("dbos"))
    installed = tuple(int(part) for part in importlib.metadata.version("dbos").split(".")[:2])
    assert bounds == f"dbos>={installed[0]}.{installed[1]},<{installed[0]}.{installed[1] + 1}"
