"""Gray level dependence features (IBSI 3.11: neighboring gray level dependence)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoradiomics.native import size_matrix_features as sums
from oncoradiomics.native.discretization import GrayLevels

FEATURES = {
    "DependenceEntropy": sums.ENTROPY,
    "DependenceNonUniformity": sums.SIZE_NONUNIFORMITY,
    "DependenceNonUniformityNormalized": sums.SIZE_NONUNIFORMITY_NORMALIZED,
    "DependenceVariance": sums.SIZE_VARIANCE,
    "GrayLevelNonUniformity": sums.LEVEL_NONUNIFORMITY,
    "GrayLevelVariance": sums.LEVEL_VARIANCE,
    "HighGrayLevelEmphasis": sums.HIGH_LEVEL,
    "LargeDependenceEmphasis": sums.LARGE,
    "LargeDependenceHighGrayLevelEmphasis": sums.LARGE_HIGH,
    "LargeDependenceLowGrayLevelEmphasis": sums.LARGE_LOW,
    "LowGrayLevelEmphasis": sums.LOW_LEVEL,
    "SmallDependenceEmphasis": sums.SMALL,
    "SmallDependenceHighGrayLevelEmphasis": sums.SMALL_HIGH,
    "SmallDependenceLowGrayLevelEmphasis": sums.SMALL_LOW,
}


def dependence_features(counts: npt.NDArray[np.int64], gray: GrayLevels) -> dict[str, float]:
    """Features of the dependence matrix.

    Args:
        counts: Voxels by level and number of dependent neighbors, shape (levels, neighbors + 1).
        gray: The gray levels.
    """
    # A voxel depends on itself, so the sizes begin at 1.
    sizes = np.arange(1.0, counts.shape[1] + 1)
    values = sums.size_matrix_features(counts.astype(np.float64), gray.levels[1:].astype(np.float64), sizes)
    return {name: float(values[place]) for name, place in FEATURES.items()}
