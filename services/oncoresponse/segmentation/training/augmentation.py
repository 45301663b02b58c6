"""Random training patches. The same random state gives the same patch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import (
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
)
from monai.transforms.spatial.dictionary import RandAffined, RandFlipd, RandGridDistortiond, RandSimulateLowResolutiond

from oncoresponse.segmentation.lesion_prompt import ball
from oncoresponse.segmentation.training.cohort import TrainingPatient
from oncoresponse.segmentation.training.training_settings import AugmentationSettings

_SMALLEST_FIELD_VOXELS = 16
_WATER = 0.4
"""0 HU in the scaled CT channel (-160..240 HU to 0..1): what urine looks like."""


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
        self._spacing_mm = spacing_mm
        self._trim_voxels = int(settings.trim_largest_mm / spacing_mm)
        # A third more than the patch on each axis, so that rotated patches rarely reach beyond it.
        self._region_size = patch_size + patch_size // 3
        angle = float(np.deg2rad(settings.rotation_degrees))
        both = ["image", "tumor"]
        modes = ["bilinear", "nearest"]
        self._transform = Compose(
            [
                RandGridDistortiond(
                    both,
                    num_cells=4,
                    prob=settings.elastic_probability,
                    distort_limit=settings.elastic_limit,
                    mode=modes,  # type: ignore[arg-type]
                    padding_mode="zeros",
                ),
                RandAffined(
                    both,
                    prob=settings.affine_probability,
                    rotate_range=[angle] * 3,
                    scale_range=[settings.scale] * 3,
                    spatial_size=[patch_size] * 3,
                    mode=modes,
                    padding_mode="zeros",
                ),
                *(RandFlipd(both, prob=settings.flip_probability, spatial_axis=axis) for axis in range(3)),
                RandScaleIntensityd(
                    "image", factors=settings.intensity_scale, prob=settings.intensity_probability, channel_wise=True
                ),
                RandAdjustContrastd("image", prob=settings.contrast_probability, gamma=(0.7, 1.5)),
                RandGaussianSmoothd("image", (0.3, 0.8), (0.3, 0.8), (0.3, 0.8), prob=settings.smooth_probability),
                RandSimulateLowResolutiond("image", prob=settings.low_resolution_probability, zoom_range=(0.6, 1.0)),
                RandGaussianNoised("image", prob=settings.noise_probability, std=settings.noise_sigma),
            ]
        )

    def sample(self, patient: TrainingPatient, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One patch: image float32 (4, k, j, i) and tumor float32 0/1 (1, k, j, i)."""
        image, tumor = self._region(patient, random)
        self._transform.set_random_state(seed=int(random.integers(2**31)))
        out = self._transform({"image": torch.from_numpy(image), "tumor": torch.from_numpy(tumor)[None]})
        varied = np.ascontiguousarray(torch.as_tensor(out["image"]).numpy(), dtype=np.float32)
        truth = torch.as_tensor(out["tumor"]).float()
        inside = truth[0].numpy() > 0
        if random.random() < self._settings.physiological_uptake_probability:
            self._paste_physiological_uptake(varied, inside, random)
        if random.random() < self._settings.without_ct_probability:
            varied[1] = 0
        channels = np.concatenate([varied, self._prompt(inside, varied[0], random)])
        return torch.from_numpy(channels), truth

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

    def _paste_physiological_uptake(
        self, image: npt.NDArray[np.float32], tumor: npt.NDArray[np.bool_], random: np.random.Generator
    ) -> None:
        """A hot ellipsoid of water density, such as a bladder, beside the tumor; changes ``image`` in place."""
        outside = np.argwhere(~tumor)
        center = outside[random.integers(len(outside))]
        radii = random.uniform(10.0, 40.0, 3) / self._spacing_mm
        k, j, i = np.ogrid[tuple(slice(count) for count in tumor.shape)]
        distance = np.sqrt(
            ((k - center[0]) / radii[0]) ** 2 + ((j - center[1]) / radii[1]) ** 2 + ((i - center[2]) / radii[2]) ** 2
        )
        # The PET blurs the rim over about a voxel; the CT has a sharp one.
        weight = np.clip((1.0 - distance) * float(radii.mean()) + 0.5, 0.0, 1.0).astype(np.float32)
        weight[tumor] = 0
        uptake = np.log1p(np.exp(random.uniform(np.log(3.0), np.log(60.0))))
        image[0] += weight * (uptake - image[0])
        dense = (distance < 1) & ~tumor
        image[1][dense] = _WATER + random.normal(0, 0.02, int(dense.sum()))

    def _prompt(
        self, tumor: npt.NDArray[np.bool_], pet: npt.NDArray[np.float32], random: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """What a physician might have said about the lesion in this patch: nothing, a box, or a point in it."""
        channels = np.zeros((2, *tumor.shape), dtype=np.float32)
        kind = random.random()
        found = np.argwhere(tumor)
        if found.size == 0 or kind >= self._settings.box_probability + self._settings.point_probability:
            return channels
        if kind < self._settings.box_probability:
            margin = self._settings.box_error_mm / self._spacing_mm
            low = np.maximum(np.rint(found.min(axis=0) - random.uniform(-margin, margin, 3)), 0).astype(int)
            high = np.maximum(np.rint(found.max(axis=0) + 1 + random.uniform(-margin, margin, 3)), low + 1).astype(int)
            channels[0, low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 1
            return channels
        # The hottest voxel, where one would click, or any other.
        chosen = int(np.argmax(pet[tumor])) if random.random() < 0.5 else int(random.integers(len(found)))
        center = found[chosen]
        channels[1] = ball(tumor.shape, center.astype(np.float64))
        return channels
