"""Rules of the repository that a careless change would break silently."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_radiomics_from_the_repository_root_is_pyradiomics():
    """A package marker in the folder radiomics/ would hide the library of that name."""
    assert not (ROOT / "radiomics" / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-c", "import radiomics; print(radiomics.__version__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip().startswith(("3.", "v3."))


def test_modules_stay_short():
    packages = [ROOT / "services" / "oncoresponse", ROOT / "radiomics" / "oncoradiomics"]
    modules = [path for package in packages for path in package.rglob("*.py") if package / "v1" not in path.parents]
    too_long = {path.name: n for path in modules if (n := len(path.read_text(encoding="utf-8").splitlines())) > 500}
    assert not too_long


def test_stages_do_not_import_each_other_nor_grpc_services():
    """Data flows one way; a stage may know the plain documents of an earlier one, nothing more."""
    documents = {"summary", "prediction", "features"}
    stages = {"dicom", "segmentation", "response", "reporting"}
    for stage in stages:
        for module in (ROOT / "services" / "oncoresponse" / stage).rglob("*.py"):
            for line in module.read_text(encoding="utf-8").splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("from", "import") and words[1].startswith("oncoresponse."):
                    parts = words[1].split(".")
                    assert parts[1] not in ("servers", "workflow", "cli", "v1"), (module, line)
                    if parts[1] in stages - {stage}:
                        assert parts[-1] in documents, (module, line)


def test_features_need_neither_grpc_nor_torch():
    code = "import sys, oncoradiomics.features; assert not {'grpc', 'torch', 'oncoresponse'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def published_protos(tmp_path):
    """A checkout without a local branch main, as continuous integration makes it."""
    for name in ("Makefile", "buf.yaml", "protos", "third_party"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    for command in (("init", "-q", "-b", "work"), ("add", "."), (*author, "commit", "-q", "-m", "All of it")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def check_breaking(folder: Path) -> subprocess.CompletedProcess:
    environment = Path(sys.executable).parents[1]
    command = ["make", f"VENV={environment}", "-o", f"{environment}/installed", "breaking"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_protos_that_break_callers_of_the_remote_main_are_noticed(published_protos):
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=published_protos, check=True)
    assert check_breaking(published_protos).returncode == 0
    proto = published_protos / "protos" / "oncoresponse" / "v1" / "segmentation.proto"
    proto.write_text(proto.read_text().replace("double volume_ml = 4;", "double volume = 4;"))
    found = check_breaking(published_protos)
    assert found.returncode != 0
    assert "volume_ml" in found.stdout + found.stderr


def test_check_without_a_main_branch_says_that_it_was_left_out(published_protos):
    assert "not checked" in check_breaking(published_protos).stdout


def test_every_dependency_is_pinned():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--exclude-editable"], capture_output=True, text=True, check=True
    ).stdout
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins.splitlines() if "==" in line}
    unpinned = {
        name
        for line in installed.splitlines()
        if "==" in line and (name := line.split("==")[0].lower().replace("_", "-")) not in pinned
    }
    assert not unpinned
