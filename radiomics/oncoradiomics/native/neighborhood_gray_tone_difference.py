"""Neighborhood gray tone difference features (IBSI 3.10)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoradiomics.native.discretization import GrayLevels

_COARSENESS_OF_A_FLAT_REGION = 1e6


def tone_difference_features(differences: npt.NDArray[np.float64], gray: GrayLevels) -> dict[str, float]:
    """Features of the tone differences.

    Args:
        differences: Sum over the voxels of each level of the distance to the mean level of their neighbors.
        gray: The gray levels and how many voxels have each.
    """
    levels = gray.levels[1:].astype(np.float64)
    voxels = float(gray.counts.sum())
    probability = gray.counts / voxels
    total = float(differences.sum())
    weighted = probability * differences
    coarseness = float(weighted.sum())
    apart = levels[:, None] - levels[None, :]
    pairs = levels.size * (levels.size - 1)
    contrast = float(np.sum(probability[:, None] * probability[None, :] * apart**2)) * total / voxels
    expected = levels * probability
    busy = float(np.abs(expected[:, None] - expected[None, :]).sum())
    both = probability[:, None] + probability[None, :]
    complexity = float(np.sum(np.abs(apart) * (weighted[:, None] + weighted[None, :]) / both)) / voxels
    strength = float(np.sum(both * apart**2))
    return {
        "Busyness": coarseness / busy if busy != 0 else 0.0,
        "Coarseness": 1 / coarseness if coarseness != 0 else _COARSENESS_OF_A_FLAT_REGION,
        "Complexity": complexity,
        "Contrast": contrast / pairs if pairs else 0.0,
        "Strength": strength / total if total != 0 else 0.0,
    }
