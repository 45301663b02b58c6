"""Other contours that are as plausible as the one a physician supplied."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume


def variants_of_contour(mask: Volume) -> dict[str, Volume]:
    """The contour eroded (``smaller``) and dilated (``larger``) by one voxel across each face.

    A voxel of a clinical PET, 3 to 6 mm, is about what two physicians differ by at the rim of a tumor. A variant that
    would be empty is left out.
    """
    changed = {
        "smaller": sitk.BinaryErode(mask.image, [1, 1, 1], sitk.sitkCross),
        "larger": sitk.BinaryDilate(mask.image, [1, 1, 1], sitk.sitkCross),
    }
    return {
        name: mask.with_image(image, Quantity.MASK)
        for name, image in changed.items()
        if np.any(sitk.GetArrayViewFromImage(image))
    }
