"""All lesions of a report in one map, as the key image and the DICOM segmentation show them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_grid
from oncoresponse.errors import EmptyMask, InvalidRequest


def lesion_map(masks: Iterable[Volume]) -> Volume:
    """The number of the lesion at each voxel, 0 elsewhere (uint8), on the grid of the masks.

    Args:
        masks: One for each lesion, in the order of their numbers; 0 or 1, LPS, all on one grid. They are asked for one
            after another, so that those of a whole-body scan need not be in memory together.

    Raises:
        EmptyMask: A mask holds no voxel.
        GeometryMismatch, FrameOfReferenceMismatch: The masks are on different grids.
        InvalidRequest: There is no mask, or two share a voxel.
    """
    first: Volume | None = None
    numbers = np.zeros(0, np.uint8)
    for number, mask in enumerate(masks, start=1):
        inside = np.asarray(mask.array) > 0
        if first is None:
            first, numbers = mask, np.zeros(inside.shape, np.uint8)
        require_same_grid(first, mask)
        if not inside.any():
            raise EmptyMask("The tumor mask is empty. Draw a contour, or check the segmentation.")
        if numbers[inside].any():
            raise InvalidRequest("Two lesions share a voxel. Pass the case on unchanged.")
        numbers[inside] = number
    if first is None:
        raise InvalidRequest("A report needs a lesion.")
    image = sitk.GetImageFromArray(numbers)
    image.CopyInformation(first.image)
    return first.with_image(image, Quantity.MASK)
