"""The folder ``radiomics/`` must not hide the package ``radiomics`` (pyradiomics) from Python run in the repo root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_import_radiomics_is_pyradiomics():
    code = "import radiomics, sys; sys.stdout.write(radiomics.__file__); radiomics.getFeatureClasses"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(answer.stdout).parent.parent.name == "site-packages"


def test_the_folder_is_no_package():
    assert (ROOT / "radiomics").is_dir()
    assert not (ROOT / "radiomics" / "__init__.py").exists()


def test_features_alone_load_no_engine():
    code = (
        "import sys, oncoradiomics.features; "
        "assert not {'radiomics', 'SimpleITK', 'torch', 'grpc', 'oncoresponse'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "radiomics")}, check=True)


def test_the_package_needs_neither_grpc_nor_torch_nor_the_services():
    code = "import sys, oncoradiomics.command_line; assert not {'torch', 'grpc', 'oncoresponse'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "radiomics")}, check=True)
