"""Random training patches. The same random state gives the same patch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import RandGaussianNoised, RandGaussianSmoothd, RandScaleIntensityd
from monai.transforms.spatial.dictionary import RandAffined, RandFlipd, RandSimulateLowResolutiond

from oncoresponse.segmentation.cohort import TrainingPatient
from oncoresponse.segmentation.training_settings import AugmentationSettings

_SMALLEST_FIELD_VOXELS = 16


class PatchSampler:
    """Cuts patches out of patients and varies them.

    Args:
        patch_size: Voxels along each axis of a patch.
        spacing_mm: Of the common grid.
        settings: What is varied, and how far.
    """

    def __init__(self, patch_size: int, spacing_mm: float, settings: AugmentationSettings) -> None:
        self._patch_size = patch_size
        self._settings = settings
        self._trim_voxels = int(settings.trim_largest_mm / spacing_mm)
        # A third more than the patch on each axis, so that rotated patches rarely reach beyond it.
        self._region_size = patch_size + patch_size // 3
        angle = float(np.deg2rad(settings.rotation_degrees))
        both = ["image", "tumor"]
        self._transform = Compose(
            [
                RandAffined(
                    both,
                    prob=settings.affine_probability,
                    rotate_range=[angle] * 3,
                    scale_range=[settings.scale] * 3,
                    spatial_size=[patch_size] * 3,
                    mode=["bilinear", "nearest"],
                    padding_mode="zeros",
                ),
                *(RandFlipd(both, prob=settings.flip_probability, spatial_axis=axis) for axis in range(3)),
                RandScaleIntensityd(
                    "image", factors=settings.intensity_scale, prob=settings.intensity_probability, channel_wise=True
                ),
                RandGaussianSmoothd("image", (0.3, 0.8), (0.3, 0.8), (0.3, 0.8), prob=settings.smooth_probability),
                RandSimulateLowResolutiond("image", prob=settings.low_resolution_probability, zoom_range=(0.6, 1.0)),
                RandGaussianNoised("image", prob=settings.noise_probability, std=settings.noise_sigma),
            ]
        )

    def sample(self, patient: TrainingPatient, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One patch: image float32 (2, k, j, i) and tumor float32 0/1 (1, k, j, i)."""
        image, tumor = self._region(patient, random)
        self._transform.set_random_state(seed=int(random.integers(2**31)))
        out = self._transform({"image": torch.from_numpy(image), "tumor": torch.from_numpy(tumor)[None]})
        return torch.as_tensor(out["image"]).float(), torch.as_tensor(out["tumor"]).float()

    def _region(
        self, patient: TrainingPatient, random: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """A cube about a random center, zero outside the randomly trimmed field of view."""
        shape = np.array(patient.tumor.shape)
        low = np.zeros(3, dtype=int)
        high = shape.copy()
        for axis in range(3):
            for bound, sign in ((low, 1), (high, -1)):
                if random.random() < self._settings.trim_probability:
                    bound[axis] += sign * random.integers(self._trim_voxels + 1)
            if high[axis] - low[axis] < _SMALLEST_FIELD_VOXELS:
                low[axis], high[axis] = 0, shape[axis]
        kept = patient.tumor[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        voxels = np.flatnonzero(kept)
        if voxels.size and random.random() < self._settings.tumor_center_probability:
            center = np.array(np.unravel_index(voxels[random.integers(voxels.size)], kept.shape)) + low
        else:
            center = random.integers(low, high)
        image = np.zeros((2, *[self._region_size] * 3), dtype=np.float32)
        tumor = np.zeros([self._region_size] * 3, dtype=np.float32)
        start = center - self._region_size // 2
        first = np.maximum(start, low)
        last = np.minimum(start + self._region_size, high)
        source = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        target = tuple(slice(a, b) for a, b in zip(first - start, last - start, strict=True))
        image[(slice(None), *target)] = patient.inputs.array[(slice(None), *source)]
        tumor[target] = patient.tumor[source]
        return image, tumor
