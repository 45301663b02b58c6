"""PET and CT on one isotropic grid as network input, and the way back to the PET grid.

The network sees axes (channel, k, j, i): channel 0 the PET, 1 the CT, 2 the box and 3 the point of a lesion prompt. PET
and CT are scaled by constants, never by statistics of the image, so that the size of the field of view does not change
what a voxel looks like. Zero means "nothing there" in all: no uptake, air, no prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, Field

from oncoresponse.errors import GeometryMismatch
from oncoresponse.segmentation.lesion_prompt import LesionPrompt, prompt_channels

_OUTSIDE = -1e9
_SPACING_TOLERANCE = 1e-6


class PreprocessingSettings(BaseModel):
    """Common grid and intensity scaling.

    Attributes:
        spacing_mm: Distance of neighbouring voxel centres along each axis of the common grid.
        ct_low_hu: CT values at or below become 0; also stands for what lies outside the CT.
        ct_high_hu: CT values at or above become 1.
        minimum_ct_coverage: Smallest share of the PET field of view that the CT must cover.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spacing_mm: float = Field(default=4.0, gt=0)
    ct_low_hu: float = -160.0
    ct_high_hu: float = 240.0
    minimum_ct_coverage: float = Field(default=0.5, ge=0, le=1)


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """PET and CT ready for the network.

    Attributes:
        array: float32, axes (2, k, j, i), channel 0 is ln(1 + SUV), channel 1 the CT scaled to 0..1.
        grid: An image without meaning whose geometry (LPS, mm) is that of ``array``.
        ct_coverage: Share of the grid's voxels that lie inside the CT.
    """

    array: npt.NDArray[np.float32]
    grid: sitk.Image
    ct_coverage: float

    def with_prompt(self, prompt: LesionPrompt | None) -> npt.NDArray[np.float32]:
        """The four channels of the network, float32, axes (4, k, j, i)."""
        return np.concatenate([self.array, prompt_channels(prompt, self.grid)])


def common_grid(pet: sitk.Image, settings: PreprocessingSettings) -> sitk.Image:
    """An isotropic grid over the whole PET field of view, concentric with it.

    Its axes are the PET's own, reordered and turned to be nearest to L, P, S; the same scan stored feet first or in
    another slice orientation gives the same grid.
    """
    oriented = sitk.DICOMOrient(pet, "LPS")
    extent = np.array(oriented.GetSize()) * np.array(oriented.GetSpacing())
    size = np.maximum(np.ceil(extent / settings.spacing_mm - _SPACING_TOLERANCE), 1).astype(int)
    direction = np.array(oriented.GetDirection()).reshape(3, 3)
    centre = np.array(
        oriented.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in oriented.GetSize()])
    )
    origin = centre - direction @ ((size - 1) / 2 * settings.spacing_mm)
    grid = sitk.Image([int(count) for count in size], sitk.sitkUInt8)
    grid.SetSpacing([settings.spacing_mm] * 3)
    grid.SetOrigin(origin.tolist())
    grid.SetDirection(oriented.GetDirection())
    return grid


def prepare(pet: sitk.Image, ct: sitk.Image, settings: PreprocessingSettings) -> NetworkInput:
    """Resample PET (SUVbw, g/mL) and CT (HU) to the common grid and scale them.

    Raises:
        GeometryMismatch: The CT covers too little of the PET field of view.
    """
    grid = common_grid(pet, settings)
    suv = sitk.GetArrayFromImage(_average_and_sample(pet, grid))
    # The PET grid and the common grid share their outer faces but for a fraction of a voxel.
    suv[suv <= _OUTSIDE / 2] = 0
    hu = sitk.GetArrayFromImage(_average_and_sample(ct, grid))
    outside = hu <= _OUTSIDE / 2
    coverage = 1.0 - float(outside.mean())
    if coverage < settings.minimum_ct_coverage:
        raise GeometryMismatch(
            f"The CT covers {100 * coverage:.0f} % of the PET field of view; the network needs at least "
            f"{100 * settings.minimum_ct_coverage:.0f} %. Send the CT of the same bed positions.",
            coverage=f"{coverage:.3f}",
        )
    hu[outside] = settings.ct_low_hu
    scaled_ct = (np.clip(hu, settings.ct_low_hu, settings.ct_high_hu) - settings.ct_low_hu) / (
        settings.ct_high_hu - settings.ct_low_hu
    )
    array = np.stack([np.log1p(np.maximum(suv, 0)), scaled_ct]).astype(np.float32)
    return NetworkInput(array, grid, coverage)


def mask_on_grid(mask: sitk.Image, grid: sitk.Image) -> npt.NDArray[np.uint8]:
    """A 0/1 mask on the common grid, axes (k, j, i): where linear interpolation gives at least one half."""
    return (mask_share_on_grid(mask, grid) >= 0.5).astype(np.uint8)


def mask_share_on_grid(mask: sitk.Image, grid: sitk.Image) -> npt.NDArray[np.float32]:
    """How much of each voxel of the common grid a 0/1 mask takes, by linear interpolation; axes (k, j, i)."""
    soft = sitk.Resample(sitk.Cast(mask, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, 0.0)
    return np.asarray(sitk.GetArrayFromImage(soft), dtype=np.float32)


def probability_on_image(probability: npt.NDArray[np.float32], grid: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """A probability, axes (k, j, i) on the common grid, linearly interpolated at the voxel centres of ``reference``."""
    image = sitk.GetImageFromArray(probability.astype(np.float32))
    image.CopyInformation(grid)
    resampled: sitk.Image = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return resampled


def field_of_view_mm(image: sitk.Image) -> tuple[float, float, float]:
    """Outer extent (mm) along the image axes nearest to L, P, S."""
    oriented = sitk.DICOMOrient(image, "LPS")
    x, y, z = (count * spacing for count, spacing in zip(oriented.GetSize(), oriented.GetSpacing(), strict=True))
    return x, y, z


def _average_and_sample(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Sample at the grid's centres; finer images are block-averaged first, so that noise does not alias.

    Voxels outside the image get ``_OUTSIDE``.
    """
    part = _part_over(image, grid)
    if part is None:
        empty: sitk.Image = sitk.Image(grid.GetSize(), sitk.sitkFloat32) + _OUTSIDE
        empty.CopyInformation(grid)
        return empty
    factors = _shrink_factors(part, grid)
    if any(factor > 1 for factor in factors):
        part = sitk.BinShrink(part, factors)
    sampled: sitk.Image = sitk.Resample(part, grid, sitk.Transform(), sitk.sitkLinear, _OUTSIDE, sitk.sitkFloat32)
    return sampled


def _shrink_factors(image: sitk.Image, grid: sitk.Image) -> list[int]:
    target = min(grid.GetSpacing())
    return [
        min(max(1, int(target / spacing + 0.05)), count)
        for spacing, count in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]


def _part_over(image: sitk.Image, grid: sitk.Image) -> sitk.Image | None:
    """The float32 part of an image that covers the grid, with a margin; None where they are apart."""
    last = [count - 1 for count in grid.GetSize()]
    corners = [
        image.TransformPhysicalPointToContinuousIndex(
            grid.TransformContinuousIndexToPhysicalPoint(
                [-0.5 + bit * (end + 1) for bit, end in zip(bits, last, strict=True)]
            )
        )
        for bits in np.ndindex(2, 2, 2)
    ]
    # Two blocks of averaging on each side: enough for linear interpolation at the rim.
    margin = 2 * np.array(_shrink_factors(image, grid))
    low = np.maximum(np.floor(np.min(corners, axis=0)) - margin, 0).astype(int)
    high = np.minimum(np.ceil(np.max(corners, axis=0)) + margin, np.array(image.GetSize()) - 1).astype(int)
    if (high < low).any():
        return None
    size = (high - low + 1).tolist()
    part: sitk.Image = sitk.Cast(sitk.RegionOfInterest(image, size, low.tolist()), sitk.sitkFloat32)
    return part
