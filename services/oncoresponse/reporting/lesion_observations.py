"""Observations about lesions: one for each measure of each, and one for each total of the patient."""

from __future__ import annotations

from collections.abc import Sequence

from fhir.resources.R4B.observation import Observation
from oncoradiomics.features import MEASURE_NAMES, Measure

from oncoresponse.case.case import LesionMeasure
from oncoresponse.case.identifiers import lesion_part
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.readable_numbers import readable_unit
from oncoresponse.case.totals import PART_OF_TOTAL
from oncoresponse.reporting.body_site import body_site
from oncoresponse.reporting.code_systems import (
    CATEGORY_IMAGING,
    DERIVATION,
    LESION_COUNT,
    MAXIMUM,
    MEAN,
    MEAN_ATTENUATION,
    METABOLIC_VOLUME,
    MR_SIGNAL_INTENSITY,
    PEAK_WITHIN_ROI,
    SUM_OF_VOXELS,
    SUV_BODY_WEIGHT,
    TOTAL_LESION_GLYCOLYSIS,
    TUMOR_LARGEST_DIMENSION,
    TUMOR_OTHER_DIMENSION,
    TUMOR_SIZE,
    VOLUME,
    Code,
    Json,
    concept,
    ibsi,
    lesion_measure,
    patient_total,
    quantity,
)
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.fhir_elements import ai_asserted, narrative
from oncoresponse.reporting.fhir_identifiers import encounter, full_url, identifier, order, subject
from oncoresponse.reporting.imaging_study import imaging_study_reference, lesion_reference
from oncoresponse.reporting.lesion_wording import (
    contour_sentences,
    is_lower_bound,
    is_lower_bound_of_total,
    lesion_name,
    measure_title,
    number,
    of_lesion,
    sentence,
    total_method,
    total_title,
    totals,
)
from oncoresponse.reporting.organization import performer
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion

_LONGEST, _PERPENDICULAR = "longest_axial_diameter", "perpendicular_axial_diameter"
_SIZE = "tumor-size"

_PUBLIC_CODES: dict[str, Code] = {
    "lesion_volume": VOLUME,
    "suv_max": SUV_BODY_WEIGHT,
    "suv_peak": SUV_BODY_WEIGHT,
    "suv_mean": SUV_BODY_WEIGHT,
    "metabolic_tumor_volume": METABOLIC_VOLUME,
    "total_lesion_glycolysis": TOTAL_LESION_GLYCOLYSIS,
    "mean_density": MEAN_ATTENUATION,
}
# DCM has one concept for SUV and one for MR signal; the statistic is a modifier (PS3.16 TID 300, "Derivation").
_DERIVATIONS: dict[str, Code] = {
    "suv_max": MAXIMUM,
    "suv_peak": PEAK_WITHIN_ROI,
    "suv_mean": MEAN,
    "mean_intensity": MEAN,
}
_IBSI_VOXEL_VOLUME = "YEKZ"


def lesion_observations(context: ReportContext, lesion: ReportedLesion, engine: Algorithm) -> dict[str, Observation]:
    """The Observations of one lesion by their roles, in the order the chart shows them."""
    found: dict[str, Observation] = {}
    names = [name for name in MEASURE_NAMES if name not in (_LONGEST, _PERPENDICULAR)]
    names += [item.name for item in lesion.features.measures if item.name not in MEASURE_NAMES]
    for name in names:
        measure = lesion.measure(name)
        if measure is not None:
            found[measure_role(lesion, name)] = _measure_observation(context, lesion, measure, engine)
        if name == "lesion_volume" and lesion.measure(_LONGEST) is not None:
            found[measure_role(lesion, _LONGEST)] = _tumor_size_observation(context, lesion, engine)
    return found


def measure_role(lesion: ReportedLesion, name: str) -> str:
    """Role of the Observation that holds a measure; of the first lesion that which the only one always had."""
    prefix = "" if lesion.number == 1 else f"{lesion_part(lesion.number)}-"
    return prefix + (_SIZE if name in (_LONGEST, _PERPENDICULAR) else f"measure-{name}")


def total_observations(context: ReportContext, engine: Algorithm) -> dict[str, Observation]:
    """The Observations of all lesions together by their roles; none of a single lesion.

    They are about the patient, so that they have no ``focus``. No public code is given to a sum: those of volume, MTV
    and TLG stand for a lesion, and a chart that asks for them must not get the sum among the parts.
    """
    return {f"total-{item.name}": _total_observation(context, item, engine) for item in totals(context)}


def observation_reference(context: ReportContext, role: str) -> Json:
    """Reference to an Observation of the Bundle."""
    return {"reference": full_url(context.assessment_id, role), "type": "Observation"}


def measured(context: ReportContext, role: str, engine: Algorithm, lesions: Sequence[ReportedLesion]) -> Json:
    """What Observations of measures have in common.

    Args:
        context: What is reported.
        role: Of the Observation.
        engine: What computed it.
        lesions: Whose contours it depends on.
    """
    element = about_lesions(context, role, engine, lesions)
    if any(
        lesion.contour_is_by_algorithm for lesion in lesions
    ):  # a measure of an algorithm's contour is its assertion
        element["meta"] = ai_asserted()
    element["note"] = [
        {"text": of_lesion(context, lesion, text)} for lesion in lesions for text in contour_sentences(lesion)
    ]
    return element


def about_lesions(context: ReportContext, role: str, engine: Algorithm, lesions: Sequence[ReportedLesion]) -> Json:
    """What all Observations have in common: about whom and what, from which images, by what."""
    element: Json = {
        "identifier": [identifier(context.assessment_id, role)],
        "status": "preliminary",
        "category": [concept(CATEGORY_IMAGING)],
        "subject": subject(context),
        "focus": [lesion_reference(context, lesion) for lesion in lesions],
        "issued": context.issued.isoformat(),
        "device": engine.reference,
        "derivedFrom": [imaging_study_reference(context)],
    }
    if not lesions:
        del element["focus"]
    elif site := body_site(context):
        element["bodySite"] = site
    if found := encounter(context):
        element["encounter"] = found
    if by := performer(context):
        element["performer"] = by
    if based_on := order(context):
        element["basedOn"] = based_on
    if effective := context.scan_date_time:
        element["effectiveDateTime"] = effective
    return element


def ucum(unit: str) -> str:
    """The UCUM code of a unit."""
    return unit or "1"


def shown_unit(unit: str) -> str:
    """The unit as a reader sees it."""
    return readable_unit(unit) or "1"


def _measure_observation(
    context: ReportContext, lesion: ReportedLesion, measure: Measure, engine: Algorithm
) -> Observation:
    """One measure with its unit, the way it was measured, and the lesion it was measured on."""
    codes = [lesion_measure(measure.name, measure.title)]
    if public := _public_code(lesion, measure):
        codes.append(public)
    if measure.ibsi_id:
        codes.append(ibsi(measure.ibsi_id))
    element = measured(context, measure_role(lesion, measure.name), engine, [lesion])
    element["code"] = concept(*codes, text=_of_number(context, lesion, measure.title))
    element["valueQuantity"] = _measured_quantity(lesion, measure)
    text = f"{measure_title(measure)}: {number(measure.value, measure.unit)} {readable_unit(measure.unit)}"
    element["text"] = narrative(of_lesion(context, lesion, text))
    methods = [SUM_OF_VOXELS] if measure.ibsi_id == _IBSI_VOXEL_VOLUME else []
    element["method"] = concept(*methods, text=measure.method or None)
    if not element["method"]:
        del element["method"]
    if derivation := _DERIVATIONS.get(measure.name):
        element["component"] = [{"code": concept(DERIVATION), "valueCodeableConcept": concept(derivation)}]
    return Observation.model_validate(element)


def _public_code(lesion: ReportedLesion, measure: Measure) -> Code | None:
    if measure.name == "mean_intensity" and lesion.features.image_quantity == Quantity.MR_SIGNAL:
        return MR_SIGNAL_INTENSITY
    return _PUBLIC_CODES.get(measure.name)


def _tumor_size_observation(context: ReportContext, lesion: ReportedLesion, engine: Algorithm) -> Observation:
    """The axial diameters in the shape of mCODE Tumor Size: components, no value of its own."""
    longest, perpendicular = lesion.measure(_LONGEST), lesion.measure(_PERPENDICULAR)
    element = measured(context, measure_role(lesion, _LONGEST), engine, [lesion])
    element["code"] = concept(TUMOR_SIZE, text=_of_number(context, lesion, "Tumor size, axial diameters"))
    element["component"] = [
        {
            "code": concept(code, lesion_measure(measure.name, measure.title), text=measure.title),
            "valueQuantity": _measured_quantity(lesion, measure),
        }
        for code, measure in ((TUMOR_LARGEST_DIMENSION, longest), (TUMOR_OTHER_DIMENSION, perpendicular))
        if measure is not None
    ]
    shown = (f"{item.title} {number(item.value, item.unit)} {item.unit}" for item in (longest, perpendicular) if item)
    element["text"] = narrative(of_lesion(context, lesion, "; ".join(shown)))
    if longest is not None and longest.method:
        element["method"] = concept(text=longest.method)
    return Observation.model_validate(element)


def _total_observation(context: ReportContext, total: LesionMeasure, engine: Algorithm) -> Observation:
    """A sum over lesions, derived from the Observations of each; also the number of lesions."""
    role, title = f"total-{total.name}", total_title(total)
    part = PART_OF_TOTAL.get(total.name)
    element = about_lesions(context, role, engine, [])
    if context.any_contour_is_by_algorithm:
        element["meta"] = ai_asserted()
    element["code"] = concept(
        patient_total(total.name, title), *([LESION_COUNT] if total.name == "lesion_count" else []), text=title
    )
    if total.name == "lesion_count":
        element["valueInteger"] = round(total.value)
        shown = f"{total.value:.0f}"
    else:
        element["valueQuantity"] = quantity(total.value, shown_unit(total.unit), ucum(total.unit))
        shown = f"{number(total.value, total.unit)} {readable_unit(total.unit)}"
        if is_lower_bound_of_total(context, total):
            element["valueQuantity"]["comparator"] = ">="
    element["text"] = narrative(f"{title}: {shown}")
    element["method"] = concept(text=total_method(context, total))
    element["derivedFrom"] += [
        observation_reference(context, measure_role(lesion, part or "lesion_volume")) for lesion in context.lesions
    ]
    asking = [lesion_name(lesion) for lesion in context.lesions if lesion.segmentation.needs_review]
    if asking:
        element["note"] = [{"text": sentence(f"Contours to review before this is used: {', '.join(asking)}")}]
    return Observation.model_validate(element)


def _measured_quantity(lesion: ReportedLesion, measure: Measure) -> Json:
    value = quantity(measure.value, shown_unit(measure.unit), ucum(measure.unit))
    return {**value, "comparator": ">="} if is_lower_bound(lesion, measure) else value


def _of_number(context: ReportContext, lesion: ReportedLesion, title: str) -> str:
    """The title; where lesions have to be told apart, with the number: many charts show the code's text alone."""
    return f"{title}, lesion {lesion.number}" if context.has_several_lesions else title
