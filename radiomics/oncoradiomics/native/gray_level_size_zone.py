"""Gray level size zone features (IBSI 3.8)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoradiomics.native import size_matrix_features as sums
from oncoradiomics.native.compiled import compiled
from oncoradiomics.native.discretization import GrayLevels
from oncoradiomics.native.region_of_interest import RegionOfInterest

FEATURES = {
    "GrayLevelNonUniformity": sums.LEVEL_NONUNIFORMITY,
    "GrayLevelNonUniformityNormalized": sums.LEVEL_NONUNIFORMITY_NORMALIZED,
    "GrayLevelVariance": sums.LEVEL_VARIANCE,
    "HighGrayLevelZoneEmphasis": sums.HIGH_LEVEL,
    "LargeAreaEmphasis": sums.LARGE,
    "LargeAreaHighGrayLevelEmphasis": sums.LARGE_HIGH,
    "LargeAreaLowGrayLevelEmphasis": sums.LARGE_LOW,
    "LowGrayLevelZoneEmphasis": sums.LOW_LEVEL,
    "SizeZoneNonUniformity": sums.SIZE_NONUNIFORMITY,
    "SizeZoneNonUniformityNormalized": sums.SIZE_NONUNIFORMITY_NORMALIZED,
    "SmallAreaEmphasis": sums.SMALL,
    "SmallAreaHighGrayLevelEmphasis": sums.SMALL_HIGH,
    "SmallAreaLowGrayLevelEmphasis": sums.SMALL_LOW,
    "ZoneEntropy": sums.ENTROPY,
    "ZonePercentage": sums.PERCENTAGE,
    "ZoneVariance": sums.SIZE_VARIANCE,
}


@compiled("int32(int32[::1], int32)")
def _root(parents: npt.NDArray[np.int32], voxel: int) -> int:
    while parents[voxel] != voxel:
        parents[voxel] = parents[parents[voxel]]
        voxel = parents[voxel]
    return voxel


_LOWEST_BIT = np.array([0] + [(bits & -bits).bit_length() - 1 for bits in range(1, 1 << 13)], np.uint8)
"""Place of the lowest bit set, for each set of up to 13 neighbors."""


@compiled("int64[:,::1](int32[::1], int32[::1], int64[:,::1], int64, int64[::1], int32, int32)")
def _zones(
    grid: npt.NDArray[np.int32],
    numbers: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int64],
    voxels: int,
    offsets: npt.NDArray[np.int64],
    previous: int,
    ahead: int,
) -> npt.NDArray[np.int64]:
    """Zones of one level by union and find: rows of level and size.

    Equal neighbors are found for a whole row at a time, as bits, since no processor predicts a branch on each. Where
    the previous voxel of the row is in the same zone (bit ``previous``), that voxel has joined all neighbors they
    share, and only those one column ahead (bits ``ahead``) are left.
    """
    parents = np.empty(voxels, np.int32)
    longest = 0
    for r in range(rows.shape[0]):
        longest = max(longest, rows[r, 1] - rows[r, 0])
    equal = np.empty(longest, np.int32)
    for r in range(rows.shape[0]):
        start = rows[r, 0]
        size = rows[r, 1] - start
        row = grid[start : start + size]
        equal[:size] = 0
        for a in range(offsets.size):
            other = grid[start - offsets[a] : start - offsets[a] + size]
            bit = np.int32(1 << a)
            for x in range(size):
                equal[x] |= np.int32(other[x] == row[x]) * bit
        for x in range(size):
            if row[x] == 0:
                continue
            voxel = numbers[start + x]
            bits = equal[x]
            root = voxel
            parents[voxel] = voxel
            if bits & previous:
                root = _root(parents, numbers[start + x - 1])
                parents[voxel] = root
                bits &= ahead
            while bits:
                other_root = _root(parents, numbers[start + x - offsets[_LOWEST_BIT[bits]]])
                bits &= bits - np.int32(1)
                if other_root < root:
                    parents[root] = other_root
                    root = other_root
                elif root < other_root:
                    parents[other_root] = root
            parents[voxel] = root
    # A root comes before its voxels, so one pass in order suffices.
    sizes = np.zeros(voxels, np.int64)
    number = 0
    for v in range(voxels):
        root = parents[parents[v]]
        parents[v] = root
        number += sizes[root] == 0
        sizes[root] += 1
    zones = np.empty((number, 2), np.int64)
    place = 0
    for r in range(rows.shape[0]):
        for position in range(rows[r, 0], rows[r, 1]):
            if grid[position] > 0 and sizes[numbers[position]] > 0:
                zones[place, 0] = grid[position] - 1
                zones[place, 1] = sizes[numbers[position]]
                place += 1
    return zones


def size_zone_features(
    grid: npt.NDArray[np.int32], roi: RegionOfInterest, gray: GrayLevels, directions: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Features of the zones: connected voxels of one gray level.

    Args:
        grid: Flat padded array with each voxel's place among the levels, 0 outside the lesion.
        roi: The lesion.
        gray: Its gray levels.
        directions: One of each pair of opposite neighbors (k, j, i), the earlier in raster order subtracted.
    """
    along_row = (directions == (0, 0, 1)).all(axis=1)
    # Seen from a voxel, only the neighbors one column ahead are no neighbors of the previous voxel in the row.
    ahead = directions[:, 2] == -1
    bits = 1 << np.arange(len(directions))
    zones = _zones(
        grid,
        roi.numbers,
        roi.rows,
        roi.positions.size,
        roi.flat_offsets(directions),
        int(bits[along_row].sum()),
        int(bits[ahead].sum()),
    )
    sizes, columns = np.unique(zones[:, 1], return_inverse=True)
    levels = gray.levels[1:].astype(np.float64)
    matrix = np.zeros((levels.size, sizes.size))
    np.add.at(matrix, (zones[:, 0], columns), 1)
    values = sums.size_matrix_features(matrix, levels, sizes.astype(np.float64))
    return {name: float(values[place]) for name, place in FEATURES.items()}
