"""Parts of a scan that are worth a look: around a lesion prompt, or all that has uptake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from oncoresponse.case.lesion_errors import outside_image
from oncoresponse.segmentation.lesion_prompt import LesionPoint, LesionPrompt, bounds_mm
from oncoresponse.segmentation.mask_checks import open_faces

BOX_MARGIN_MM = 50.0
"""Around a box: what the training images show around a tumor."""
POINT_MARGIN_MM = 100.0
"""Around a point, which says nothing about the size."""
GROWTH = 1.6
"""Factor by which the margin grows where a mask reaches the edge of the region."""
ATTEMPTS = 3
COLD_SUV = 1.0
"""SUV (g/mL) below which no lesion is looked for in a large scan."""
_UPTAKE_MARGIN_MM = 20.0


@dataclass(frozen=True)
class Region:
    """A block of voxels of an image, (i, j, k)."""

    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where the block lies in an array with axes (k, j, i)."""
        i, j, k = (slice(start, start + count) for start, count in zip(self.start, self.size, strict=True))
        return k, j, i

    def of(self, image: sitk.Image) -> sitk.Image:
        """Cut the block out; positions in patient space stay what they were."""
        part: sitk.Image = sitk.RegionOfInterest(image, self.size, self.start)
        return part

    def put_back(self, part: sitk.Image, image: sitk.Image) -> sitk.Image:
        """An image on the grid of ``image`` that is ``part`` inside the block and 0 outside."""
        whole = sitk.Image(image.GetSize(), part.GetPixelID())
        whole.CopyInformation(image)
        pasted: sitk.Image = sitk.Paste(whole, part, self.size, destinationIndex=self.start)
        return pasted


def region_around(image: sitk.Image, prompt: LesionPrompt, attempt: int) -> Region:
    """The block around a prompt for the first, second, ... attempt (from 0).

    Raises:
        InvalidRequest: The prompt lies outside the image.
    """
    low_mm, high_mm = bounds_mm(prompt)
    _require_inside(image, (low_mm + high_mm) / 2)
    margin = (POINT_MARGIN_MM if isinstance(prompt, LesionPoint) else BOX_MARGIN_MM) * GROWTH**attempt
    corners = [
        image.TransformPhysicalPointToContinuousIndex(
            np.where(bits, high_mm + margin, low_mm - margin).astype(float).tolist()
        )
        for bits in np.ndindex(2, 2, 2)
    ]
    last = np.array(image.GetSize()) - 1
    low = np.clip(np.floor(np.min(corners, axis=0)), 0, last).astype(int)
    high = np.clip(np.ceil(np.max(corners, axis=0)), 0, last).astype(int)
    return Region(_triple(low), _triple(high - low + 1))


def region_of_uptake(pet: sitk.Image) -> Region | None:
    """The block that holds every voxel with at least ``COLD_SUV``, with a margin; None where there is no such voxel."""
    found = np.argwhere(sitk.GetArrayViewFromImage(pet) >= COLD_SUV)[:, ::-1]
    if found.size == 0:
        return None
    margin = np.ceil(_UPTAKE_MARGIN_MM / np.array(pet.GetSpacing())).astype(int)
    low = np.maximum(found.min(axis=0) - margin, 0)
    high = np.minimum(found.max(axis=0) + margin, np.array(pet.GetSize()) - 1)
    return Region(_triple(low), _triple(high - low + 1))


def reaches_inner_face(mask: sitk.Image, region: Region, image: sitk.Image) -> bool:
    """Whether a mask on the region touches a face of it beyond which the image goes on."""
    size = image.GetSize()
    for axis, end in open_faces(mask):
        begins = region.start[axis] > 0
        goes_on = region.start[axis] + region.size[axis] < size[axis]
        if goes_on if end else begins:
            return True
    return False


def _require_inside(image: sitk.Image, position_mm: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    index = np.array(image.TransformPhysicalPointToContinuousIndex(position_mm.tolist()))
    if (index < -0.5).any() or (index > np.array(image.GetSize()) - 0.5).any():
        raise outside_image()


def _triple(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int, int]:
    i, j, k = (int(value) for value in values)
    return i, j, k
