"""What a physician may say about where the lesion is, and how the network gets it.

A prompt is a point or a box in patient coordinates (LPS, mm). The network sees it as two more input channels: the
inside of the box, and a small ball about the point. Both are zero where nothing was said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.errors import InvalidRequest

POINT_RADIUS_VOXELS = 2.0
"""Radius of the ball that stands for a point, in voxels of the network's grid."""

Coordinates = tuple[float, float, float]


@dataclass(frozen=True)
class LesionPoint:
    """A point inside the lesion; LPS, mm."""

    position_mm: Coordinates


@dataclass(frozen=True)
class LesionBox:
    """A box around the lesion with faces along L, P and S; two opposite corners, LPS, mm."""

    low_mm: Coordinates
    high_mm: Coordinates

    def __post_init__(self) -> None:
        if any(high <= low for low, high in zip(self.low_mm, self.high_mm, strict=True)):
            raise InvalidRequest(
                "A lesion box needs two corners, each coordinate of the second above that of the first (LPS, mm)."
            )


LesionPrompt = LesionPoint | LesionBox


def box_of_mask(mask: sitk.Image) -> LesionBox:
    """The box around the voxels of a mask, outer faces of the voxels included (non-zero is inside).

    Raises:
        InvalidRequest: The mask is empty.
    """
    found = np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1]
    if found.size == 0:
        raise InvalidRequest("The contour given as lesion prompt is empty on this scan. Draw it on this scan.")
    return box_of_voxels(mask, found)


def box_of_voxels(image: sitk.Image, indices: npt.NDArray[np.int64]) -> LesionBox:
    """The box around voxels (i, j, k; one row each) of an image, their outer faces included."""
    low, high = indices.min(axis=0) - 0.5, indices.max(axis=0) + 0.5
    corners = [
        image.TransformContinuousIndexToPhysicalPoint(np.where(bits, high, low).tolist())
        for bits in np.ndindex(2, 2, 2)
    ]
    return LesionBox(_coordinates(np.min(corners, axis=0)), _coordinates(np.max(corners, axis=0)))


def bounds_mm(prompt: LesionPrompt) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lowest and highest L, P, S of a prompt; equal for a point."""
    if isinstance(prompt, LesionPoint):
        return np.array(prompt.position_mm), np.array(prompt.position_mm)
    return np.array(prompt.low_mm), np.array(prompt.high_mm)


def prompt_channels(prompt: LesionPrompt | None, grid: sitk.Image) -> npt.NDArray[np.float32]:
    """Box and point on a grid.

    Returns:
        float32 0 or 1, axes (2, k, j, i): inside the box; within ``POINT_RADIUS_VOXELS`` of the point. A box that is
        turned against the grid covers the voxels whose centres lie in it.
    """
    shape = grid.GetSize()[::-1]
    channels = np.zeros((2, *shape), dtype=np.float32)
    if prompt is None:
        return channels
    if isinstance(prompt, LesionPoint):
        index = np.array(grid.TransformPhysicalPointToContinuousIndex(prompt.position_mm))[::-1]
        channels[1] = ball(shape, index)
        return channels
    direction = np.array(grid.GetDirection()).reshape(3, 3)
    steps = direction * np.array(grid.GetSpacing())
    inside = np.ones(shape, dtype=bool)
    k, j, i = np.ogrid[tuple(slice(count) for count in shape)]
    for axis in range(3):
        position = grid.GetOrigin()[axis] + steps[axis, 0] * i + steps[axis, 1] * j + steps[axis, 2] * k
        inside &= (position >= prompt.low_mm[axis]) & (position <= prompt.high_mm[axis])
    channels[0] = inside
    return channels


def ball(shape: tuple[int, ...], center: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """1 within ``POINT_RADIUS_VOXELS`` of a position (continuous index, axes as ``shape``), else 0."""
    k, j, i = np.ogrid[tuple(slice(count) for count in shape)]
    squared = (k - center[0]) ** 2 + (j - center[1]) ** 2 + (i - center[2]) ** 2
    return np.asarray(squared <= POINT_RADIUS_VOXELS**2, dtype=np.float32)


def _coordinates(values: npt.NDArray[np.float64]) -> Coordinates:
    x, y, z = (float(value) for value in values)
    return x, y, z
