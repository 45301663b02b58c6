"""The native engine against pyradiomics 3.0.1: every feature within 1e-6, whatever the lesion and the settings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoradiomics.errors import ExtractionError
from oncoradiomics.extraction import extract
from oncoradiomics.settings import Settings

EXAMPLES = Path(__file__).parents[3] / "examples"
ALL_IMAGES = {"Original": {}, "LoG": {"sigma": [1.0, 3.0, 5.0]}, "Wavelet": {}}
RELATIVE = 1e-6
# Values that are 0 but for rounding (the skewness of two voxels, an axis of a flat lesion) have no relative difference.
ABSOLUTE = 1e-7


def assert_parity(image: sitk.Image, mask: sitk.Image, content: dict, threads: int = 1) -> int:
    what = Settings.from_mapping(content)
    expected = extract(image, mask, what, "pyradiomics")
    found = extract(image, mask, what, "native", threads=threads)
    assert found.by_reference == ()
    assert found.undefined == expected.undefined
    assert list(found) == list(expected)
    worse = {
        name: (found[name], value)
        for name, value in expected.items()
        if not math.isclose(found[name], value, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    }
    assert not worse
    return len(found) + len(found.undefined)


def images(array, mask, spacing=(1.0, 1.0, 1.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    made = []
    for values in (np.asarray(array), np.asarray(mask).astype(np.uint8)):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(spacing)
        image.SetDirection(direction)
        made.append(image)
    return made


def ball(shape, center, radii):
    axes = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, center, radii, strict=True)) < 1


@pytest.mark.parametrize("study", ["STS_019", "STS_032"])
@pytest.mark.parametrize(("modality", "bin_width"), [("CT", 25), ("PET", 0.25)])
def test_all_1130_features_of_a_real_lesion(study, modality, bin_width):
    """Hot voxels of the sample patients, in the PET and, carried over, in the CT."""
    series = sitk.ImageSeriesReader.GetGDCMSeriesFileNames
    pet = sitk.ReadImage(series(str(EXAMPLES / study / "PET")), sitk.sitkFloat32)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(pet > 3.0), sortByObjectSize=True)
    mask = sitk.Cast(parts == 1, sitk.sitkUInt8)
    image = pet
    if modality == "CT":
        image = sitk.ReadImage(series(str(EXAMPLES / study / "CT")), sitk.sitkInt16)
        mask = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    number = assert_parity(image, mask, {"imageType": ALL_IMAGES, "setting": {"binWidth": bin_width}}, threads=2)
    assert number == 1130


def _uneven(shape, seed=5):
    return np.random.default_rng(seed).normal(0, 40, shape)


EXTREMES = {
    "two voxels": (_uneven((9, 9, 9)), np.pad(np.ones((1, 1, 2), bool), ((4, 4), (4, 4), (4, 3)))),
    "one slice": (_uneven((9, 12, 11)), ball((9, 12, 11), (4, 6, 5), (0.5, 4, 3.5))),
    "flat": (np.full((10, 11, 12), 7, np.int16), ball((10, 11, 12), (5, 5, 6), (3, 4, 4))),
    "at the edge": (_uneven((12, 11, 10)), ball((12, 11, 10), (0, 10, 0), (6, 7, 5))),
    "several parts": (
        _uneven((14, 13, 12)),
        ball((14, 13, 12), (3, 3, 3), (2, 2.5, 2)) | ball((14, 13, 12), (10, 9, 8), (3, 2.5, 2)),
    ),
    "negative": (_uneven((11, 10, 12)) - 500, ball((11, 10, 12), (5, 5, 6), (4, 4, 4))),
    "float": (_uneven((11, 10, 12)).astype(np.float32), ball((11, 10, 12), (5, 5, 6), (4, 4, 4))),
    "whole numbers": (_uneven((11, 10, 12)).astype(np.int16), ball((11, 10, 12), (5, 5, 6), (4, 4, 4))),
    "bytes": (np.abs(_uneven((11, 10, 12))).astype(np.uint8), ball((11, 10, 12), (5, 5, 6), (4, 4, 4))),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_lesions(name):
    array, mask = EXTREMES[name]
    what = {"imageType": {"Original": {}, "LoG": {"sigma": [1.0, 2.0]}, "Wavelet": {}}}
    assert_parity(*images(array, mask), what | {"setting": {"minimumROIDimensions": 1}})


def test_oblique_anisotropic_grid(lesion):
    assert_parity(*lesion, {"imageType": ALL_IMAGES, "setting": {"binWidth": 0.3}})


@pytest.mark.parametrize("weighting", [None, "no_weighting"])
@pytest.mark.parametrize("voxels", [((3, 1, 1), (3, 1, 4)), ((2, 3, 1), (3, 3, 2)), ((2, 3, 1), (4, 3, 4), (6, 1, 2))])
def test_voxels_without_neighbors_in_their_planes(weighting, voxels):
    """Nothing to count: pyradiomics calls most textures undefined and a few 0 or 1."""
    mask = np.zeros((8, 6, 6), bool)
    mask[tuple(np.transpose(voxels))] = True
    setting = {"force2D": True, "minimumROIDimensions": 1, "weightingNorm": weighting}
    for array in (_uneven(mask.shape), np.full(mask.shape, 3.0)):
        assert_parity(*images(array, mask), {"setting": setting})


def test_a_line_across_the_planes_is_refused_by_both():
    mask = np.zeros((8, 6, 6), bool)
    mask[2:5, 3, 3] = True
    what = Settings.from_mapping({"setting": {"force2D": True, "minimumROIDimensions": 1}})
    for engine in ("native", "pyradiomics"):
        with pytest.raises(ExtractionError):
            extract(*images(_uneven(mask.shape), mask), what, engine)
    only_shape = Settings.from_mapping({"featureClass": {"shape": None}, "setting": {"minimumROIDimensions": 1}})
    assert extract(*images(_uneven(mask.shape), mask), only_shape)["original_shape_VoxelVolume"] == 3


def test_one_voxel_is_refused_by_both(make_image):
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[3, 3, 3] = 1
    image, mask = make_image(np.random.default_rng(2).random(mask.shape)), make_image(mask)
    for engine in ("native", "pyradiomics"):
        with pytest.raises(ExtractionError):
            extract(image, mask, Settings.from_mapping({}), engine)


@pytest.mark.parametrize(
    "setting",
    [
        {"binCount": 16},
        {"binWidth": 0.5, "distances": [1, 2, 3]},
        {"binWidth": 0.5, "distances": [2], "gldm_a": 1},
        {"binWidth": 0.5, "force2D": True},
        {"binWidth": 0.5, "force2D": True, "force2Ddimension": 2, "distances": [1, 2]},
        {"binWidth": 0.5, "weightingNorm": "no_weighting"},
        {"binWidth": 0.5, "weightingNorm": "euclidean"},
        {"binWidth": 0.5, "symmetricalGLCM": False},
        {"binWidth": 0.5, "resampledPixelSpacing": [3, 3, 3]},
        {"binWidth": 0.5, "resampledPixelSpacing": [5, 5, 0], "interpolator": "sitkLinear"},
        {"binWidth": 0.5, "resampledPixelSpacing": [4.07, 4.07, 3.0], "padDistance": 2},
        {"binWidth": 0.5, "preCrop": True, "padDistance": 3},
        {"binWidth": 0.5, "resegmentRange": [1.5, 6]},
        {"binWidth": 0.5, "resegmentRange": [-2, 2], "resegmentMode": "sigma", "resegmentShape": True},
        {"binWidth": 0.5, "resegmentRange": [0.4], "resegmentMode": "relative"},
        {"binWidth": 5, "normalize": True, "normalizeScale": 20},
        {"binWidth": 5, "normalize": True, "normalizeScale": 20, "removeOutliers": 2, "voxelArrayShift": 60},
        {"binWidth": 0.5, "minimumROISize": 10, "minimumROIDimensions": 3},
    ],
    ids=lambda setting: " ".join(f"{key}={value}" for key, value in setting.items()),
)
def test_settings(setting, lesion):
    assert_parity(*lesion, {"setting": setting, "imageType": {"Original": {}, "LoG": {"sigma": [4.0]}}})


def test_a_label_and_the_other_filters(lesion):
    image, mask = lesion
    filters = {"Square": {}, "SquareRoot": {}, "Logarithm": {"binWidth": 0.1}, "Exponential": {}, "Gradient": {}}
    wavelets = {"Wavelet": {"wavelet": "db2", "level": 2, "start_level": 1, "binCount": 12}}
    assert_parity(image, mask * 4, {"imageType": filters | wavelets, "setting": {"label": 4}})


def test_wavelets_in_planes(lesion):
    assert_parity(*lesion, {"imageType": {"Wavelet": {"wavelet": "haar"}}, "setting": {"force2D": True, "binCount": 9}})


def test_features_by_name_and_deprecated_ones(lesion):
    classes = {"firstorder": ["StandardDeviation", "Mean"], "shape": ["Compactness1", "Flatness"], "glcm": ["Idm"]}
    what = Settings.from_mapping({"featureClass": classes})
    assert dict(extract(*lesion, what)) == pytest.approx(dict(extract(*lesion, what, "pyradiomics")), rel=RELATIVE)


def test_what_the_native_engine_does_not_support_is_computed_by_the_reference_and_named(lesion):
    lesion = (sitk.Cast(lesion[0] * 10, sitk.sitkInt16), lesion[1])
    image_types = {"Original": {}, "LBP2D": {"binWidth": 1}}
    what = Settings.from_mapping({"imageType": image_types, "featureClass": {"firstorder": None}})
    found = extract(*lesion, what)
    expected = extract(*lesion, what, "pyradiomics")
    assert list(found) == list(expected)
    assert dict(found) == pytest.approx(dict(expected), rel=RELATIVE)
    assert found.by_reference == tuple(name for name in expected if name.startswith("lbp"))
    assert found.to_document((), "1").computed_by_reference == found.by_reference
    assert extract(*lesion, Settings.from_mapping({})).by_reference == ()


def test_the_number_of_threads_changes_no_bit(lesion):
    what = Settings.from_mapping({"imageType": ALL_IMAGES, "setting": {"binWidth": 0.3}})
    assert dict(extract(*lesion, what, threads=1)) == dict(extract(*lesion, what, threads=4))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*(st.integers(4, 7) for _ in range(3))),
    filled=st.floats(0.2, 0.8),
    kind=st.sampled_from([np.int16, np.float32, np.float64]),
    spacing=st.tuples(*(st.sampled_from([0.9, 1.0, 3.3]) for _ in range(3))),
    setting=st.fixed_dictionaries(
        {"binWidth": st.sampled_from([5.0, 12.5, 40.0])},
        optional={
            "distances": st.sampled_from([[1, 2], [2], [1, 2, 3]]),
            "force2D": st.booleans(),
            "force2Ddimension": st.integers(0, 2),
            "gldm_a": st.integers(0, 2),
        },
    ),
)
def test_random_small_volumes(seed, shape, filled, kind, spacing, setting):
    random = np.random.default_rng(seed)
    array = random.normal(0, 30, shape).astype(kind)
    mask = random.random(shape) < filled
    # pyradiomics needs a background; two voxels along two axes make the smallest plane.
    mask[0, 0, 0] = False
    mask[1, 1, 1] = mask[1, 2, 1] = mask[1, 1, 2] = True
    image_types = {"Original": {}, "LoG": {"sigma": [1.5]}, "Wavelet": {"wavelet": "haar"}}
    assert_parity(*images(array, mask, spacing), {"imageType": image_types, "setting": setting})
