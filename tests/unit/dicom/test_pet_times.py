"""When a PET scan began and when the tracer was injected: all statements agree, or the image is refused.

A synthetic whole-body scan of five bed positions states its times as PS3.3 C.8.9 defines them; then one is changed.
"""

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
    UnsupportedDecayCorrection,
)
from oncoresponse.model.definition import ImageInput

HALF_LIFE = 6586.2
BED = 180
MINUTE = 60
NINE, TEN = 9 * 3600, 10 * 3600


def _clock(seconds):
    seconds = round(seconds) % 86_400
    return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"


def _decay_factor(begin, duration):
    """Activity at the start of the scan over its average from begin to begin + duration, by numerical integration."""
    seconds = begin + (np.arange(2000) + 0.5) * duration / 2000
    return 1 / (2 ** (-seconds / HALF_LIFE)).mean()


def _scan(start=TEN, injected=NINE, beds=range(5), **changes):
    """Attributes of a scan with one slice a bed position, as a scanner writes them."""
    begin = [bed * BED for bed in beds]
    attributes = {
        "SeriesTime": _clock(start),
        "AcquisitionTime": lambda k: _clock(start + begin[k]),
        "ActualFrameDuration": str(BED * 1000),
        "FrameReferenceTime": lambda k: str(begin[k] * 1000 + 89_000),
        "DecayFactor": lambda k: f"{_decay_factor(begin[k], BED):.6g}",
        "RadiopharmaceuticalStartTime": _clock(injected),
    }
    return {**attributes, **changes}


def _factor(uptake=3600):
    return 70_000 / (370e6 * 2 ** (-uptake / HALF_LIFE))


def _convert(write_series, attributes, beds=5, **more):
    stored = np.full((beds, 1, 1), 9000, np.int16)
    series = write_series(modality="PT", stored=stored, attributes=attributes, **more)
    converted = convert_study(read_study(series.directory), ImageInput.any_of("PT"))
    return converted.volumes["PT"].array.ravel() / 9000, converted.description.series[0]


def _assert_factor(write_series, attributes, expected, beds=5, rtol=1e-6, **more):
    factors, description = _convert(write_series, attributes, beds, **more)
    np.testing.assert_allclose(factors, expected, rtol=rtol)
    return description


def _assert_refused(write_series, attributes, error=ContradictoryTimes, beds=5, **more):
    with pytest.raises(error) as caught:
        _convert(write_series, attributes, beds, **more)
    assert type(caught.value) is error
    return caught.value


def test_times_that_agree_are_used_and_named(write_series):
    description = _assert_factor(write_series, _scan(), _factor())
    assert "Series Time, confirmed by Decay Factor" in description.suv_method
    assert description.warnings == ()


def test_decay_factor_confirms_a_late_part_of_a_long_acquisition(write_series):
    """The published header of a Siemens scanner: minutes 50 to 70 of a scan, decay corrected to its Series Time.

    https://github.com/openneuropet/PET2BIDS/issues/367
    """
    attributes = {
        "SeriesTime": "162016",
        "AcquisitionTime": "171015",
        "DecayFactor": "1.45951",
        "ActualFrameDuration": "1200000",
        "RadiopharmaceuticalStartTime": "152016",
    }
    _assert_factor(write_series, attributes, _factor(), beds=3)


def test_series_time_rewritten_by_a_workstation_gives_way_to_an_acquisition_that_others_confirm(write_series):
    for absent in ({}, {"DecayFactor": None}, {"FrameReferenceTime": None}):
        description = _assert_factor(write_series, _scan(SeriesTime="143000", **absent), _factor())
        assert any("Series Time" in warning for warning in description.warnings)


def test_series_time_rewritten_and_nothing_that_shows_the_first_bed_is_refused(write_series):
    attributes = _scan(SeriesTime="143000", DecayFactor=None, FrameReferenceTime=None)
    assert "cannot be established" in _assert_refused(write_series, attributes).message


@pytest.mark.parametrize("absent", ["DecayFactor", "FrameReferenceTime"])
def test_series_time_rewritten_and_beds_removed_is_refused_by_a_single_witness(write_series, absent):
    attributes = _scan(beds=range(2, 5), **{"SeriesTime": "143000", absent: None})
    assert "cannot be established" in _assert_refused(write_series, attributes, beds=3).message


def test_series_time_rewritten_and_beds_removed_is_right_where_two_witnesses_agree(write_series):
    attributes = _scan(beds=range(2, 5), SeriesTime="143000")
    factors, description = _convert(write_series, attributes, beds=3)
    np.testing.assert_allclose(factors, _factor(), rtol=2e-4)
    assert any("first bed position is missing" in warning for warning in description.warnings)


def test_beds_removed_with_the_true_series_time_changes_nothing(write_series):
    _assert_factor(write_series, _scan(beds=range(2, 5)), _factor(), beds=3)


@pytest.mark.parametrize("absent", [{}, {"DecayFactor": None}, {"FrameReferenceTime": None}])
def test_series_time_rewritten_to_the_first_bed_that_is_left_is_refused(write_series, absent):
    attributes = _scan(beds=range(2, 5), SeriesTime=_clock(TEN + 2 * BED), **absent)
    _assert_refused(write_series, attributes, beds=3)


@pytest.mark.parametrize("absent", [{}, {"DecayFactor": None}, {"FrameReferenceTime": None}])
def test_series_and_acquisition_times_rewritten_alike_are_refused(write_series, absent):
    attributes = _scan(**{"SeriesTime": "110000", "AcquisitionTime": "110000", **absent})
    _assert_refused(write_series, attributes)


def test_series_and_acquisition_times_after_the_image_was_made_are_refused(write_series):
    made = {"ContentDate": "20240301", "ContentTime": "100500", "DecayFactor": None, "FrameReferenceTime": None}
    attributes = _scan(SeriesTime="110000", AcquisitionTime="110000", **made)
    assert "Content Time" in _assert_refused(write_series, attributes).message


def test_content_time_at_the_start_of_the_series_for_every_bed_is_read(write_series):
    made = {"ContentDate": "20240301", "ContentTime": _clock(TEN)}
    _assert_factor(write_series, _scan(**made), _factor())


def test_rewritten_times_that_put_the_scan_hours_after_the_injection_are_refused(write_series):
    attributes = _scan(start=14 * 3600, beds=[0] * 5)
    assert "four hours" in _assert_refused(write_series, attributes, ImplausibleSuvInput).message


def test_ge_writes_the_start_of_the_scan_as_acquisition_time_of_every_bed(write_series):
    # As in STS_001 of the collection Soft-tissue-Sarcoma: Frame Reference Time is the start of the frame.
    attributes = _scan(
        Manufacturer="GE MEDICAL SYSTEMS",
        AcquisitionTime=_clock(TEN),
        FrameReferenceTime=lambda k: str(k * BED * 1000),
    )
    _assert_factor(write_series, attributes, _factor())


def test_ge_whose_decay_factor_is_that_of_the_injection_is_refused(write_series):
    attributes = _scan(
        Manufacturer="GE MEDICAL SYSTEMS",
        AcquisitionTime=_clock(TEN),
        FrameReferenceTime=lambda k: str(k * BED * 1000),
        DecayFactor=lambda k: f"{_decay_factor(3600 + k * BED, BED):.6g}",
    )
    _assert_refused(write_series, attributes)


def _ge_scan_time(value):
    def change(dataset, _k):
        dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", value)

    return change


def test_ge_scan_time_that_contradicts_series_time_is_refused(write_series):
    attributes = _scan(DecayFactor=None, FrameReferenceTime=None)
    _assert_refused(write_series, attributes, change=_ge_scan_time("20240301095000.00"))


def test_series_time_before_the_scan_gives_way_where_the_scanner_and_decay_factor_agree(write_series):
    attributes = _scan(SeriesTime="095500")
    description = _assert_factor(write_series, attributes, _factor(), change=_ge_scan_time("20240301100000.00"))
    assert any("earlier than the scan" in warning for warning in description.warnings)


def test_series_time_minutes_before_the_acquisition_without_a_witness_is_refused(write_series):
    attributes = _scan(SeriesTime="095500", DecayFactor=None, FrameReferenceTime=None)
    _assert_refused(write_series, attributes)


@pytest.mark.parametrize("offset_s", [0, 20, -20])
def test_decay_factor_confirms_within_a_minute(write_series, offset_s):
    begin = [k * BED + offset_s for k in range(5)]
    attributes = _scan(DecayFactor=lambda k: f"{_decay_factor(max(begin[k], 0), BED):.6g}")
    _assert_factor(write_series, attributes, _factor())


@pytest.mark.parametrize("offset_s", [200, 600, 3600])
def test_decay_factor_of_another_moment_is_refused(write_series, offset_s):
    attributes = _scan(DecayFactor=lambda k: f"{_decay_factor(k * BED + offset_s, BED):.6g}")
    _assert_refused(write_series, attributes)


def test_correction_to_the_injection_that_decay_factor_bears_out(write_series):
    factor = {"DecayFactor": lambda k: f"{_decay_factor(3600 + k * BED, BED):.6g}"}
    _assert_factor(write_series, _scan(DecayCorrection="ADMIN", **factor), 70_000 / 370e6)


def test_correction_to_the_injection_with_the_decay_factor_of_the_scan_is_refused(write_series):
    _assert_refused(write_series, _scan(DecayCorrection="ADMIN"), UnsupportedDecayCorrection)


def test_no_correction_with_a_decay_factor_is_refused(write_series):
    none = {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"]}
    _assert_refused(write_series, _scan(**none), UnsupportedDecayCorrection)


def test_no_correction_with_one_acquisition_time_for_all_beds_is_refused(write_series):
    none = {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"], "DecayFactor": None}
    _assert_refused(write_series, _scan(AcquisitionTime="100000", **none))


@pytest.mark.parametrize("unit", ["GML", "CNTS"])
@pytest.mark.parametrize(
    "uncorrected", [{"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"]}, {"CorrectedImage": ["ATTN"]}]
)
def test_stored_suv_without_decay_correction_is_refused(write_series, unit, uncorrected):
    def philips(dataset, _k):
        dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.001")

    attributes = {"RescaleSlope": "0.001", **uncorrected}
    _assert_refused(write_series, attributes, UnsupportedDecayCorrection, unit=unit, change=philips)


# Injection: Start DateTime and Start Time.


@pytest.mark.parametrize(
    "changes",
    [
        {"RadiopharmaceuticalStartDateTime": "20240301090000.00"},
        {"RadiopharmaceuticalStartDateTime": "20240301090030"},
        {"RadiopharmaceuticalStartDateTime": "20240301080000+0000", "TimezoneOffsetFromUTC": "+0100"},
        {"RadiopharmaceuticalStartDateTime": "20240301090000+0530"},
        {"RadiopharmaceuticalStartDateTime": "20240301090000+0100", "TimezoneOffsetFromUTC": "+0100"},
        {
            "RadiopharmaceuticalStartDateTime": "20240301040000-0400",
            "RadiopharmaceuticalStartTime": None,
            "AcquisitionDateTime": "20240301100000+0100",
        },
    ],
)
def test_start_date_time_and_start_time_that_agree(write_series, changes):
    attributes = _scan(beds=[0] * 5, **changes)
    description = _assert_factor(write_series, attributes, _factor(), rtol=0.004)
    assert "RadiopharmaceuticalStartDateTime" in description.suv_method


@pytest.mark.parametrize(
    "changes",
    [
        {"RadiopharmaceuticalStartDateTime": "20240301083000"},
        {"RadiopharmaceuticalStartDateTime": "20240301080000+0000"},
        {"RadiopharmaceuticalStartDateTime": "20240301090000+0000", "TimezoneOffsetFromUTC": "+0100"},
        {"RadiopharmaceuticalStartDateTime": "20110509083000"},
        {"RadiopharmaceuticalStartDateTime": "20110509090000", "RadiopharmaceuticalStartTime": None},
    ],
)
def test_start_date_time_and_start_time_that_contradict_each_other_are_refused(write_series, changes):
    error = _assert_refused(write_series, _scan(**changes))
    assert error.metadata["keyword"] == "RadiopharmaceuticalStartDateTime"


def test_start_date_time_in_a_zone_that_the_images_do_not_have_is_refused(write_series):
    zone = {"RadiopharmaceuticalStartDateTime": "20240301080000+0000", "RadiopharmaceuticalStartTime": None}
    error = _assert_refused(write_series, _scan(**zone), MissingAttribute)
    assert error.metadata["keyword"] == "TimezoneOffsetFromUTC"


@pytest.mark.parametrize("offset", ["0100", "+1", "+9900"])
def test_a_time_zone_that_is_none_is_refused(write_series, offset):
    changes = {"RadiopharmaceuticalStartDateTime": "20240301090000", "TimezoneOffsetFromUTC": offset}
    _assert_refused(write_series, _scan(**changes), InvalidAttribute)


def test_acquisition_date_time_that_contradicts_acquisition_time_is_refused(write_series):
    _assert_refused(write_series, _scan(AcquisitionDateTime="20240301101500"))


def test_acquisition_date_time_alone_is_used(write_series):
    alone = {"AcquisitionTime": None, "AcquisitionDate": None}
    alone["AcquisitionDateTime"] = lambda k: f"20240301{_clock(TEN + k * BED)}"
    _assert_factor(write_series, _scan(**alone), _factor())


# Midnight.

_NOT_ADVANCED = {"SeriesDate": "20240301", "AcquisitionDate": "20240301"}
_ADVANCED = {"SeriesDate": "20240301", "AcquisitionDate": lambda k: "20240301" if k < 2 else "20240302"}
_ABSENT = {"SeriesDate": None, "AcquisitionDate": None}
_BLANK = {"SeriesDate": "", "AcquisitionDate": ""}
_FIRST_ONLY = {"SeriesDate": "20240301", "AcquisitionDate": None}
_DATES = [_NOT_ADVANCED, _ADVANCED, _ABSENT, _BLANK, _FIRST_ONLY]
_DATE_NAMES = ["not-advanced", "advanced", "absent", "blank", "series-only"]
_INJECTIONS = [{}, {"RadiopharmaceuticalStartDateTime": "20240301225500"}]


@pytest.mark.parametrize("injection", _INJECTIONS, ids=["time", "date-time"])
@pytest.mark.parametrize("witness", [{}, {"DecayFactor": None, "FrameReferenceTime": None}], ids=["witness", "none"])
@pytest.mark.parametrize("dates", _DATES, ids=_DATE_NAMES)
def test_a_scan_across_midnight(write_series, dates, witness, injection):
    # Beds at 23:55, 23:58, 00:01, 00:04 and 00:07.
    attributes = _scan(start=23 * 3600 + 55 * MINUTE, injected=22 * 3600 + 55 * MINUTE, **dates, **witness, **injection)
    _assert_factor(write_series, attributes, _factor())


@pytest.mark.parametrize(
    "injection",
    [
        {},
        {"RadiopharmaceuticalStartDateTime": "20240301232000"},
        {"RadiopharmaceuticalStartDateTime": "20240302232000"},
        {"RadiopharmaceuticalStartDateTime": "20240301232000", "RadiopharmaceuticalStartTime": None},
    ],
    ids=["time", "date-time", "not-set-back", "date-time-alone"],
)
@pytest.mark.parametrize(
    "dates",
    [
        {"SeriesDate": "20240302", "AcquisitionDate": "20240302"},
        {"SeriesDate": "20240301", "AcquisitionDate": "20240302"},
        {"SeriesDate": "20240301", "AcquisitionDate": "20240301"},
        _ABSENT,
        _BLANK,
    ],
    ids=["right", "series-of-the-day-before", "not-advanced", "absent", "blank"],
)
def test_an_injection_before_midnight(write_series, dates, injection):
    attributes = _scan(start=20 * MINUTE, injected=23 * 3600 + 20 * MINUTE, **dates, **injection)
    _assert_factor(write_series, attributes, _factor())


@pytest.mark.parametrize("witness", [{}, {"DecayFactor": None, "FrameReferenceTime": None}], ids=["witness", "none"])
def test_a_series_date_of_the_day_before_by_daylight_is_not_taken_for_the_scan(write_series, witness):
    attributes = _scan(SeriesDate="20240229", **witness)
    if witness:
        _assert_refused(write_series, attributes)
    else:
        description = _assert_factor(write_series, attributes, _factor())
        assert any("earlier than the scan" in warning for warning in description.warnings)


def test_an_injection_date_that_was_not_set_back_at_midnight(write_series):
    night = {"SeriesDate": "20240302", "AcquisitionDate": "20240302", "RadiopharmaceuticalStartTime": None}
    night["RadiopharmaceuticalStartDateTime"] = "20240302232000"
    description = _assert_factor(write_series, {**_scan(start=20 * MINUTE), **night}, _factor())
    assert any("date of injection" in warning for warning in description.warnings)


def test_a_cut_out_bed_of_ge_with_one_time_and_a_rewritten_series_time_is_refused(write_series):
    """Its Acquisition Time may be the start of the scan or that of the bed: nothing tells."""
    attributes = _scan(
        SeriesTime="143000",
        Manufacturer="GE MEDICAL SYSTEMS",
        AcquisitionTime=_clock(TEN),
        FrameReferenceTime="360000",
        DecayFactor=f"{_decay_factor(360, BED):.6g}",
    )
    _assert_refused(write_series, attributes)


def test_a_series_rewritten_the_next_morning_is_not_taken_for_the_scan(write_series):
    late = {"SeriesDate": "20240302", "SeriesTime": "095930"}
    _assert_factor(write_series, _scan(**late), _factor())
    _assert_refused(write_series, _scan(DecayFactor=None, FrameReferenceTime=None, **late))


@given(
    start=st.integers(0, 86_399),
    uptake=st.integers(1800, 9000),
    dates=st.sampled_from([_NOT_ADVANCED, _ABSENT, _BLANK, _FIRST_ONLY]),
    removed=st.integers(0, 2),
    witness=st.sampled_from([{}, {"DecayFactor": None}, {"FrameReferenceTime": None}]),
)
@settings(max_examples=30, deadline=None)
def test_suv_is_that_of_the_true_times_at_any_hour_with_any_dates(write_series, start, uptake, dates, removed, witness):
    attributes = _scan(start=start, injected=start - uptake, beds=range(removed, 5), **dates, **witness)
    expected = 70_000 / (370e6 * math.exp(-math.log(2) * uptake / HALF_LIFE))
    _assert_factor(write_series, attributes, expected, beds=5 - removed)


@pytest.mark.parametrize("keyword", ["AcquisitionDateTime", "RadiopharmaceuticalStartDateTime"])
def test_a_date_time_that_stops_at_the_date_leaves_the_time_to_its_sibling(write_series, keyword):
    """PS3.5 6.2 lets a DT end after any component."""
    plain = convert_study(read_study(write_series(modality="PT").directory), ImageInput.any_of("PT")).volumes["PT"]
    for text in ("2024", "20240501", "20240501+0200"):
        series = write_series(modality="PT", attributes={keyword: text})
        found = convert_study(read_study(series.directory), ImageInput.any_of("PT")).volumes["PT"]
        np.testing.assert_array_equal(found.array, plain.array)
