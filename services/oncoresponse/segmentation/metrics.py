"""Agreement of two masks on one grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def dice(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Dice coefficient of two masks, 0 to 1; 1 where both are empty (Dice 1945, doi:10.2307/1932409)."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    if total == 0:
        return 1.0
    return 2.0 * np.count_nonzero(np.logical_and(first, second)) / total


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
