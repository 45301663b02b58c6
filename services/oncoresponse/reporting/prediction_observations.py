"""Observations about the answer: the inputs of the model, and the predicted response."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fhir.resources.R4B.observation import Observation
from oncoradiomics.features import Measure

from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.case import LesionMeasure
from oncoresponse.case.prediction import Answer, Contribution, Prediction
from oncoresponse.case.readable_numbers import inside_sentence, significant, spoken_value
from oncoresponse.reporting.code_systems import (
    AI_CONFIDENCE,
    CONFORMAL_SET,
    DATA_ABSENT_REASON,
    INTERVAL_HIGH,
    INTERVAL_LOW,
    MEASUREMENT_GROUP,
    OUTSIDE_TRAINING_DATA,
    PREDICTED_ANSWER,
    PREDICTED_RESPONSE,
    Code,
    Json,
    concept,
    ibsi,
    lesion_measure,
    local,
    patient_total,
    quantity,
    radiomic_feature,
)
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.fhir_elements import ai_asserted, narrative
from oncoresponse.reporting.imaging_study import imaging_study_reference
from oncoresponse.reporting.lesion_observations import (
    about_lesions,
    measured,
    observation_reference,
    shown_unit,
    ucum,
)
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion
from oncoresponse.reporting.wording import (
    TRAINING_RANGE,
    explanation_sentences,
    interval_name,
    limits,
    probability_title,
    sentences_of_answer,
)

# Both conformal outcomes open, or the case one that the model says nothing about: the reason code of R4 for it.
_ABSENT: dict[Answer, Code] = {
    Answer.INDETERMINATE: Code(DATA_ABSENT_REASON, "unknown", "Unknown"),
    Answer.OUT_OF_DISTRIBUTION: Code(DATA_ABSENT_REASON, "unsupported", "Unsupported"),
    Answer.NO_EVIDENCE: Code(DATA_ABSENT_REASON, "unsupported", "Unsupported"),
    Answer.MEASURED_ONLY: Code(DATA_ABSENT_REASON, "unsupported", "Unsupported"),
}
_ANSWER_DISPLAYS: dict[Answer, str] = {
    Answer.FAVORABLE: "Favorable outcome called",
    Answer.UNFAVORABLE: "Unfavorable outcome called",
    Answer.INDETERMINATE: "Indeterminate",
    Answer.OUT_OF_DISTRIBUTION: "Out of distribution",
    Answer.NO_EVIDENCE: "No evidence for a prediction",
    Answer.MEASURED_ONLY: "Measured only",
}
_WITHOUT_SET = (Answer.OUT_OF_DISTRIBUTION, Answer.NO_EVIDENCE, Answer.MEASURED_ONLY)
_NOT_COMPUTABLE = Code(DATA_ABSENT_REASON, "not-a-number", "Not a Number (NaN)")


def answer_concept(prediction: Prediction) -> Json:
    """The answer of the model as a code of our own, in the words that are shown to the reader."""
    code = local(prediction.answer.value, _ANSWER_DISPLAYS[prediction.answer])
    return concept(code, text=answer_line(prediction))


def confidence(prediction: Prediction) -> float | None:
    """Probability, 0 to 1, that the call of the model is right; ``None`` where it makes none."""
    if prediction.abstains or prediction.probability is None:
        return None
    favorable = prediction.answer is not Answer.UNFAVORABLE
    return round(prediction.probability if favorable else 1 - prediction.probability, 3)


def model_inputs_observation(
    context: ReportContext, prediction: Prediction, devices: dict[str, Algorithm], reported: Mapping[str, str]
) -> Observation:
    """What the model used.

    A measure that has an Observation of its own is a member of the group, so that the chart holds each number once; any
    other input is a component, in the code system of what computed it, with its IBSI code where one exists.

    Args:
        context: What is reported.
        prediction: Of the context.
        devices: By role.
        reported: Role of the Observation that holds it, by the name of each measure and total of the lesions that the
            prediction was made from.
    """
    components: list[Json] = []
    members: list[str] = []
    for item in prediction.contributions:
        measure = _measured_as(context, item)
        role = reported.get(measure.name) if measure is not None else None
        if role and measure and item.value is not None and math.isclose(item.value, measure.value, rel_tol=1e-9):
            members.append(role)
            continue
        codes = [_input_code(context, item)]
        if ibsi_id := _unfiltered_ibsi_id(context, item):
            codes.append(ibsi(ibsi_id))
        component: Json = {"code": concept(*codes, text=item.title)}
        if item.value is None:
            component["dataAbsentReason"] = concept(_NOT_COMPUTABLE)
        else:
            component["valueQuantity"] = quantity(item.value, shown_unit(item.unit), ucum(item.unit))
        components.append(component)
    roles = sorted({_input_role(context, item) for item in prediction.contributions})
    # R4 allows one device: inputs of several sources were put together by the software.
    engine = devices[roles[0] if len(roles) == 1 else "software"]
    element = measured(context, "model-inputs", engine, _predicted_lesions(context))
    element["code"] = concept(MEASUREMENT_GROUP, text="Inputs of the response model")
    if components:
        element["component"] = components
    if members:
        element["hasMember"] = [observation_reference(context, role) for role in dict.fromkeys(members)]
    element["text"] = narrative("; ".join(_input_text(item) for item in prediction.contributions))
    # Not a referenceRange: R4 interprets values by it, and a chart would flag them as high or low.
    ranges = "; ".join(_training_text(item) for item in prediction.contributions)
    element["note"].append({"text": f"{TRAINING_RANGE} of the training patients, not a normal range: {ranges}."})
    sources = []
    if "measures" in roles:
        sources.append(f"{devices['measures'].name} {devices['measures'].version}")
    if "radiomics" in roles:
        features = context.main_lesion.features
        sources.append(f"{features.engine} {features.engine_version}, settings SHA-256 {features.settings_sha256}")
    if "software" in roles:
        sources.append("clinical covariates as sent with the request")
    element["method"] = concept(text="; ".join(sources))
    return Observation.model_validate(element)


def predicted_response_observation(
    context: ReportContext, prediction: Prediction, algorithm: Algorithm, made_from: list[str]
) -> Observation:
    """The chart line: percent with its interval, or no value and the reason why not.

    Args:
        context: What is reported.
        prediction: Of the context.
        algorithm: Of the response model.
        made_from: Roles of the Observations that it was made from.
    """
    components: list[Json] = [
        {
            "code": concept(PREDICTED_ANSWER),
            "valueCodeableConcept": answer_concept(prediction),
        },
    ]
    if prediction.outside is not None:
        components.append({"code": concept(OUTSIDE_TRAINING_DATA), "valueBoolean": prediction.outside.is_outside})
    if prediction.answer not in _WITHOUT_SET:  # there the set promises nothing
        components.append({"code": concept(CONFORMAL_SET), "valueCodeableConcept": _conformal_set(prediction)})
    element = about_lesions(context, "predicted-response", algorithm, _predicted_lesions(context))
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
    if (share := confidence(prediction)) is not None:
        element["extension"] = [{"url": AI_CONFIDENCE, "valueDecimal": share}]
    element["component"] = components
    element["method"] = concept(
        text=f"{prediction.model_name}@{prediction.model_version}"
        + ("" if prediction.interval_method is None else f"; interval: {prediction.interval_method}")
    )
    element["derivedFrom"] = [
        imaging_study_reference(context),
        *(observation_reference(context, role) for role in made_from),
    ]
    said = " ".join(sentences_of_answer(context, prediction))
    element["text"] = narrative(f"{prediction.research_use_statement} {said}")
    element["note"] = [
        {"text": prediction.research_use_statement},
        {"text": said},
        *({"text": text} for text in (*explanation_sentences(prediction), *limits(context))),
    ]
    return Observation.model_validate(element)


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


def _predicted_lesions(context: ReportContext) -> list[ReportedLesion]:
    return [context.lesions[number - 1] for number in context.predicted_lesions]


def _measured_as(context: ReportContext, item: Contribution) -> Measure | LesionMeasure | None:
    """The measure or total that gave an input.

    A model may know it by another name; then the request may have given the value, which goes before what was measured.
    """
    renamed = {entry.input: entry.measure for entry in context.model.measured_inputs}
    name = renamed.get(item.input, item.input)
    found: Measure | LesionMeasure | None = None
    if context.predicts_from_totals:
        found = next((total for total in context.totals if total.name == name), None)
    elif context.predicted_lesions:
        found = context.main_lesion.measure(name)
    if found is not None and item.input in renamed:
        return found if item.value is not None and math.isclose(item.value, found.value, rel_tol=1e-9) else None
    return found


def _unfiltered_ibsi_id(context: ReportContext, item: Contribution) -> str | None:
    """IBSI identifier, but for a filtered image, where it names the feature without the filter: another concept."""
    if measure := _measured_as(context, item):
        return measure.ibsi_id or None
    feature = context.main_lesion.feature(item.input)
    return feature.ibsi_id if feature is not None and item.input.startswith("original_") else None


def _input_role(context: ReportContext, item: Contribution) -> str:
    """Role of the Device that gave an input; a covariate came with the request, through the software."""
    lesion = context.main_lesion
    if _measured_as(context, item) is not None:
        return "measures"
    if lesion.feature(item.input) is not None or item.input in lesion.features.undefined_features:
        return "radiomics"
    return "software"


def _input_code(context: ReportContext, item: Contribution) -> Code:
    if measure := _measured_as(context, item):
        return (patient_total if context.predicts_from_totals else lesion_measure)(measure.name, item.title)
    if _input_role(context, item) == "radiomics":
        return radiomic_feature(context.main_lesion.features.engine, item.input, item.title)
    return local(item.input, item.title)


def _training_text(item: Contribution) -> str:
    low, high = significant(item.training_low), spoken_value(item.training_high, item.unit)
    return f"{item.title} {low} to {high}"


def _input_text(item: Contribution) -> str:
    value = "not computable" if item.value is None else spoken_value(item.value, item.unit)
    return f"{item.title} {value}"
