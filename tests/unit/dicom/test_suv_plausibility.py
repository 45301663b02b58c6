"""Body weight, size, age, injected activity, half-life and values: units and swapped fields, taken together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.dicom.suv_plausibility import patient_and_dose, require_plausible_uptake
from oncoresponse.errors import ImplausibleSuvInput, UnsupportedPetUnit
from oncoresponse.model.definition import ImageInput
from pydicom.dataset import Dataset


def _check(weight, dose, size=None, age=None, mass_index=None):
    dataset, information = Dataset(), Dataset()
    dataset.PatientWeight, dataset.PatientSize, dataset.PatientAge = f"{weight:.8g}", size and f"{size:.8g}", age
    dataset.PatientBodyMassIndex = mass_index
    information.RadionuclideTotalDose = f"{dose:.10g}"
    return patient_and_dose(dataset, information)


@pytest.mark.parametrize(
    ("weight", "dose", "size", "age"),
    [
        (70, 370e6, 1.75, "045Y"),
        (70, 370e6, None, None),
        (3.7, 26e6, 0.52, "002W"),  # minimum activity of the EANM dosage card for a newborn
        (12, 60e6, 0.85, "002Y"),
        (35, 150e6, 1.4, "010Y"),
        (181, 740e6, 1.7, "050Y"),  # BMI 63
        (38, 200e6, 1.75, "080Y"),  # BMI 12
        (99, 616e6, 1.58, "048Y"),  # STS_019
        (70, 25e6, 1.75, "045Y"),  # long-axial PET
        (10, 70e6, None, "000Y"),  # phantom
        (6.3, 70e6, None, None),
        (90, 370e6, 1.8, "000Y"),  # nobody entered an age
    ],
)
def test_children_obese_and_thin_patients_and_phantoms_are_not_refused(weight, dose, size, age):
    found = _check(weight, dose, size, age)
    assert (found.weight_grams, found.dose) == (weight * 1000, dose)


@pytest.mark.parametrize(
    ("weight", "dose", "size", "keyword", "hint"),
    [
        (70_000, 370e6, 1.75, "PatientWeight", "in g"),
        (3700, 26e6, None, "PatientWeight", "in g"),
        (264, 370e6, 1.7, "PatientWeight", "in pounds"),
        (220, 370e6, 1.6, "PatientWeight", "in pounds"),
        (1.75, 370e6, 70, "PatientWeight", "swapped"),
        (175, 370e6, 70, "PatientWeight", "swapped"),
        (7, 100e6, 1.75, "PatientWeight", "cannot both be true"),
        (70, 370e6, 0.5, "PatientWeight", "cannot both be true"),
        (3.7, 370e6, None, "PatientWeight", "do not fit"),
        (70, 3.7e9, 1.75, "RadionuclideTotalDose", "PatientSize confirms"),
        (70, 3.7e9, None, "PatientWeight", "do not fit"),
        (70, 3.7e6, 1.75, "RadionuclideTotalDose", "PatientSize confirms"),
        (70, 370, 1.75, "RadionuclideTotalDose", "in MBq"),
        (70, 10, 1.75, "RadionuclideTotalDose", "in mCi"),
        (70, 0.37, 1.75, "RadionuclideTotalDose", "in GBq"),
        (70, 370_000, 1.75, "RadionuclideTotalDose", "in kBq"),
    ],
)
def test_a_wrong_unit_or_swapped_field_is_named(weight, dose, size, keyword, hint):
    with pytest.raises(ImplausibleSuvInput, match=hint) as caught:
        _check(weight, dose, size)
    assert caught.value.metadata["keyword"] == keyword


@pytest.mark.parametrize("size", [175, 69, 5.74, 1750])
def test_a_size_in_another_unit_does_not_matter_but_is_said(size):
    assert any("PatientSize" in warning for warning in _check(70, 370e6, size).warnings)


@pytest.mark.parametrize(("weight", "age"), [(70, "002Y"), (25, "003M"), (25, "010D"), (130, "008Y")])
def test_a_weight_that_no_child_of_that_age_has_is_refused(weight, age):
    with pytest.raises(ImplausibleSuvInput, match="PatientAge"):
        _check(weight, 200e6, None, age)


def test_a_body_mass_index_that_contradicts_weight_and_size_is_refused():
    assert _check(70, 370e6, 1.75, mass_index=22.9).warnings == ()
    with pytest.raises(ImplausibleSuvInput) as caught:
        _check(70, 370e6, 1.75, mass_index=50.4)
    assert caught.value.metadata["keyword"] == "PatientBodyMassIndex"


@given(
    metres=st.floats(1.3, 2.1),
    mass_index=st.floats(13, 49),
    per_kg=st.floats(0.5e6, 12e6),
)
@settings(max_examples=100, deadline=None)
def test_any_adult_passes_and_no_weight_in_grams_or_swapped_with_size_does(metres, mass_index, per_kg):
    weight = mass_index * metres**2
    dose = per_kg * weight
    assert _check(weight, dose, metres).warnings == ()
    for wrong in ((weight * 1000, dose, metres), (metres, dose, weight), (weight, dose / 1e6, metres)):
        with pytest.raises(ImplausibleSuvInput):
            _check(*wrong)


def test_more_activity_than_was_injected_is_refused():
    # Mean SUV 1 in the whole body of 70 kg is all of it.
    require_plausible_uptake(70_000, 70_000, 1000)
    with pytest.raises(ImplausibleSuvInput, match="more activity"):
        require_plausible_uptake(2 * 70_000, 70_000, 1000)


def test_hardly_any_activity_in_most_of_the_body_is_refused_and_in_a_part_of_it_not():
    require_plausible_uptake(3000, 70_000, 400)
    with pytest.raises(ImplausibleSuvInput, match="less than a tenth"):
        require_plausible_uptake(3000, 70_000, 900)


def test_an_image_that_holds_more_than_the_dose_is_refused(write_series):
    # 60 x 60 x 60 cm of 3700 Bq/mL are 0.8 GBq, of 370 MBq injected an hour before.
    series = write_series(
        modality="PT",
        stored=np.full((3, 3, 3), 3700, np.int16),
        spacing_mm=(200.0, 200.0, 200.0),
    )
    with pytest.raises(ImplausibleSuvInput, match="more activity"):
        convert_study(read_study(series.directory), ImageInput.any_of("PT"))


@pytest.mark.parametrize(("half_life", "unit"), [("109.77", "minutes"), ("1.8295", "hours")])
def test_a_half_life_in_another_unit_is_named(write_series, half_life, unit):
    series = write_series(modality="PT", attributes={"RadionuclideHalfLife": half_life})
    with pytest.raises(ImplausibleSuvInput, match=unit) as caught:
        convert_study(read_study(series.directory), ImageInput.any_of("PT"))
    assert caught.value.metadata["keyword"] == "RadionuclideHalfLife"


def test_units_and_rescale_type_that_contradict_each_other_are_refused(write_series):
    series = write_series(modality="PT", attributes={"RescaleType": "GML"})
    with pytest.raises(UnsupportedPetUnit, match="RescaleType"):
        convert_study(read_study(series.directory), ImageInput.any_of("PT"))


def test_an_suv_type_beside_activity_is_said(write_series):
    series = write_series(
        modality="PT", stored=np.full((3, 2, 2), 9000, np.int16), attributes={"SUVType": "BW", "RescaleType": "BQML"}
    )
    warnings = convert_study(read_study(series.directory), ImageInput.any_of("PT")).description.series[0].warnings
    assert any("SUVType" in warning for warning in warnings)


@pytest.mark.parametrize(("weight", "size", "word"), [(30, 1.75, "below 12"), (156.5, 1.63, "above 50")])
def test_a_weight_that_is_unusual_for_the_size_is_told(weight, size, word):
    assert word in _check(weight, 370e6, size).warnings[0]


@pytest.mark.parametrize(("unit", "named"), [("BQML", "RadionuclideTotalDose"), ("GML", "Units does not fit")])
def test_an_impossible_suv_names_what_may_be_at_fault(write_series, unit, named):
    """An injected activity that misses a digit shows only in the values."""
    stored = np.full((3, 4, 4), 20000, np.int16)
    attributes = {"RescaleSlope": "9" if unit == "BQML" else "0.1", "RadionuclideTotalDose": "2e7"}
    with pytest.raises(ImplausibleSuvInput, match=named):
        convert_study(
            read_study(write_series(modality="PT", unit=unit, stored=stored, attributes=attributes).directory),
            ImageInput.any_of("PT"),
        )
