"""What can be contoured without looking at the image: an ellipsoid inside the borders of the cropped images.

The images of a cohort that were cropped at one distance from the contour give the contour away by their borders. A
network that does not do better than this has learned nothing else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk


def ellipsoid_within_borders(image: sitk.Image, margin_mm: float) -> npt.NDArray[np.bool_]:
    """Voxels of the ellipsoid whose box lies ``margin_mm`` inside the borders of an image.

    Args:
        image: Only its size and spacing are read.
        margin_mm: Distance (mm) of the ellipsoid's box from each face of the image; a semi-axis is at least one
            voxel.

    Returns:
        Axes (k, j, i).
    """
    inside = np.zeros(image.GetSize()[::-1])
    for axis, (size, spacing) in enumerate(zip(image.GetSize()[::-1], image.GetSpacing()[::-1], strict=True)):
        half_mm = size * spacing / 2
        from_center = ((np.arange(size) + 0.5) * spacing - half_mm) / max(half_mm - margin_mm, spacing)
        inside += (from_center**2).reshape([-1 if other == axis else 1 for other in range(3)])
    return np.asarray(inside <= 1)
