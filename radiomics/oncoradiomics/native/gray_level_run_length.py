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


@compiled("boolean(int32[::1], int64[:,::1], int64, int32[::1], int32[:,::1])")
def _count_runs(
    grid: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int64],
    offset: int,
    lengths: npt.NDArray[np.int32],
    runs: npt.NDArray[np.int32],
) -> bool:
    """Count the runs along one direction; true if two voxels of the lesion are neighbors along it.

    A voxel's run is one longer than that of the voxel before if the two are equal, and is counted where it ends. The
    conditions are summands, since no processor can predict them. Row 0 of ``runs``, outside the lesion, is for nobody.
    """
    neighbors = np.int32(0)
    for r in range(rows.shape[0]):
        start = rows[r, 0]
        size = rows[r, 1] - start
        row = grid[start : start + size]
        before = grid[start - offset : start - offset + size]
        behind = grid[start + offset : start + offset + size]
        length = lengths[start : start + size]
        length_before = lengths[start - offset : start - offset + size]
        for x in range(size):
            length[x] = np.int32(row[x] > 0) * (np.int32(before[x] == row[x]) * length_before[x] + np.int32(1))
            neighbors += np.int32(before[x] > 0) & np.int32(row[x] > 0)
        for x in range(size):
            runs[row[x], length[x]] += np.int32(behind[x] != row[x])
    return bool(neighbors > 0)


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
    counts = np.zeros((len(directions), levels.size + 1, lengths.size + 1), np.int32)
    so_far = np.zeros(grid.size, np.int32)
    for count, direction, offset in zip(counts, directions, roi.flat_offsets(directions), strict=True):
        neighbors = _count_runs(grid, roi.rows, int(offset), so_far, count)
        if not neighbors and not _on_one_line(roi.coordinates, direction):
            count[:] = 0
    matrices = counts[:, 1:, 1:].astype(np.float64)
    if weights is not None:
        matrices = np.ascontiguousarray(np.tensordot(weights, matrices, 1)[None])
    values = [sums.size_matrix_features(matrix, levels, lengths) for matrix in matrices if matrix.any()]
    means = np.mean(values, axis=0) if values else np.full(sums.NUMBER_OF_FEATURES, np.nan)
    if not values and len(matrices) == 1:
        # Of a single matrix without runs pyradiomics sums nothing and calls these two 0.
        means[[sums.ENTROPY, sums.SIZE_VARIANCE]] = 0.0
    return {name: float(means[place]) for name, place in FEATURES.items()}


def _on_one_line(coordinates: npt.NDArray[np.int64], direction: npt.NDArray[np.int64]) -> bool:
    """Whether two of the voxels, neighbors or not, lie on one line along the direction."""
    axis = int(np.flatnonzero(direction)[0])
    feet = coordinates - coordinates[:, axis, None] * direction[axis] * direction
    return len(np.unique(feet, axis=0)) < len(coordinates)
