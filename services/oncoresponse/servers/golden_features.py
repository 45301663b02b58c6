"""Golden vectors of the features: a lesion by formula, and the features and measures that a model's settings give."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
from oncoradiomics.features import FeatureDocument

from oncoresponse.case.quantity import Quantity
from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.folder import ModelFolder
from oncoresponse.model.golden import GoldenFeatures, golden_mismatch, require_made_for

TOLERANCE = 1e-6
"""Relative, of each value."""

SETTINGS_PATH = "radiomics/settings.yaml"
"""The file of a model folder for which golden vectors of features are made."""
_SIZE = (28, 26, 22)
_SPACING_MM = (2.0, 2.0, 3.0)
# Mean and swing of intensities that a lesion may have.
_INTENSITIES = {Quantity.SUV_BODY_WEIGHT: (7.0, 4.0), Quantity.HOUNSFIELD: (45.0, 60.0)}
_OTHER = (400.0, 150.0)


def golden_quantity(folder: ModelFolder) -> str:
    """What a voxel of the image measures in which the model measures."""
    if (quantity := folder.imaging.measured_quantity) is None:
        raise ModelFolderInvalid(f"Model '{folder.definition.name}' measures no image.")
    return quantity


def golden_lesion(quantity: str) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask: an uneven ellipsoid. Values are multiples of 1/256, so that no rounding decides a gray level."""
    mean, swing = next((item for name, item in _INTENSITIES.items() if name.value == quantity), _OTHER)
    k, j, i = np.meshgrid(*(np.arange(count, dtype=np.float64) for count in reversed(_SIZE)), indexing="ij")
    pattern = np.sin(0.9 * i) * np.cos(0.7 * j) + 0.5 * np.sin(1.3 * k + 0.4 * i) + 0.3 * np.cos(2.1 * j)
    values = np.round((mean + swing * pattern / 1.8) * 256 + 0.25) / 256
    radius = ((i - 13.3) / 9.1) ** 2 + ((j - 12.6) / 8.2) ** 2 + ((k - 10.4) / 6.3) ** 2
    image = sitk.GetImageFromArray(values.astype(np.float32))
    mask = sitk.GetImageFromArray((radius + 0.1 * np.sin(i + j) < 1).astype(np.uint8))
    for each in (image, mask):
        each.SetSpacing(_SPACING_MM)
    return image, mask


def made_features(folder: ModelFolder, document: FeatureDocument) -> GoldenFeatures:
    """What was computed of the lesion here; to be kept with the folder."""
    return GoldenFeatures(made_for=folder.manifest.files[SETTINGS_PATH], values=_values(document))


def require_golden_features(folder: ModelFolder, document: FeatureDocument, golden: GoldenFeatures) -> None:
    """Compare.

    Raises:
        ModelGoldenMismatch: A value is another one or lacks, or the vectors are of other settings.
    """
    require_made_for(folder, golden.made_for, SETTINGS_PATH)
    found = _values(document)
    largest = 0.0
    for name, expected in golden.values.items():
        difference = abs(found.get(name, math.inf) - expected) / max(abs(expected), 1e-9)
        largest = max(largest, difference)
    if not largest <= TOLERANCE:
        raise golden_mismatch(folder, "The features", largest)


def _values(document: FeatureDocument) -> dict[str, float]:
    features = {item.name: item.value for item in document.features}
    return features | {item.name: item.value for item in document.measures}
