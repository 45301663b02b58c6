"""Agreement of two masks on one grid."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance


def dice(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Dice coefficient of two masks, 0 to 1; 1 where both are empty (Dice 1945, doi:10.2307/1932409)."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    if total == 0:
        return 1.0
    return 2.0 * np.count_nonzero(np.logical_and(first, second)) / total


def hausdorff_95_mm(first: npt.NDArray[Any], second: npt.NDArray[Any], spacing_mm: tuple[float, float, float]) -> float:
    """95 % Hausdorff distance of two mask surfaces, mm: the larger of the two directed 95th percentiles (MONAI).

    Args:
        first: Non-zero is inside, axes (k, j, i).
        second: On the same grid.
        spacing_mm: Along i, j, k, the order of SimpleITK.

    Returns:
        NaN where either mask is empty: there is no surface to measure to.
    """
    if not np.any(first) or not np.any(second):
        return float("nan")
    one, two = (torch.from_numpy(np.ascontiguousarray(mask != 0))[None, None] for mask in (first, second))
    with warnings.catch_warnings():
        # MONAI 1.6 calls its own function with an argument that it has deprecated.
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        distance = compute_hausdorff_distance(
            one, two, include_background=True, percentile=95, spacing=list(reversed(spacing_mm))
        )
    return float(distance)


def volume_error_percent(predicted: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """Signed error of the predicted volume, in percent of the reference volume."""
    return 100.0 * (np.count_nonzero(predicted) / np.count_nonzero(reference) - 1.0)


def soft_dice_confidence(probability: npt.NDArray[Any], mask: npt.NDArray[Any]) -> float:
    """Dice that a probability map expects of its own mask, 0 to 1.

    Twice the probability inside the mask over the sum of all probability and the mask's size (Borges et al. 2024,
    arXiv:2402.10665). Confined by the caller to the region the mask may come from.
    """
    inside = mask != 0
    total = float(probability.sum(dtype=np.float64)) + np.count_nonzero(inside)
    return 2.0 * float(probability[inside].sum(dtype=np.float64)) / total if total > 0 else 0.0


def mean_binary_entropy(probability: npt.NDArray[Any], mask: npt.NDArray[Any]) -> float:
    """Mean entropy (bit, 0 to 1) of the probability inside a mask; 0 for an empty mask."""
    inside = probability[mask != 0].astype(np.float64)
    if inside.size == 0:
        return 0.0
    inside = np.clip(inside, 1e-7, 1 - 1e-7)
    return float(np.mean(-inside * np.log2(inside) - (1 - inside) * np.log2(1 - inside)))
