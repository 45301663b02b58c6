"""Several series that fit: named in the request, preferred by the model, or refused with what tells them apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest
from oncoresponse.case.case import SelectedSeries
from oncoresponse.dicom.selection import require_input_roles
from oncoresponse.dicom.study import DicomStudy, convert_study, read_study
from oncoresponse.errors import AmbiguousSeries, InvalidRequest, MissingSlices, SeriesNotFound
from oncoresponse.model.definition import ImageInput
from oncoresponse.model.series_rules import SeriesRule
from pydantic import ValidationError
from pydicom.uid import generate_uid

BOTH = ImageInput.any_of("PT", "CT")


def _preferring(modality: str, *rules: SeriesRule) -> tuple[ImageInput, ...]:
    """PET and CT, of one of which the model prefers a series."""
    return tuple(item.model_copy(update={"prefer": rules}) if item.modality == modality else item for item in BOTH)


def _named(*uids: str) -> list[SelectedSeries]:
    return [SelectedSeries(series_instance_uid=uid) for uid in uids]


@pytest.fixture(scope="module")
def two_reconstructions(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DicomStudy, str, str]:
    """STS_032 with its PET stored a second time, as a reconstruction of another kind; the UIDs of both."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(examples / "STS_032", folder, dirs_exist_ok=True)
    second = generate_uid(entropy_srcs=["second reconstruction"])
    for number, path in enumerate(sorted((folder / "PET").glob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        if dataset.Modality != "PT":
            continue
        first = dataset.SeriesInstanceUID
        dataset.SeriesInstanceUID = second
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=["second", str(number)]
        )
        dataset.ReconstructionMethod = "FBP"
        dataset.save_as(folder / "PET" / f"second-{number}.dcm")
    return read_study(folder), str(first), second


def _description(study: DicomStudy, inputs: tuple[ImageInput, ...] = BOTH, **options: object):
    return convert_study(study, inputs, **options).description


def _uids(*series) -> list[SelectedSeries]:
    return _named(*(one.series_instance_uid for one in series))


def test_two_reconstructions_are_refused_with_what_tells_them_apart_and_how_to_choose(two_reconstructions):
    study, first, second = two_reconstructions
    with pytest.raises(AmbiguousSeries) as caught:
        convert_study(study, BOTH)
    assert "ReconstructionMethod" in caught.value.message
    assert "FBP" in caught.value.message
    assert "--series" in caught.value.message
    assert "prefer" in caught.value.message
    assert not any(word in caught.value.message for word in (first, second, "STS_032"))


@pytest.mark.parametrize("number", [0, 1])
def test_the_named_reconstruction_is_used_and_the_report_is_told(two_reconstructions, number):
    study, *uids = two_reconstructions
    description = _description(study, selected=_named(uids[number]))
    pet = description.series_of_role("PT")
    assert pet.series_instance_uid == uids[number]
    assert pet.chosen_because == "The PET series is the one that the request names."
    assert pet.chosen_because in pet.warnings
    assert description.series_of_role("CT").chosen_because is None


def test_the_preferred_reconstruction_is_used_and_the_report_is_told_why(two_reconstructions):
    study, _, second = two_reconstructions
    inputs = _preferring("PT", SeriesRule(keyword="ReconstructionMethod", contains="fbp"))
    pet = _description(study, inputs).series_of_role("PT")
    assert pet.series_instance_uid == second
    assert pet.chosen_because == (
        'Of 2 PET series the model\'s preference chose one: ReconstructionMethod contains "fbp".'
    )


def test_a_series_that_the_request_names_goes_before_the_preference(two_reconstructions):
    study, first, _ = two_reconstructions
    inputs = _preferring("PT", SeriesRule(keyword="ReconstructionMethod", equals="FBP"))
    pet = _description(study, inputs, selected=_named(first)).series_of_role("PT")
    assert pet.series_instance_uid == first


def test_copies_that_differ_in_nothing_are_said_to(write_series):
    study = read_study(
        [*write_series(modality="PT").files, *write_series(modality="PT", series="other").files, *write_series().files]
    )
    with pytest.raises(AmbiguousSeries, match="Nothing but their Series Instance UIDs"):
        convert_study(study, BOTH)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"keyword": "ConvolutionKernel", "equals": "b70f "}, "sharp"),
        ({"keyword": "ConvolutionKernel", "contains": "30"}, "soft"),
        ({"keyword": "ConvolutionKernel", "matches": "^B[78]"}, "sharp"),
        ({"keyword": "ConvolutionKernel", "lacks": "b70"}, "soft"),
        ({"keyword": "FilterType", "absent": True}, "sharp"),
        ({"keyword": "KVP", "equals": 1.4e2}, "sharp"),
        ({"keyword": "KVP", "nearest": 95}, "soft"),
        ({"keyword": "KVP", "smallest": True}, "soft"),
        ({"keyword": "KVP", "largest": True}, "sharp"),
    ],
)
def test_each_kind_of_rule_decides(write_series, rule, wanted):
    series = {
        "soft": write_series(
            series="soft", attributes={"ConvolutionKernel": "B30f", "KVP": "100", "FilterType": "WEDGE"}
        ),
        "sharp": write_series(series="sharp", attributes={"ConvolutionKernel": "B70f", "KVP": "140"}),
    }
    files = [file for one in series.values() for file in one.files]
    for order in (files, files[::-1]):
        converted = convert_study(read_study(order), _preferring("CT", SeriesRule(**rule))[1:])
        assert converted.volumes["CT"].series_instance_uid == series[wanted].series_instance_uid


def test_a_rule_that_likes_none_or_all_leaves_the_choice_to_the_next(write_series):
    soft = write_series(series="soft", attributes={"ConvolutionKernel": "B30f"})
    sharp = write_series(series="sharp", attributes={"ConvolutionKernel": "B70f"})
    study = read_study([*soft.files, *sharp.files])
    silent = (
        SeriesRule(keyword="ConvolutionKernel", equals="none of them"),
        SeriesRule(keyword="SliceThickness", nearest=3.0),
        SeriesRule(keyword="ReconstructionMethod", equals="absent"),
    )
    with pytest.raises(AmbiguousSeries, match=r"ConvolutionKernel \(1: B[37]0f, 2: B[37]0f\)"):
        convert_study(study, _preferring("CT", *silent)[1:])
    rules = (*silent, SeriesRule(keyword="ConvolutionKernel", equals="B70f"))
    converted = convert_study(study, _preferring("CT", *rules)[1:])
    assert converted.volumes["CT"].series_instance_uid == sharp.series_instance_uid
    assert "none of them" not in converted.description.series[0].chosen_because


def test_a_preferred_ct_goes_before_the_nearest_slice_distance_and_not_before_coverage(write_series):
    pet = write_series(modality="PT", shape=(8, 6, 6), spacing_mm=(4, 4, 3))
    near = write_series(series="near", shape=(8, 24, 24), spacing_mm=(1, 1, 3))
    thin = write_series(
        series="thin",
        shape=(24, 24, 24),
        spacing_mm=(1, 1, 1),
        origin_mm=(-20, -30, 39),
        attributes={"ConvolutionKernel": "B20f"},
    )
    part = write_series(
        series="part", shape=(4, 24, 24), spacing_mm=(1, 1, 3), attributes={"ConvolutionKernel": "B20f"}
    )
    study = read_study([file for one in (pet, near, thin, part) for file in one.files])
    assert _description(study).series_of_role("CT").series_instance_uid == near.series_instance_uid
    inputs = _preferring("CT", SeriesRule(keyword="ConvolutionKernel", equals="B20f"))
    assert _description(study, inputs).series_of_role("CT").series_instance_uid == thin.series_instance_uid


def test_a_preferred_series_with_a_defect_does_not_give_way(write_series):
    broken = write_series(modality="PT", shape=(8, 6, 6), attributes={"ReconstructionMethod": "OSEM"})
    whole = write_series(modality="PT", series="other", shape=(8, 6, 6))
    files = [file for k, file in enumerate(broken.files) if k != 4]
    inputs = _preferring("PT", SeriesRule(keyword="ReconstructionMethod", equals="OSEM"))
    with pytest.raises(MissingSlices):
        convert_study(read_study([*files, *whole.files]), inputs[:1])


def test_a_refused_series_shows_that_a_typed_attribute_is_absent_and_never_what_it_says(write_series):
    rule = SeriesRule(keyword="ContrastBolusAgent", matches="gado")
    inputs = (ImageInput(role="post", modality="MR", quantity="[arb'U]", purpose="Contour", match=(rule,)),)
    for attributes, found in (({}, "absent"), ({"ContrastBolusAgent": "Doe Jane"}, "not shown")):
        study = read_study(write_series(modality="MR", attributes=attributes).files)
        with pytest.raises(SeriesNotFound, match=rf"Found: ContrastBolusAgent \({found}\)") as caught:
            convert_study(study, inputs)
        assert "Doe" not in caught.value.message


def test_a_phase_that_is_not_the_preferred_one_and_sides_that_differ_are_told(write_series):
    rule = SeriesRule(keyword="TemporalPositionIdentifier", nearest=2)
    late = write_series(modality="MR", attributes={"TemporalPositionIdentifier": 4, "Laterality": "L"})
    ct = write_series(attributes={"Laterality": "R"})
    inputs = (
        ImageInput(role="post", modality="MR", quantity="[arb'U]", purpose="Contour", prefer=(rule,)),
        *ImageInput.any_of("CT"),
    )
    warnings = _description(read_study([*late.files, *ct.files]), inputs).warnings
    assert "The MR series has TemporalPositionIdentifier 4; the model prefers 2." in warnings
    assert any("different sides of the body (post left, CT right)" in warning for warning in warnings)
    wanted = write_series(
        modality="MR", series="wanted", attributes={"TemporalPositionIdentifier": 2, "Laterality": "L"}
    )
    assert _description(read_study([*late.files, *wanted.files]), inputs[:1]).warnings == ()


def test_phases_are_told_apart_by_their_delay_and_never_by_their_hour(write_series):
    early = write_series(series="early", attributes={"AcquisitionTime": "101502"})
    late = write_series(series="late", attributes={"AcquisitionTime": "101542"})
    with pytest.raises(AmbiguousSeries) as caught:
        convert_study(read_study([*early.files, *late.files]), ImageInput.any_of("CT"))
    assert "40 s" in caught.value.message
    assert "1015" not in caught.value.message


def test_a_name_written_into_a_setting_is_not_quoted(write_series):
    one = write_series(attributes={"ConvolutionKernel": "Doe^Jane"})
    other = write_series(series="other", attributes={"ConvolutionKernel": "B30f"})
    with pytest.raises(AmbiguousSeries) as caught:
        convert_study(read_study([*one.files, *other.files]), ImageInput.any_of("CT"))
    assert "B30f" in caught.value.message
    assert "Doe" not in caught.value.message


def test_a_named_pet_without_attenuation_correction_stays_unfit(write_series):
    corrected = write_series(modality="PT")
    plain = write_series(modality="PT", series="NAC", attributes={"CorrectedImage": ["DECY", "SCAT"]})
    study = read_study([*corrected.files, *plain.files])
    with pytest.raises(SeriesNotFound, match="attenuation"):
        convert_study(study, ImageInput.any_of("PT"), selected=_uids(plain))


def test_a_named_series_that_does_not_fit_is_refused_with_the_cause(write_series):
    pet, ct, mr = write_series(modality="PT"), write_series(), write_series(modality="MR")
    second = write_series(series="second")
    study = read_study([file for one in (pet, ct, mr, second) for file in one.files])
    with pytest.raises(SeriesNotFound, match="not among the images"):
        convert_study(study, BOTH, selected=_named("1.2.3"))
    with pytest.raises(InvalidRequest, match="names a MR series, and the model reads PT and CT"):
        convert_study(study, BOTH, selected=_uids(mr))
    with pytest.raises(InvalidRequest, match="two series of one modality"):
        convert_study(study, BOTH, selected=_uids(ct, second))


@pytest.mark.parametrize(
    ("selected", "sentence"),
    [
        ([("PT", "ct")], "series selected for PT is a CT series"),
        ([("MR", "pet")], "no input 'MR'; it has PT, CT"),
        ([("PT", "pet"), ("PT", "ct")], "one input or one series twice"),
        ([("", "pet"), ("PT", "pet")], "one input or one series twice"),
    ],
)
def test_a_selection_that_does_not_fit_the_inputs_is_refused(write_series, selected, sentence):
    written = {"pet": write_series(modality="PT"), "ct": write_series()}
    study = read_study([file for one in written.values() for file in one.files])
    named = [
        SelectedSeries(input_role=role, series_instance_uid=written[name].series_instance_uid)
        for role, name in selected
    ]
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        require_input_roles(study.series, BOTH, named)
    assert not any(one.series_instance_uid in caught.value.message for one in written.values())


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"keyword": "ConvolutionKernel"}, "exactly one of"),
        ({"keyword": "KVP", "smallest": True, "largest": True}, "exactly one of"),
        ({"keyword": "KVP", "nearest": 1, "equals": "1"}, "exactly one of"),
        ({"keyword": "PatientName", "contains": "Doe"}, "identifies"),
        ({"keyword": "SeriesInstanceUID", "equals": "1.2.3"}, "identifies"),
        ({"keyword": "ConvolutionKernal", "equals": "B30f"}, "no keyword of DICOM"),
        ({"keyword": "ConvolutionKernel", "matches": "("}, "no regular expression"),
        ({"keyword": "ConvolutionKernel", "equal": "B30f"}, "equal"),
    ],
)
def test_a_rule_that_could_not_work_is_refused_when_the_model_is_read(rule, sentence):
    with pytest.raises(ValidationError, match=sentence):
        SeriesRule(**rule)
