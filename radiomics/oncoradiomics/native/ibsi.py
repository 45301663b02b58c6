"""Features by the letter of the IBSI manual (doi:10.48550/arXiv.1612.07003) where pyradiomics departs from it.

What differs from the other settings of the native engine:

- resampling aligns the centers of the old and new grid and takes a voxel into the mask from half its volume (2.4, 2.5);
- outliers are removed after resegmentation to a range (2.6), and the shape is always that of the whole mask;
- bins of fixed size start at the lower bound of the resegmentation range, or at the lowest intensity (2.7);
- kurtosis is the excess over 3, and axis lengths take the covariance of a sample, which the reference values need.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoradiomics.errors import EmptyMaskError
from oncoradiomics.native.discretization import GrayLevels, gray_levels
from oncoradiomics.native.engine import chosen, image_features
from oncoradiomics.native.morphology import shape_features
from oncoradiomics.native.preprocessing import NOTHING_LEFT, interpolator, require_size
from oncoradiomics.native.region_of_interest import RegionOfInterest, bounding_box
from oncoradiomics.settings import ExtractionSetting, Settings

_HALF_A_VOXEL = 0.5


def compute(image: sitk.Image, mask: sitk.Image, settings: Settings) -> dict[str, float]:
    """Features by pyradiomics' names.

    Args:
        image: Scalar volume, LPS mm. If all voxels are whole numbers, as Hounsfield units are, they are
            rounded after resampling.
        mask: Label map on the image's grid.
        settings: With ``setting.ibsi``. ``removeOutliers`` is the number of standard deviations beyond which voxels are
            left out of the intensity mask.

    Raises:
        EmptyMaskError: Nothing of the mask is left after resampling or resegmentation.
        ExtractionError: What is left is too small for the settings.
    """
    setting = settings.setting
    region = sitk.Cast(sitk.Equal(mask, setting.label), sitk.sitkFloat32)
    if setting.resampled_pixel_spacing_mm is not None and setting.interpolator is not None:
        image, region = _resampled(image, region, setting)
    morphological = sitk.GetArrayViewFromImage(region) >= _HALF_A_VOXEL
    if not morphological.any():
        raise EmptyMaskError(NOTHING_LEFT)
    box = bounding_box(morphological)
    morphological = morphological[box]
    require_size(morphological, setting)
    i, j, k = image.GetSpacing()
    values = sitk.GetArrayFromImage(image)[box]
    intensity = _resegmented(values, morphological, setting)
    found: dict[str, float] = {}
    if "shape" in settings.feature_classes:
        shape = shape_features(morphological, (k, j, i), unbiased_axes=True)
        found |= chosen(shape, settings.feature_classes["shape"], "original_shape")
    classes = {name: names for name, names in settings.feature_classes.items() if name != "shape"}
    inner = bounding_box(intensity)
    roi = RegionOfInterest(intensity[inner], (k, j, i), max(setting.distances_voxels))
    inside = values[intensity]
    return found | image_features(
        "original", inside, _discretized(inside, setting), roi, setting, classes, excess_kurtosis=True
    )


def _resampled(image: sitk.Image, region: sitk.Image, setting: ExtractionSetting) -> tuple[sitk.Image, sitk.Image]:
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    wanted = np.array(setting.resampled_pixel_spacing_mm)
    wanted = np.where(wanted == 0, spacing, wanted)
    # The rounding of spacings in a header must not add a voxel.
    new_size = np.ceil(np.round(size * spacing / wanted, 6)).astype(int)
    first = ((size - 1) / 2 * spacing - (new_size - 1) / 2 * wanted) / spacing
    resample = sitk.ResampleImageFilter()
    resample.SetOutputSpacing(wanted.tolist())
    resample.SetOutputDirection(image.GetDirection())
    resample.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint(first.tolist()))
    resample.SetSize(new_size.tolist())
    resample.SetUseNearestNeighborExtrapolator(True)
    resample.SetInterpolator(interpolator(setting))
    array = sitk.GetArrayViewFromImage(image)
    whole_numbers = bool(np.array_equal(array, np.round(array)))
    new_image = resample.Execute(sitk.Cast(image, sitk.sitkFloat64))
    if whole_numbers:
        new_image = sitk.Round(new_image)
    resample.SetInterpolator(sitk.sitkLinear)
    return new_image, resample.Execute(region)


def _resegmented(
    values: npt.NDArray[np.float64], region: npt.NDArray[np.bool_], setting: ExtractionSetting
) -> npt.NDArray[np.bool_]:
    kept = region.copy()
    if setting.resegment_range is not None and setting.resegment_mode == "absolute":
        bounds = sorted(setting.resegment_range)
        kept &= (values >= bounds[0]) & (values <= (bounds[1] if len(bounds) > 1 else math.inf))
    if setting.remove_outliers is not None:
        inside = values[kept]
        reach = setting.remove_outliers * inside.std()
        kept &= (values >= inside.mean() - reach) & (values <= inside.mean() + reach)
    if not kept.any():
        raise EmptyMaskError(NOTHING_LEFT)
    return kept


def _discretized(inside: npt.NDArray[np.float64], setting: ExtractionSetting) -> GrayLevels:
    lowest, highest = inside.min(), inside.max()
    if setting.bin_count is not None:
        width = (highest - lowest) / setting.bin_count
        bins = np.floor((inside - lowest) / width) + 1 if width > 0 else np.ones(inside.size)
        return gray_levels(np.minimum(bins, setting.bin_count).astype(np.int32))
    start = lowest if setting.resegment_range is None else min(setting.resegment_range)
    return gray_levels((np.floor((inside - start) / setting.bin_width) + 1).astype(np.int32))
