"""One pass over all neighbors, from which GLCM, GLDM (IBSI: NGLDM) and NGTDM come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oncoradiomics.native.compiled import compiled
from oncoradiomics.native.discretization import GrayLevels
from oncoradiomics.native.region_of_interest import RegionOfInterest


@dataclass(frozen=True)
class Neighborhoods:
    """Counts over the lesion's voxels.

    Attributes:
        cooccurrence: Pairs of levels along each direction, shape (directions, levels, levels).
        dependence: Voxels by level and number of dependent neighbors, shape (levels, 2 * directions + 1).
        tone_difference: Sum over the voxels of each level of the distance to the mean level of their neighbors.
    """

    cooccurrence: npt.NDArray[np.int64]
    dependence: npt.NDArray[np.int64]
    tone_difference: npt.NDArray[np.float64]


@compiled("void(int32[::1],int64[::1],int64[::1],int64[::1],int64,int64[:,:,::1],int64[:,::1],float64[::1])")
def _count(
    grid: npt.NDArray[np.int32],
    positions: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    levels: npt.NDArray[np.int64],
    alpha: int,
    cooccurrence: npt.NDArray[np.int64],
    dependence: npt.NDArray[np.int64],
    tone_difference: npt.NDArray[np.float64],
) -> None:
    directions = offsets.size
    for v in range(positions.size):
        position = positions[v]
        center = grid[position]
        level = levels[center]
        neighbors = 0
        total = 0
        dependent = 0
        for a in range(directions):
            neighbor = grid[position + offsets[a]]
            if neighbor > 0:
                cooccurrence[a, center - 1, neighbor - 1] += 1
                neighbors += 1
                total += levels[neighbor]
                dependent += abs(levels[neighbor] - level) <= alpha
            neighbor = grid[position - offsets[a]]
            if neighbor > 0:
                neighbors += 1
                total += levels[neighbor]
                dependent += abs(levels[neighbor] - level) <= alpha
        dependence[center - 1, dependent] += 1
        if neighbors > 0:
            tone_difference[center - 1] += abs(level - total / neighbors)


def count_neighborhoods(
    grid: npt.NDArray[np.int32],
    roi: RegionOfInterest,
    gray: GrayLevels,
    directions: npt.NDArray[np.int64],
    alpha: int,
) -> Neighborhoods:
    """Count.

    Args:
        grid: Flat padded array with each voxel's place among the levels, 0 outside the lesion.
        roi: The lesion.
        gray: Its gray levels.
        directions: One of each pair of opposite offsets (k, j, i).
        alpha: Greatest difference of gray levels at which a neighbor is dependent.
    """
    size, number = len(directions), gray.levels.size - 1
    counts = Neighborhoods(
        np.zeros((size, number, number), np.int64), np.zeros((number, 2 * size + 1), np.int64), np.zeros(number)
    )
    _count(
        grid,
        roi.positions,
        roi.flat_offsets(directions),
        gray.levels,
        alpha,
        counts.cooccurrence,
        counts.dependence,
        counts.tone_difference,
    )
    return counts
