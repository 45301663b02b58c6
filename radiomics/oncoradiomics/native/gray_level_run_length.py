"""Gray level run length features (IBSI 3.7), averaged over directions."""

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
    "HighGrayLevelRunEmphasis": sums.HIGH_LEVEL,
    "LongRunEmphasis": sums.LARGE,
    "LongRunHighGrayLevelEmphasis": sums.LARGE_HIGH,
    "LongRunLowGrayLevelEmphasis": sums.LARGE_LOW,
    "LowGrayLevelRunEmphasis": sums.LOW_LEVEL,
    "RunEntropy": sums.ENTROPY,
    "RunLengthNonUniformity": sums.SIZE_NONUNIFORMITY,
    "RunLengthNonUniformityNormalized": sums.SIZE_NONUNIFORMITY_NORMALIZED,
    "RunPercentage": sums.PERCENTAGE,
    "RunVariance": sums.SIZE_VARIANCE,
    "ShortRunEmphasis": sums.SMALL,
    "ShortRunHighGrayLevelEmphasis": sums.SMALL_HIGH,
    "ShortRunLowGrayLevelEmphasis": sums.SMALL_LOW,
}


@compiled("boolean(int32[::1], int64[::1], int64, float64[:,::1])")
def _count_runs(
    grid: npt.NDArray[np.int32], positions: npt.NDArray[np.int64], offset: int, runs: npt.NDArray[np.float64]
) -> bool:
    """Count the runs along one direction; true if two voxels of the lesion are neighbors along it."""
    neighbors = False
    for v in range(positions.size):
        position = positions[v]
        level = grid[position]
        if grid[position - offset] == level:
            neighbors = True
            continue
        ahead = position + offset
        length = 0
        neighbors |= grid[ahead] > 0
        while grid[ahead] == level:
            length += 1
            ahead += offset
        runs[level - 1, length] += 1
    return neighbors


def run_length_features(
    grid: npt.NDArray[np.int32],
    roi: RegionOfInterest,
    gray: GrayLevels,
    directions: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64] | None,
) -> dict[str, float]:
    """Features of the run lengths, the mean over directions.

    A direction in which no line holds two voxels of the lesion has no runs and does not count.

    Args:
        grid: Flat padded array with each voxel's place among the levels, 0 outside the lesion.
        roi: The lesion.
        gray: Its gray levels.
        directions: One of each pair of opposite neighbors (k, j, i).
        weights: Of the directions, which are then merged into one matrix; ``None`` for the mean over directions.
    """
    levels = gray.levels[1:].astype(np.float64)
    lengths = np.arange(1.0, max(roi.region.shape) + 1)
    matrices = np.zeros((len(directions), levels.size, lengths.size))
    for matrix, direction, offset in zip(matrices, directions, roi.flat_offsets(directions), strict=True):
        neighbors = _count_runs(grid, roi.positions, int(offset), matrix)
        if not neighbors and not _on_one_line(roi.coordinates, direction):
            matrix[:] = 0
    if weights is not None:
        matrices = np.ascontiguousarray(np.tensordot(weights, matrices, 1)[None])
    values = [sums.size_matrix_features(matrix, levels, lengths) for matrix in matrices if matrix.any()]
    means = np.mean(values, axis=0) if values else np.full(sums.NUMBER_OF_FEATURES, np.nan)
    return {name: float(means[place]) for name, place in FEATURES.items()}


def _on_one_line(coordinates: npt.NDArray[np.int64], direction: npt.NDArray[np.int64]) -> bool:
    """Whether two of the voxels, neighbors or not, lie on one line along the direction."""
    axis = int(np.flatnonzero(direction)[0])
    feet = coordinates - coordinates[:, axis, None] * direction[axis] * direction
    return len(np.unique(feet, axis=0)) < len(coordinates)
