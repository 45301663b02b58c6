"""Factors that turn PET pixel values into body-weight SUV (g/mL).

Sources: QIBA "FDG-PET/CT SUV Technical Committee", vendor-neutral pseudo-code for SUV calculation;
DICOM PS3.3 C.8.9.1 (PET Series Module: Units, SUV Type, Decay Correction) and C.8.9.2 (PET Isotope Module).

SUVbw = activity concentration (Bq/mL) * body weight (g) / injected activity (Bq), both activities at the
same moment. What differs between files is that moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.dicom.date_times import date_and_time, date_time, parse_date_time, time_of_day
from oncoresponse.dicom.radiopharmaceutical import FDG, require_fdg
from oncoresponse.dicom.reading import Instance
from oncoresponse.errors import (
    ImplausibleSuvInput,
    MissingInjectedDose,
    MissingPatientWeight,
    UnsupportedDecayCorrection,
    UnsupportedPetUnit,
)

FLUORINE_18_HALF_LIFE_SECONDS = 6586.2
_HALF_LIFE_TOLERANCE = 0.01
_WEIGHT_RANGE_KG = (1.0, 400.0)
# Below a megabecquerel the value was written in MBq, above 10 GBq in another wrong unit.
_DOSE_RANGE_BQ = (1e6, 1e10)
_LONGEST_UPTAKE = timedelta(hours=12)
_USUAL_UPTAKE = (timedelta(minutes=30), timedelta(minutes=150))
# Series Time and Acquisition Time of one event may be rounded differently.
_CLOCK_TOLERANCE = timedelta(seconds=1)
# Blood and muscle alone reach 0.5 to 2 g/mL in any part of the body, and noise more; bladders reach about 100. Values
# in Bq/mL that are called SUV lie in the thousands, SUV that is called Bq/mL below 0.2 g/mL.
_PLAUSIBLE_MAXIMUM = (0.5, 200.0)
_GE_CREATOR = "GEMS_PETD_01"
_PHILIPS_CREATOR = "Philips PET Private Group"
_BODY_WEIGHT_SUV_TYPES = (None, "BW")


@dataclass(frozen=True)
class SuvConversion:
    """How to convert one series.

    Attributes:
        factors: For each slice: SUVbw = rescaled pixel value * factor.
        method: How the factors came about, for the report.
        radiopharmaceutical: Name of the tracer, ``None`` when the images do not say.
        warnings: What was odd but not wrong enough to refuse.
    """

    factors: tuple[float, ...]
    method: str
    radiopharmaceutical: str | None
    warnings: tuple[str, ...]


def suv_conversion(slices: Sequence[Instance]) -> SuvConversion:
    """Derive the SUV factor of each slice of a PET series.

    Raises:
        UnsupportedPetUnit: Units or SUV Type is none that gives body-weight SUV.
        UnsupportedTracer: The tracer is not FDG.
        UnsupportedDecayCorrection: Decay Correction is none of START, ADMIN, NONE, or contradicts Corrected Image.
        MissingPatientWeight, MissingInjectedDose: Absent or zero.
        MissingAttribute: Half-life, a time or another attribute is absent.
        ImplausibleSuvInput: A value is there and cannot be true, or differs between slices.
    """
    first = slices[0].dataset
    _require_alike(slices)
    warnings: list[str] = []
    if not require_fdg(first):
        warnings.append("The PET images do not name the tracer; FDG is assumed.")
        tracer = None
    else:
        tracer = FDG
    units = attributes.required_text(first, "Units").upper()
    if units == "GML":
        suv_type = attributes.text(first, "SUVType")
        if suv_type not in _BODY_WEIGHT_SUV_TYPES:
            raise UnsupportedPetUnit(
                "The PET holds SUV normalized to something else than body weight. Send the PET in Bq/mL or as "
                "body-weight SUV.",
                suv_type=suv_type,
            )
        return SuvConversion((1.0,) * len(slices), "Stored as SUVbw (Units GML)", tracer, tuple(warnings))
    if units == "CNTS":
        suv_scale = [_private_factor(found.dataset, 0x00) for found in slices]
        if all(suv_scale):
            factors = tuple(factor for factor in suv_scale if factor)
            return SuvConversion(factors, "Counts by the Philips SUV scale factor", tracer, tuple(warnings))
        activity_scale = [_private_factor(found.dataset, 0x09) for found in slices]
        if not all(activity_scale):
            raise UnsupportedPetUnit(
                "The PET is in counts and lacks the vendor's scale factor. Send the PET in Bq/mL, or with its private "
                "attributes.",
                units=units,
            )
        to_activity = tuple(factor for factor in activity_scale if factor)
        method = "Counts by the Philips activity concentration factor"
    elif units == "BQML":
        to_activity = (1.0,) * len(slices)
        method = "Bq/mL"
    else:
        raise UnsupportedPetUnit(
            "The PET is in a unit that cannot be turned into SUV. Send it in Bq/mL (BQML) or as SUV (GML).",
            units=units if units.isalnum() and len(units) <= 16 else "not a DICOM unit",
        )
    weight, dose = _weight_grams(first), _injected_dose(first)
    decay_correction = _decay_correction(first)
    elapsed, elapsed_warnings = _ELAPSED[decay_correction](slices)
    half_life = _half_life_seconds(first) if decay_correction != "ADMIN" else FLUORINE_18_HALF_LIFE_SECONDS
    factors = tuple(
        activity * weight / (dose * 2.0 ** (-seconds / half_life))
        for activity, seconds in zip(to_activity, elapsed, strict=True)
    )
    return SuvConversion(
        factors,
        f"{method}, decay correction {decay_correction}, injected activity and body weight",
        tracer,
        (*warnings, *elapsed_warnings),
    )


def require_plausible_suv(maximum: float) -> None:
    """Refuse an image whose highest value cannot be SUV: then Units, or the scale of the values, is wrong.

    Args:
        maximum: Highest body-weight SUV of the image, g/mL.

    Raises:
        ImplausibleSuvInput: It is below 0.5 or above 200 g/mL.
    """
    low, high = _PLAUSIBLE_MAXIMUM
    if low <= maximum <= high:
        return
    raise ImplausibleSuvInput(
        f"The highest SUV of the PET would be {'below' if maximum < low else 'above'} "
        f"{low if maximum < low else high:g} g/mL, which no FDG-PET has. Units does not fit the pixel values, or they "
        "are empty. Correct it at the source and send the series again.",
        keyword="Units",
    )


def _require_alike(slices: Sequence[Instance]) -> None:
    for keyword in ("Units", "SUVType", "DecayCorrection", "PatientWeight", "SeriesDate", "SeriesTime"):
        if len({attributes.text(found.dataset, keyword) for found in slices}) > 1:
            raise _implausible(f"{keyword} differs between the slices of the PET", keyword)
    for keyword in ("RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime"):
        values = {
            tuple(
                attributes.text(item, keyword)
                for item in attributes.items(found.dataset, "RadiopharmaceuticalInformationSequence")
            )
            for found in slices
        }
        if len(values) > 1:
            raise _implausible(f"{keyword} differs between the slices of the PET", keyword)


def _private_factor(dataset: Dataset, element: int) -> float | None:
    factor = attributes.private_number(dataset, 0x7053, _PHILIPS_CREATOR, element)
    return factor if factor is not None and factor > 0 else None


def _information(dataset: Dataset) -> Dataset:
    items = attributes.items(dataset, "RadiopharmaceuticalInformationSequence")
    return items[0] if items else Dataset()


def _weight_grams(dataset: Dataset) -> float:
    weight = attributes.number(dataset, "PatientWeight")
    if not weight:
        raise MissingPatientWeight(
            "The PET images hold no body weight (PatientWeight), so SUV cannot be computed. Export them with it."
        )
    if not _WEIGHT_RANGE_KG[0] <= weight <= _WEIGHT_RANGE_KG[1]:
        raise _implausible("PatientWeight cannot be a body weight in kg", "PatientWeight")
    return weight * 1000.0


def _injected_dose(dataset: Dataset) -> float:
    dose = attributes.number(_information(dataset), "RadionuclideTotalDose")
    if not dose:
        raise MissingInjectedDose(
            "The PET images hold no injected activity (RadionuclideTotalDose), so SUV cannot be computed. "
            "Export them with it."
        )
    if not _DOSE_RANGE_BQ[0] <= dose <= _DOSE_RANGE_BQ[1]:
        raise _implausible("RadionuclideTotalDose cannot be an injected activity in Bq", "RadionuclideTotalDose")
    return dose


def _half_life_seconds(dataset: Dataset) -> float:
    half_life = attributes.required_number(_information(dataset), "RadionuclideHalfLife")
    if abs(half_life / FLUORINE_18_HALF_LIFE_SECONDS - 1) > _HALF_LIFE_TOLERANCE:
        raise _implausible("RadionuclideHalfLife is not that of fluorine-18 in seconds", "RadionuclideHalfLife")
    return half_life


def _decay_correction(dataset: Dataset) -> str:
    value = attributes.required_text(dataset, "DecayCorrection").upper()
    if value not in _ELAPSED:
        raise UnsupportedDecayCorrection(
            "DecayCorrection of the PET is none of START, ADMIN and NONE. Send the PET as the scanner made it."
        )
    corrections = {part.upper() for part in attributes.texts(dataset, "CorrectedImage")}
    if corrections and bool(corrections & {"DECY", "DECAY"}) != (value != "NONE"):
        raise UnsupportedDecayCorrection(
            "DecayCorrection and CorrectedImage of the PET contradict each other. Send the PET as the scanner made it.",
            decay_correction=value,
        )
    return value


def _elapsed_to_start(slices: Sequence[Instance]) -> tuple[list[float], list[str]]:
    """Seconds from injection to the start of the scan, which pixel values are corrected to."""
    scan, warnings = _scan_start(slices)
    injection, injection_warnings = _injection(slices[0].dataset, scan)
    warnings += injection_warnings + _check_uptake(scan - injection)
    return [(scan - injection).total_seconds()] * len(slices), warnings


def _elapsed_to_injection(slices: Sequence[Instance]) -> tuple[list[float], list[str]]:
    """Zero: pixel values are corrected to the injection."""
    return [0.0] * len(slices), []


def _elapsed_to_acquisition(slices: Sequence[Instance]) -> tuple[list[float], list[str]]:
    """Seconds from injection to the moment at which the activity of each slice equals its average.

    An uncorrected slice holds the average over its frame. With decay constant L and duration T that
    average is the activity ln(L T / (1 - exp(-L T))) / L after the start of the frame (QIBA pseudo-code).
    """
    starts = [_required_acquisition(found.dataset) for found in slices]
    first = min(starts)
    injection, warnings = _injection(slices[0].dataset, first)
    warnings += _check_uptake(first - injection)
    constant = math.log(2) / _half_life_seconds(slices[0].dataset)
    elapsed = []
    for found, start in zip(slices, starts, strict=True):
        duration = attributes.required_number(found.dataset, "ActualFrameDuration") / 1000.0
        if duration <= 0:
            raise _implausible("ActualFrameDuration must be above zero", "ActualFrameDuration")
        decays = constant * duration
        elapsed.append((start - injection).total_seconds() + math.log(decays / -math.expm1(-decays)) / constant)
    return elapsed, warnings


_ELAPSED: dict[str, Callable[[Sequence[Instance]], tuple[list[float], list[str]]]] = {
    "START": _elapsed_to_start,
    "ADMIN": _elapsed_to_injection,
    "NONE": _elapsed_to_acquisition,
}


def _scan_start(slices: Sequence[Instance]) -> tuple[datetime, list[str]]:
    """Moment that DecayCorrection START refers to.

    Series Time is the start of the scan unless a workstation rewrote it, which shows in its being later than
    the first acquisition; then GE's private scan time, then the earliest acquisition, is the best witness.
    """
    first = slices[0].dataset
    series = date_and_time(first, "SeriesDate", "SeriesTime")
    earliest = min(_required_acquisition(found.dataset) for found in slices)
    if series is not None and series <= earliest + _CLOCK_TOLERANCE:
        return series, []
    private = attributes.private_text(first, 0x0009, _GE_CREATOR, 0x0D)
    if private is not None:
        offset = attributes.text(first, "TimezoneOffsetFromUTC")
        return parse_date_time(private, "PET scan_datetime", offset=offset), []
    return earliest, [
        "Series Time is absent or later than the acquisition; decay was corrected from the earliest Acquisition Time."
    ]


def _acquisition(dataset: Dataset) -> datetime | None:
    found = date_and_time(dataset, "AcquisitionDate", "AcquisitionTime")
    if found is None:
        found = date_time(dataset, "AcquisitionDateTime", offset=attributes.text(dataset, "TimezoneOffsetFromUTC"))
    return found if found is not None else date_and_time(dataset, "SeriesDate", "AcquisitionTime")


def _required_acquisition(dataset: Dataset) -> datetime:
    found = _acquisition(dataset)
    if found is None:
        raise attributes.missing("AcquisitionTime")
    return found


def _injection(dataset: Dataset, scan: datetime) -> tuple[datetime, list[str]]:
    """Moment of the injection.

    The date-time (0018,1078) is used where it is plausible. Older files have the time of day only (0018,1072):
    the injection was then on the day of the scan, or the day before when the time is later than the scan's.
    """
    information = _information(dataset)
    offset = attributes.text(dataset, "TimezoneOffsetFromUTC")
    complete = date_time(information, "RadiopharmaceuticalStartDateTime", offset=offset)
    clock = time_of_day(information, "RadiopharmaceuticalStartTime")
    if complete is not None and (clock is None or timedelta(0) < scan - complete <= _LONGEST_UPTAKE):
        return complete, []
    if clock is None:
        raise attributes.missing("RadiopharmaceuticalStartTime")
    midnight = datetime(scan.year, scan.month, scan.day)
    injection = midnight + clock
    if injection >= scan:
        injection -= timedelta(days=1)
    if complete is None:
        return injection, []
    # De-identification shifts dates, and often forgets this one; the time of day then still agrees.
    if complete - datetime(complete.year, complete.month, complete.day) != clock:
        raise _implausible(
            "RadiopharmaceuticalStartDateTime contradicts RadiopharmaceuticalStartTime and the scan",
            "RadiopharmaceuticalStartDateTime",
        )
    return injection, ["The date of injection does not fit the scan; its time of day was used with the scan's date."]


def _check_uptake(uptake: timedelta) -> list[str]:
    if not timedelta(0) < uptake <= _LONGEST_UPTAKE:
        raise _implausible(
            "The injection is not within the twelve hours before the scan", "RadiopharmaceuticalStartTime"
        )
    if not _USUAL_UPTAKE[0] <= uptake <= _USUAL_UPTAKE[1]:
        return ["The time from injection to scan is outside 30 to 150 minutes."]
    return []


def _implausible(what: str, keyword: str) -> ImplausibleSuvInput:
    return ImplausibleSuvInput(
        f"{what}, so SUV would be wrong. Correct it at the source and send the series again.", keyword=keyword
    )
