"""Tiny networks that were trained elsewhere, so to speak, and images for them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.model.folder import ModelFolder, seal_model_folder
from oncoresponse.segmentation.external.declaration import EXTERNAL_NETWORK_FILE
from oncoresponse.segmentation.input_images import InputImages

ROOT = Path(__file__).parents[3]
FRAME = "1.2.826.0.1.3680043.8.498.9"

PREPROCESSING = {
    "reference": "PT",
    "orientation": "LPS",
    "axis_order": "zyx",
    "channels": [
        {"modality": "PT", "outside": 0},
        {
            "modality": "CT",
            "outside": -1000,
            "intensity": [
                {"step": "clip", "low": -160, "high": 240},
                {"step": "rescale", "from_low": -160, "from_high": 240},
            ],
        },
    ],
}


def images_of(pet: Volume, ct: Volume | None = None) -> InputImages:
    """The images of a study of which the PET is contoured."""
    return InputImages({"PT": pet} if ct is None else {"PT": pet, "CT": ct}, "PT")


@pytest.fixture(scope="session")
def declare() -> Callable[..., dict[str, object]]:
    """Factory: a declaration as a hospital would write it, with the hashes of files that lie in a folder."""

    def make(directory: Path, kind: str, *files: str, **more: object) -> dict[str, object]:
        hashes = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in files}
        declared = {"kind": kind, "name": "Test network", "source": "Made in a test", "files": hashes, **more}
        (directory / EXTERNAL_NETWORK_FILE).write_text(json.dumps(declared))
        return declared

    return make


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A sealed model folder without a network yet; ``segmentation`` is there and empty."""
    folder = tmp_path / "sts-petct"
    (folder / "segmentation").mkdir(parents=True)
    shutil.copy(ROOT / "models" / "sts-petct" / "model.yaml", folder)
    return folder


@pytest.fixture
def open_model(model_folder: Path) -> Callable[[], ModelFolder]:
    """Seals the folder as it is and opens it."""
    return lambda: seal_model_folder(model_folder)


@pytest.fixture(scope="session")
def as_volume() -> Callable[..., Volume]:
    """Factory: axes (k, j, i) and a geometry to a volume."""

    def make(array, quantity, spacing, direction=None, origin=(0.0, 0.0, 0.0), frame=FRAME):
        image = sitk.GetImageFromArray(np.asarray(array, dtype=np.float32))
        image.SetSpacing([float(value) for value in spacing])
        image.SetDirection(np.eye(3).ravel().tolist() if direction is None else np.asarray(direction).ravel().tolist())
        image.SetOrigin(origin)
        return Volume(image, quantity, frame, "1.2.3.4")

    return make


@pytest.fixture(scope="session")
def hot_sphere(as_volume) -> Callable[..., tuple[Volume, Volume]]:
    """Factory: PET (each grid) and CT (2 x 2 x 3 mm, LPS) of a hot sphere about an LPS point, both concentric at 0."""

    def make(center=(10.0, -16.0, 6.0), radius=22.0, size=(32, 30, 40), spacing=(4.0, 4.0, 3.0), direction=None):
        matrix = np.eye(3) if direction is None else np.asarray(direction, dtype=float)
        volumes = []
        for count, step, turn, quantity in (
            (size, spacing, matrix, Quantity.SUV_BODY_WEIGHT),
            ((72, 70, 46), (2.0, 2.0, 3.0), np.eye(3), Quantity.HOUNSFIELD),
        ):
            origin = -turn @ ((np.array(count) - 1) / 2 * np.array(step))
            index = np.indices(count).reshape(3, -1)
            points = (turn @ (index * np.array(step)[:, None])).T + origin
            distance = np.linalg.norm(points - np.array(center), axis=1).reshape(count).transpose(2, 1, 0)
            inside = (7.0, 0.5) if quantity is Quantity.SUV_BODY_WEIGHT else (40.0, -60.0)
            array = np.where(distance <= radius, *inside)
            volumes.append(as_volume(array, quantity, step, turn, origin.tolist()))
        return volumes[0], volumes[1]

    return make
