"""The fixed SUV thresholds that clinics contour FDG-PET with, as the yardstick of the network.

Each is applied to all voxels of the image it is given: there is no manual removal of physiological uptake.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def fixed_suv(suv: npt.NDArray[Any], threshold: float) -> npt.NDArray[np.bool_]:
    """Voxels with at least ``threshold`` g/mL (body weight); 2.5 is the usual choice, 2.0 a lower one."""
    return np.asarray(suv >= threshold)


def share_of_maximum(
    suv: npt.NDArray[Any], share: float, region: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Voxels with at least ``share`` of the SUVmax; 0.41 is what EANM names (Boellaard 2015).

    Args:
        suv: Body-weight SUV, any shape.
        share: 0 to 1.
        region: Where the maximum is looked for and the mask may lie; the whole image where None.
    """
    inside = np.ones(suv.shape, dtype=bool) if region is None else region
    return np.asarray((suv >= share * suv[inside].max()) & inside)
