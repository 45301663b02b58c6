"""RiskAssessment: the prognosis in the resource FHIR has for it. In R4 its probability is a percentage, 0 to 100."""

from __future__ import annotations

from fhir.resources.R4B.riskassessment import RiskAssessment

from oncoresponse.case.prediction import Prediction
from oncoresponse.reporting.code_systems import Json, concept, local
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.fhir_elements import ai_asserted, narrative
from oncoresponse.reporting.fhir_identifiers import encounter, identifier, order, subject
from oncoresponse.reporting.imaging_study import imaging_study_reference
from oncoresponse.reporting.lesion_observations import observation_reference
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import (
    ASSOCIATION,
    contribution_sentence,
    explanation_sentences,
    limits,
    sentences_of_answer,
)

_REASONS_SHOWN = 5


def risk_assessment(
    context: ReportContext, prediction: Prediction, algorithm: Algorithm, basis_roles: list[str]
) -> RiskAssessment:
    """R4 RiskAssessment of the favorable outcome.

    Where the model abstains there is no ``prediction``, because R4's ras-2 asks for a probability in each; the notes
    say why. ``mitigation`` stays empty: the software proposes no action.
    """
    said = " ".join(sentences_of_answer(context, prediction))
    notes = [prediction.research_use_statement, said]
    notes += explanation_sentences(prediction)
    predicted: list[Json] = []
    shown = [contribution_sentence(item, prediction) for item in prediction.contributions[:_REASONS_SHOWN]]
    if prediction.abstains or prediction.probability is None:
        notes += [item.text for item in prediction.abstain_reasons]
        notes += [f"Inputs: {'; '.join(shown)}."] if shown else []
    else:
        notes.append(f"Interval of the probability: {prediction.interval_method}")
        outcome = local(prediction.outcome_code, prediction.outcome_title)
        predicted = [
            {
                "outcome": concept(outcome, text=prediction.outcome_title),
                "probabilityDecimal": round(100 * prediction.probability, 1),
                **({"rationale": f"{'; '.join(shown)}. {ASSOCIATION}"} if shown else {}),
            }
        ]
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
        "note": [{"text": text} for text in (*notes, *limits(context))],
    }
    if predicted:
        element["prediction"] = predicted
    if based_on := order(context):
        element["basedOn"] = based_on[0]
    if found := encounter(context):
        element["encounter"] = found
    return RiskAssessment.model_validate(element)
