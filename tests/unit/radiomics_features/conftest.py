from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoradiomics.settings import Settings

OBLIQUE = (0.9396926, -0.3420201, 0.0, 0.3213938, 0.8830222, -0.3420201, 0.1169778, 0.3213938, 0.9396926)


@pytest.fixture
def make_image() -> Callable[..., sitk.Image]:
    """An image on a grid that is anisotropic, oblique and away from the origin unless told otherwise."""

    def make(
        array: np.ndarray,
        spacing: tuple[float, float, float] = (4.07, 4.07, 3.0),
        direction: tuple[float, ...] = OBLIQUE,
        origin: tuple[float, float, float] = (-210.5, 33.25, 871.0),
    ) -> sitk.Image:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        image.SetDirection(direction)
        image.SetOrigin(origin)
        return image

    return make


@pytest.fixture
def lesion(make_image: Callable[..., sitk.Image]) -> tuple[sitk.Image, sitk.Image]:
    """A small hot, uneven lesion (SUV) and its mask, both on one oblique anisotropic grid."""
    random = np.random.default_rng(7)
    k, j, i = np.meshgrid(*(np.arange(size) for size in (16, 18, 20)), indexing="ij")
    distance = ((k - 8) / 4.5) ** 2 + ((j - 9) / 4.0) ** 2 + ((i - 10) / 5.5) ** 2
    uptake = 0.6 + 7.0 * np.exp(-distance) + random.gamma(2.0, 0.3, distance.shape)
    return make_image(uptake.astype(np.float32)), make_image((distance < 1).astype(np.uint8))


@pytest.fixture
def plain_settings() -> Settings:
    """Original image, all features, bins of 0.5 g/mL."""
    return Settings.from_mapping({"setting": {"binWidth": 0.5}})


@pytest.fixture
def lesion_files(lesion: tuple[sitk.Image, sitk.Image], tmp_path: Path) -> tuple[Path, Path]:
    image_path, mask_path = tmp_path / "image.nrrd", tmp_path / "mask.nrrd"
    sitk.WriteImage(lesion[0], str(image_path))
    sitk.WriteImage(lesion[1], str(mask_path))
    return image_path, mask_path
