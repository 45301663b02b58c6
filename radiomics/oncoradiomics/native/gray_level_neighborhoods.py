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

    cooccurrence: npt.NDArray[np.int32]
    dependence: npt.NDArray[np.int64]
    tone_difference: npt.NDArray[np.float64]


@compiled("void(int32[::1],int64[:,::1],int64[::1],int64[::1],int64,boolean,int32[:,:,::1],int64[:,::1],float64[::1])")
def _count(
    grid: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    levels: npt.NDArray[np.int64],
    alpha: int,
    plain: bool,
    cooccurrence: npt.NDArray[np.int32],
    dependence: npt.NDArray[np.int64],
    tone_difference: npt.NDArray[np.float64],
) -> None:
    """Count row by row.

    ``plain`` says that the levels have no gaps and that a dependent neighbor is one of equal level, so that
    places stand for levels and the inner loops run in the processor's wide registers. Place 0, outside the lesion,
    gets counts that nobody reads, which is cheaper than asking.
    """
    directions = offsets.size
    longest = 0
    for r in range(rows.shape[0]):
        longest = max(longest, rows[r, 1] - rows[r, 0])
    neighbors = np.empty(longest, np.int32)
    total = np.empty(longest, np.int32)
    dependent = np.empty(longest, np.int32)
    shift = np.int32(levels[1] - 1)
    for r in range(rows.shape[0]):
        start = rows[r, 0]
        length = rows[r, 1] - start
        row = grid[start : start + length]
        neighbors[:length] = 0
        total[:length] = 0
        dependent[:length] = 0
        for a in range(2 * directions):
            offset = offsets[a >> 1] if a & 1 else -offsets[a >> 1]
            other = grid[start + offset : start + offset + length]
            if plain:
                for x in range(length):
                    neighbors[x] += np.int32(other[x] > 0)
                    total[x] += other[x]
                    dependent[x] += np.int32(other[x] == row[x])
            else:
                for x in range(length):
                    if other[x] > 0:
                        neighbors[x] += 1
                        total[x] += levels[other[x]] - shift
                        dependent[x] += abs(levels[other[x]] - levels[row[x]]) <= alpha
        for x in range(length):
            center = row[x]
            if center == 0:
                continue
            dependence[center - 1, dependent[x]] += 1
            if neighbors[x] > 0:
                whole = np.int64(total[x]) + shift * np.int64(neighbors[x])
                tone_difference[center - 1] += abs(levels[center] - whole / neighbors[x])
        for x in range(length):
            center = row[x]
            for a in range(directions):
                cooccurrence[a, center, grid[start + x + offsets[a]]] += 1


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
    pairs = np.zeros((size, number + 1, number + 1), np.int32)
    dependence, tone_difference = np.zeros((number, 2 * size + 1), np.int64), np.zeros(number)
    plain = alpha == 0 and int(gray.levels[-1] - gray.levels[1]) == number - 1
    offsets = roi.flat_offsets(directions)
    _count(grid, roi.rows, offsets, gray.levels, alpha, plain, pairs, dependence, tone_difference)
    return Neighborhoods(pairs[:, 1:, 1:], dependence, tone_difference)
