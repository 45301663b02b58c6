"""PET and CT on the grid a network wants, and its probability back on the PET grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.case.volume import Volume, same_grid
from oncoresponse.errors import GeometryMismatch, SeriesNotFound
from oncoresponse.segmentation.external.declaration import Modality

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


def sample_channels(
    pet: Volume, ct: Volume | None, channels: Sequence[tuple[Modality, float]], grid: sitk.Image
) -> npt.NDArray[np.float32]:
    """PET (g/mL) and CT (HU) at the voxel centres of a grid, linearly interpolated.

    Args:
        pet: The PET.
        ct: The CT, where a channel asks for it.
        channels: Modality, and the value of what lies outside that image.
        grid: See :func:`network_grid`.

    Returns:
        float32, axes (channel, k, j, i) of the grid.

    Raises:
        SeriesNotFound: A channel asks for a CT and there is none.
    """
    return np.stack([_sampled(_image_of(modality, pet, ct), grid, outside) for modality, outside in channels])


def reference_image(reference: Modality, pet: Volume, ct: Volume | None) -> sitk.Image:
    """The image whose field of view the network sees.

    Raises:
        SeriesNotFound: It is the CT and there is none.
    """
    return _image_of(reference, pet, ct)


def probability_on_pet(probability: npt.NDArray[np.float32], grid: sitk.Image, pet: Volume) -> sitk.Image:
    """A probability, axes (k, j, i) on a grid, linearly interpolated at the voxel centres of the PET; 0 outside."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(probability, dtype=np.float32))
    image.CopyInformation(grid)
    resampled: sitk.Image = sitk.Resample(image, pet.image, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return resampled


def ct_coverage(pet: Volume, ct: Volume, minimum: float) -> float:
    """Share of the PET voxels whose centres lie inside the CT.

    Raises:
        GeometryMismatch: It is below ``minimum``.
    """
    inside = sitk.Image(ct.image.GetSize(), sitk.sitkUInt8) + 1
    inside.CopyInformation(ct.image)
    covered = sitk.Resample(inside, pet.image, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    coverage = float(sitk.GetArrayViewFromImage(covered).mean())
    if coverage < minimum:
        raise GeometryMismatch(
            f"The CT covers {100 * coverage:.0f} % of the PET field of view; the network needs at least "
            f"{100 * minimum:.0f} %. Send the CT of the same bed positions.",
            coverage=f"{coverage:.3f}",
        )
    return coverage


def _image_of(modality: Modality, pet: Volume, ct: Volume | None) -> sitk.Image:
    if modality == "PT":
        return pet.image
    if ct is None:
        raise SeriesNotFound(
            "The network of this model needs the CT as well. Send it, or supply a contour.", modality="CT"
        )
    return ct.image


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
