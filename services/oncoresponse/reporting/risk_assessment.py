"""RiskAssessment: the prognosis in the resource FHIR has for it. In R4 its probability is a percentage, 0 to 100."""

from __future__ import annotations

from fhir.resources.R4B.riskassessment import RiskAssessment

from oncoresponse.reporting.code_systems import Json, concept, local
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.fhir_elements import ai_asserted, narrative
from oncoresponse.reporting.fhir_identifiers import identifier, order, subject
from oncoresponse.reporting.imaging_study import imaging_study_reference
from oncoresponse.reporting.observations import observation_reference
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import (
    ASSOCIATION,
    answer_sentences,
    contribution_sentence,
    interval_sentence,
    limits,
)
from oncoresponse.response.prediction import Prediction

_REASONS_SHOWN = 5


def risk_assessment(
    context: ReportContext, prediction: Prediction, algorithm: Algorithm, basis_roles: list[str]
) -> RiskAssessment:
    """R4 RiskAssessment of the favorable outcome.

    Where the model abstains the prediction has no probability and its rationale says why. ``mitigation`` stays
    empty: the software proposes no action.
    """
    shown = prediction.contributions[:_REASONS_SHOWN]
    reasons = "; ".join(contribution_sentence(item, abstains=prediction.abstains) for item in shown)
    abstained = " ".join(item.text for item in prediction.abstain_reasons)
    rationale = f"{reasons}." if reasons else ""
    predicted: Json = {
        "outcome": concept(local(prediction.outcome_code, prediction.outcome_title), text=prediction.outcome_title),
    }
    if prediction.abstains or prediction.probability is None:
        rationale = f"{abstained} {rationale}"
    else:
        rationale = f"{rationale} {ASSOCIATION}"
        predicted["probabilityDecimal"] = round(100 * prediction.probability, 1)
    if rationale.strip():
        predicted["rationale"] = rationale.strip()
    notes = [prediction.research_use_statement, " ".join(answer_sentences(prediction))]
    if interval_sentence(prediction) is not None:
        notes.append(f"Interval: {prediction.interval_method}")
    element: Json = {
        "meta": ai_asserted(),
        "text": narrative(" ".join(notes[:2])),
        "identifier": [identifier(context.assessment_id, "risk-assessment")],
        "status": "preliminary",
        "method": concept(text=f"{prediction.model_name}@{prediction.model_version}"),
        "subject": subject(context),
        "occurrenceDateTime": context.issued.isoformat(),
        "performer": algorithm.reference,
        "basis": [
            *(observation_reference(context, role) for role in basis_roles),
            imaging_study_reference(context),
        ],
        "prediction": [predicted],
        "note": [{"text": text} for text in (*notes, *limits(context))],
    }
    if based_on := order(context):
        element["basedOn"] = based_on[0]
    return RiskAssessment.model_validate(element)
