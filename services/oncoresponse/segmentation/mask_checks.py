"""What a mask must satisfy before features are computed from it, whoever drew it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from oncoresponse.errors import EmptyMask, MaskTouchesBorder, TumorTooLarge, TumorTooSmall
from oncoresponse.model_folder import TumorLimits
from oncoresponse.volume import Volume


@dataclass(frozen=True)
class MaskMeasures:
    """Plain facts about a mask.

    Attributes:
        volume_ml: Voxel count times voxel volume.
        component_count: Face-connected (6-neighborhood) parts.
        touches_border: See :func:`touches_border`.
    """

    volume_ml: float
    component_count: int
    touches_border: bool


def touches_border(mask: sitk.Image) -> bool:
    """Whether a non-zero voxel lies in the outermost layer of the grid, on any of its six faces.

    Such a tumor may continue beyond the image, so its volume, diameters and texture would be those of a part.
    """
    return next(open_faces(mask), None) is not None


def open_faces(mask: sitk.Image) -> Iterator[tuple[int, int]]:
    """Faces of the grid whose outermost layer holds a non-zero voxel: (axis of i, j, k; 0 for its start, 1 its end)."""
    array = sitk.GetArrayViewFromImage(mask)
    for axis in range(array.ndim):
        for end in (0, 1):
            if np.any(array.take(-end, axis=array.ndim - 1 - axis)):
                yield axis, end


def measure_mask(mask: sitk.Image) -> MaskMeasures:
    """Volume, parts and border contact of a mask image (non-zero is tumor)."""
    array = sitk.GetArrayViewFromImage(mask)
    components = sitk.ConnectedComponent(mask != 0, False)
    count = int(sitk.GetArrayViewFromImage(components).max(initial=0))
    volume_ml = float(np.count_nonzero(array) * np.prod(mask.GetSpacing()) / 1000)
    return MaskMeasures(volume_ml, count, touches_border(mask))


def check_mask(mask: Volume, limits: TumorLimits) -> MaskMeasures:
    """Refuse a mask whose features nobody should believe.

    Raises:
        EmptyMask: No voxel is set.
        TumorTooSmall: Below the model's smallest volume.
        TumorTooLarge: Above the model's largest volume.
        MaskTouchesBorder: The tumor reaches the edge of the image, so part of it may be missing.
    """
    measures = measure_mask(mask.image)
    if measures.volume_ml == 0:
        raise EmptyMask(
            "The tumor mask is empty. Check that the contour lies on this scan, or supply a contour drawn on it."
        )
    if measures.volume_ml < limits.minimum_volume_ml:
        raise TumorTooSmall(
            f"The tumor mask has {measures.volume_ml:.2f} ml; this model needs at least {limits.minimum_volume_ml:g} "
            "ml. Check the contour, or supply another one.",
            volume_ml=f"{measures.volume_ml:.3f}",
            minimum_volume_ml=limits.minimum_volume_ml,
        )
    if measures.volume_ml > limits.maximum_volume_ml:
        raise TumorTooLarge(
            f"The tumor mask has {measures.volume_ml:.0f} ml; this model takes at most {limits.maximum_volume_ml:g} "
            "ml. Check the contour, or supply another one.",
            volume_ml=f"{measures.volume_ml:.3f}",
            maximum_volume_ml=limits.maximum_volume_ml,
        )
    if measures.touches_border:
        raise MaskTouchesBorder(
            "The tumor mask touches the border of the image, so part of the tumor may lie outside it. Send a scan that "
            "covers the whole tumor, or supply a contour that ends inside the image."
        )
    return measures
