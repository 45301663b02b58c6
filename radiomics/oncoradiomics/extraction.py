"""Radiomic features of one lesion: SimpleITK image and mask in, :class:`~oncoradiomics.features.Features` out."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from oncoradiomics.errors import EmptyMaskError, ExtractionError, ExtractionOutOfMemory
from oncoradiomics.feature_units import ARBITRARY_INTENSITY, feature_unit
from oncoradiomics.features import Feature, FeatureDocument, Features
from oncoradiomics.ibsi_identifiers import ibsi_identifier
from oncoradiomics.image_checks import tumor_region
from oncoradiomics.lesion_measures import SUV_UNIT, measure_lesion
from oncoradiomics.settings import Settings

Engine = Literal["pyradiomics"]
SUV_QUANTITY = "g/mL{SUVbw}"
"""UCUM unit of body-weight SUV, with the annotation that tells it from other SUVs."""

MAXIMUM_GRAY_LEVELS = 1000
"""Gray levels of the image in the mask. A co-occurrence matrix of 1000 takes 0.1 GB, one of 5000 takes 2.6 GB."""

_TEXTURES = frozenset({"glcm", "glrlm", "glszm", "gldm", "ngtdm"})
_IMAGE_TYPE_PREFIX = {"LBP2D": "lbp-2D", "LBP3D": "lbp-3D"}


def extract(
    image: sitk.Image,
    mask: sitk.Image,
    settings: Settings,
    engine: Engine = "pyradiomics",
    *,
    intensity_unit: str = ARBITRARY_INTENSITY,
) -> Features:
    """Compute the features that ``settings`` ask for.

    The same inputs give the same values, bit for bit. pyradiomics holds the GIL for seconds: servers call this through
    :class:`~oncoradiomics.extraction_processes.ExtractionProcesses`.

    Args:
        image: Scalar volume, LPS mm.
        mask: Label map on the image's grid; ``settings.setting.label`` is the tumor.
        settings: What to compute and how.
        engine: The only engine yet is ``pyradiomics``.
        intensity_unit: UCUM unit of the image's voxels, for the units of first-order features.

    Raises:
        GeometryError: Image and mask are on different grids.
        EmptyMaskError: No voxel has the label, or none is left after resampling or resegmentation.
        ExtractionError: The mask is too small for these settings, its intensities make too many gray levels, or the
            engine stopped.
        ExtractionOutOfMemory: There is not enough free memory.
    """
    if engine != "pyradiomics":
        raise ExtractionError(f"There is no engine '{engine}'. Use 'pyradiomics'.")
    region = tumor_region(image, mask, settings.setting.label)
    _require_extent(region, settings.setting.minimum_roi_dimensions)
    _require_countable_gray_levels(image, region, settings)
    values = _run_pyradiomics(image, mask, settings)
    _require_every_image_type(values, settings)
    records: list[Feature] = []
    undefined: list[str] = []
    for name, value in values.items():
        if not math.isfinite(value):
            undefined.append(name)
            continue
        image_type, feature_class, feature = name.rsplit("_", 2)
        records.append(
            Feature(
                name=name,
                value=value,
                unit=feature_unit(image_type, feature_class, feature, intensity_unit),
                ibsi_id=ibsi_identifier(feature_class, feature, settings),
            )
        )
    return Features(tuple(records), engine, pyradiomics_version(), settings.sha256, tuple(undefined))


def describe_lesion(image: sitk.Image, mask: sitk.Image, settings: Settings) -> FeatureDocument:
    """Features and measures of a lesion in PET.

    Where the settings resample, features are computed on the lesion with its surroundings (``padDistance``), so that
    they do not depend on where the image begins and ends; see :func:`crop_to_surroundings`.

    Args:
        image: PET in body-weight SUV, g/mL; LPS, mm.
        mask: Label map on the image's grid.
        settings: What to compute and how.

    Raises:
        GeometryError: Image and mask are on different grids.
        EmptyMaskError: The mask is empty.
        ExtractionError: Features or measures cannot be computed.
    """
    measures = measure_lesion(image, mask, settings.setting.label)
    features = extract(*crop_to_surroundings(image, mask, settings), settings, intensity_unit=SUV_UNIT)
    return features.to_document(measures, SUV_QUANTITY)


def crop_to_surroundings(image: sitk.Image, mask: sitk.Image, settings: Settings) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask cut to what resampling by ``settings`` uses: the lesion and ``padDistance`` around it.

    pyradiomics aligns its resampling grid with the corner of the image, so a whole-body scan and a part of it would
    give different features of one lesion. After this cut they give the same, provided both hold the surroundings.
    Without resampling, filters see the whole image and nothing is cut.

    Raises:
        GeometryError: Image and mask are on different grids.
        EmptyMaskError: The mask is empty.
    """
    region = tumor_region(image, mask, settings.setting.label)
    target_mm = settings.setting.resampled_pixel_spacing_mm
    if target_mm is None or settings.setting.interpolator is None:
        return image, mask
    box = ndimage.find_objects(region.astype(np.uint8))[0][::-1]
    cut = []
    for part, size, spacing_mm, wanted_mm in zip(box, image.GetSize(), image.GetSpacing(), target_mm, strict=True):
        # A target of 0 keeps the spacing of that axis.
        margin = math.ceil(settings.setting.pad_distance_voxels * (wanted_mm or spacing_mm) / spacing_mm)
        cut.append(slice(max(part.start - margin, 0), min(part.stop + margin, size)))
    return image[tuple(cut)], mask[tuple(cut)]


def pyradiomics_version() -> str:
    """Version of the installed pyradiomics."""
    return version("pyradiomics")


@contextmanager
def _quiet_pyradiomics() -> Iterator[None]:
    """Keep pyradiomics from writing to stderr and to the caller's log handlers, and from warning about flat regions."""
    logger = logging.getLogger("radiomics")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        # 0/0 in a texture of a flat region is an undefined feature, reported as such; no news for the caller.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)


def _run_pyradiomics(image: sitk.Image, mask: sitk.Image, settings: Settings) -> Mapping[str, float]:
    with _quiet_pyradiomics():
        from radiomics.featureextractor import RadiomicsFeatureExtractor

        extractor = RadiomicsFeatureExtractor(**settings.pyradiomics_settings())
        extractor.disableAllImageTypes()
        extractor.enableImageTypes(**settings.pyradiomics_image_types())
        extractor.disableAllFeatures()
        extractor.enableFeaturesByName(**{name: list(names) for name, names in settings.feature_classes.items()})
        try:
            result = extractor.execute(image, mask)
        except ValueError as error:
            if "not present in mask" in str(error):
                raise EmptyMaskError(
                    "Nothing of the mask is left after resampling or resegmentation. Contour a larger region or change "
                    "the settings."
                ) from error
            raise ExtractionError(f"pyradiomics refused the image and mask: {error}") from error
        except MemoryError as error:
            raise ExtractionOutOfMemory("The image is too large for the free memory. Try again later.") from error
        except (RuntimeError, ArithmeticError, IndexError, AssertionError) as error:
            raise ExtractionError(
                f"pyradiomics stopped with {type(error).__name__}. Check that the settings suit the image."
            ) from error
    return {name: float(value) for name, value in result.items() if not name.startswith("diagnostics_")}


def _require_extent(region: npt.NDArray[np.bool_], minimum_dimensions: int) -> None:
    if region.all():
        raise ExtractionError("The mask fills the whole image. Send the image with what surrounds the tumor.")
    box = ndimage.find_objects(region.astype(np.uint8))[0]
    dimensions = sum(part.stop - part.start > 1 for part in box)
    if dimensions < minimum_dimensions:
        raise ExtractionError(
            f"The mask extends over {dimensions} dimensions; these settings need {minimum_dimensions}. "
            "Contour the whole tumor."
        )


def _require_countable_gray_levels(image: sitk.Image, region: npt.NDArray[np.bool_], settings: Settings) -> None:
    """Refuse intensities that fill the memory with texture matrices, as those of an image in another unit do.

    Not where the settings change the intensities first: then those of the image say nothing.
    """
    setting = settings.setting
    if setting.normalize or setting.resegment_range or not _TEXTURES & set(settings.feature_classes):
        return
    intensities = sitk.GetArrayViewFromImage(image)[region]
    intensity_range = float(intensities.max()) - float(intensities.min())
    for overrides in settings.image_types.values():
        stated = overrides.model_fields_set
        bin_count = (overrides if "bin_count" in stated else setting).bin_count
        width = (overrides if "bin_width" in stated else setting).bin_width
        # A filtered image spans about as much as the image itself.
        if bin_count is None and intensity_range / width > MAXIMUM_GRAY_LEVELS:
            raise ExtractionError(
                f"The intensities in the mask make {intensity_range / width:.0f} gray levels of width {width:g}; "
                f"{MAXIMUM_GRAY_LEVELS} can be handled. Check the unit of the image, or use a larger binWidth."
            )


def _require_every_image_type(values: Mapping[str, float], settings: Settings) -> None:
    """pyradiomics leaves a filter out, with a line in its log, when the image is too small for it; that is an error."""
    if all(name.startswith("shape") for name in settings.feature_classes):
        return
    present = {name.rsplit("_", 2)[0] for name in values if not name.rsplit("_", 2)[1].startswith("shape")}
    for image_type, overrides in settings.image_types.items():
        if image_type == "LoG":
            for sigma in overrides.sigma_mm or settings.setting.sigma_mm:
                if f"log-sigma-{sigma}-mm-3D".replace(".", "-") not in present:
                    raise ExtractionError(f"The image is too small for the LoG filter with sigma {sigma:g} mm.")
            continue
        prefix = _IMAGE_TYPE_PREFIX.get(image_type, image_type.lower())
        if not any(name.startswith(prefix) for name in present):
            raise ExtractionError(f"pyradiomics computed nothing for image type {image_type}.")
