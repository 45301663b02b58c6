"""Rules of the repository that a careless change would break silently."""

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SERVICES = ROOT / "services"


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
    modules = [path for package in packages for path in package.rglob("*.py") if not path.match("v1/*.py")]
    too_long = {path.name: n for path in modules if (n := len(path.read_text(encoding="utf-8").splitlines())) > 500}
    assert not too_long


STAGES = {"dicom", "segmentation", "response", "reporting", "classification", "comparison"}
TRAINING = {f"{stage}.training" for stage in STAGES}
WIRE = {"grpc", "google", "grpc_health", "grpc_reflection", "grpc_status", "protovalidate", "protos"}
NEVER = [
    # who, whom, also by way of others, why
    (STAGES | TRAINING, STAGES, True, "a stage imports a stage"),
    (STAGES | {"case", "model", "storage"}, WIRE, True, "proto or gRPC in a stage, case, model or storage"),
    ({"edges"}, STAGES | {"storage", "workflow"}, False, "an edge imports a stage, storage or workflow"),
    (
        STAGES | {"case", "model", "storage", "intake", "rpc", "workflow", "servers", "monitoring"},
        TRAINING,
        True,
        "what serves a patient imports training",
    ),
    ({"storage"}, STAGES, True, "storage imports a stage"),
]


@cache
def source_files() -> dict[str, Path]:
    """Modules of the package by dotted name, generated ones left out."""
    found = {}
    for path in (SERVICES / "oncoresponse").rglob("*.py"):
        parts = path.relative_to(SERVICES).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if room_of(name) not in ("protos", "version")}


def room_of(module: str) -> str:
    """The package that a module belongs to, as the picture names it; of a library its top level."""
    top, *below = module.split(".")
    if top != "oncoresponse":
        return top
    if not below:
        return "version"
    if below[0] in ("v1", "stages"):
        return "protos"
    if below[1:2] == ["training"] and (SERVICES / "oncoresponse" / below[0] / "training").is_dir():
        return f"{below[0]}.training"
    return below[0]


@cache
def imports_of(module: str) -> frozenset[str]:
    """What a module imports, inside of functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source_files()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in source_files() else str(node.module) for name in names}
    return frozenset(found)


def reached_from(module: str) -> dict[str, str]:
    """Everything that comes with the import of a module, each with who imports it."""
    reached, waiting = {module: module}, [module]
    while waiting:
        current = waiting.pop()
        for found in imports_of(current):
            if found not in reached:
                reached[found] = current
                if found in source_files():
                    waiting.append(found)
    return reached


@cache
def arrows() -> frozenset[tuple[str, str]]:
    """Which package imports which, the libraries left out but for our own."""
    found = {(room_of(module), room_of(other)) for module in source_files() for other in imports_of(module)}
    rooms = {room_of(module) for module in source_files()} | {"protos", "oncoradiomics"}
    return frozenset((a, b) for a, b in found if a != b and b in rooms)


@pytest.mark.parametrize(("who", "whom", "by_way_of_others", "why"), NEVER, ids=[never[3] for never in NEVER])
def test_never(who, whom, by_way_of_others, why):
    for module in source_files():
        room = room_of(module)
        if room not in who:
            continue
        stage = room.removesuffix(".training")
        reached = reached_from(module) if by_way_of_others else dict.fromkeys(imports_of(module), module)
        broken = {f"{by} imports {found}" for found, by in reached.items() if room_of(found) in whom - {room, stage}}
        assert not broken, f"{module}: {why}"


def test_case_imports_errors_alone():
    assert {other for room, other in arrows() if room == "case"} == {"errors"}


def test_packages_import_one_another_in_no_circle():
    below = {room: {b for a, b in arrows() if a == room} for room, _ in arrows()}
    TopologicalSorter(below).prepare()


def test_workflow_knows_no_modality_no_suv_and_no_number_of_lesions():
    for path in (SERVICES / "oncoresponse" / "workflow").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"\b(?:PT|CT|MR|PET|MRI|SUV)\b|(?i:suv_)", text), path
        for node in ast.walk(ast.parse(text)):
            counted = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len"
            taken = isinstance(node, ast.Subscript)
            if counted or taken:
                assert "lesions" not in ast.unparse(node), (path, node.lineno)


def test_picture_of_the_architecture_is_what_the_imports_say():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = text.split("```mermaid\n")[1].split("```")[0]
    drawn = {
        (room, below)
        for room, all_below in re.findall(r"^ *([\w.]+) --> (.+)$", picture, re.MULTILINE)
        for below in all_below.split(" & ")
    }
    # Everybody imports errors, and all but errors the case (what speaks to others need not, nor what
    # moves whole files); arrows to them would hide the others.
    ground = {"case", "errors"}
    rooms = {room_of(module) for module in source_files()}
    need_not = {("backup", "case"), ("edges", "case"), ("http_client", "case")}
    assert {(room, below) for room in rooms - ground for below in ground} - need_not <= arrows()
    assert drawn == {(room, below) for room, below in arrows() if below not in ground}


def test_definition_of_a_model_is_read_without_image_library_network_or_server():
    code = """
import sys, oncoresponse.model.folder
assert not {"SimpleITK", "torch", "grpc", "dbos"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


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
    proto = published_protos / "protos" / "oncoresponse" / "v1" / "lesion.proto"
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
