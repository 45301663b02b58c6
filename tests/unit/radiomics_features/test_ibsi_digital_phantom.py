"""IBSI digital phantom: which of pyradiomics' features are IBSI's.

The phantom and the reference values (``ibsi_digital_phantom.csv``: 3D, averaged over directions for GLCM and GLRLM) are
the Image Biomarker Standardisation Initiative's, doi:10.48550/arXiv.1612.07003, CC BY 4.0.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoradiomics.errors import SettingsError
from oncoradiomics.extraction import extract
from oncoradiomics.features import Features
from oncoradiomics.ibsi_identifiers import IBSI_IDENTIFIERS
from oncoradiomics.lesion_measures import suv_peak
from oncoradiomics.settings import Settings
from pydicom.sr._concepts_dict import concepts

# Axes (k, j, i); voxels of 2 mm.
INTENSITIES = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [1, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 1, 1, 1], [1, 1, 9, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    dtype=np.float64,
)
MASK = np.ones(INTENSITIES.shape, np.uint8)
MASK[1, 2, 0] = MASK[2, 0, 3:] = MASK[2, 2, 2] = MASK[3, 0, 3:] = 0
SPACING = (2.0, 2.0, 2.0)
NOT_COMPLIANT = {("firstorder", "Kurtosis"), ("shape", "MinorAxisLength"), ("shape", "LeastAxisLength")}

with (Path(__file__).parent / "ibsi_digital_phantom.csv").open(newline="", encoding="utf-8") as _file:
    REFERENCE = list(csv.DictReader(_file))


def within_tolerance(value: float, reference: float, tolerance: float) -> bool:
    """IBSI gives values with three significant digits; a tolerance of 0 means that these digits agree."""
    rounding = 0.5 * 10.0 ** (math.floor(math.log10(abs(reference))) - 2)
    return abs(value - reference) <= max(tolerance, rounding * (1 + 1e-9))


@pytest.fixture(scope="module")
def phantom_features() -> Features:
    images = [sitk.GetImageFromArray(array) for array in (INTENSITIES, MASK)]
    for image in images:
        image.SetSpacing(SPACING)
    # The phantom is discretized already: one bin a gray level.
    return extract(*images, Settings.from_mapping({"setting": {"binWidth": 1}}))


@pytest.fixture(scope="module")
def features_of_ibsi_mode() -> Features:
    images = [sitk.GetImageFromArray(array) for array in (INTENSITIES, MASK)]
    for image in images:
        image.SetSpacing(SPACING)
    return extract(*images, Settings.from_mapping({"setting": {"binWidth": 1, "ibsi": True}}))


def test_every_value_complies_in_ibsi_mode(features_of_ibsi_mode):
    names = [f"original_{row['feature_class']}_{row['feature']}" for row in REFERENCE]
    wrong = {
        name: features_of_ibsi_mode[name]
        for name, row in zip(names, REFERENCE, strict=True)
        if not within_tolerance(features_of_ibsi_mode[name], float(row["reference"]), float(row["tolerance"]))
    }
    assert not wrong
    assert [features_of_ibsi_mode.ibsi_ids[name] for name in names] == [row["ibsi_id"] for row in REFERENCE]


def test_ibsi_mode_is_for_the_native_engine_and_the_original_image_and_has_its_own_hash():
    images = [sitk.GetImageFromArray(array) for array in (INTENSITIES, MASK)]
    with_it = Settings.from_mapping({"setting": {"binWidth": 1, "ibsi": True}})
    assert with_it.sha256 != Settings.from_mapping({"setting": {"binWidth": 1}}).sha256
    with pytest.raises(SettingsError, match="engine 'native'"):
        extract(*images, with_it, "pyradiomics")
    with pytest.raises(SettingsError, match="original image only"):
        Settings.from_mapping({"setting": {"ibsi": True}, "imageType": {"Wavelet": {}}})


def test_a_range_gives_the_start_of_the_bins_and_outliers_leave_only_the_intensities():
    """IBSI 2.6 and 2.7: levels count from the lower bound, and the shape is that of the whole mask."""
    array = np.arange(512.0).reshape(8, 8, 8)
    mask = np.zeros(array.shape, np.uint8)
    mask[2:6, 2:6, 2:6] = 1
    image, region = sitk.GetImageFromArray(array), sitk.GetImageFromArray(mask)
    setting = {"binWidth": 50, "resegmentRange": [-200, 300], "ibsi": True}
    found = extract(image, region, Settings.from_mapping({"setting": setting}))
    assert found["original_shape_VoxelVolume"] == 64
    assert found["original_firstorder_Maximum"] <= 300
    # The lowest voxel, 146, lies in the seventh bin above -200.
    kept = array[(mask > 0) & (array <= 300)]
    levels = np.floor((kept + 200) / 50) + 1
    assert found["original_gldm_HighGrayLevelEmphasis"] == pytest.approx(np.mean(levels**2))


def test_resampling_aligns_the_centers_of_the_grids():
    """IBSI 2.4: a ramp keeps its values and its center, whatever the ratio of the spacings."""
    array = np.tile(np.arange(12.0), (10, 11, 1)) + 0.25
    mask = np.zeros(array.shape, np.uint8)
    mask[2:8, 2:9, 2:10] = 1
    image, region = sitk.GetImageFromArray(array), sitk.GetImageFromArray(mask)
    setting = {"binWidth": 1, "resampledPixelSpacing": [1.5, 1.5, 1.5], "interpolator": "sitkLinear", "ibsi": True}
    found = extract(image, region, Settings.from_mapping({"setting": setting}))
    assert found["original_firstorder_Mean"] == pytest.approx(5.75)
    assert found["original_firstorder_Skewness"] == pytest.approx(0, abs=1e-9)


def test_an_identifier_is_given_exactly_where_the_value_complies(phantom_features):
    for row in REFERENCE:
        key = (row["feature_class"], row["feature"])
        value = phantom_features[f"original_{key[0]}_{key[1]}"]
        complies = within_tolerance(value, float(row["reference"]), float(row["tolerance"]))
        assert complies == (key not in NOT_COMPLIANT), key
        assert IBSI_IDENTIFIERS.get(key) == (row["ibsi_id"] if complies else None), key


def test_every_identifier_was_checked():
    assert set(IBSI_IDENTIFIERS) | NOT_COMPLIANT == {(row["feature_class"], row["feature"]) for row in REFERENCE}
    assert len(IBSI_IDENTIFIERS) == len(set(IBSI_IDENTIFIERS.values())) == 99


def test_identifiers_are_those_dicom_knows():
    """DICOM codes first-order statistics with other schemes; all other IBSI features have their IBSI code."""
    codes = {code for concept in concepts["IBSI"].values() for code in concept}
    histogram = {("firstorder", "Entropy"), ("firstorder", "Uniformity")}
    for key, identifier in IBSI_IDENTIFIERS.items():
        if key[0] != "firstorder" or key in histogram:
            assert identifier in codes, key


def test_suv_peak_is_the_global_intensity_peak():
    assert suv_peak(INTENSITIES, MASK > 0, SPACING) == pytest.approx(3.10, abs=0.005)
