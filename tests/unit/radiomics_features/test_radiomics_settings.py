"""The settings file is pyradiomics' own, and stricter."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from oncoradiomics.errors import SettingsError
from oncoradiomics.settings import ExtractionSetting, Settings

MODEL_SETTINGS = Path(__file__).parents[3] / "models" / "sts-petct" / "radiomics" / "settings.yaml"


def test_the_model_file_reads():
    read = Settings.from_yaml(MODEL_SETTINGS)
    assert list(read.image_types) == ["Original", "LoG", "Wavelet"]
    assert read.image_types["LoG"].sigma_mm == (4.0, 6.0)
    assert read.setting.resampled_pixel_spacing_mm == (4.0, 4.0, 4.0)


def test_keys_are_those_of_pyradiomics_schema():
    """Every key pyradiomics' own schema knows is read or refused by name; none is unknown here."""
    from radiomics import getParameterValidationFiles

    schema = yaml.safe_load(Path(getParameterValidationFiles()[0]).read_text(encoding="utf-8"))
    theirs = set(schema["mapping"]["setting"]["mapping"])
    ours = {info.alias or name for name, info in ExtractionSetting.model_fields.items()}
    refused = {"correctMask", "geometryTolerance", "label_channel", "additionalInfo"}
    assert ours == (theirs - refused) | {"ibsi"}
    for key in refused:
        with pytest.raises(SettingsError, match=f"remove '{key}'"):
            Settings.from_mapping({"setting": {key: 1}})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"setting": {"binwidth": 1}}, "unknown setting 'binwidth', did you mean 'binWidth'"),
        ({"settings": {}}, "unknown section 'settings', did you mean 'setting'"),
        ({"imageType": {"Wavelets": {}}}, "unknown imageType 'Wavelets', did you mean 'Wavelet'"),
        ({"imageType": {"LoG": {"sigmas": [1]}}}, "did you mean 'sigma'"),
        ({"featureClass": {"first_order": None}}, "did you mean 'firstorder'"),
        ({"featureClass": {"glcm": ["Kontrast"]}}, "did you mean 'Contrast'"),
        ({"setting": {"binWidth": 0}}, "binWidth"),
        ({"setting": {"binWidth": "0.25"}}, "binWidth"),
        ({"setting": {"binWidth": 1, "binCount": 8}}, "exclude each other"),
        ({"setting": {"binCount": 8}, "imageType": {"Square": {"binWidth": 2}}}, "binCount: null"),
        ({"setting": {"interpolator": "BSpline"}}, "interpolator"),
        ({"setting": {"resampledPixelSpacing": [2, 2]}}, "resampledPixelSpacing"),
        ({"imageType": {"LoG": {}}}, "sigma"),
        ({"imageType": {"Wavelet": {"wavelet": "coif99"}}}, "coif99"),
        ({"voxelSetting": {"kernelRadius": 2}}, "remove 'voxelSetting'"),
        ([], "mapping"),
        (None, "mapping"),
    ],
)
def test_a_wrong_setting_is_named(content, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        Settings.from_mapping(content)
    assert caught.value.reason == "CONFIGURATION_INVALID"


def test_every_problem_is_named_at_once():
    with pytest.raises(SettingsError, match=r"binwidth.*sigmas"):
        Settings.from_mapping({"setting": {"binwidth": 1}, "imageType": {"LoG": {"sigmas": [1]}}})


def test_files_that_are_no_settings_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.from_yaml(tmp_path / "absent.yaml")
    file = tmp_path / "broken.yaml"
    file.write_text("setting: [", encoding="utf-8")
    with pytest.raises(SettingsError, match="YAML"):
        Settings.from_yaml(file)


def test_the_hash_is_of_what_the_settings_mean():
    def sha256(text: str) -> str:
        return Settings.from_mapping(yaml.safe_load(text)).sha256

    plain = sha256("setting: {binWidth: 0.25, label: 1}\nfeatureClass: {glcm: [Contrast, Id], shape: }")
    assert plain == sha256("featureClass: {shape: [], glcm: [Id, Contrast]}\nsetting: {binWidth: 0.25}")
    assert plain == sha256("featureClass: {shape: , glcm: [Id, Contrast]}\nsetting: {binWidth: 0.250, distances: [1]}")
    assert plain != sha256("featureClass: {shape: , glcm: [Id, Contrast]}\nsetting: {binWidth: 0.5}")
    assert plain != sha256("featureClass: {shape: , glcm: [Id]}\nsetting: {binWidth: 0.25}")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings.from_mapping({}).setting.label = 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("setting: {binWidth: 25}", "setting: {binWidth: 25.0}\n# with a comment"),
        ("setting: {interpolator: sitkLinear}", "setting: {interpolator: 2}"),
        ("setting: {resampledPixelSpacing: [4, 4, 4]}", "setting: {resampledPixelSpacing: [4.0, 4.0, 4.0]}"),
        ("imageType: {LoG: {sigma: [4]}}", "imageType: {LoG: {}}\nsetting: {sigma: [4.0]}"),
        ("imageType: {Original: {}}", "imageType: {Original: {}}\nsetting: {sigma: [4], wavelet: db2}"),
        (
            "imageType: {Original: {}, Square: {}}\nsetting: {binWidth: 2}",
            "imageType: {Square: {binWidth: 2}, Original: {}}\nsetting: {binWidth: 2}",
        ),
        ("imageType: {Wavelet: {}}", "imageType: {Wavelet: {wavelet: coif1, level: 1}}"),
        (
            "featureClass: {ngtdm: }",
            "featureClass: {ngtdm: [Strength, Complexity, Busyness, Coarseness, Contrast, Contrast]}",
        ),
    ],
)
def test_two_files_that_ask_for_the_same_numbers_have_the_same_hash(one, other):
    first, second = (Settings.from_mapping(yaml.safe_load(text)) for text in (one, other))
    assert first.sha256 == second.sha256


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("imageType: {LoG: {sigma: [4]}}", "imageType: {LoG: {sigma: [5]}}"),
        ("imageType: {LoG: {sigma: [4]}}", "imageType: {LoG: {sigma: [4], binWidth: 5}}"),
        ("imageType: {Wavelet: {}}", "imageType: {Wavelet: {wavelet: db2}}"),
        ("imageType: {Wavelet: {}}", "imageType: {Wavelet: {}}\nsetting: {wavelet: db2}"),
        ("setting: {interpolator: sitkBSpline}", "setting: {interpolator: sitkLinear}"),
        ("featureClass: {ngtdm: }", "featureClass: {ngtdm: [Strength, Complexity, Busyness, Coarseness]}"),
    ],
)
def test_two_files_that_ask_for_other_numbers_have_other_hashes(one, other):
    first, second = (Settings.from_mapping(yaml.safe_load(text)) for text in (one, other))
    assert first.sha256 != second.sha256
