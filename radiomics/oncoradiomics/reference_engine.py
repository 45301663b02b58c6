"""pyradiomics itself, quiet and with this package's errors: the engine that others are measured against."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import SimpleITK as sitk

from oncoradiomics.errors import EmptyMaskError, ExtractionError, ExtractionOutOfMemory
from oncoradiomics.settings import Settings

_IMAGE_TYPE_PREFIX = {"LBP2D": "lbp-2D", "LBP3D": "lbp-3D"}


def pyradiomics_version() -> str:
    """Version of the installed pyradiomics."""
    return version("pyradiomics")


def run_pyradiomics(image: sitk.Image, mask: sitk.Image, settings: Settings) -> dict[str, float]:
    """Feature name to value, in pyradiomics' order; not a number where pyradiomics says so.

    Args:
        image: Scalar volume, LPS mm.
        mask: Label map on the image's grid.
        settings: What to compute and how.

    Raises:
        EmptyMaskError: Nothing of the mask is left after resampling or resegmentation.
        ExtractionError: pyradiomics refused the image, stopped, or left a filter out.
        ExtractionOutOfMemory: There is not enough free memory.
    """
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
    values = {name: float(value) for name, value in result.items() if not name.startswith("diagnostics_")}
    _require_every_image_type(values, settings)
    return values


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
