"""PET to SUV, against values computed by hand from the definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.errors import (
    ContradictoryTimes,
    ImplausibleSuvInput,
    InvalidAttribute,
    MissingAttribute,
    MissingInjectedDose,
    MissingPatientWeight,
    MissingSlices,
    UnsupportedDecayCorrection,
    UnsupportedPetUnit,
)
from oncoresponse.model.definition import ImageInput

# The default synthetic PET: 70 kg, 370 MBq at 09:00, scan at 10:00, half-life 6586.2 s.
FACTOR_AT_START = 70_000 / (370e6 * 2 ** (-3600 / 6586.2))


def _convert(series):
    converted = convert_study(read_study(series.directory), ImageInput.any_of("PT"))
    return converted.volumes["PT"], converted.description.series[0]


def _factors(series):
    """SUV of each slice divided by the stored value."""
    volume, _ = _convert(series)
    return (volume.array / np.maximum(series.stored, 1)).reshape(len(series.stored), -1).max(axis=1)


def _assert_factor(series, expected):
    volume, _ = _convert(series)
    np.testing.assert_allclose(volume.array, series.stored * np.reshape(expected, (-1, 1, 1)), rtol=1e-6)


def test_decay_correction_to_the_start_of_the_scan(write_series):
    _assert_factor(write_series(modality="PT"), FACTOR_AT_START)


def test_a_number_worked_out_on_paper(write_series):
    # One half-life after injection half of the dose is left: 10000 Bq/mL * 70000 g / (400 MBq / 2) = 3.5 g/mL.
    series = write_series(
        modality="PT",
        stored=np.full((3, 2, 2), 10000, np.int16),
        attributes={
            "RadionuclideTotalDose": "4e8",
            "RadionuclideHalfLife": "6600",
            "RadiopharmaceuticalStartTime": "081000",
        },
    )
    _assert_factor(series, 0.00035)


def test_decay_correction_to_the_injection_needs_no_times(write_series):
    times = dict.fromkeys(("SeriesTime", "AcquisitionTime", "RadiopharmaceuticalStartTime"))
    stored = np.full((3, 2, 2), 10000, np.int16)
    series = write_series(modality="PT", stored=stored, attributes={"DecayCorrection": "ADMIN", **times})
    _assert_factor(series, 70_000 / 370e6)


def test_no_decay_correction_uses_the_time_of_each_slice(write_series):
    series = write_series(
        modality="PT",
        attributes={
            "DecayCorrection": "NONE",
            "CorrectedImage": ["ATTN"],
            "AcquisitionTime": lambda k: f"10{5 * k:02d}00",
            "ActualFrameDuration": "300000",
        },
    )
    # Average of a decaying activity over the frame, integrated numerically instead of by the closed form.
    constant = math.log(2) / 6586.2
    seconds = (np.arange(100_000) + 0.5) * 300 / 100_000
    expected = [
        70_000 / (370e6 * np.exp(-constant * (3600 + 300 * k + seconds)).mean()) for k in range(len(series.stored))
    ]
    _assert_factor(series, expected)


def test_rescale_slope_of_each_slice(write_series):
    slopes = [0.5, 1.0, 1.5, 2.0, 2.5]
    series = write_series(modality="PT", attributes={"RescaleSlope": lambda k: str(slopes[k])})
    _assert_factor(series, FACTOR_AT_START * np.array(slopes))


@pytest.mark.parametrize("suv_type", [None, "BW"])
def test_suv_from_the_scanner_is_taken_as_it_is(write_series, suv_type):
    series = write_series(modality="PT", unit="GML", attributes={"SUVType": suv_type, "RescaleSlope": "0.001"})
    _assert_factor(series, 0.001)
    assert _convert(series)[1].suv_method == "Stored as SUVbw (Units GML)"


def _philips(scale, activity, creator="Philips PET Private Group"):
    def change(dataset, _k):
        block = dataset.private_block(0x7053, creator, create=True)
        block.add_new(0x00, "DS", scale)
        block.add_new(0x09, "DS", activity)

    return change


def test_philips_counts_by_the_suv_scale_factor(write_series):
    _assert_factor(write_series(modality="PT", unit="CNTS", change=_philips("0.000412", "2.5")), 0.000412)


def test_philips_counts_by_the_activity_factor(write_series):
    series = write_series(modality="PT", unit="CNTS", change=_philips("0", "2.5"))
    _assert_factor(series, 2.5 * FACTOR_AT_START)


@pytest.mark.parametrize("change", [None, _philips("0", ""), _philips("0.1", "2.5", "SOMEONE ELSE")])
def test_counts_without_the_factor_are_refused(write_series, change):
    with pytest.raises(UnsupportedPetUnit):
        _convert(write_series(modality="PT", unit="CNTS", change=change))


@pytest.mark.parametrize(
    ("unit", "suv_type"), [("PROPCPS", None), ("CM2ML", None), ("NONE", None), ("GML", "LBM"), ("GML", "BSA")]
)
def test_other_units_are_refused(write_series, unit, suv_type):
    with pytest.raises(UnsupportedPetUnit):
        _convert(write_series(modality="PT", unit=unit, attributes={"SUVType": suv_type}))


def test_injection_before_midnight(write_series):
    late = {"SeriesTime": "002000", "AcquisitionTime": "002000", "RadiopharmaceuticalStartTime": "232000"}
    _assert_factor(write_series(modality="PT", attributes=late), FACTOR_AT_START)


def test_injection_date_time(write_series):
    value = {"RadiopharmaceuticalStartDateTime": "20240301090000.00", "RadiopharmaceuticalStartTime": None}
    _assert_factor(write_series(modality="PT", attributes=value), FACTOR_AT_START)


def test_injection_date_time_in_another_time_zone(write_series):
    value = {
        "RadiopharmaceuticalStartDateTime": "20240301080000+0000",
        "RadiopharmaceuticalStartTime": None,
        "TimezoneOffsetFromUTC": "+0100",
    }
    _assert_factor(write_series(modality="PT", attributes=value), FACTOR_AT_START)


def test_injection_date_that_deidentification_forgot(write_series):
    series = write_series(modality="PT", attributes={"RadiopharmaceuticalStartDateTime": "20110509090000"})
    _assert_factor(series, FACTOR_AT_START)
    assert any("date of injection" in warning for warning in _convert(series)[1].warnings)


def test_series_time_rewritten_by_a_workstation_gives_way_to_ge_scan_time(write_series):
    def change(dataset, _k):
        dataset.SeriesTime = "143000"
        dataset.AcquisitionTime = "100500"
        dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240301100000.00")

    _assert_factor(write_series(modality="PT", change=change), FACTOR_AT_START)


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"PatientWeight": None}, MissingPatientWeight),
        ({"PatientWeight": ""}, MissingPatientWeight),
        ({"PatientWeight": "0"}, MissingPatientWeight),
        ({"PatientWeight": "-70"}, ImplausibleSuvInput),
        ({"PatientWeight": "70000"}, ImplausibleSuvInput),
        ({"PatientWeight": lambda k: str(70 + k)}, ImplausibleSuvInput),
        ({"RadionuclideTotalDose": None}, MissingInjectedDose),
        ({"RadionuclideTotalDose": "0"}, MissingInjectedDose),
        ({"RadionuclideTotalDose": "370"}, ImplausibleSuvInput),
        ({"RadionuclideTotalDose": "3.7e11"}, ImplausibleSuvInput),
        ({"RadionuclideHalfLife": None}, MissingAttribute),
        ({"RadionuclideHalfLife": "109.8"}, ImplausibleSuvInput),
        ({"RadionuclideHalfLife": "0"}, ImplausibleSuvInput),
        ({"RadiopharmaceuticalStartTime": None}, MissingAttribute),
        ({"RadiopharmaceuticalStartTime": "2561"}, InvalidAttribute),
        ({"RadiopharmaceuticalStartTime": "101000"}, ImplausibleSuvInput),
        ({"RadiopharmaceuticalStartDateTime": "20240229110000"}, ContradictoryTimes),
        ({"AcquisitionTime": None}, MissingAttribute),
        ({"SeriesDate": "20241301"}, InvalidAttribute),
        ({"DecayCorrection": None}, MissingAttribute),
        ({"DecayCorrection": "SOMEHOW"}, UnsupportedDecayCorrection),
        ({"DecayCorrection": "NONE"}, UnsupportedDecayCorrection),
        ({"CorrectedImage": ["ATTN"]}, UnsupportedDecayCorrection),
        ({"RescaleSlope": None}, MissingAttribute),
        ({"RescaleSlope": "0"}, InvalidAttribute),
        ({"Units": None}, MissingAttribute),
        ({"NumberOfSlices": 9}, MissingSlices),
        ({"RadiopharmaceuticalInformationSequence": []}, MissingInjectedDose),
    ],
)
def test_what_suv_cannot_be_computed_from(write_series, attributes, error):
    with pytest.raises(error) as caught:
        _convert(write_series(modality="PT", attributes=attributes))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("unit", "largest"), [("BQML", 12), ("BQML", 0), ("GML", 0), ("GML", 4000)], ids=lambda value: str(value)
)
def test_values_of_another_unit_are_refused(write_series, unit, largest):
    """SUV called Bq/mL, Bq/mL called SUV, and an empty image."""
    stored = np.zeros((3, 4, 4), np.int16)
    stored[1, 1, 1] = largest
    with pytest.raises(ImplausibleSuvInput) as caught:
        _convert(write_series(modality="PT", unit=unit, stored=stored))
    assert caught.value.metadata["keyword"] == "Units"


@pytest.mark.parametrize("largest", [1, 67, 150])
def test_cold_regions_and_hot_bladders_are_not_refused(write_series, largest):
    stored = np.zeros((3, 4, 4), np.int16)
    stored[1, 1, 1] = largest
    assert _convert(write_series(modality="PT", unit="GML", stored=stored))[0].array.max() == largest


@given(
    weight=st.integers(30, 200),
    dose=st.integers(50, 900),
    uptake=st.integers(1, 14_400),
    start=st.integers(0, 86_399),
)
@settings(max_examples=30, deadline=None)
def test_suv_follows_its_definition_at_any_hour(write_series, weight, dose, uptake, start):
    def clock(seconds):
        return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"

    expected = weight * 1000 / (dose * 1e6) * math.exp(math.log(2) * uptake / 6586.2)
    series = write_series(
        modality="PT",
        # About 10 g/mL, so that the values are those of a PET.
        stored=np.full((3, 1, 1), min(round(10 / expected), 30_000), np.int16),
        attributes={
            "PatientWeight": str(weight),
            "RadionuclideTotalDose": str(dose * 1_000_000),
            "SeriesTime": clock(start),
            "AcquisitionTime": clock(start),
            "RadiopharmaceuticalStartTime": clock((start - uptake) % 86_400),
        },
    )
    assert _factors(series) == pytest.approx([expected] * 3, rel=1e-6)
