"""The mean Dice of a cohort with what it may be by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_BOOTSTRAP_SAMPLES = 10_000


def mean_dice(scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Mean over patients, its 95 % interval by bootstrap over patients (seeded), and the lowest."""
    random = np.random.default_rng(0)
    means = scores[random.integers(len(scores), size=(_BOOTSTRAP_SAMPLES, len(scores)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "mean": round(float(scores.mean()), 4),
        "mean_95_percent_interval": [round(float(low), 4), round(float(high), 4)],
        "lowest": round(float(scores.min()), 4),
    }
