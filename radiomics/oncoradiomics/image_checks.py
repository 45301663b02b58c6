"""Checks that come before any number is computed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoradiomics.errors import EmptyMaskError, ExtractionError, GeometryError

# Headers that describe one grid differ in the last digit of a decimal string; a tenth of a micrometre is far above
# that and far below anything anatomical.
_POSITION_TOLERANCE_MM = 1e-4
_SPACING_TOLERANCE_MM = 1e-5
_DIRECTION_TOLERANCE = 1e-5
_DIMENSIONS = 3


def lesion_region(image: sitk.Image, mask: sitk.Image, label: int = 1) -> npt.NDArray[np.bool_]:
    """Where the mask has ``label``, after image and mask are found to belong together.

    Args:
        image: Three-dimensional scalar image, LPS mm.
        mask: Label map on the image's grid.
        label: The mask's value inside the tumor.

    Returns:
        Boolean array with axes (k, j, i).

    Raises:
        GeometryError: Image and mask differ in size, spacing, origin or direction, or are not three-dimensional.
        EmptyMaskError: No voxel has the label.
        ExtractionError: The mask is not a map of whole numbers, or the image has no finite value in the tumor.
    """
    if image.GetDimension() != _DIMENSIONS or mask.GetDimension() != _DIMENSIONS:
        raise GeometryError("Image and mask must have three dimensions. Send whole volumes.")
    if image.GetNumberOfComponentsPerPixel() != 1 or mask.GetNumberOfComponentsPerPixel() != 1:
        raise ExtractionError("Image and mask must have one value a voxel. Send a scalar image and a label map.")
    if not (
        image.GetSize() == mask.GetSize()
        and np.allclose(image.GetSpacing(), mask.GetSpacing(), rtol=0, atol=_SPACING_TOLERANCE_MM)
        and np.allclose(image.GetOrigin(), mask.GetOrigin(), rtol=0, atol=_POSITION_TOLERANCE_MM)
        and np.allclose(image.GetDirection(), mask.GetDirection(), rtol=0, atol=_DIRECTION_TOLERANCE)
    ):
        raise GeometryError(
            "Image and mask are on different voxel grids. Draw or resample the mask on the image's own grid."
        )
    if mask.GetPixelID() in {sitk.sitkFloat32, sitk.sitkFloat64}:
        raise ExtractionError("The mask holds decimal numbers. Send a label map of whole numbers.")
    region = np.asarray(sitk.GetArrayViewFromImage(mask) == label)
    if not region.any():
        raise EmptyMaskError(f"The mask has no voxel with label {label}. Contour the tumor.")
    if not np.isfinite(sitk.GetArrayViewFromImage(image)[region]).all():
        raise ExtractionError("The image has voxels without a finite value inside the tumor. Send a complete image.")
    return region
