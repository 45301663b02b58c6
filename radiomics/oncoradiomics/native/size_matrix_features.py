"""The features that run lengths (GLRLM), zone sizes (GLSZM) and dependence counts (GLDM) have in common.

All three are matrices of gray level against a size; IBSI 3.7, 3.8 and 3.11 define the same sums over them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoradiomics.native.compiled import compiled

SMALL, LARGE, LEVEL_NONUNIFORMITY, LEVEL_NONUNIFORMITY_NORMALIZED, SIZE_NONUNIFORMITY = range(5)
SIZE_NONUNIFORMITY_NORMALIZED, PERCENTAGE, LEVEL_VARIANCE, SIZE_VARIANCE, ENTROPY = range(5, 10)
LOW_LEVEL, HIGH_LEVEL, SMALL_LOW, SMALL_HIGH, LARGE_LOW, LARGE_HIGH = range(10, 16)
NUMBER_OF_FEATURES = 16


@compiled("float64[::1](float64[:,:], float64[::1], float64[::1])")
def size_matrix_features(
    matrix: npt.NDArray[np.float64], levels: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The 16 features in the order of this module's constants; not a number where the matrix is empty.

    Args:
        matrix: Counts, shape (levels, sizes).
        levels: Gray level of each row.
        sizes: Size of each column.
    """
    out = np.zeros(16)
    total = matrix.sum()
    if total == 0:
        out[:] = np.nan
        return out
    epsilon = 2.220446049250313e-16
    by_level = np.zeros(levels.size)
    by_size = np.zeros(sizes.size)
    for i in range(levels.size):
        level_square = levels[i] ** 2
        for j in range(sizes.size):
            count = matrix[i, j]
            if count == 0:
                continue
            by_level[i] += count
            by_size[j] += count
            size_square = sizes[j] ** 2
            probability = count / total
            out[9] -= probability * np.log2(probability + epsilon)
            out[12] += count / (level_square * size_square)
            out[13] += count * level_square / size_square
            out[14] += count * size_square / level_square
            out[15] += count * level_square * size_square
    level_mean = 0.0
    for i in range(levels.size):
        level_square = levels[i] ** 2
        out[2] += by_level[i] ** 2
        out[10] += by_level[i] / level_square
        out[11] += by_level[i] * level_square
        level_mean += by_level[i] / total * levels[i]
    size_mean = 0.0
    voxels = 0.0
    for j in range(sizes.size):
        size_square = sizes[j] ** 2
        out[0] += by_size[j] / size_square
        out[1] += by_size[j] * size_square
        out[4] += by_size[j] ** 2
        size_mean += by_size[j] / total * sizes[j]
        voxels += by_size[j] * sizes[j]
    for i in range(levels.size):
        out[7] += by_level[i] / total * (levels[i] - level_mean) ** 2
    for j in range(sizes.size):
        out[8] += by_size[j] / total * (sizes[j] - size_mean) ** 2
    out[3] = out[2] / total**2
    out[5] = out[4] / total**2
    out[6] = total / voxels
    for place in (0, 1, 2, 4, 10, 11, 12, 13, 14, 15):
        out[place] /= total
    return out
