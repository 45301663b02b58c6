"""What a process loads before it serves its first patient: MONAI alone took as long as all the rest."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[3] / "services"
ONLY_FOR_BUNDLES = {"oncoresponse.segmentation.external.monai_bundle"}
"""Loaded when a model folder is a MONAI bundle."""


def serving_modules() -> list[str]:
    """All of ``segmentation`` but its training, and all of ``servers``."""
    files = [
        file for package in ("segmentation", "servers") for file in (SERVICES / "oncoresponse" / package).rglob("*.py")
    ]
    names = {
        ".".join(file.relative_to(SERVICES).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if "training" not in file.parts and file.name != "__main__.py"
    }
    return sorted(names - ONLY_FOR_BUNDLES)


def test_segmentation_is_served_without_monai():
    """Neither by an import at the top of a module nor by what such a module imports in its turn."""
    names = [name for name in serving_modules() if name.split(".")[1] == "segmentation" or name.endswith("_stage")]
    assert {"oncoresponse.segmentation.network", "oncoresponse.servers.segmentation_stage"} <= set(names)
    program = (
        "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint('monai' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["False"], found.stderr


@pytest.mark.parametrize("name", serving_modules())
def test_no_function_of_serving_imports_monai(name):
    """An import inside a function would be paid for by the first patient."""
    path = SERVICES.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [module for module in modules if module.split(".")[0] == "monai"]
