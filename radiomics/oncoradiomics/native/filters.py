"""Filtered images of one lesion, by pyradiomics' image types; values within the lesion's box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoradiomics.errors import ExtractionError
from oncoradiomics.native.laplacian_of_gaussian import is_large_enough, laplacian_of_gaussian
from oncoradiomics.native.region_of_interest import Box
from oncoradiomics.native.wavelet import wavelet_images
from oncoradiomics.settings import ExtractionSetting

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class FilteredImage:
    """One image to extract from.

    Attributes:
        name: pyradiomics' prefix of the features.
        setting: What applies to this image.
        values: In the lesion's box, axes (k, j, i).
    """

    name: str
    setting: ExtractionSetting
    values: Values


def _square(image: Values) -> Values:
    squared: Values = (1 / np.sqrt(np.abs(image).max()) * image) ** 2
    return squared


def _square_root(image: Values) -> Values:
    size = np.abs(image)
    return np.asarray(np.sign(image) * np.sqrt(size * size.max()))


def _logarithm(image: Values) -> Values:
    size = np.abs(image)
    logarithm = np.log(size + 1)
    return np.asarray(np.sign(image) * logarithm * (size.max() / logarithm.max()))


def _exponential(image: Values) -> Values:
    highest = np.abs(image).max()
    return np.asarray(np.exp(np.log(highest) / highest * image))


_POINT_FILTERS: MappingProxyType[str, tuple[str, Callable[[Values], Values]]] = MappingProxyType(
    {
        "Square": ("square", _square),
        "SquareRoot": ("squareroot", _square_root),
        "Logarithm": ("logarithm", _logarithm),
        "Exponential": ("exponential", _exponential),
    }
)
SUPPORTED_IMAGE_TYPES = frozenset({"Original", "LoG", "Wavelet", "Gradient", *_POINT_FILTERS})


def filtered_images(
    image_type: str, setting: ExtractionSetting, image: sitk.Image, box: Box
) -> Iterator[FilteredImage]:
    """The images of one image type, in pyradiomics' order.

    Args:
        image_type: One of :data:`SUPPORTED_IMAGE_TYPES`.
        setting: What applies to this image type.
        image: After normalization and resampling.
        box: The lesion's.

    Raises:
        ExtractionError: The image is too small for the filter.
    """
    array = sitk.GetArrayViewFromImage(image)
    spacing_mm = image.GetSpacing()[::-1]
    if image_type == "Original":
        yield FilteredImage("original", setting, array[box])
    elif image_type == "LoG":
        for sigma in setting.sigma_mm:
            if not is_large_enough(array.shape, spacing_mm, sigma):
                raise ExtractionError(f"The image is too small for the LoG filter with sigma {sigma:g} mm.")
            name = f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D"
            yield FilteredImage(name, setting, laplacian_of_gaussian(array, box, spacing_mm, sigma))
    elif image_type == "Wavelet":
        plane = setting.force_2d_dimension if setting.force_2d else None
        images = wavelet_images(array, box, setting.wavelet, setting.wavelet_start_level, setting.wavelet_level, plane)
        for name, values in images:
            yield FilteredImage(name, setting, values)
    elif image_type == "Gradient":
        gradient = sitk.GradientMagnitude(image, setting.gradient_use_spacing)
        yield FilteredImage("gradient", setting, sitk.GetArrayViewFromImage(gradient)[box].copy())
    else:
        name, point_filter = _POINT_FILTERS[image_type]
        yield FilteredImage(name, setting, point_filter(array.astype(np.float64))[box])
