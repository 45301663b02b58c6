"""Distance of the surfaces of two masks on one grid."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance


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
