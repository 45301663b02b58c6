"""The tracer: codes, whole terms of free text, nuclide and half-life, which must not contradict one another."""

import numpy as np
import pytest
from oncoresponse.dicom.radiopharmaceutical import require_fdg
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.errors import UnsupportedTracer
from oncoresponse.model.definition import ImageInput
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

HALF_LIFE = "6586.2"


def _code(value, scheme="SCT", meaning=""):
    item = Dataset()
    with disable_value_validation():
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _image(name=None, code=None, nuclide=None, half_life=HALF_LIFE):
    information = Dataset()
    with disable_value_validation():
        information.Radiopharmaceutical, information.RadionuclideHalfLife = name, half_life
    if code is not None:
        information.RadiopharmaceuticalCodeSequence = [code]
    if nuclide is not None:
        information.RadionuclideCodeSequence = [nuclide]
    dataset = Dataset()
    dataset.RadiopharmaceuticalInformationSequence = [information]
    return dataset


FDG_NAMES = [
    "FluorodeoxyglucoseF18",
    "F-18 Flurodeoxyglucose",
    "Fluorodeoxiglucosa",
    "FDG lot 12345",
    "FDG",
    "F-18 FDG",
    "[18F]FDG",
    "18F-FDG",
    "F18FDG",
    "18FFDG",
    "FDG_F18",
    "^18^F-FDG",
    "FDG -- fluorodeoxyglucose",
    "Fluorodeoxyglucose F^18^",
    "Fluorodeoxyglucose (18F)",
    "Fluorodeoxyglucose 18F injection USP",
    "2-[18F]FDG",
    "2-deoxy-2-[18F]fluoro-D-glucose",
    "2-fluoro-2-deoxy-D-glucose",
    "Fludeoxyglucose F 18",
    "[18F]fludeoxyglucose",
    "Fluordesoxyglukose",
    "fluorod\u00e9soxyglucose",
    "fluorodesoxiglucosa",
    "fluorodesossiglucosio",
    "FDG 370 MBq",
    "FDG 10mCi",
    "FDG whole body",
    "Efdege",
]

OTHER_NAMES = [
    "PSMA-1007",
    "not FDG",
    "non-FDG",
    "FDGal",
    "FDGlucosamine",
    "FLT",
    "FDOPA",
    "F-18 DOPA",
    "NaF",
    "Sodium fluoride F-18",
    "FCH",
    "F-18 Choline",
    "[18F]FET",
    "fluorodeoxygalactose",
    "fluorothymidine F^18^",
    "FDG-PSMA",
    "FDG/FLT",
    "FDG and NaF",
    "FDG-6-phosphate",
    "FDG-labeled leukocytes",
    "FDG AB-1234",
    "Ga-68 FDG",
    "[11C]acetate",
    "florbetapir",
    "XYZ",
]


@pytest.mark.parametrize("name", FDG_NAMES)
def test_fdg_is_recognized_by_whole_terms(name):
    assert require_fdg(_image(name))
    assert require_fdg(_image(None, _code("LOCAL-1", "99HOSPITAL", name)))


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_another_name_is_refused_alone_and_beside_an_fdg_code(name):
    for code in (None, _code("35321007"), _code("LOCAL-1", "99HOSPITAL", "FDG")):
        with pytest.raises(UnsupportedTracer) as caught:
            require_fdg(_image(name, code))
    assert "contradict" in caught.value.message


@pytest.mark.parametrize("name", FDG_NAMES)
@pytest.mark.parametrize("code", [_code("C-B1034", "SRT"), _code("126713", "DCM"), _code("x", "99L", "PSMA-1007")])
def test_a_code_of_another_tracer_beside_fdg_is_refused(name, code):
    with pytest.raises(UnsupportedTracer, match="contradict"):
        require_fdg(_image(name, code))


@pytest.mark.parametrize(
    ("value", "scheme", "meaning"),
    [
        ("35321007", "SCT", "Fluorodeoxyglucose F^18^"),
        ("35321007", "SCT", ""),
        ("C-B1031", "SRT", ""),
        ("C-B1031", "SNM3", "FDG -- fluorodeoxyglucose"),
        ("C-B1031", "99SDM", ""),
        ("Y-X1743", "99SDM", "FDG -- fluorodeoxyglucose"),
        ("7", "99HOSPITAL", "FDG"),
    ],
)
@pytest.mark.parametrize("name", [None, "Solution", "FDG", "F-18"])
def test_fdg_is_recognized_by_code_in_every_scheme(value, scheme, meaning, name):
    assert require_fdg(_image(name, _code(value, scheme, meaning)))


def test_the_same_digits_in_a_local_scheme_are_no_fdg_code():
    assert not require_fdg(_image(None, _code("35321007", "99HOSPITAL", "")))


@pytest.mark.parametrize("meaning", ["PSMA-1007", "Fluorothymidine F^18^"])
def test_an_fdg_code_with_another_meaning_is_refused(meaning):
    with pytest.raises(UnsupportedTracer, match="contradict"):
        require_fdg(_image(None, _code("35321007", "SCT", meaning)))


@pytest.mark.parametrize("name", [None, "Solution", "F-18", "18F", "Fluorine-18", "unknown", "n/a"])
def test_a_name_that_says_nothing_names_no_tracer(name):
    assert not require_fdg(_image(name))


@pytest.mark.parametrize(
    "nuclide",
    [
        _code("77004003", "SCT", "^18^Fluorine"),
        _code("C-111A1", "SRT", "^18^Fluorine"),
        _code("C-111A1", "99SDM", "18F"),
        _code("C-111A1", "SNM3", ""),
        _code("1", "99HOSPITAL", "F-18"),
        _code("1", "99HOSPITAL", "unknown"),
    ],
)
def test_fluorine_18_is_recognized(nuclide):
    assert require_fdg(_image("FDG", None, nuclide))


@pytest.mark.parametrize(
    ("nuclide", "half_life"),
    [
        (_code("35337001", "SCT", "^68^Gallium"), "4062.6"),
        (_code("35337001", "SCT", ""), HALF_LIFE),
        (_code("C-131A3", "SRT", "^68^Gallium"), HALF_LIFE),
        (_code("77004003", "SCT", "^68^Gallium"), HALF_LIFE),
        (_code("35337001", "SCT", "^18^Fluorine"), HALF_LIFE),
        (_code("1", "99HOSPITAL", "Ga-68"), HALF_LIFE),
        (_code("77004003", "SCT", "^18^Fluorine"), "4062.6"),
        (_code("77004003", "SCT", "^18^Fluorine"), "1223.4"),
        (None, "4062.6"),
        (None, "45720"),
    ],
)
def test_a_nuclide_or_half_life_that_is_not_that_of_fluorine_18_is_refused(nuclide, half_life):
    with pytest.raises(UnsupportedTracer) as caught:
        require_fdg(_image("FDG", _code("35321007"), nuclide, half_life))
    assert caught.value.metadata["keyword"] in ("RadionuclideCodeSequence", "RadionuclideHalfLife")


def test_two_injections_are_refused():
    dataset = _image("FDG")
    dataset.RadiopharmaceuticalInformationSequence = [*dataset.RadiopharmaceuticalInformationSequence, Dataset()]
    with pytest.raises(UnsupportedTracer):
        require_fdg(dataset)


def _convert(write_series, **more):
    series = write_series(modality="PT", stored=np.full((3, 2, 2), 9000, np.int16), **more)
    return convert_study(read_study(series.directory), ImageInput.any_of("PT")).description.series[0]


@pytest.mark.parametrize(("name", "tracer"), [("FDG", "Fluorodeoxyglucose F^18^"), ("Solution", None)])
def test_the_description_names_the_tracer_or_warns(write_series, name, tracer):
    description = _convert(write_series, attributes={"Radiopharmaceutical": name})
    assert description.radiopharmaceutical == tracer
    assert any("tracer" in warning for warning in description.warnings) == (tracer is None)


@pytest.mark.parametrize("unit", ["BQML", "GML"])
def test_one_slice_of_another_tracer_is_refused(write_series, unit):
    names = {"Radiopharmaceutical": lambda k: "PSMA-1007" if k == 2 else "FDG", "RescaleSlope": "0.001"}
    with pytest.raises(UnsupportedTracer):
        _convert(write_series, unit=unit, attributes=names)


@pytest.mark.parametrize("meaning", ["Fluorine", "F", "Fluor"])
def test_fluorine_without_its_mass_number_is_no_other_nuclide(meaning):
    assert require_fdg(_image("FDG", nuclide=_code("", "", meaning)))
    assert not require_fdg(_image(meaning))
    with pytest.raises(UnsupportedTracer):
        require_fdg(_image("FDG", nuclide=_code("", "", meaning), half_life="4062.6"))
