"""Factors that turn PET pixel values into body-weight SUV (g/mL).

Sources: QIBA "FDG-PET/CT SUV Technical Committee", vendor-neutral pseudo-code for SUV calculation;
DICOM PS3.3 C.8.9.1 (PET Series Module: Units, SUV Type, Decay Correction) and C.8.9.2 (PET Isotope Module).

SUVbw = activity concentration (Bq/mL) * body weight (g) / injected activity (Bq), both activities at the
same moment. What differs between files is that moment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes, scan_times
from oncoresponse.dicom.injection_time import injection
from oncoresponse.dicom.radiopharmaceutical import FDG, FLUORINE_18_HALF_LIFE_SECONDS, require_fdg
from oncoresponse.dicom.reading import Instance
from oncoresponse.dicom.suv_plausibility import patient_and_dose
from oncoresponse.errors import ImplausibleSuvInput, UnsupportedDecayCorrection, UnsupportedPetUnit

_HALF_LIFE_TOLERANCE = 0.01
# Blood and muscle alone reach 0.5 to 2 g/mL in any part of the body, and noise more; bladders reach about 100. Values
# in Bq/mL that are called SUV lie in the thousands, SUV that is called Bq/mL below 0.2 g/mL.
_PLAUSIBLE_MAXIMUM = (0.5, 200.0)
_PHILIPS_CREATOR = "Philips PET Private Group"
_BODY_WEIGHT_SUV_TYPES = (None, "BW")
# Units (0054,1001) of PS3.3 C.8.9.1.1.3 that Rescale Type (0028,1054) may repeat.
_PET_UNITS = re.compile(
    "CNTS|NONE|CM2|CM2ML|PCNT|CPS|BQML|MGMINML|UMOLMINML|MLMING|MLG|1CM|UMOLML|PROPCNTS|PROPCPS|MLMINML|MLML|GML|STDDEV"
)
_DECAY_CORRECTIONS = ("START", "ADMIN", "NONE")


@dataclass(frozen=True)
class SuvConversion:
    """How to convert one series.

    Attributes:
        factors: For each slice: SUVbw = rescaled pixel value * factor.
        method: How the factors came about, for the report.
        radiopharmaceutical: Name of the tracer, ``None`` when the images do not say.
        warnings: What was odd but not wrong enough to refuse.
        weight_grams: Body weight (g) that the factors rest on; ``None`` where the images hold SUV already.
    """

    factors: tuple[float, ...]
    method: str
    radiopharmaceutical: str | None
    warnings: tuple[str, ...]
    weight_grams: float | None = None


def suv_conversion(slices: Sequence[Instance]) -> SuvConversion:
    """Derive the SUV factor of each slice of a PET series.

    Raises:
        UnsupportedPetUnit: Units or SUV Type is none that gives body-weight SUV.
        UnsupportedTracer: The tracer is not FDG, or what names it contradicts itself.
        UnsupportedDecayCorrection: Decay Correction is none of START, ADMIN, NONE, or contradicts Corrected Image or
            Decay Factor.
        MissingPatientWeight, MissingInjectedDose: Absent or zero.
        MissingAttribute: Half-life, a time or another attribute is absent.
        ContradictoryTimes: The times contradict one another, or do not say when the scan began.
        ImplausibleSuvInput: A value is there and cannot be true, or differs between slices.
    """
    first = slices[0].dataset
    _require_alike(slices)
    warnings: list[str] = []
    tracer = FDG if {require_fdg(found.dataset) for found in slices} == {True} else None
    if tracer is None:
        warnings.append("The PET images do not name the tracer; FDG is assumed.")
    units = _units(first)
    suv_type = (attributes.text(first, "SUVType") or "").upper() or None
    if units == "GML":
        if suv_type not in _BODY_WEIGHT_SUV_TYPES:
            raise UnsupportedPetUnit(
                "The PET holds SUV normalized to something else than body weight. Send the PET in Bq/mL or as "
                "body-weight SUV.",
                suv_type=suv_type,
            )
        _require_decay_corrected(first)
        return SuvConversion((1.0,) * len(slices), "Stored as SUVbw (Units GML)", tracer, tuple(warnings))
    if suv_type is not None:
        # Whether the values are SUV or activity shows in their size (require_plausible_suv).
        warnings.append("SUVType is given although Units is not that of SUV; Units was used, which the values fit.")
    if units == "CNTS":
        suv_scale = [_private_factor(found.dataset, 0x00) for found in slices]
        if all(suv_scale):
            _require_decay_corrected(first)
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
    patient = patient_and_dose(first, _information(first))
    decay_correction = _decay_correction(first)
    half_life = _half_life_seconds(first, is_needed=decay_correction != "ADMIN")
    elapsed, times, time_warnings = _elapsed(slices, decay_correction, half_life)
    factors = tuple(
        activity * patient.weight_grams / (patient.dose * 2.0 ** (-seconds / half_life))
        for activity, seconds in zip(to_activity, elapsed, strict=True)
    )
    return SuvConversion(
        factors,
        f"{method}, decay correction {decay_correction}{times}, injected activity and body weight",
        tracer,
        (*warnings, *patient.warnings, *time_warnings),
        patient.weight_grams,
    )


def require_plausible_suv(maximum: float, *, is_computed: bool) -> None:
    """Refuse an image whose highest value cannot be SUV.

    Then Units or the scale of the values is wrong, or the injected activity that SUV was computed with.

    Args:
        maximum: Highest body-weight SUV of the image, g/mL.
        is_computed: Whether it was computed with injected activity and body weight, not stored as SUV.

    Raises:
        ImplausibleSuvInput: It is below 0.5 or above 200 g/mL.
    """
    low, high = _PLAUSIBLE_MAXIMUM
    if low <= maximum <= high:
        return
    raise ImplausibleSuvInput(
        f"The highest SUV of the PET would be {'below' if maximum < low else 'above'} "
        f"{low if maximum < low else high:g} g/mL, which no FDG-PET has. "
        + ("RadionuclideTotalDose, Units or RescaleSlope is wrong" if is_computed else "Units does not fit the values")
        + ", or they are empty. Correct it at the source and send the series again.",
        keyword="Units",
    )


def _require_alike(slices: Sequence[Instance]) -> None:
    for keyword in (
        "Units",
        "SUVType",
        "RescaleType",
        "DecayCorrection",
        "CorrectedImage",
        "PatientWeight",
        "PatientSize",
        "SeriesDate",
        "SeriesTime",
        "TimezoneOffsetFromUTC",
    ):
        if len({attributes.texts(found.dataset, keyword) for found in slices}) > 1:
            raise _implausible(f"{keyword} differs between the slices of the PET", keyword)
    for keyword in (
        "RadionuclideTotalDose",
        "RadionuclideHalfLife",
        "RadiopharmaceuticalStartTime",
        "RadiopharmaceuticalStartDateTime",
    ):
        values = {
            tuple(
                attributes.text(item, keyword)
                for item in attributes.items(found.dataset, "RadiopharmaceuticalInformationSequence")
            )
            for found in slices
        }
        if len(values) > 1:
            raise _implausible(f"{keyword} differs between the slices of the PET", keyword)


def _units(dataset: Dataset) -> str:
    units = attributes.required_text(dataset, "Units").upper()
    again = (attributes.text(dataset, "RescaleType") or units).upper()
    if _PET_UNITS.fullmatch(again) and again != units:
        raise UnsupportedPetUnit(
            "Units and RescaleType of the PET name different units. Correct the wrong one at the source and send the "
            "series again.",
            keyword="Units",
        )
    return units


def _private_factor(dataset: Dataset, element: int) -> float | None:
    factor = attributes.private_number(dataset, 0x7053, _PHILIPS_CREATOR, element)
    return factor if factor is not None and factor > 0 else None


def _information(dataset: Dataset) -> Dataset:
    items = attributes.items(dataset, "RadiopharmaceuticalInformationSequence")
    return items[0] if items else Dataset()


def _half_life_seconds(dataset: Dataset, *, is_needed: bool) -> float:
    information = _information(dataset)
    half_life = attributes.number(information, "RadionuclideHalfLife")
    if half_life is None:
        if is_needed:
            raise attributes.missing("RadionuclideHalfLife")
        return FLUORINE_18_HALF_LIFE_SECONDS
    if _is_fluorine_18(half_life):
        return half_life
    unit = "minutes" if _is_fluorine_18(half_life * 60) else "hours" if _is_fluorine_18(half_life * 3600) else None
    raise _implausible(
        "RadionuclideHalfLife is not that of fluorine-18 in seconds" + (f"; it seems to be in {unit}" if unit else ""),
        "RadionuclideHalfLife",
    )


def _is_fluorine_18(half_life: float) -> bool:
    return abs(half_life / FLUORINE_18_HALF_LIFE_SECONDS - 1) <= _HALF_LIFE_TOLERANCE


def _is_corrected(dataset: Dataset) -> bool | None:
    """Whether Corrected Image (0028,0051) says that decay was corrected; ``None`` when it is empty."""
    corrections = {part.upper() for part in attributes.texts(dataset, "CorrectedImage")} - {""}
    return bool(corrections & {"DECY", "DECAY"}) if corrections else None


def _decay_correction(dataset: Dataset) -> str:
    value = attributes.required_text(dataset, "DecayCorrection").upper()
    if value not in _DECAY_CORRECTIONS:
        raise UnsupportedDecayCorrection(
            "DecayCorrection of the PET is none of START, ADMIN and NONE. Send the PET as the scanner made it."
        )
    if _is_corrected(dataset) is (value == "NONE"):
        raise UnsupportedDecayCorrection(
            "DecayCorrection and CorrectedImage of the PET contradict each other. Send the PET as the scanner made it.",
            decay_correction=value,
        )
    return value


def _require_decay_corrected(dataset: Dataset) -> None:
    # To which moment stored SUV was corrected is the business of whoever computed it; that it was, is not.
    value = attributes.text(dataset, "DecayCorrection")
    if (value or "").upper() == "NONE" or _is_corrected(dataset) is False:
        raise UnsupportedDecayCorrection(
            "The PET holds SUV, but DecayCorrection or CorrectedImage says that it is not corrected for decay. Send "
            "the PET as the scanner made it.",
            keyword="DecayCorrection",
        )


def _elapsed(
    slices: Sequence[Instance], decay_correction: str, half_life: float
) -> tuple[list[float], str, tuple[str, ...]]:
    """Seconds from injection to the moment that each slice shows, which times say so, and warnings."""
    first = slices[0].dataset
    information = _information(first)
    if decay_correction == "ADMIN":
        # Pixel values are corrected to the injection: no time is needed, but Decay Factor shows whether that is true.
        _check_correction_to_injection(slices, half_life)
        return [0.0] * len(slices), "", ()
    timeline = scan_times.read_timeline(slices)
    if decay_correction == "START":
        scan = scan_times.scan_start(timeline, half_life)
        injected = injection(first, information, timeline, scan.when)
        seconds = (scan.when - injected.when).total_seconds()
        times = f" ({scan.source}; injection by {injected.source})"
        return [seconds] * len(slices), times, (*timeline.warnings, *scan.warnings, *injected.warnings)
    scan_times.require_no_correction(timeline)
    # An uncorrected slice holds the average over its frame (QIBA pseudo-code).
    starts = scan_times.acquisition_starts(timeline, half_life)
    injected = injection(first, information, timeline, min(starts))
    elapsed = []
    for found, start in zip(slices, starts, strict=True):
        duration = attributes.required_number(found.dataset, "ActualFrameDuration") / 1000.0
        if duration <= 0:
            raise _implausible("ActualFrameDuration must be above zero", "ActualFrameDuration")
        delay = scan_times.mean_activity_delay(duration, half_life)
        elapsed.append((start - injected.when).total_seconds() + delay)
    return elapsed, f" (Acquisition Time; injection by {injected.source})", (*timeline.warnings, *injected.warnings)


def _check_correction_to_injection(slices: Sequence[Instance], half_life: float) -> None:
    first = slices[0].dataset
    factors = [attributes.number(found.dataset, "DecayFactor") for found in slices]
    information = _information(first)
    has_injection = any(
        attributes.text(information, keyword)
        for keyword in ("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")
    )
    has_acquisition = all(
        any(attributes.text(found.dataset, keyword) for keyword in ("AcquisitionTime", "AcquisitionDateTime"))
        for found in slices
    )
    if None in factors or not has_injection or not has_acquisition:
        return
    timeline = scan_times.read_timeline(slices)
    injected = injection(first, information, timeline, timeline.first)
    scan_times.require_correction_to_injection(timeline, injected.when, half_life)


def _implausible(what: str, keyword: str) -> ImplausibleSuvInput:
    return ImplausibleSuvInput(
        f"{what}, so SUV would be wrong. Correct it at the source and send the series again.", keyword=keyword
    )
