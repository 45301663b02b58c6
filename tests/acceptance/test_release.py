"""What a release holds and that it works away from the repository; docs/release.md says how it is made and installed.

No test asks an index: what does (wheels of libraries, the lock, what is outdated) is given a folder, or is checked by
what it left in the repository.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from oncoresponse.model.folder import ModelFolder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.acceptance.documented import ROOT, commands_of
from tools import outdated_pins, release
from tools.checkout import tracked_files, version_here
from tools.pins import LOCK, locked, pinned
from tools.sbom import bill_of_materials
from tools.source_wheels import REMOVED_NAMES

VERSION = version_here()
WHEEL = f"oncoresponse-{VERSION}-py3-none-any.whl"
MODELS = f"oncoresponse-models-{VERSION}.tar"
BILL = f"oncoresponse-{VERSION}.cdx.json"
# Untagged blocks of the page. What asks PyPI stands there as sh, and was run by hand.
DOCUMENTED = ("make wheel", "make sbom", "make release PYTHONS=")


def make(documented: str, folder: Path) -> str:
    """Run a target with the environment of this test, as it is installed, and into a folder of the test."""
    environment = Path(sys.executable).parents[1]
    options = (f"VENV={environment}", "-o", f"{environment}/installed", f"DIST={folder}", "RELEASE_ARGS=--uncommitted")
    done = subprocess.run(
        [*documented.split(), *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    release.make_release(folder, ())
    return folder


def test_every_command_of_the_page_has_its_run() -> None:
    assert set(commands_of(ROOT / "docs" / "release.md")) == set(DOCUMENTED)


def test_wheel_alone(released: Path, tmp_path: Path) -> None:
    assert WHEEL in make(DOCUMENTED[0], tmp_path)
    assert (tmp_path / WHEEL).read_bytes() == (released / WHEEL).read_bytes()


def test_bill_of_materials_alone(released: Path, tmp_path: Path) -> None:
    make(DOCUMENTED[1], tmp_path)
    assert (tmp_path / "oncoresponse.cdx.json").read_bytes() == (released / BILL).read_bytes()


def test_a_release_made_again_has_the_same_bytes(released: Path, tmp_path: Path) -> None:
    assert (released / "SHA256SUMS").read_text() in make(DOCUMENTED[2], tmp_path)


def test_checksums_name_every_file(released: Path) -> None:
    names = {line.split("  ")[1] for line in (released / "SHA256SUMS").read_text().splitlines()}
    assert names == {file.name for file in released.iterdir()} - {"SHA256SUMS"}
    assert {WHEEL, MODELS, BILL, "requirements.lock", "constraints.txt", "NOTICE", "LICENSE"} <= names
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=released, check=True)


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(released: Path) -> None:
    with zipfile.ZipFile(released / WHEEL) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = wheel.read(f"oncoresponse-{VERSION}.dist-info/METADATA").decode()
        licences = {name.rpartition("/")[2] for name in wheel.namelist() if "/licenses/" in name}
        commands = wheel.read(f"oncoresponse-{VERSION}.dist-info/entry_points.txt").decode()
    assert names == {str(Path(*file.parts[1:])) for file in tracked_files("services", "radiomics")}
    assert f"\nVersion: {VERSION}\n" in metadata
    assert licences == {"LICENSE", "NOTICE"}
    assert "oncoresponse = oncoresponse.cli.main:run" in commands


def test_the_models_travel_whole_with_licence_and_attribution(released: Path, tmp_path: Path) -> None:
    with tarfile.open(released / MODELS) as archive:
        assert {entry.mode for entry in archive} == {0o644}
        archive.extractall(tmp_path, filter="data")
    for file in tracked_files("models"):
        assert (tmp_path / file).read_bytes() == (ROOT / file).read_bytes()
    for name in ("LICENSE", "NOTICE"):
        assert (tmp_path / "models" / name).read_bytes() == (ROOT / name).read_bytes()


def test_wheel_and_models_work_without_the_repository(released: Path, tmp_path: Path) -> None:
    """Installed by its digest, as the page says; the libraries are those of this environment."""
    own = (released / "requirements.lock").read_text().split("\n")[1:3]
    (tmp_path / "own.lock").write_text("\n".join(own))
    place = tmp_path / "place"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
    options = ("--require-hashes", "--find-links", released, "--target", place, "-r", tmp_path / "own.lock")
    subprocess.run([*pip, *options], check=True)
    with tarfile.open(released / MODELS) as archive:
        archive.extractall(tmp_path, filter="data")
    environment = os.environ | {"PYTHONPATH": str(place)}

    def said(*words: str) -> str:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    where = said("-c", "import oncoresponse, oncoradiomics; print(oncoresponse.__file__, oncoradiomics.__file__)")
    assert all(file.startswith(str(place)) for file in where.split())
    assert said("-m", "oncoresponse.cli.main", "--version").strip() == VERSION
    shown = said("-m", "oncoresponse.cli.main", "models", "show", "sts-petct", "--models-dir", "models")
    assert "Not for clinical decisions" in " ".join(shown.split())


def test_pip_refuses_a_wheel_that_was_changed(released: Path, tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes((released / WHEEL).read_bytes() + b"\0")
    (tmp_path / "own.lock").write_text("\n".join((released / "requirements.lock").read_text().split("\n")[1:3]))
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--require-hashes", "--target"]
    command += [str(tmp_path / "place"), "--find-links", str(tmp_path), "-r", str(tmp_path / "own.lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_a_release_is_made_of_what_is_committed(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(release, "changed_files", lambda: " M pyproject.toml\n")
    assert release.main([str(tmp_path / "dist")]) == 1
    assert "M pyproject.toml" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_bill_of_materials_is_valid_and_whole(released: Path) -> None:
    text = (released / BILL).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    kinds: dict[str, dict[str, dict]] = {}
    for component in document["components"]:
        kinds.setdefault(component["type"], {})[component["name"]] = component
    assert {name: each["version"] for name, each in kinds["library"].items()} == {
        name: each.version for name, each in locked().items()
    }
    assert kinds["library"]["numpy"]["licenses"]
    models = {folder.name: ModelFolder.open(folder) for folder in (ROOT / "models").iterdir()}
    told = kinds["machine-learning-model"]
    assert {name: (each["version"], each["properties"][0]["value"]) for name, each in told.items()} == {
        name: (model.definition.version, model.sha256) for name, model in models.items()
    }
    needed = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    top = document["metadata"]["component"]["bom-ref"]
    assert f"pkg:pypi/torch@{pinned()['torch']}" in needed[top]
    reached, waiting = set(), [top]
    while waiting:
        if (current := waiting.pop()) not in reached:
            reached.add(current)
            waiting += needed[current]
    assert reached == {top, *(each["bom-ref"] for each in document["components"])}


def test_a_component_without_version_is_found_by_the_schema(released: Path) -> None:
    worse = json.loads((released / BILL).read_text())
    worse["components"][0]["type"] = "librarian"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(worse)) is not None


def test_bill_of_materials_changes_with_the_time_alone(released: Path) -> None:
    first, second = bill_of_materials(VERSION, 10**9), bill_of_materials(VERSION, 2 * 10**9)
    assert first["serialNumber"] != second["serialNumber"]
    assert second["metadata"].pop("timestamp") == "2033-05-18T03:33:20+00:00"
    first["metadata"].pop("timestamp")
    del first["serialNumber"], second["serialNumber"]
    assert first == second


def test_lock_and_constraints_agree() -> None:
    pins = pinned()
    assert {name: each.version for name, each in locked().items()} == {name: pins[name] for name in locked()}
    assert all(each.digests for each in locked().values())
    # Neither says where packages come from.
    for file in (LOCK, ROOT / "constraints.txt"):
        assert not re.findall(r"://|^ *--(?!hash)|^-", file.read_text(), re.MULTILINE)


def test_lock_holds_what_runs_and_not_what_develops() -> None:
    """What the installed packages say they need, from ours on, with the CPU's flavour."""
    if importlib.util.find_spec("xgboost") and not list(importlib.metadata.distributions(name="xgboost-cpu")):
        pytest.skip("Installed with FLAVOR=cuda.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    reached: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        extras = ("", *requirement.extras)
        name = canonicalize_name(requirement.name)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", "cpu")):
            continue
        more = importlib.metadata.requires(name) or ()
        kept = [each for each in more if wanted(each, extras)]
        waiting += [each.split(";")[0] for each in kept] if name not in reached or requirement.extras else []
        reached.add(name)
    cuda = {name for name in locked() if name.startswith(release.CUDA)} - {"torch"}
    assert reached - cuda == locked().keys() - cuda


def wanted(line: str, extras: tuple[str, ...]) -> bool:
    marker = Requirement(line).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def test_release_locks_name_its_own_wheel(released: Path) -> None:
    everything, without = (locked(released / name) for name in ("requirements.lock", "requirements-without-torch.lock"))
    assert everything.keys() == {"oncoresponse", *locked()}
    assert set(everything) - set(without) == {name for name in locked() if name.startswith(release.CUDA)}
    assert "torch" not in without
    assert set(locked()["numpy"].digests) == set(everything["numpy"].digests)


def test_names_that_python_removed_are_given_to_the_build() -> None:
    """Python 3.11 still has them, so they are taken away first."""
    code = """
import configparser, importlib, io, sitecustomize
vars(configparser).pop("SafeConfigParser", None)
importlib.reload(sitecustomize)
parser = configparser.SafeConfigParser()
parser.readfp(io.StringIO("[versioneer]\\nVCS = git"))
assert parser.get("versioneer", "VCS") == "git"
"""
    environment = os.environ | {"PYTHONPATH": str(REMOVED_NAMES)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.fixture
def index(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """A folder as a package index, pins and ranges for it; gives the options of the command."""

    def write(pins: str, **releases: list[str]) -> tuple[str, ...]:
        for name, versions in releases.items():
            folder = tmp_path / "simple" / name
            folder.mkdir(parents=True)
            files = (f"{name.replace('-', '_')}-{version}-py3-none-any.whl" for version in versions)
            links = "".join(f'<a href="{file}">{file}</a>' for file in files)
            (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
        (tmp_path / "constraints.txt").write_text(pins)
        (tmp_path / "pyproject.toml").write_text(
            '[project]\ndependencies = ["alpha>=1"]\n[project.optional-dependencies]\ndev = ["beta>=1,<2"]\n'
        )
        files = ("--constraints", str(tmp_path / "constraints.txt"), "--project", str(tmp_path / "pyproject.toml"))
        return (*files, "--index", (tmp_path / "simple").as_uri())

    return write


def test_outdated_pins_are_listed_with_what_the_project_allows(index, capsys) -> None:
    pins = "# Tested with.\nalpha==1.0\nBeta==1.0\ngamma_x==3.0\ndelta==1.0\n"
    releases = {"alpha": ["1.0", "1.10"], "beta": ["1.0", "2.0"], "gamma-x": ["3.0", "3.1"], "delta": ["1.0", "2.0rc1"]}
    assert outdated_pins.main(index(pins, **releases)) == 1
    lines = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        ["alpha", "1.0", "1.10", "yes"],
        ["beta", "1.0", "2.0", "no: <2,>=1"],
        ["gamma-x", "3.0", "3.1", "not named"],
        ["3 of 4 pins are outdated."],
    ]


def test_nothing_outdated_is_success(index, capsys) -> None:
    assert outdated_pins.main(index("alpha==1.10\n", alpha=["1.0", "1.10"])) == 0
    assert capsys.readouterr().out == "0 of 1 pins are outdated.\n"


def test_an_index_that_does_not_answer_is_neither(index, capsys, monkeypatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    options = index("alpha==1.0\nnobody==1.0\n", alpha=["1.0"])
    assert outdated_pins.main(options) == 2
    assert "nobody" in capsys.readouterr().err
    assert outdated_pins.main([*options[:-1], "http://127.0.0.1:9/simple"]) == 2
    said = capsys.readouterr()
    assert "gave no answer, so nothing is known" in said.err
    assert said.out == ""
