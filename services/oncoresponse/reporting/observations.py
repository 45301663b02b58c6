"""Observations: one for each tumor measure, one for the inputs of the model, one for the predicted response."""

from __future__ import annotations

from fhir.resources.R4B.observation import Observation
from oncoradiomics.features import MEASURE_NAMES, Measure

from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.prediction import Answer, Contribution, Prediction
from oncoresponse.case.readable_numbers import inside_sentence, readable_unit, significant, spoken_value
from oncoresponse.reporting.code_systems import (
    CATEGORY_IMAGING,
    CONFORMAL_SET,
    DATA_ABSENT_REASON,
    DERIVATION,
    INTERVAL_HIGH,
    INTERVAL_LOW,
    MAXIMUM,
    MEAN,
    MEASUREMENT_GROUP,
    METABOLIC_VOLUME,
    OUTSIDE_TRAINING_DATA,
    PEAK_WITHIN_ROI,
    PREDICTED_ANSWER,
    PREDICTED_RESPONSE,
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
    local,
    quantity,
    radiomic_feature,
)
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.fhir_elements import ai_asserted, narrative
from oncoresponse.reporting.fhir_identifiers import full_url, identifier, order, subject
from oncoresponse.reporting.imaging_study import imaging_study_reference, lesion_reference
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import (
    TRAINING_RANGE,
    answer_sentences,
    contour_sentence,
    explanation_sentences,
    interval_name,
    is_lower_bound,
    limits,
    lower_bound_sentence,
    measure_title,
    number,
    probability_title,
    review_sentence,
)

_LONGEST, _PERPENDICULAR = "longest_axial_diameter", "perpendicular_axial_diameter"

_PUBLIC_CODES: dict[str, Code] = {
    "lesion_volume": VOLUME,
    "suv_max": SUV_BODY_WEIGHT,
    "suv_peak": SUV_BODY_WEIGHT,
    "suv_mean": SUV_BODY_WEIGHT,
    "metabolic_tumor_volume": METABOLIC_VOLUME,
    "total_lesion_glycolysis": TOTAL_LESION_GLYCOLYSIS,
}
# DCM has one concept for SUV; the statistic is a modifier of it (PS3.16 TID 300, "Derivation").
_DERIVATIONS: dict[str, Code] = {"suv_max": MAXIMUM, "suv_peak": PEAK_WITHIN_ROI, "suv_mean": MEAN}
_IBSI_VOXEL_VOLUME = "YEKZ"

# Both conformal outcomes open, or the case unlike the training patients: the reason code of R4 that says so.
_ABSENT: dict[Answer, Code] = {
    Answer.INDETERMINATE: Code(DATA_ABSENT_REASON, "unknown", "Unknown"),
    Answer.OUT_OF_DISTRIBUTION: Code(DATA_ABSENT_REASON, "unsupported", "Unsupported"),
    Answer.NO_EVIDENCE: Code(DATA_ABSENT_REASON, "unsupported", "Unsupported"),
}
_ANSWER_DISPLAYS: dict[Answer, str] = {
    Answer.FAVORABLE: "Favorable outcome called",
    Answer.UNFAVORABLE: "Unfavorable outcome called",
    Answer.INDETERMINATE: "Indeterminate",
    Answer.OUT_OF_DISTRIBUTION: "Out of distribution",
    Answer.NO_EVIDENCE: "No evidence for a prediction",
}
_NOT_COMPUTABLE = Code(DATA_ABSENT_REASON, "not-a-number", "Not a Number (NaN)")


def observations(context: ReportContext, devices: dict[str, Algorithm]) -> dict[str, Observation]:
    """Every Observation of the report by its role, in the order the chart shows them."""
    found: dict[str, Observation] = {}
    names = [name for name in MEASURE_NAMES if name not in (_LONGEST, _PERPENDICULAR)]
    names += [item.name for item in context.features.measures if item.name not in MEASURE_NAMES]
    for name in names:
        measure = context.measure(name)
        if measure is not None:
            found[f"measure-{name}"] = measure_observation(context, measure, devices["measures"])
        if name == "lesion_volume" and context.measure(_LONGEST) is not None:
            found["tumor-size"] = tumor_size_observation(context, devices["measures"])
    if context.prediction is not None:
        if context.prediction.contributions:
            found["model-inputs"] = model_inputs_observation(context, context.prediction, devices)
        found["predicted-response"] = predicted_response_observation(context, context.prediction, devices["response"])
    return found


def observation_reference(context: ReportContext, role: str) -> Json:
    """Reference to an Observation of the Bundle."""
    return {"reference": full_url(context.assessment_id, role), "type": "Observation"}


def measure_observation(context: ReportContext, measure: Measure, engine: Algorithm) -> Observation:
    """One measure with its unit, the way it was measured, and the tumor it was measured on."""
    codes = [lesion_measure(measure.name, measure.title)]
    if public := _PUBLIC_CODES.get(measure.name):
        codes.append(public)
    if measure.ibsi_id:
        codes.append(ibsi(measure.ibsi_id))
    element = _measured(context, f"measure-{measure.name}", engine)
    element["code"] = concept(*codes, text=measure.title)
    element["valueQuantity"] = _measured_quantity(context, measure)
    element["text"] = narrative(
        f"{measure_title(measure)}: {number(measure.value, measure.unit)} {readable_unit(measure.unit)}"
    )
    methods = [SUM_OF_VOXELS] if measure.ibsi_id == _IBSI_VOXEL_VOLUME else []
    element["method"] = concept(*methods, text=measure.method or None)
    if not element["method"]:
        del element["method"]
    if derivation := _DERIVATIONS.get(measure.name):
        element["component"] = [{"code": concept(DERIVATION), "valueCodeableConcept": concept(derivation)}]
    return Observation.model_validate(element)


def tumor_size_observation(context: ReportContext, engine: Algorithm) -> Observation:
    """The axial diameters in the shape of mCODE Tumor Size: components, no value of its own."""
    longest, perpendicular = context.measure(_LONGEST), context.measure(_PERPENDICULAR)
    element = _measured(context, "tumor-size", engine)
    element["code"] = concept(TUMOR_SIZE, text="Tumor size, axial diameters")
    element["component"] = [
        {
            "code": concept(code, lesion_measure(measure.name, measure.title), text=measure.title),
            "valueQuantity": _measured_quantity(context, measure),
        }
        for code, measure in ((TUMOR_LARGEST_DIMENSION, longest), (TUMOR_OTHER_DIMENSION, perpendicular))
        if measure is not None
    ]
    shown = (f"{item.title} {number(item.value, item.unit)} {item.unit}" for item in (longest, perpendicular) if item)
    element["text"] = narrative("; ".join(shown))
    if longest is not None and longest.method:
        element["method"] = concept(text=longest.method)
    return Observation.model_validate(element)


def model_inputs_observation(
    context: ReportContext, prediction: Prediction, devices: dict[str, Algorithm]
) -> Observation:
    """What the model used, each input in the code system of what computed it, with its IBSI code where one exists."""
    components: list[Json] = []
    for item in prediction.contributions:
        codes = [_input_code(context, item)]
        if ibsi_id := _unfiltered_ibsi_id(context, item.input):
            codes.append(ibsi(ibsi_id))
        component: Json = {"code": concept(*codes, text=item.title)}
        if item.value is None:
            component["dataAbsentReason"] = concept(_NOT_COMPUTABLE)
        else:
            component["valueQuantity"] = quantity(item.value, _shown_unit(item.unit), _ucum(item.unit))
        components.append(component)
    roles = sorted({_input_role(context, item.input) for item in prediction.contributions})
    # R4 allows one device: inputs of several sources were put together by the software.
    element = _measured(context, "model-inputs", devices[roles[0] if len(roles) == 1 else "software"])
    element["code"] = concept(MEASUREMENT_GROUP, text="Inputs of the response model")
    element["component"] = components
    element["text"] = narrative("; ".join(_input_text(item) for item in prediction.contributions))
    # Not a referenceRange: R4 interprets values by it, and a chart would flag them as high or low.
    ranges = "; ".join(_training_text(item) for item in prediction.contributions)
    element["note"].append({"text": f"{TRAINING_RANGE} of the training patients, not a normal range: {ranges}."})
    sources = []
    if "measures" in roles:
        sources.append(f"{devices['measures'].name} {devices['measures'].version}")
    if "radiomics" in roles:
        sources.append(
            f"{context.features.engine} {context.features.engine_version}, settings SHA-256 "
            f"{context.features.settings_sha256}"
        )
    if "software" in roles:
        sources.append("clinical covariates as sent with the request")
    element["method"] = concept(text="; ".join(sources))
    return Observation.model_validate(element)


def predicted_response_observation(context: ReportContext, prediction: Prediction, algorithm: Algorithm) -> Observation:
    """The chart line: percent with its interval, or no value and the reason why not."""
    components: list[Json] = [
        {
            "code": concept(PREDICTED_ANSWER),
            "valueCodeableConcept": concept(
                local(prediction.answer.value, _ANSWER_DISPLAYS[prediction.answer]), text=answer_line(prediction)
            ),
        },
    ]
    if prediction.outside is not None:
        components.append({"code": concept(OUTSIDE_TRAINING_DATA), "valueBoolean": prediction.outside.is_outside})
    if prediction.answer not in (Answer.OUT_OF_DISTRIBUTION, Answer.NO_EVIDENCE):  # there the set promises nothing
        components.append({"code": concept(CONFORMAL_SET), "valueCodeableConcept": _conformal_set(prediction)})
    element = _about_tumor(context, "predicted-response", algorithm)
    element["meta"] = ai_asserted()
    element["code"] = concept(PREDICTED_RESPONSE, text=probability_title(prediction))
    if prediction.abstains or prediction.probability is None:
        reason = _ABSENT.get(prediction.answer, _NOT_COMPUTABLE)
        text = " ".join(item.text for item in prediction.abstain_reasons) or answer_line(prediction)
        element["dataAbsentReason"] = concept(reason, text=text)
    else:
        element["valueQuantity"] = quantity(round(100 * prediction.probability, 1), "%", "%")
        for end, code, bound in (
            ("lower", INTERVAL_LOW, prediction.interval_low),
            ("upper", INTERVAL_HIGH, prediction.interval_high),
        ):
            if bound is not None:
                level = f"{probability_title(prediction)}: {end} end of the {interval_name(prediction)}"
                components.append(
                    {"code": concept(code, text=level), "valueQuantity": quantity(round(100 * bound, 1), "%", "%")}
                )
    element["component"] = components
    element["method"] = concept(
        text=f"{prediction.model_name}@{prediction.model_version}"
        + ("" if prediction.interval_method is None else f"; interval: {prediction.interval_method}")
    )
    element["derivedFrom"] = [
        imaging_study_reference(context),
        *([observation_reference(context, "model-inputs")] if prediction.contributions else []),
    ]
    element["text"] = narrative(" ".join((prediction.research_use_statement, *answer_sentences(prediction))))
    element["note"] = [
        {"text": prediction.research_use_statement},
        {"text": " ".join(answer_sentences(prediction))},
        *({"text": text} for text in (*explanation_sentences(prediction), *limits(context))),
    ]
    return Observation.model_validate(element)


def _measured(context: ReportContext, role: str, engine: Algorithm) -> Json:
    element = _about_tumor(context, role, engine)
    if context.contour_is_by_algorithm:  # a measure of an algorithm's contour is its assertion
        element["meta"] = ai_asserted()
    said = (review_sentence(context), lower_bound_sentence(context), contour_sentence(context))
    element["note"] = [{"text": text} for text in said if text]
    return element


def _measured_quantity(context: ReportContext, measure: Measure) -> Json:
    value = quantity(measure.value, _shown_unit(measure.unit), _ucum(measure.unit))
    return {**value, "comparator": ">="} if is_lower_bound(context, measure) else value


def _about_tumor(context: ReportContext, role: str, engine: Algorithm) -> Json:
    element: Json = {
        "identifier": [identifier(context.assessment_id, role)],
        "status": "preliminary",
        "category": [concept(CATEGORY_IMAGING)],
        "subject": subject(context),
        "focus": [lesion_reference(context)],
        "issued": context.issued.isoformat(),
        "device": engine.reference,
        "derivedFrom": [imaging_study_reference(context)],
    }
    if based_on := order(context):
        element["basedOn"] = based_on
    if effective := context.scan_date_time:
        element["effectiveDateTime"] = effective
    return element


def _conformal_set(prediction: Prediction) -> Json:
    outcome = inside_sentence(prediction.outcome_title)
    match prediction.conformal_set:
        case (_, _):
            return concept(local("either-outcome", "Neither outcome can be ruled out"))
        case (Answer.FAVORABLE,):
            return concept(local("only-favorable", "Only the favorable outcome is left"), text=f"Left: {outcome}")
        case (Answer.UNFAVORABLE,):
            return concept(
                local("only-unfavorable", "Only the unfavorable outcome is left"), text=f"Left: no {outcome}"
            )
        case _:
            return concept(local("neither-outcome", "The patient fits neither outcome"))


def _unfiltered_ibsi_id(context: ReportContext, name: str) -> str | None:
    """IBSI identifier, but for a filtered image, where it names the feature without the filter: another concept."""
    if measure := context.measure(name):
        return measure.ibsi_id
    feature = context.feature(name)
    return feature.ibsi_id if feature is not None and name.startswith("original_") else None


def _ucum(unit: str) -> str:
    return unit or "1"


def _shown_unit(unit: str) -> str:
    return readable_unit(unit) or "1"


def _input_role(context: ReportContext, name: str) -> str:
    """Role of the Device that gave an input; a covariate came with the request, through the software."""
    if context.measure(name) is not None:
        return "measures"
    if context.feature(name) is not None or name in context.features.undefined_features:
        return "radiomics"
    return "software"


def _input_code(context: ReportContext, item: Contribution) -> Code:
    role = _input_role(context, item.input)
    if role == "measures":
        return lesion_measure(item.input, item.title)
    if role == "radiomics":
        return radiomic_feature(context.features.engine, item.input, item.title)
    return local(item.input, item.title)


def _training_text(item: Contribution) -> str:
    low, high = significant(item.training_low), spoken_value(item.training_high, item.unit)
    return f"{item.title} {low} to {high}"


def _input_text(item: Contribution) -> str:
    value = "not computable" if item.value is None else spoken_value(item.value, item.unit)
    return f"{item.title} {value}"
