"""Intensity-based statistics (IBSI 3.3) and the two intensity histogram features pyradiomics counts among them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

EPSILON = float(np.spacing(1))
"""pyradiomics adds it inside logarithms."""


def intensity_statistics(
    values: npt.NDArray[np.float64],
    level_counts: npt.NDArray[np.int64],
    voxel_volume_mm3: float,
    shift: int,
    *,
    excess_kurtosis: bool = False,
) -> dict[str, float]:
    """First-order features of the lesion's voxels.

    Args:
        values: Intensities, any order.
        level_counts: Voxels of each gray level that occurs.
        voxel_volume_mm3: For the total energy.
        shift: Added to the intensities before energy and root mean square.
        excess_kurtosis: Subtract 3 from kurtosis, as IBSI defines it.

    Returns:
        Feature name to value.
    """
    ordered = np.sort(values)
    count = ordered.size
    mean = ordered.mean()
    deviation = values - mean
    square = deviation * deviation
    second = square.mean()
    tenth, quarter, median, three_quarters, ninetieth = (_percentile(ordered, q) for q in (10, 25, 50, 75, 90))
    within = ordered[np.searchsorted(ordered, tenth) : np.searchsorted(ordered, ninetieth, side="right")]
    energy = float(np.square(values + shift).sum())
    probabilities = level_counts / count
    # Of a flat region the moments of higher order are 0 and stay so.
    divisor = second if second != 0 else 1.0
    return {
        "10Percentile": tenth,
        "90Percentile": ninetieth,
        "Energy": energy,
        "Entropy": -float(np.sum(probabilities * np.log2(probabilities + EPSILON))),
        "InterquartileRange": three_quarters - quarter,
        "Kurtosis": float((square * square).mean() / divisor**2) - 3 * excess_kurtosis,
        "Maximum": float(ordered[-1]),
        "Mean": float(mean),
        "MeanAbsoluteDeviation": float(np.abs(deviation).mean()),
        "Median": median,
        "Minimum": float(ordered[0]),
        "Range": float(ordered[-1] - ordered[0]),
        "RobustMeanAbsoluteDeviation": float(np.abs(within - within.mean()).mean()) if within.size else math.nan,
        "RootMeanSquared": float(np.sqrt(energy / count)),
        "Skewness": float((square * deviation).mean() / divisor**1.5),
        "StandardDeviation": float(np.sqrt(second)),
        "TotalEnergy": energy * voxel_volume_mm3,
        "Uniformity": float(np.sum(probabilities**2)),
        "Variance": float(second),
    }


def _percentile(ordered: npt.NDArray[np.float64], percent: float) -> float:
    """Linear interpolation between the two nearest ranks, numpy's default."""
    place = percent / 100 * (ordered.size - 1)
    below = int(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
    weight = place - below
    return low + (high - low) * weight if weight < 0.5 else high - (high - low) * (1 - weight)
