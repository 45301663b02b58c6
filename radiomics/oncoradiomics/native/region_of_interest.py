"""The voxels of a lesion and their neighborhoods, shared by all images and all texture classes of one extraction."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]
"""Slices along (k, j, i)."""


def bounding_box(region: npt.NDArray[np.bool_]) -> Box:
    """Smallest box around the true voxels of a non-empty array with axes (k, j, i)."""
    planes = np.flatnonzero(np.any(region, axis=(1, 2)))
    part = np.any(region[planes[0] : planes[-1] + 1], axis=0)
    rows, columns = np.flatnonzero(np.any(part, axis=1)), np.flatnonzero(np.any(part, axis=0))
    ends = [(int(where[0]), int(where[-1]) + 1) for where in (planes, rows, columns)]
    return slice(*ends[0]), slice(*ends[1]), slice(*ends[2])


@cache
def neighbor_directions(
    shape: tuple[int, ...], distances: tuple[int, ...], plane_axis: int | None
) -> npt.NDArray[np.int64]:
    """One of each pair of opposite neighbors, at the given Chebyshev distances (IBSI 3.6, 3.7).

    Args:
        shape: Of the lesion's box, (k, j, i); an offset as long as the box leads nowhere and is left out.
        distances: In voxels.
        plane_axis: Axis (0 for k) that no direction moves along, for textures in planes; ``None`` for three dimensions.

    Returns:
        Offsets (k, j, i), shape (directions, 3), the first non-zero component positive.
    """
    longest = max(distances)
    found = [
        offset
        for offset in itertools.product(range(longest, -longest - 1, -1), repeat=3)
        if offset > (0, 0, 0)
        and max(map(abs, offset)) in distances
        and all(abs(step) < size for step, size in zip(offset, shape, strict=True))
        and (plane_axis is None or offset[plane_axis] == 0)
    ]
    return np.array(found, np.int64).reshape(-1, 3)


@dataclass(frozen=True)
class RegionOfInterest:
    """Where the lesion's voxels lie in an array padded so widely that every neighbor has a place.

    Attributes:
        region: The lesion in its bounding box, axes (k, j, i).
        spacing_mm: Of the voxels, (k, j, i).
        pad: Width of the padding in voxels.
    """

    region: npt.NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    pad: int

    @cached_property
    def padded_shape(self) -> tuple[int, int, int]:
        """Shape of the padded array."""
        k, j, i = (size + 2 * self.pad for size in self.region.shape)
        return k, j, i

    @cached_property
    def coordinates(self) -> npt.NDArray[np.int64]:
        """Indices (k, j, i) of the lesion's voxels in its box, in raster order, shape (voxels, 3)."""
        return np.argwhere(self.region)

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """Flat index of each voxel in the padded array, in raster order."""
        flat: npt.NDArray[np.int64] = np.ravel_multi_index(
            tuple((self.coordinates + self.pad).T), self.padded_shape
        ).astype(np.int64)
        return flat

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Flat index of the first voxel and one past the last voxel of each row with voxels, shape (rows, 2)."""
        keys = np.flatnonzero(np.diff(self.positions // self.padded_shape[2])) + 1
        starts = np.concatenate([[0], keys])
        ends = np.concatenate([keys, [self.positions.size]]) - 1
        return np.stack([self.positions[starts], self.positions[ends] + 1], axis=1)

    @cached_property
    def numbers(self) -> npt.NDArray[np.int32]:
        """The padded array with the number of each voxel, -1 outside the lesion; flat."""
        numbers = np.full(int(np.prod(self.padded_shape)), -1, np.int32)
        numbers[self.positions] = np.arange(self.positions.size, dtype=np.int32)
        return numbers

    def flat_offsets(self, directions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Steps in the flat padded array for offsets (k, j, i)."""
        _, rows, columns = self.padded_shape
        offsets: npt.NDArray[np.int64] = directions @ np.array([rows * columns, columns, 1], np.int64)
        return offsets
