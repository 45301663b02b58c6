"""Training patches in fields of view that say nothing about where the tumor is.

The cohort's images end about 5 cm from the tumor on every side, so that an ellipsoid drawn from their borders alone
overlaps the tumor well (docs/segmentation.md). Here each face of the field is moved at random: cut by up to 5 cm, or
moved outwards and the space filled with the margin of another patient's image, which holds no tumor. Patches are made
for a whole batch at once on the device of the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import avg_pool3d, grid_sample, interpolate

_WATER = 0.4
"""0 HU in the scaled CT channel (-160..240 HU to 0..1): what urine looks like."""


@dataclass(frozen=True)
class FieldSettings:
    """How patches are varied; probabilities are per patch.

    Attributes:
        patch_size: Voxels along each axis.
        spacing_mm: Of the common grid.
        largest_shift_mm: Each face of the field is moved by up to this, inwards or outwards with equal chance.
        tumor_center_probability: The patch is centred near a tumor voxel, else anywhere in the field.
    """

    patch_size: int = 56
    spacing_mm: float = 4.5
    largest_shift_mm: float = 50.0
    tumor_center_probability: float = 0.7
    rotation_degrees: float = 25.0
    scale: float = 0.25
    affine_probability: float = 0.7
    elastic_probability: float = 0.3
    elastic_voxels: float = 3.0
    intensity_probability: float = 0.5
    intensity_scale: float = 0.25
    gamma_probability: float = 0.2
    noise_probability: float = 0.2
    noise_sigma: float = 0.05
    smooth_probability: float = 0.2
    uptake_probability: float = 0.15
    without_ct_probability: float = 0.1


@dataclass(frozen=True, eq=False)
class FieldPatient:
    """PET and CT as the networks read them, axes (2, k, j, i), and the share of each voxel that is tumor (k, j, i)."""

    patient: str
    images: npt.NDArray[np.float32]
    tumor: npt.NDArray[np.float32]

    def margins(self) -> npt.NDArray[np.int64]:
        """Voxels without tumor at the low and the high face of each axis; axes (3, 2)."""
        found = np.argwhere(self.tumor > 0)
        return np.stack([found.min(axis=0), np.array(self.tumor.shape) - 1 - found.max(axis=0)], axis=1)


def random_faces(
    size: npt.NDArray[np.int64],
    donor_margins: npt.NDArray[np.int64],
    largest_shift: float,
    random: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where a field of view begins and ends, in voxels of the patient's image.

    Args:
        size: Of the patient's image along k, j and i.
        donor_margins: What the patient who fills the space outside can give, axes (3, 2).
        largest_shift: Voxels.
        random: Draws the shifts.

    Returns:
        First voxel and the one after the last along each axis; below 0 and above the size where space is filled.
    """
    shift = random.uniform(-largest_shift, largest_shift, (3, 2))
    shift = np.rint(np.minimum(shift, donor_margins)).astype(np.int64)
    low, high = (-shift[:, 0]).astype(np.int64), (size + shift[:, 1]).astype(np.int64)
    # A field that two cuts leave almost nothing of is no field.
    short = high - low < 16
    low[short], high[short] = 0, size[short]
    return low, high


class FieldSampler:
    """Patients on a device, and batches of patches from them.

    Args:
        patients: Whom patches are taken from; they are each other's surroundings.
        settings: How they are varied.
        device: Where patches are made.
    """

    def __init__(self, patients: Sequence[FieldPatient], settings: FieldSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        self._sizes = np.array([patient.tumor.shape for patient in patients])
        self._margins = np.array([patient.margins() for patient in patients])
        self._canvas_size = self._sizes.max(axis=0)
        canvas = np.zeros((len(patients), 3, *self._canvas_size), dtype=np.float32)
        for row, patient in enumerate(patients):
            k, j, i = patient.tumor.shape
            canvas[row, :2, :k, :j, :i] = patient.images
            canvas[row, 2, :k, :j, :i] = patient.tumor
        self._canvas = torch.from_numpy(canvas).to(device)
        self._tumors = [np.argwhere(patient.tumor >= 0.5) for patient in patients]

    def sample(self, count: int, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A batch of patches.

        Returns:
            PET and CT, axes (batch, 2, k, j, i); share of tumor, axes (batch, 1, k, j, i); whether a voxel lies in the
            field of view, same axes.
        """
        settings = self._settings
        own = random.integers(len(self._sizes), size=count)
        donor = (own + random.integers(1, max(len(self._sizes), 2), size=count)) % len(self._sizes)
        low, high, center = np.zeros((count, 3)), np.zeros((count, 3)), np.zeros((count, 3))
        for row in range(count):
            first, after = random_faces(
                self._sizes[own[row]],
                self._margins[donor[row]],
                settings.largest_shift_mm / settings.spacing_mm,
                random,
            )
            low[row], high[row] = first, after
            if random.random() < settings.tumor_center_probability:
                found = self._tumors[own[row]]
                center[row] = found[random.integers(len(found))] + random.uniform(-6, 6, 3)
            else:
                center[row] = random.uniform(first, after)
        places = self._places(center, random)
        image, tumor, inside = self._compose(places, own, donor, low, high)
        image = self._vary(image, tumor, inside, random)
        return image, tumor, inside

    def _places(self, center: npt.NDArray[np.float64], random: np.random.Generator) -> torch.Tensor:
        """Where each voxel of a patch comes from, in voxels of the patient's image; axes (batch, k, j, i, 3)."""
        settings, count = self._settings, len(center)
        matrices = np.stack([self._matrix(random) for _ in range(count)])
        axis = torch.arange(settings.patch_size, device=self._device, dtype=torch.float32)
        axis = axis - (settings.patch_size - 1) / 2
        lattice = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
        places = torch.einsum("bxy,kjiy->bkjix", self._tensor(matrices), lattice)
        bent = self._tensor(random.random(count) < settings.elastic_probability) * settings.elastic_voxels
        coarse = self._tensor(random.uniform(-1, 1, (count, 3, 6, 6, 6))) * bent.reshape(-1, 1, 1, 1, 1)
        smooth = interpolate(coarse, size=[settings.patch_size] * 3, mode="trilinear", align_corners=True)
        return places + smooth.permute(0, 2, 3, 4, 1) + self._tensor(center)[:, None, None, None]

    def _matrix(self, random: np.random.Generator) -> npt.NDArray[np.float64]:
        """Rotation, scale and mirroring of a patch."""
        settings = self._settings
        matrix = np.diag(np.where(random.random(3) < 0.5, -1.0, 1.0))
        if random.random() >= settings.affine_probability:
            return matrix
        for axis, angle in enumerate(np.deg2rad(random.uniform(-1, 1, 3) * settings.rotation_degrees)):
            a, b = [other for other in range(3) if other != axis]
            turn = np.eye(3)
            turn[a, a] = turn[b, b] = np.cos(angle)
            turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
            matrix = turn @ matrix
        common = random.uniform(-1, 1) * settings.scale
        single = random.uniform(-1, 1, 3) * settings.scale / 3
        return np.asarray(matrix @ np.diag(1 + common + single))

    def _compose(
        self,
        places: torch.Tensor,
        own: npt.NDArray[np.int64],
        donor: npt.NDArray[np.int64],
        low: npt.NDArray[np.float64],
        high: npt.NDArray[np.float64],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        size = self._tensor(self._sizes[own])[:, None, None, None]
        inside_own = ((places >= -0.5) & (places <= size - 0.5)).all(dim=-1)[:, None]
        begin, end = self._tensor(low)[:, None, None, None], self._tensor(high)[:, None, None, None]
        inside = ((places >= begin - 0.5) & (places <= end - 0.5)).all(dim=-1)[:, None]
        donor_size = self._tensor(self._sizes[donor])[:, None, None, None]
        margins = self._tensor(self._margins[donor])
        below, above = margins[:, :, 0][:, None, None, None], margins[:, :, 1][:, None, None, None]
        elsewhere = (places + 0.5) / size * donor_size - 0.5
        elsewhere = torch.where(places < -0.5, places + below, elsewhere)
        elsewhere = torch.where(places > size - 0.5, places - size + donor_size - above, elsewhere)
        # Beyond the image's outermost voxel centres there is half a voxel in which nothing can be interpolated.
        here = self._sampled(own, torch.minimum(places.clamp(min=0), size - 1))
        there = self._sampled(donor, torch.minimum(elsewhere.clamp(min=0), donor_size - 1))
        image = torch.where(inside_own, here[:, :2], there[:, :2]) * inside
        tumor = here[:, 2:] * (inside_own & inside)
        return image, tumor, inside

    def _sampled(self, rows: npt.NDArray[np.int64], places: torch.Tensor) -> torch.Tensor:
        scaled = places / self._tensor(self._canvas_size - 1) * 2 - 1
        # grid_sample wants the last axis first.
        return grid_sample(self._canvas[torch.from_numpy(rows).to(self._device)], scaled.flip(-1), align_corners=True)

    def _vary(
        self, image: torch.Tensor, tumor: torch.Tensor, inside: torch.Tensor, random: np.random.Generator
    ) -> torch.Tensor:
        settings, count = self._settings, len(image)

        def chosen(probability: float) -> torch.Tensor:
            return self._tensor(random.random(count) < probability).reshape(-1, 1, 1, 1, 1)

        image = self._with_uptake(image, tumor, chosen(settings.uptake_probability) > 0, random)
        factor = self._tensor(random.uniform(-1, 1, (count, 2))).reshape(-1, 2, 1, 1, 1) * settings.intensity_scale
        image = image * (1 + factor * chosen(settings.intensity_probability))
        peak = image.amax(dim=(2, 3, 4), keepdim=True).clamp(min=1e-3)
        power = self._tensor(np.exp(random.uniform(-0.35, 0.35, (count, 2)))).reshape(-1, 2, 1, 1, 1)
        bent = (image.clamp(min=0) / peak) ** power * peak
        image = torch.where(chosen(settings.gamma_probability) > 0, bent, image)
        blurred = avg_pool3d(image, 3, stride=1, padding=1, count_include_pad=False)
        weight = self._tensor(random.random(count)).reshape(-1, 1, 1, 1, 1) * chosen(settings.smooth_probability)
        image = image * (1 - weight) + blurred * weight
        sigma = self._tensor(random.random(count) * settings.noise_sigma).reshape(-1, 1, 1, 1, 1)
        generator = torch.Generator(device=self._device).manual_seed(int(random.integers(2**31)))
        noise = torch.randn(image.shape, generator=generator, device=self._device)
        image = image + noise * sigma * chosen(settings.noise_probability)
        missing = chosen(settings.without_ct_probability)
        return image * inside * torch.cat([torch.ones_like(missing), 1 - missing], dim=1)

    def _with_uptake(
        self, image: torch.Tensor, tumor: torch.Tensor, wanted: torch.Tensor, random: np.random.Generator
    ) -> torch.Tensor:
        """A hot ellipsoid of water density, such as a bladder, beside the tumor of some patches."""
        count, size = len(image), self._settings.patch_size
        center = self._tensor(random.uniform(0, size, (count, 3)))
        radii = self._tensor(random.uniform(10.0, 40.0, (count, 3)) / self._settings.spacing_mm)
        axis = torch.arange(size, device=self._device, dtype=torch.float32)
        squared = [
            (((axis[None] - center[:, position, None]) / radii[:, position, None]) ** 2).reshape(
                -1, *(size if other == position else 1 for other in range(3))
            )
            for position in range(3)
        ]
        distance = (squared[0] + squared[1] + squared[2]).sqrt()[:, None]
        beside = (tumor < 0.05) & wanted
        # The PET blurs the rim over about a voxel; the CT has a sharp one.
        rim = ((1 - distance) * radii.mean(dim=1).reshape(-1, 1, 1, 1, 1) + 0.5).clamp(0, 1) * beside
        uptake = self._tensor(np.log1p(np.exp(random.uniform(np.log(3.0), np.log(60.0), count))))
        pet = image[:, :1] + rim * (uptake.reshape(-1, 1, 1, 1, 1) - image[:, :1])
        ct = torch.where((distance < 1) & beside, torch.full((), _WATER, device=self._device), image[:, 1:])
        return torch.cat([pet, ct], dim=1)

    def _tensor(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self._device)
