"""The Python names that the documentation and the examples give to users. One that goes is named in the changelog."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from oncoresponse.rpc.peers import SERVICE_NAMES
from oncoresponse.stages.v1 import stage_pb2

ROOT = Path(__file__).parents[3]
PACKAGES = ("oncoresponse", "oncoradiomics")

# The one list: module -> name -> arguments that callers may give by name; None for what is no function.
NAMES: dict[str, dict[str, tuple[str, ...] | None]] = {
    "oncoradiomics.extraction": {
        "extract": ("image", "mask", "settings", "engine", "threads"),
        "describe_lesion": ("image", "mask", "settings", "quantity", "engine", "threads"),
    },
    "oncoradiomics.extraction_processes": {"ExtractionProcesses": None},
    "oncoradiomics.lesion_measures": {"measure_lesion": ("image", "mask", "quantity")},
    "oncoradiomics.robustness": {"robust_features": ("path", "minimum_icc")},
    "oncoradiomics.settings": {"Settings": None},
    "oncoresponse": {"__version__": None},
    "oncoresponse.dicom.study": {
        "read_study": ("source", "limits"),
        "convert_study": ("study", "inputs"),
        "select_series": ("study", "inputs"),
        "read_contour": ("study", "request", "grid"),
        "contours_of": ("study", "request", "grid"),
    },
    "oncoresponse.errors": {"OncoResponseError": None},
    "oncoresponse.rpc.client": {"Client": None, "Order": None},
    "oncoresponse.v1": dict.fromkeys(("assessment_pb2", "assessment_pb2_grpc", "study_pb2", "study_pb2_grpc")),
}


def imported(source: str) -> set[tuple[str, str]]:
    """(module, name) of every import from our packages."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            found |= {(node.module, each.name) for each in node.names}
        elif isinstance(node, ast.Import):
            found |= {(each.name, "") for each in node.names if each.name.split(".")[0] in PACKAGES}
    return found


def resolved(dotted: str) -> object:
    """A module, or an attribute of one."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name)


def pages() -> list[Path]:
    return [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]


def test_every_name_of_the_list_is_there_with_its_arguments():
    for module, names in NAMES.items():
        for name, arguments in names.items():
            found = resolved(f"{module}.{name}")
            if arguments is not None:
                assert set(arguments) <= set(inspect.signature(found).parameters), f"{module}.{name}"


def test_every_import_of_the_documentation_and_the_examples_is_in_the_list():
    blocks = [
        block
        for page in pages()
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    ]
    sources = [*blocks, *(path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py"))]
    found = set().union(*map(imported, sources))
    assert ("oncoradiomics.extraction", "extract") in found, "the documentation is read"
    assert found <= {(module, name) for module, names in NAMES.items() for name in names}


def test_every_dotted_name_of_the_documentation_is_there():
    found = set()
    for page in pages():
        found |= set(re.findall(rf"`((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+)", page.read_text(encoding="utf-8")))
    assert "oncoresponse.dicom.study.read_study" in found, "the documentation is read"
    services = {dotted for dotted in found if re.match(r"oncoresponse\.(?:stages\.)?v1\.\w+Service", dotted)}
    for dotted in sorted(found - services):
        assert resolved(dotted) is not None
    # Names of the protocol: of services, and of what answers for them in the health protocol.
    of_stages = {each.full_name for each in stage_pb2.DESCRIPTOR.services_by_name.values()}
    assert services <= {*SERVICE_NAMES.values(), *of_stages}


def test_the_example_of_the_radiomics_page_runs_as_it_stands(tmp_path):
    """On a file of its own, in a process that has loaded nothing else."""
    page = (ROOT / "docs" / "radiomics.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]
    distance = sum(axis**2 for axis in np.ogrid[-10:10, -10:10, -10:10])
    sitk.WriteImage(sitk.GetImageFromArray(8.0 - distance / 50), str(tmp_path / "PET.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray((distance < 40).astype(np.uint8)), str(tmp_path / "PET_tumor.nii.gz"))
    (tmp_path / "models").symlink_to(ROOT / "models")
    printed = subprocess.run(
        [sys.executable, "-c", example + "print(len(features))"], cwd=tmp_path, check=True, capture_output=True
    ).stdout
    assert int(printed) > 1000
