"""A mask of one grid on another, for features in another image than the one that was contoured."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_frame_of_reference, same_grid
from oncoresponse.errors import EmptyMask, GeometryMismatch

_INSIDE = 0.5
# Half a voxel beyond the outermost centers belongs to an image; the rest is for rounded positions.
_HALF_VOXEL = 0.501
# Of a voxel of the mask: far above rounding, far below anything that changes a volume.
_TIE_SHIFT = 1e-3


def mask_on_grid(mask: Volume, target: Volume) -> Volume:
    """Sample a mask at the voxel centers of another image of the same frame of reference.

    The mask is interpolated linearly and a center is inside from 0.5 on (IBSI reference manual, interpolation of the
    ROI mask). Between two centers, of which one is inside, 0.5 lies in the middle, where their voxels meet: a flat
    border stays where it is, and an oblique one becomes smooth, where the nearest voxel would keep its staircase.
    Convex borders are rounded a little: a sphere with a radius of six voxels of the mask loses 1 % of its volume, one
    of two and a half voxels 6 %. Centers exactly in the middle, as on a grid that halves the voxels, go to one side
    of the lesion and not to the other, as it would else gain or lose a layer on both.

    Args:
        mask: ``Quantity.MASK``, 0 and 1.
        target: An image; only its grid and series are used.

    Returns:
        ``Quantity.MASK``, uint8 0 and 1, on the grid of the target; the mask itself where it is on that grid.

    Raises:
        FrameOfReferenceMismatch: Mask and image have different frames of reference.
        GeometryMismatch: Part of the mask lies outside the image.
        EmptyMask: The mask is empty, or lies between all voxel centers.
    """
    require_same_frame_of_reference(mask, target)
    if same_grid(mask.image, target.image):
        return target.with_image(mask.image, Quantity.MASK)
    _require_inside(mask.image, target.image)
    # The direction matrix turns the shift along the mask's index axes into millimeters (LPS).
    shift = np.reshape(mask.image.GetDirection(), (3, 3)) @ (_TIE_SHIFT * np.array(mask.image.GetSpacing()))
    share = sitk.Resample(
        sitk.Cast(mask.image > 0, sitk.sitkFloat32),
        target.image,
        sitk.TranslationTransform(3, (-shift).tolist()),
        sitk.sitkLinear,
        0.0,
        sitk.sitkFloat32,
    )
    sampled = sitk.Cast(share >= _INSIDE, sitk.sitkUInt8)
    if not sitk.GetArrayViewFromImage(sampled).any():
        raise EmptyMask("The contour encloses no voxel center of the image in which it shall be measured.")
    return target.with_image(sampled, Quantity.MASK)


def _require_inside(mask: sitk.Image, target: sitk.Image) -> None:
    k, j, i = np.nonzero(sitk.GetArrayViewFromImage(mask))
    if not len(k):
        raise EmptyMask("The contour encloses no voxel. Check that it is the one that is meant.")
    index = np.stack([i, j, k], axis=1) @ _index_to_patient(mask).T + np.array(mask.GetOrigin())
    found = (index - np.array(target.GetOrigin())) @ np.linalg.inv(_index_to_patient(target)).T
    outside = ((found < -_HALF_VOXEL) | (found > np.array(target.GetSize()) - 1 + _HALF_VOXEL)).any(axis=1)
    if outside.any():
        share = 100 * float(outside.mean())
        raise GeometryMismatch(
            f"{max(share, 0.1):.1f} % of the contour lies outside the image in which it shall be measured. Send a "
            "series that shows all of it."
        )


def _index_to_patient(image: sitk.Image) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.asarray(np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing()), np.float64)
