"""Features against pyradiomics called directly, and what happens when they cannot be computed."""

from __future__ import annotations

import logging
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoradiomics import native
from oncoradiomics.errors import EmptyMaskError, ExtractionError, GeometryError
from oncoradiomics.extraction import describe_lesion, extract
from oncoradiomics.features import Feature, FeatureDocument
from oncoradiomics.quantities import SUV_BODY_WEIGHT
from oncoradiomics.settings import Settings

MODEL_SETTINGS = Path(__file__).parents[3] / "models" / "sts-petct" / "radiomics" / "settings.yaml"
SAMPLE_PET = Path(__file__).parents[3] / "examples" / "STS_019" / "PET"


def by_pyradiomics(image: sitk.Image, mask: sitk.Image, settings_file: Path) -> dict[str, float]:
    """pyradiomics reads the same file itself, checks it with its own schema and computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from radiomics.featureextractor import RadiomicsFeatureExtractor

        result = RadiomicsFeatureExtractor(str(settings_file)).execute(image, mask)
    return {name: float(value) for name, value in result.items() if not name.startswith("diagnostics_")}


def test_model_settings_give_pyradiomics_own_values_on_a_real_pet():
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(SAMPLE_PET))
    image = sitk.ReadImage(files, sitk.sitkFloat32)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(image > 3.0), sortByObjectSize=True)
    mask = sitk.Cast(parts == 1, sitk.sitkUInt8)
    found = extract(image, mask, Settings.from_yaml(MODEL_SETTINGS), intensity_unit="g/mL")
    assert len(found) == 1037
    assert found.by_reference == ()
    expected = by_pyradiomics(image, mask, MODEL_SETTINGS)
    assert dict(found) == pytest.approx(expected, rel=1e-6)
    assert dict(extract(image, mask, Settings.from_yaml(MODEL_SETTINGS), "pyradiomics")) == expected


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("setting: {binWidth: 0.25}", 1e4),
        ("imageType: {Original: {binWidth: 0.001}}", 1.0),
        ("setting: {binCount: 32}\nimageType: {Original: {binCount: null, binWidth: 0.001}}", 1.0),
    ],
)
def test_intensities_of_another_unit_are_refused_before_they_fill_the_memory(lesion, text, scale):
    image, mask = lesion
    settings = Settings.from_mapping(yaml.safe_load(text))
    with pytest.raises(ExtractionError, match="gray levels"):
        extract(sitk.Cast(image, sitk.sitkFloat64) * scale, mask, settings)


def test_many_gray_levels_are_no_matter_where_they_are_counted_or_not_used(lesion):
    image, mask = lesion
    for text in ("setting: {binCount: 32}\nfeatureClass: {glcm: }", "featureClass: {firstorder: [Mean]}"):
        assert extract(sitk.Cast(image, sitk.sitkFloat64) * 1e4, mask, Settings.from_mapping(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "text",
    [
        "setting: {binWidth: 0.3}",
        "setting: {binCount: 16, force2D: true, distances: [1, 2]}\nfeatureClass: {glcm: , glrlm: [RunEntropy]}",
        "setting: {normalize: true, normalizeScale: 10, resampledPixelSpacing: [5, 5, 5], interpolator: sitkLinear}\n"
        "imageType: {Original: {binWidth: 2.5}, Gradient: {}}",
        "setting: {binWidth: 0.5, resegmentRange: [1.5, 20]}\nimageType: {Wavelet: {wavelet: haar}, Square: {}}",
    ],
    ids=["original", "flat slices", "normalized", "resegmented"],
)
def test_settings_mean_what_they_mean_to_pyradiomics(text, lesion, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    expected = by_pyradiomics(*lesion, file)
    found = extract(*lesion, Settings.from_yaml(file), "pyradiomics")
    assert set(found) | set(found.undefined) == set(expected)
    assert {name: expected[name] for name in found} == dict(found)


def test_features_carry_identifier_unit_and_provenance(lesion, plain_settings):
    found = extract(*lesion, plain_settings, intensity_unit="g/mL")
    assert found.ibsi_ids["original_shape_MeshVolume"] == "RNU0"
    assert found.ibsi_ids["original_firstorder_Kurtosis"] is None
    units = found.units
    assert units["original_shape_MeshVolume"] == "mm3"
    assert units["original_shape_SurfaceVolumeRatio"] == "/mm"
    assert units["original_firstorder_Mean"] == "g/mL"
    assert units["original_firstorder_Variance"] == "g2/mL2"
    assert units["original_glcm_Contrast"] == "1"
    assert (found.engine, found.engine_version) == ("oncoradiomics native", native.VERSION)
    reference = extract(*lesion, plain_settings, "pyradiomics")
    assert (reference.engine, reference.engine_version) == ("pyradiomics", "3.0.1")
    assert found.settings_sha256 == plain_settings.sha256


def test_an_identifier_is_withdrawn_when_a_setting_leaves_the_definition(lesion):
    found = extract(*lesion, Settings.from_mapping({"setting": {"symmetricalGLCM": False, "voxelArrayShift": 10}}))
    assert found.ibsi_ids["original_glcm_Contrast"] is None
    assert found.ibsi_ids["original_firstorder_Energy"] is None
    assert found.ibsi_ids["original_glrlm_RunEntropy"] == "HJ9O"


def test_the_same_lesion_gives_the_same_bytes(lesion, plain_settings):
    first, second = (describe_lesion(*lesion, plain_settings, SUV_BODY_WEIGHT).model_dump_json() for _ in range(2))
    assert first == second
    assert FeatureDocument.model_validate_json(first).model_dump_json() == first


def test_one_flat_name_space(lesion, plain_settings):
    document = describe_lesion(*lesion, plain_settings, SUV_BODY_WEIGHT)
    values = document.values()
    assert len(values) == len(document.features) + len(document.measures)
    assert values["suv_max"] == pytest.approx(values["original_firstorder_Maximum"])
    with pytest.raises(ValueError, match="occurs twice"):
        FeatureDocument.model_validate(
            document.model_dump() | {"features": [Feature(name="suv_max", value=1.0, unit="1")]}
        )


def test_a_value_that_is_not_finite_is_reported_as_undefined(make_image):
    """Two voxels without a common neighbor have no co-occurrence: pyradiomics gives NaN for each GLCM feature."""
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[1, 1, 1] = mask[4, 4, 4] = 1
    uptake = np.random.default_rng(3).random(mask.shape)
    found = extract(make_image(uptake), make_image(mask), Settings.from_mapping({"setting": {"binWidth": 0.5}}))
    assert "original_glcm_Contrast" in found.undefined
    assert "original_glcm_Contrast" not in found
    assert all(math.isfinite(value) for value in found.values())
    assert len(found) + len(found.undefined) == 107


def test_a_part_of_a_scan_gives_the_features_of_the_whole(make_image):
    random = np.random.default_rng(11)
    uptake = random.gamma(2.0, 1.0, (40, 44, 48)).astype(np.float32)
    mask = np.zeros(uptake.shape, np.uint8)
    mask[18:23, 20:25, 21:27] = random.random((5, 5, 6)) < 0.8
    # Binary fractions, so that the corner of the part is the very same point.
    grid = {"spacing": (3.5, 3.5, 3.0), "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1), "origin": (64.0, -128.0, 32.0)}
    image, region = make_image(uptake, **grid), make_image(mask, **grid)
    what = Settings.from_mapping(
        {
            "imageType": {"Original": {}, "LoG": {"sigma": [4.0]}},
            "featureClass": {"firstorder": None, "glcm": None},
            "setting": {"binWidth": 0.5, "resampledPixelSpacing": [4, 4, 4], "padDistance": 8},
        }
    )
    whole = describe_lesion(image, region, what, SUV_BODY_WEIGHT)
    part = describe_lesion(image[5:40, 4:41, 3:37], region[5:40, 4:41, 3:37], what, SUV_BODY_WEIGHT)
    assert part == whole
    assert dict(extract(image[5:40, 4:41, 3:37], region[5:40, 4:41, 3:37], what)) != dict(extract(image, region, what))


@pytest.mark.parametrize("change", ["origin", "spacing", "direction", "size"])
def test_a_mask_on_another_grid_is_refused(change, lesion, plain_settings):
    image, mask = lesion
    if change == "origin":
        mask.SetOrigin([mask.GetOrigin()[0] + 0.01, *mask.GetOrigin()[1:]])
    elif change == "spacing":
        mask.SetSpacing([4.08, 4.07, 3.0])
    elif change == "direction":
        mask = sitk.Flip(mask, [True, False, False])
    else:
        mask = mask[:-1, :, :]
    with pytest.raises(GeometryError) as caught:
        extract(image, mask, plain_settings)
    assert caught.value.reason == "GEOMETRY_MISMATCH"


def test_an_empty_mask_is_refused(lesion, plain_settings):
    image, mask = lesion
    with pytest.raises(EmptyMaskError) as caught:
        extract(image, mask * 0, plain_settings)
    assert caught.value.reason == "EMPTY_MASK"


def test_a_mask_that_resampling_removes_is_refused(make_image):
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[5, 5, 5:7] = mask[6, 5, 5] = 1
    image = make_image(np.random.default_rng(1).random((12, 12, 12)), spacing=(1, 1, 1))
    coarse = Settings.from_mapping({"setting": {"resampledPixelSpacing": [9, 9, 9], "binWidth": 0.1}})
    with pytest.raises(EmptyMaskError, match="resampling"):
        extract(image, make_image(mask, spacing=(1, 1, 1)), coarse)


@pytest.mark.parametrize(
    ("mask_of", "sentence"),
    [
        (lambda mask: mask[:, :, 8:9], "2 dimensions"),
        (lambda mask: mask * 0 + 1, "whole image"),
        (lambda mask: sitk.Cast(mask, sitk.sitkFloat32), "whole numbers"),
    ],
)
def test_a_mask_that_cannot_be_measured_is_refused(mask_of, sentence, lesion):
    image, mask = lesion
    mask = mask_of(mask)
    if mask.GetSize() != image.GetSize():
        mask = sitk.Paste(sitk.Image(image.GetSize(), sitk.sitkUInt8), mask, mask.GetSize(), [0, 0, 0], [0, 0, 8])
        mask.CopyInformation(image)
    with pytest.raises(ExtractionError, match=sentence) as caught:
        extract(image, mask, Settings.from_mapping({"setting": {"minimumROIDimensions": 3}}))
    assert caught.value.reason == "FEATURE_EXTRACTION_FAILED"


def test_a_hole_in_the_image_is_refused(lesion, plain_settings):
    image, mask = lesion
    image[10, 9, 8] = math.nan
    with pytest.raises(ExtractionError, match="finite"):
        extract(image, mask, plain_settings)


def test_a_filter_that_pyradiomics_would_silently_leave_out_is_an_error(lesion):
    wide = Settings.from_mapping({"imageType": {"LoG": {"sigma": [400]}}, "featureClass": {"firstorder": None}})
    with pytest.raises(ExtractionError, match="LoG filter with sigma 400"):
        extract(*lesion, wide)


def test_pyradiomics_writes_nothing(lesion, plain_settings, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    mask = lesion[1]
    extract(sitk.Cast(mask, sitk.sitkFloat32), mask, plain_settings, "pyradiomics")
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.records) == ("", "", [])


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shift=st.tuples(*(st.integers(0, 3) for _ in range(3))),
    spacing=st.tuples(*(st.sampled_from([0.9, 2.0, 4.07]) for _ in range(3))),
)
def test_shape_does_not_depend_on_where_the_lesion_is(seed, shift, spacing):
    random = np.random.default_rng(seed)
    part = (random.random((5, 5, 5)) < 0.7).astype(np.uint8)
    part[2, 2, 2] = part[1, 2, 2] = part[2, 1, 2] = part[2, 2, 1] = 1
    only_shape = Settings.from_mapping({"featureClass": {"shape": None}})
    results = []
    for place in ((1, 1, 1), tuple(1 + step for step in shift)):
        mask = np.zeros((10, 10, 10), np.uint8)
        mask[tuple(slice(start, start + 5) for start in place)] = part
        images = [sitk.GetImageFromArray(array) for array in (mask.astype(np.float32), mask)]
        for image in images:
            image.SetSpacing(spacing)
        results.append(extract(*images, only_shape))
    # Centers of mass differ, so sums differ in the last digits.
    assert dict(results[1]) == pytest.approx(dict(results[0]), rel=1e-9)
