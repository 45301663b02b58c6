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


@compiled("int64[:,::1](int32[::1], int32[::1], int64[::1], int64[::1], int64[::1], int64)")
def _zones(
    grid: npt.NDArray[np.int32],
    numbers: npt.NDArray[np.int32],
    positions: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    offsets_beyond_previous: npt.NDArray[np.int64],
    to_previous: int,
) -> npt.NDArray[np.int64]:
    """Zones of one level by union and find: rows of level and size.

    Where the previous voxel of the row is in the same zone, that voxel has joined all neighbors the two share.
    """
    voxels = positions.size
    parents = np.empty(voxels, np.int32)
    for v in range(voxels):
        parents[v] = v
        position = positions[v]
        level = grid[position]
        root = np.int32(v)
        candidates = offsets
        if to_previous > 0 and grid[position - to_previous] == level:
            root = _root(parents, numbers[position - to_previous])
            parents[v] = root
            candidates = offsets_beyond_previous
        for a in range(candidates.size):
            other = position - candidates[a]
            if grid[other] != level:
                continue
            other_root = _root(parents, numbers[other])
            if other_root < root:
                parents[root] = other_root
                root = other_root
            elif root < other_root:
                parents[other_root] = root
    sizes = np.zeros(voxels, np.int64)
    number = 0
    for v in range(voxels):
        root = _root(parents, np.int32(v))
        number += sizes[root] == 0
        sizes[root] += 1
    zones = np.empty((number, 2), np.int64)
    place = 0
    for v in range(voxels):
        if sizes[v] > 0:
            zones[place, 0] = grid[positions[v]] - 1
            zones[place, 1] = sizes[v]
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
    along_row = bool((directions == (0, 0, 1)).all(axis=1).any())
    # Seen from a voxel, only the neighbors one column ahead are no neighbors of the previous voxel in the row.
    ahead = directions[:, 2] == -1
    zones = _zones(
        grid,
        roi.numbers,
        roi.positions,
        roi.flat_offsets(directions),
        roi.flat_offsets(directions[ahead]),
        int(along_row),
    )
    sizes, columns = np.unique(zones[:, 1], return_inverse=True)
    levels = gray.levels[1:].astype(np.float64)
    matrix = np.zeros((levels.size, sizes.size))
    np.add.at(matrix, (zones[:, 0], columns), 1)
    values = sums.size_matrix_features(matrix, levels, sizes.astype(np.float64))
    return {name: float(values[place]) for name, place in FEATURES.items()}
