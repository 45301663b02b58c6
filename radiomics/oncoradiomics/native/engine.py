"""The native engine: pyradiomics' features of one lesion, from shared intermediate results and without the GIL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoradiomics.errors import ExtractionError
from oncoradiomics.native.discretization import GrayLevels, NoGrayLevelsError, discretize
from oncoradiomics.native.filters import SUPPORTED_IMAGE_TYPES, FilteredImage, filtered_images
from oncoradiomics.native.gray_level_cooccurrence import cooccurrence_features
from oncoradiomics.native.gray_level_dependence import dependence_features
from oncoradiomics.native.gray_level_neighborhoods import count_neighborhoods
from oncoradiomics.native.gray_level_run_length import run_length_features
from oncoradiomics.native.gray_level_size_zone import size_zone_features
from oncoradiomics.native.intensity_statistics import intensity_statistics
from oncoradiomics.native.morphology import shape_features
from oncoradiomics.native.neighborhood_gray_tone_difference import tone_difference_features
from oncoradiomics.native.preprocessing import prepare
from oncoradiomics.native.region_of_interest import RegionOfInterest, neighbor_directions
from oncoradiomics.settings import ExtractionSetting, Settings

DEPRECATED = frozenset({"StandardDeviation", "Compactness1", "Compactness2", "SphericalDisproportion"})
"""pyradiomics computes them only when they are asked for by name."""

_NEIGHBORHOOD_CLASSES = frozenset({"glcm", "gldm", "ngtdm"})
_RUN_AND_ZONE_CLASSES = frozenset({"glrlm", "glszm"})
_NO_DIRECTION = (
    "The lesion is one voxel wide in its planes, or narrower than the distances, so textures have no direction to go. "
    "Contour the whole tumor or change the settings."
)


@dataclass
class NativeResult:
    """What the engine computed.

    Attributes:
        shape: Shape features by pyradiomics' name.
        images: For each image type the features of its images; an image type missing here is left to the reference.
    """

    shape: dict[str, float] = field(default_factory=dict)
    images: dict[str, dict[str, float]] = field(default_factory=dict)


def supports(image_type: str, setting: ExtractionSetting, overrides: ExtractionSetting) -> bool:
    """Whether the native engine computes this image type with these settings."""
    return (
        image_type in SUPPORTED_IMAGE_TYPES
        and "label" not in overrides.model_fields_set
        and len(set(setting.distances_voxels)) == len(setting.distances_voxels)
    )


def effective(setting: ExtractionSetting, overrides: ExtractionSetting) -> ExtractionSetting:
    """The settings of an image type: its own where it states them, the general ones elsewhere."""
    return setting.model_copy(update={name: getattr(overrides, name) for name in overrides.model_fields_set})


def compute(image: sitk.Image, mask: sitk.Image, settings: Settings, threads: int = 1) -> NativeResult:
    """Features of a lesion.

    Args:
        image: Scalar volume, LPS mm.
        mask: Label map on the image's grid, with the label, not filling it.
        settings: What to compute and how.
        threads: How many images are worked on at the same time.

    Raises:
        EmptyMaskError: Nothing of the mask is left after resampling or resegmentation.
        ExtractionError: The mask or the image is too small for the settings.
    """
    result = NativeResult()
    lesion = prepare(image, mask, settings.setting)
    if "shape" in settings.feature_classes:
        values = shape_features(lesion.shape_region, lesion.spacing_mm)
        result.shape = chosen(values, settings.feature_classes["shape"], "original_shape")
    classes = {name: names for name, names in settings.feature_classes.items() if not name.startswith("shape")}
    if not classes:
        return result
    own = {
        name: effective(settings.setting, overrides)
        for name, overrides in settings.image_types.items()
        if supports(name, effective(settings.setting, overrides), overrides)
    }
    if not own:
        return result
    pad = max(max(setting.distances_voxels) for setting in own.values())
    roi = RegionOfInterest(lesion.region, lesion.spacing_mm, pad)
    images = (
        (image_type, filtered)
        for image_type, setting in own.items()
        for filtered in filtered_images(image_type, setting, lesion.image, lesion.box)
    )
    failed = set()
    for image_type, values_or_none in _each(images, roi, classes, threads):
        if values_or_none is None:
            failed.add(image_type)
        else:
            result.images.setdefault(image_type, {}).update(values_or_none)
    for image_type in failed:
        result.images.pop(image_type, None)
    return result


def _each(
    images: Iterable[tuple[str, FilteredImage]],
    roi: RegionOfInterest,
    classes: Mapping[str, tuple[str, ...]],
    threads: int,
) -> Iterable[tuple[str, dict[str, float] | None]]:
    if threads == 1:
        for image_type, filtered in images:
            yield image_type, _features_or_none(filtered, roi, classes)
        return
    # Prepared here, since a cached property may be computed twice by two threads.
    _ = roi.positions, roi.numbers
    with ThreadPoolExecutor(threads) as pool:
        running: list[tuple[str, Future[dict[str, float] | None]]] = [
            (image_type, pool.submit(_features_or_none, filtered, roi, classes)) for image_type, filtered in images
        ]
        for image_type, future in running:
            yield image_type, future.result()


def _features_or_none(
    filtered: FilteredImage, roi: RegionOfInterest, classes: Mapping[str, tuple[str, ...]]
) -> dict[str, float] | None:
    values = filtered.values[roi.region]
    setting = filtered.setting
    try:
        gray = discretize(values, setting.bin_width, setting.bin_count)
    except NoGrayLevelsError:
        return None
    return image_features(filtered.name, values, gray, roi, setting, classes)


def image_features(
    name: str,
    values: npt.NDArray[Any],
    gray: GrayLevels,
    roi: RegionOfInterest,
    setting: ExtractionSetting,
    classes: Mapping[str, tuple[str, ...]],
    *,
    excess_kurtosis: bool = False,
) -> dict[str, float]:
    """First-order and texture features of one image.

    Args:
        name: pyradiomics' prefix.
        values: Intensities of the lesion's voxels in raster order.
        gray: Their gray levels.
        roi: The lesion.
        setting: What applies to this image.
        classes: Feature classes, with the features wanted or none for all.
        excess_kurtosis: Subtract 3 from kurtosis.

    Raises:
        ExtractionError: There is no direction to count textures along.
    """
    grid = np.zeros(roi.numbers.size, np.int32)
    grid[roi.positions] = gray.index
    plane = setting.force_2d_dimension if setting.force_2d else None
    nearest = neighbor_directions(roi.region.shape, (1,), plane)
    found: dict[str, dict[str, float]] = {}
    if "firstorder" in classes:
        found["firstorder"] = intensity_statistics(
            values.astype(np.float64),
            gray.counts,
            float(np.prod(roi.spacing_mm)),
            setting.voxel_array_shift,
            excess_kurtosis=excess_kurtosis,
        )
    directions = neighbor_directions(roi.region.shape, setting.distances_voxels, plane)
    if _RUN_AND_ZONE_CLASSES & classes.keys() and not len(nearest):
        raise ExtractionError(_NO_DIRECTION)
    if _NEIGHBORHOOD_CLASSES & classes.keys():
        if not len(directions):
            raise ExtractionError(_NO_DIRECTION)
        counts = count_neighborhoods(grid, roi, gray, directions, setting.gldm_alpha)
        if "glcm" in classes:
            weights = _direction_weights(directions, roi.spacing_mm, setting.weighting_norm)
            if weights is not None and setting.weighting_norm != "no_weighting":
                weights = np.exp(-(weights**2))
            found["glcm"] = cooccurrence_features(
                counts.cooccurrence, gray, symmetric=setting.symmetrical_glcm, weights=weights
            )
        if "gldm" in classes:
            found["gldm"] = dependence_features(counts.dependence, gray)
        if "ngtdm" in classes:
            found["ngtdm"] = tone_difference_features(counts.tone_difference, gray)
    if "glrlm" in classes:
        weights = _direction_weights(nearest, roi.spacing_mm, setting.weighting_norm)
        found["glrlm"] = run_length_features(grid, roi, gray, nearest, weights)
    if "glszm" in classes:
        found["glszm"] = size_zone_features(grid, roi, gray, nearest)
    features: dict[str, float] = {}
    for feature_class, names in classes.items():
        features |= chosen(found[feature_class], names, f"{name}_{feature_class}")
    return features


def _direction_weights(
    directions: npt.NDArray[np.int64], spacing_mm: tuple[float, float, float], norm: str | None
) -> npt.NDArray[np.float64] | None:
    """Length of each direction in mm by the norm, 1 without weighting, ``None`` for no merging of directions."""
    if norm is None:
        return None
    steps = np.abs(directions) * np.array(spacing_mm)
    match norm:
        case "infinity":
            return np.asarray(steps.max(axis=1, initial=0))
        case "euclidean":
            return np.asarray(np.sqrt((steps**2).sum(axis=1)))
        case "manhattan":
            return np.asarray(steps.sum(axis=1))
    return np.ones(len(directions))


def chosen(values: Mapping[str, float], names: tuple[str, ...], prefix: str) -> dict[str, float]:
    """The features wanted, by pyradiomics' full names in its order: as listed, or by the alphabet of its methods."""
    wanted = names or sorted(set(values) - DEPRECATED, key=lambda name: f"{name}FeatureValue")
    return {f"{prefix}_{name}": values[name] for name in wanted if name in values}
