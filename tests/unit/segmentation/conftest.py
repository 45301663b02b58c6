"""Synthetic PET/CT with a sphere at a known LPS position, and a network small enough for a unit test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.model.definition import LesionLimits
from oncoresponse.segmentation.inference import Segmenter
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.network import (
    FieldOfView,
    InferenceSettings,
    MaskSettings,
    MaskSettingsByPrompt,
    NetworkDescription,
    NetworkSettings,
    TrainingRecord,
    VolumeIntervalCalibration,
    WeightsFile,
)
from oncoresponse.segmentation.preprocessing import PreprocessingSettings

FRAME = "1.2.826.0.1.3680043.8.498.7"


def images_of(pet: Volume, ct: Volume | None = None) -> InputImages:
    """The images of a study of which the PET is contoured."""
    return InputImages({"PT": pet} if ct is None else {"PT": pet, "CT": ct}, "PT")


@pytest.fixture(scope="session")
def grid_image() -> Callable[..., sitk.Image]:
    """Factory: a float32 image whose center lies at a given LPS position, with any direction."""

    def make(size, spacing, direction=None, center=(0.0, 0.0, 0.0)):
        image = sitk.Image(list(size), sitk.sitkFloat32)
        image.SetSpacing(spacing)
        matrix = np.eye(3) if direction is None else np.asarray(direction)
        image.SetDirection(matrix.ravel().tolist())
        image.SetOrigin((np.array(center) - matrix @ ((np.array(size) - 1) / 2 * np.array(spacing))).tolist())
        return image

    return make


@pytest.fixture(scope="session")
def draw_sphere() -> Callable[..., sitk.Image]:
    """Factory: ``inside`` within ``radius`` mm of an LPS point, ``outside`` elsewhere, on the grid of an image."""

    def draw(image, center, radius, inside, outside):
        index = np.indices(image.GetSize()).reshape(3, -1).T
        matrix = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
        points = index @ matrix.T + np.array(image.GetOrigin())
        near = np.linalg.norm(points - np.array(center), axis=1) <= radius
        values = np.where(near, inside, outside).astype(np.float32).reshape(image.GetSize()).transpose(2, 1, 0)
        drawn = sitk.GetImageFromArray(values)
        drawn.CopyInformation(image)
        return drawn

    return draw


@pytest.fixture(scope="session")
def volume() -> Callable[..., Volume]:
    """Factory: an image with a quantity and a frame of reference."""

    def make(image, quantity, frame=FRAME):
        return Volume(image, quantity, frame, "1.2.3.4")

    return make


class _UptakeNetwork(torch.nn.Module):
    """Stands in for a trained network where only geometry matters: tumor where SUV exceeds 3 g/mL."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 8.0 * (inputs[:, :1] - float(np.log1p(3.0)))


@pytest.fixture
def description() -> NetworkDescription:
    """Description of a network for grids of 4 mm and fields of view up to 300 mm."""
    calibrated = MaskSettings(
        review_below_confidence=0.5,
        volume_interval=VolumeIntervalCalibration(level=0.8, factor=0.5, patient_count=2),
    )
    return NetworkDescription(
        network=NetworkSettings(blocks_down=(1, 1), deep_supervision_levels=1),
        preprocessing=PreprocessingSettings(),
        inference=InferenceSettings(),
        patch_size=16,
        field_of_view=FieldOfView(smallest_mm=(100, 100, 100), largest_mm=(250, 250, 250), limit_mm=(300, 300, 300)),
        weights=(WeightsFile(file="fold_0.safetensors", sha256="0" * 64),),
        training=TrainingRecord(
            settings_sha256="0" * 64,
            cohort_sha256="0" * 64,
            seed=1,
            patient_count=2,
            held_out_patients=(),
            versions={},
        ),
        masks=MaskSettingsByPrompt(none=calibrated, point=calibrated, box=calibrated),
    )


@pytest.fixture
def uptake_segmenter(description: NetworkDescription) -> Segmenter:
    """A segmenter whose network is a soft threshold on the PET, so that positions can be predicted."""
    limits = LesionLimits(minimum_volume_ml=1.0, maximum_volume_ml=3000.0)
    return Segmenter(description, [_UptakeNetwork(), _UptakeNetwork()], limits, "0" * 64, torch.device("cpu"))


@pytest.fixture(scope="session")
def write_cohort(grid_image, draw_sphere) -> Callable[[Path, int], Path]:
    """Factory: a cohort folder of NIfTI files with one hot sphere a patient."""

    def write(folder: Path, patients: int) -> Path:
        for number in range(patients):
            center = (4.0 * number, -6.0, 3.0)
            pet = grid_image((16, 15, 18), (5.0, 5.0, 4.0))
            ct = grid_image((60, 58, 30), (1.25, 1.25, 2.5))
            directory = folder / f"PATIENT_{number:02d}"
            directory.mkdir(parents=True)
            tumor = draw_sphere(pet, center, 14 + number, 1, 0)
            sitk.WriteImage(draw_sphere(pet, center, 14 + number, 6.0, 0.5), str(directory / "PET.nii.gz"))
            sitk.WriteImage(
                sitk.Cast(draw_sphere(ct, (0, 0, 0), 34, 40, -900), sitk.sitkInt16), str(directory / "CT.nii.gz")
            )
            sitk.WriteImage(sitk.Cast(tumor, sitk.sitkUInt8), str(directory / "PET_tumor.nii.gz"))
        return folder

    return write


@pytest.fixture(scope="session")
def pet_and_ct(grid_image, draw_sphere, volume) -> Callable[..., tuple[Volume, Volume]]:
    """Factory: a hot sphere in PET and soft tissue in CT, each on its own grid."""

    def make(center=(12.0, -20.0, 8.0), radius=25.0, pet_grid=None, ct_grid=None, uptake=8.0):
        pet = pet_grid or grid_image((34, 32, 44), (4.7, 4.7, 3.27))
        ct = ct_grid or grid_image((110, 110, 75), (2.0, 2.0, 3.0))
        return (
            volume(draw_sphere(pet, center, radius, uptake, 0.4), Quantity.SUV_BODY_WEIGHT),
            volume(draw_sphere(ct, (0, 0, 0), 70, 50, -950), Quantity.HOUNSFIELD),
        )

    return make
