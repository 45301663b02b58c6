"""Agreement of two masks on one grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def dice(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Dice coefficient of two masks, 0 to 1; 1 where both are empty (Dice 1945)."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    if total == 0:
        return 1.0
    return 2.0 * np.count_nonzero(np.logical_and(first, second)) / total
