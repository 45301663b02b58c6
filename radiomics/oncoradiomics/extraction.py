"""Radiomic features of one lesion: SimpleITK image and mask in, :class:`~oncoradiomics.features.Features` out."""

from __future__ import annotations

import math
from collections.abc import Collection
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from oncoradiomics import native
from oncoradiomics.errors import ExtractionError, ExtractionOutOfMemory, SettingsError
from oncoradiomics.feature_units import ARBITRARY_INTENSITY, feature_unit
from oncoradiomics.features import Feature, FeatureDocument, Features
from oncoradiomics.ibsi_identifiers import ibsi_identifier
from oncoradiomics.image_checks import lesion_region
from oncoradiomics.lesion_measures import measure_lesion
from oncoradiomics.quantities import image_quantity
from oncoradiomics.reference_engine import pyradiomics_version, run_pyradiomics
from oncoradiomics.settings import ExtractionSetting, Settings

Engine = Literal["native", "pyradiomics"]
ENGINE_NAMES: MappingProxyType[Engine, str] = MappingProxyType(
    {"native": "oncoradiomics native", "pyradiomics": "pyradiomics"}
)
"""What a document and a report call each engine."""

MAXIMUM_GRAY_LEVELS = 1000
"""Gray levels of the image in the mask. A co-occurrence matrix of 1000 takes 0.1 GB, one of 5000 takes 2.6 GB."""

_TEXTURES = frozenset({"glcm", "glrlm", "glszm", "gldm", "ngtdm"})


def extract(
    image: sitk.Image,
    mask: sitk.Image,
    settings: Settings,
    engine: Engine = "native",
    *,
    intensity_unit: str | None = None,
    threads: int = 1,
) -> Features:
    """Compute the features that ``settings`` ask for.

    The same inputs give the same values, bit for bit, whatever the number of threads. What the native engine does not
    support (LBP images, shape in two dimensions) is computed by pyradiomics and named in ``Features.by_reference``.

    Args:
        image: Scalar volume, LPS mm.
        mask: Label map on the image's grid; ``settings.setting.label`` is the tumor.
        settings: What to compute and how.
        engine: ``native``, or ``pyradiomics`` for the reference engine, which holds the GIL for seconds: servers call
            that through :class:`~oncoradiomics.extraction_processes.ExtractionProcesses`.
        intensity_unit: UCUM unit of the image's voxels, for the units of first-order features; those of ``None`` say
            that nobody stated it.
        threads: How many filtered images the native engine works on at the same time.

    Raises:
        GeometryError: Image and mask are on different grids.
        EmptyMaskError: No voxel has the label, or none is left after resampling or resegmentation.
        ExtractionError: The mask is too small for these settings, its intensities make too many gray levels, or the
            engine stopped.
        ExtractionOutOfMemory: There is not enough free memory.
        SettingsError: The settings ask for IBSI's definitions, which pyradiomics does not have.
    """
    if engine not in {"native", "pyradiomics"}:
        raise ExtractionError(f"There is no engine '{engine}'. Use 'native' or 'pyradiomics'.")
    region = lesion_region(image, mask, settings.setting.label)
    _require_extent(region, settings.setting.minimum_roi_dimensions)
    _require_countable_gray_levels(image, region, settings)
    by_reference: frozenset[str] = frozenset()
    if engine == "pyradiomics":
        if settings.setting.ibsi:
            raise SettingsError("The setting 'ibsi' needs the engine 'native'. Remove it for 'pyradiomics'.")
        values = run_pyradiomics(image, mask, settings)
    else:
        values, by_reference = _run_native(image, mask, settings, threads)
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
                unit=feature_unit(image_type, feature_class, feature, intensity_unit or ARBITRARY_INTENSITY),
                ibsi_id=ibsi_identifier(feature_class, feature, settings),
            )
        )
    reference_names = tuple(name for name in values if name in by_reference)
    return Features(
        tuple(records),
        ENGINE_NAMES[engine],
        engine_version(engine),
        settings.sha256,
        tuple(undefined),
        reference_names,
    )


def engine_version(engine: Engine) -> str:
    """Version of an engine; it changes whenever a value may change."""
    return native.VERSION if engine == "native" else pyradiomics_version()


def _run_native(
    image: sitk.Image, mask: sitk.Image, settings: Settings, threads: int
) -> tuple[dict[str, float], frozenset[str]]:
    """Values in pyradiomics' order, and which of them pyradiomics computed."""
    # Here, since the first import after an installation compiles for ten seconds.
    from oncoradiomics.native import engine as native_engine
    from oncoradiomics.native import ibsi

    try:
        if settings.setting.ibsi:
            return ibsi.compute(image, mask, settings), frozenset()
        result = native_engine.compute(image, mask, settings, threads)
    except MemoryError as error:
        raise ExtractionOutOfMemory("The image is too large for the free memory. Try again later.") from error
    values = dict(result.shape)
    by_reference: dict[str, float] = {}
    if "shape2D" in settings.feature_classes:
        by_reference |= _by_reference(image, mask, settings, {"shape2D"}, {"Original": ExtractionSetting()})
        values |= by_reference
    texture = {name for name in settings.feature_classes if not name.startswith("shape")}
    for image_type, overrides in settings.image_types.items() if texture else ():
        if image_type not in result.images:
            rest = _by_reference(image, mask, settings, texture, {image_type: overrides})
            by_reference |= rest
            values |= rest
        else:
            values |= result.images[image_type]
    return values, frozenset(by_reference)


def _by_reference(
    image: sitk.Image,
    mask: sitk.Image,
    settings: Settings,
    feature_classes: set[str],
    image_types: dict[str, ExtractionSetting],
) -> dict[str, float]:
    classes = {name: names for name, names in settings.feature_classes.items() if name in feature_classes}
    part = settings.model_copy(update={"feature_classes": classes, "image_types": image_types})
    return run_pyradiomics(image, mask, part)


def describe_lesion(
    image: sitk.Image,
    mask: sitk.Image,
    settings: Settings,
    quantity: str,
    engine: Engine = "native",
    *,
    also: Collection[str] = (),
    threads: int = 1,
) -> FeatureDocument:
    """Features and measures of a lesion.

    Where the settings resample, features are computed on the lesion with its surroundings (``padDistance``), so that
    they do not depend on where the image begins and ends; see :func:`crop_to_surroundings`.

    Args:
        image: Scalar volume, LPS mm.
        mask: Label map on the image's grid.
        settings: What to compute and how.
        quantity: What a voxel measures, as :func:`~oncoradiomics.quantities.image_quantity` reads it. It decides which
            measures there are (:func:`~oncoradiomics.lesion_measures.measure_names`).
        engine: As for :func:`extract`.
        also: Measures on request (:data:`~oncoradiomics.lesion_measures.MEASURES_ON_REQUEST`).
        threads: As for :func:`extract`.

    Raises:
        QuantityError: The quantity is not said.
        GeometryError: Image and mask are on different grids.
        EmptyMaskError: The mask is empty.
        ExtractionError: Features or measures cannot be computed.
    """
    what = image_quantity(quantity)
    measures = measure_lesion(image, mask, quantity, settings.setting.label, also=also)
    surroundings = crop_to_surroundings(image, mask, settings)
    features = extract(*surroundings, settings, engine, intensity_unit=what.unit, threads=threads)
    return features.to_document(measures, what.code)


def crop_to_surroundings(image: sitk.Image, mask: sitk.Image, settings: Settings) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask cut to what resampling by ``settings`` uses: the lesion and ``padDistance`` around it.

    pyradiomics aligns its resampling grid with the corner of the image, so a whole-body scan and a part of it would
    give different features of one lesion. After this cut they give the same, provided both hold the surroundings.
    Without resampling, filters see the whole image and nothing is cut.

    Raises:
        GeometryError: Image and mask are on different grids.
        EmptyMaskError: The mask is empty.
    """
    region = lesion_region(image, mask, settings.setting.label)
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
