"""Normalization, resampling, cropping and resegmentation, step by step as pyradiomics does them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoradiomics.errors import EmptyMaskError, ExtractionError
from oncoradiomics.native.region_of_interest import Box, bounding_box
from oncoradiomics.settings import ExtractionSetting

NOTHING_LEFT = (
    "Nothing of the mask is left after resampling or resegmentation. Contour a larger region or change the settings."
)


@dataclass(frozen=True)
class Lesion:
    """What features are computed from.

    Attributes:
        image: After normalization and resampling.
        box: The lesion's place in the image, (k, j, i).
        region: The voxels within the box that intensities are taken from.
        shape_region: The voxels within the box that the shape is taken from.
        spacing_mm: (k, j, i).
    """

    image: sitk.Image
    box: Box
    region: npt.NDArray[np.bool_]
    shape_region: npt.NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


def prepare(image: sitk.Image, mask: sitk.Image, setting: ExtractionSetting) -> Lesion:
    """Image and lesion as the settings want them.

    Args:
        image: Scalar volume, LPS mm.
        mask: Label map on the image's grid, ``setting.label`` for the lesion.
        setting: The section ``setting``.

    Raises:
        EmptyMaskError: Nothing of the mask is left.
        ExtractionError: What is left is too small for the settings.
    """
    if setting.normalize:
        image = _normalized(image, setting)
    if setting.interpolator is not None and setting.resampled_pixel_spacing_mm is not None:
        image, mask = resampled(image, mask, setting)
    elif setting.pre_crop:
        box = bounding_box(sitk.GetArrayViewFromImage(mask) == setting.label)
        image, mask = _cropped(image, mask, box, setting.pad_distance_voxels)
    whole = np.asarray(sitk.GetArrayViewFromImage(mask) == setting.label)
    if not whole.any():
        raise EmptyMaskError(NOTHING_LEFT)
    box = bounding_box(whole)
    shape_region = region = whole[box]
    require_size(region, setting)
    if setting.resegment_range is not None:
        region = _resegmented(sitk.GetArrayViewFromImage(image)[box], region, setting)
        # pyradiomics cuts the mask that the shape is taken from to the box of the resegmented one.
        inner = bounding_box(region)
        shape_region = (region if setting.resegment_shape else shape_region)[inner]
        region = region[inner]
        box = tuple(  # type: ignore[assignment]
            slice(part.start + cut.start, part.start + cut.stop) for part, cut in zip(box, inner, strict=True)
        )
        require_size(region, setting)
    i, j, k = image.GetSpacing()
    return Lesion(image, box, region, shape_region, (k, j, i))


def require_size(region: npt.NDArray[np.bool_], setting: ExtractionSetting) -> None:
    """Check what is left of a mask, cut to its box.

    Raises:
        ExtractionError: It is too small for the settings.
    """
    extent = sum(size > 1 for size in region.shape)
    if extent == 0:
        raise ExtractionError("The mask is a single voxel. Contour the whole tumor.")
    if extent < setting.minimum_roi_dimensions:
        raise ExtractionError(
            f"The mask extends over {extent} dimensions; these settings need {setting.minimum_roi_dimensions}. "
            "Contour the whole tumor."
        )
    if setting.minimum_roi_size_voxels is not None and region.sum() <= setting.minimum_roi_size_voxels:
        raise ExtractionError(
            f"The mask has {region.sum()} voxels; these settings need more than {setting.minimum_roi_size_voxels}. "
            "Contour the whole tumor."
        )


def _normalized(image: sitk.Image, setting: ExtractionSetting) -> sitk.Image:
    image = sitk.Normalize(image)
    if setting.remove_outliers is not None:
        clipped = sitk.GetImageFromArray(
            np.clip(sitk.GetArrayViewFromImage(image), -setting.remove_outliers, setting.remove_outliers)
        )
        clipped.CopyInformation(image)
        image = clipped
    scaled: sitk.Image = image * setting.normalize_scale
    return scaled


def _cropped(image: sitk.Image, mask: sitk.Image, box: Box, pad: int) -> tuple[sitk.Image, sitk.Image]:
    cut = tuple(
        slice(max(part.start - pad, 0), min(part.stop + pad, size))
        for part, size in zip(box[::-1], image.GetSize(), strict=True)
    )
    return image[cut], mask[cut]


def resampled(image: sitk.Image, mask: sitk.Image, setting: ExtractionSetting) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask on pyradiomics' grid, which begins at the image's corner and covers the lesion and its padding.

    Args:
        image: Scalar volume.
        mask: Label map on the same grid.
        setting: With a spacing to resample to; 0 keeps the spacing of an axis, as does one voxel of lesion along it.
    """
    pad = setting.pad_distance_voxels
    region = np.asarray(sitk.GetArrayViewFromImage(mask) == setting.label)
    box = bounding_box(region)
    lower = np.array([part.start for part in box[::-1]])
    extent = np.array([part.stop - part.start for part in box[::-1]])
    spacing = np.array(mask.GetSpacing())
    wanted = np.array(setting.resampled_pixel_spacing_mm)
    wanted = np.where((wanted == 0) | (extent == 1), spacing, wanted)
    if np.allclose(np.array(image.GetSpacing()), wanted):
        return _cropped(image, mask, box, pad)
    ratio = spacing / wanted
    start = np.maximum(np.floor((lower - 0.5) * ratio - pad), 0)
    stop = np.minimum(np.ceil((lower + extent - 0.5) * ratio + pad), np.ceil(np.array(mask.GetSize()) * ratio) - 1)
    corner = 0.5 * (wanted - spacing) / spacing + start / ratio
    resample = sitk.ResampleImageFilter()
    resample.SetOutputSpacing(wanted.tolist())
    resample.SetOutputDirection(mask.GetDirection())
    resample.SetOutputOrigin(mask.TransformContinuousIndexToPhysicalPoint(corner.tolist()))
    resample.SetSize((stop - start + 1).astype(int).tolist())
    resample.SetInterpolator(interpolator(setting))
    resample.SetOutputPixelType(image.GetPixelID())
    new_image = resample.Execute(image)
    resample.SetInterpolator(sitk.sitkNearestNeighbor)
    resample.SetOutputPixelType(mask.GetPixelID())
    return new_image, resample.Execute(mask)


def interpolator(setting: ExtractionSetting) -> int:
    """SimpleITK's number of the interpolator."""
    name = setting.interpolator
    return int(getattr(sitk, name)) if isinstance(name, str) else int(name or sitk.sitkBSpline)


def _resegmented(
    values: npt.NDArray[np.float64], region: npt.NDArray[np.bool_], setting: ExtractionSetting
) -> npt.NDArray[np.bool_]:
    inside = values[region]
    thresholds = sorted(setting.resegment_range or ())
    if setting.resegment_mode == "relative":
        thresholds = [inside.max() * threshold for threshold in thresholds]
    elif setting.resegment_mode == "sigma":
        thresholds = [inside.mean() + inside.std() * threshold for threshold in thresholds]
    kept = region & (values >= thresholds[0])
    if len(thresholds) > 1:
        kept &= values <= thresholds[1]
    remaining = int(kept.sum())
    if remaining == 0:
        raise EmptyMaskError(NOTHING_LEFT)
    if remaining == 1:
        raise ExtractionError("Resegmentation leaves a single voxel of the mask. Change the settings.")
    return kept
