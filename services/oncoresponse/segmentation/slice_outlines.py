"""Polygons in patient coordinates to the voxels of a slice that they enclose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from skimage.draw import polygon2mask

from oncoresponse.errors import InvalidRequest
from oncoresponse.segmentation.lesion_prompt import Coordinates
from oncoresponse.segmentation.refinement import OutlinedSlice

_FROM_PLANE_SLICES = 0.5


def outlined_slice(
    on_slice: Coordinates, polygons: Sequence[Sequence[Coordinates]], image: sitk.Image
) -> OutlinedSlice:
    """The slice that polygons outline; a voxel belongs to it where its centre lies in an odd number of them.

    Args:
        on_slice: A place in the slice (LPS, mm).
        polygons: Closed, in that slice (LPS, mm); none where the lesion does not reach it.
        image: That is contoured; its third axis numbers the slices.

    Raises:
        InvalidRequest: The place is in no slice of the image, or a corner lies half a slice or more beside it.
    """
    columns, rows, slices = image.GetSize()
    index = round(image.TransformPhysicalPointToContinuousIndex(on_slice)[2])
    if not 0 <= index < slices:
        raise InvalidRequest("An outlined slice lies outside the contoured image. Outline its slices (LPS, mm).")
    inside: npt.NDArray[np.bool_] = np.zeros((rows, columns), dtype=bool)
    for polygon in polygons:
        corners = np.array([image.TransformPhysicalPointToContinuousIndex(corner) for corner in polygon])
        if (np.abs(corners[:, 2] - index) >= _FROM_PLANE_SLICES).any():
            raise InvalidRequest(
                "A corner of an outline lies outside its slice. Outline in the slices of the contoured image, not in a "
                "plane across them."
            )
        inside ^= polygon2mask(inside.shape, corners[:, [1, 0]])  # type: ignore[no-untyped-call]
    return OutlinedSlice(index, inside)
