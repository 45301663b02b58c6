"""Images on the grid a network wants, and its probability back on the grid of the image that is contoured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.case.volume import Volume, same_grid
from oncoresponse.errors import GeometryMismatch, SeriesNotFound
from oncoresponse.segmentation.input_images import InputImages

_SPACING_TOLERANCE = 1e-6


def network_grid(
    reference: sitk.Image, orientation: str, spacing_mm: tuple[float, float, float] | None = None
) -> sitk.Image:
    """The grid over the whole field of view of an image, concentric with it.

    Args:
        reference: Any orientation, also oblique; the axes stay the image's own, reordered and turned.
        orientation: Where the axes shall point to, nearest of the patient axes (``LPS``, ``RAS``...).
        spacing_mm: Along the axes of the result; None keeps the voxels as they are.

    Returns:
        An image without meaning that has the grid.
    """
    template = sitk.Image(reference.GetSize(), sitk.sitkUInt8)
    template.CopyInformation(reference)
    oriented: sitk.Image = sitk.DICOMOrient(template, orientation)
    if spacing_mm is None:
        return oriented
    extent = np.array(oriented.GetSize()) * np.array(oriented.GetSpacing())
    size = np.maximum(np.ceil(extent / np.array(spacing_mm) - _SPACING_TOLERANCE), 1).astype(int)
    centre = oriented.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in oriented.GetSize()])
    direction = np.array(oriented.GetDirection()).reshape(3, 3)
    grid = sitk.Image([int(count) for count in size], sitk.sitkUInt8)
    grid.SetSpacing(spacing_mm)
    grid.SetOrigin((np.array(centre) - direction @ ((size - 1) / 2 * np.array(spacing_mm))).tolist())
    grid.SetDirection(oriented.GetDirection())
    return grid


def image_of_role(images: InputImages, input_role: str) -> Volume:
    """The image that a network reads for an input.

    Raises:
        SeriesNotFound: There is none.
    """
    found = images.by_role.get(input_role)
    if found is None:
        raise SeriesNotFound(
            f"The network of this model needs the {input_role} image as well. Send it, or supply a contour.",
            input_role=input_role,
        )
    return found


def sample_channels(
    images: InputImages, channels: Sequence[tuple[str, float]], grid: sitk.Image
) -> npt.NDArray[np.float32]:
    """Images, each in its own unit, at the voxel centres of a grid, linearly interpolated.

    Args:
        images: Of the study.
        channels: Input role, and the value of what lies outside that image.
        grid: See :func:`network_grid`.

    Returns:
        float32, axes (channel, k, j, i) of the grid.

    Raises:
        SeriesNotFound: A channel asks for an image that is not there.
    """
    return np.stack([_sampled(image_of_role(images, role).image, grid, outside) for role, outside in channels])


def probability_on_image(probability: npt.NDArray[np.float32], grid: sitk.Image, target: Volume) -> sitk.Image:
    """A probability, axes (k, j, i) on a grid, linearly interpolated at the voxel centres of an image; 0 outside."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(probability, dtype=np.float32))
    image.CopyInformation(grid)
    resampled: sitk.Image = sitk.Resample(image, target.image, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return resampled


def coverage_of(images: InputImages, input_role: str, minimum: float) -> float:
    """Share of the voxels of the contoured image whose centres lie inside the image of another input.

    Raises:
        SeriesNotFound: There is no image for the input.
        GeometryMismatch: It is below ``minimum``.
    """
    other = image_of_role(images, input_role).image
    inside = sitk.Image(other.GetSize(), sitk.sitkUInt8) + 1
    inside.CopyInformation(other)
    target = images.contoured.image
    covered = sitk.Resample(inside, target, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    coverage = float(sitk.GetArrayViewFromImage(covered).mean())
    if coverage < minimum:
        raise GeometryMismatch(
            f"The {input_role} image covers {100 * coverage:.0f} % of the field of view of the {images.segment_on} "
            f"image; the network needs at least {100 * minimum:.0f} %. Send series of the same part of the body.",
            coverage=f"{coverage:.3f}",
        )
    return coverage


def _sampled(image: sitk.Image, grid: sitk.Image, outside: float) -> npt.NDArray[np.float32]:
    oriented = sitk.DICOMOrient(
        image, sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(grid.GetDirection())
    )
    if same_grid(oriented, grid):
        same: npt.NDArray[np.float32] = sitk.GetArrayFromImage(oriented).astype(np.float32)
        return same
    resampled = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, outside, sitk.sitkFloat32)
    array: npt.NDArray[np.float32] = sitk.GetArrayFromImage(resampled)
    return array
