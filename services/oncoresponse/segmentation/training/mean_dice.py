"""The mean Dice of a cohort with what it may be by chance, and choices that leave a patient's own fold out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_BOOTSTRAP_SAMPLES = 10_000


def interval_of_mean(scores: npt.NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean over patients, by bootstrap over patients (seeded)."""
    random = np.random.default_rng(0)
    means = scores[random.integers(len(scores), size=(_BOOTSTRAP_SAMPLES, len(scores)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def mean_dice(scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Mean over patients, its 95 % interval, and the lowest."""
    low, high = interval_of_mean(scores)
    return {
        "mean": round(float(scores.mean()), 4),
        "mean_95_percent_interval": [round(low, 4), round(high, 4)],
        "lowest": round(float(scores.min()), 4),
    }


def best_on_other_folds(scores: npt.NDArray[np.float64], folds: npt.NDArray[np.int64]) -> list[int]:
    """For each patient (row) the candidate (column) with the best mean over the patients of the other folds."""
    return [int(scores[folds != fold].mean(axis=0).argmax()) for fold in folds]
