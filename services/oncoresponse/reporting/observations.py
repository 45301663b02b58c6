"""Every Observation of the report, by its role, in the order the chart shows them."""

from __future__ import annotations

from collections.abc import Mapping

from fhir.resources.R4B.observation import Observation

from oncoresponse.case.identifiers import lesion_part
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.distance_observations import distance_observations, is_distance_role
from oncoresponse.reporting.fhir_identifiers import full_url
from oncoresponse.reporting.lesion_observations import lesion_observations, measure_role, total_observations
from oncoresponse.reporting.prediction_observations import model_inputs_observation, predicted_response_observation
from oncoresponse.reporting.report_content import ReportContext


def observations(context: ReportContext, devices: dict[str, Algorithm]) -> dict[str, Observation]:
    """Lesion after lesion, then what all measure together, then what the model says."""
    found: dict[str, Observation] = {}
    for lesion in context.lesions:
        found |= lesion_observations(context, lesion, devices["measures"])
        found |= distance_observations(context, lesion, devices["measures"])
    totals = total_observations(context, devices["measures"])
    found |= totals
    prediction = context.prediction
    if prediction is None:
        return found
    made_from = list(totals) if context.predicts_from_totals else []
    if prediction.contributions:
        found["model-inputs"] = model_inputs_observation(context, prediction, devices, _reported(context, found))
        made_from.append("model-inputs")
    found["predicted-response"] = predicted_response_observation(context, prediction, devices["response"], made_from)
    return found


def _reported(context: ReportContext, found: Mapping[str, Observation]) -> dict[str, str]:
    """Role of the Observation of each measure that an input may be, by the name of the measure."""
    if context.predicts_from_totals:
        roles = {total.name: f"total-{total.name}" for total in context.totals}
    else:
        lesion = context.main_lesion
        roles = {measure.name: measure_role(lesion, measure.name) for measure in lesion.features.measures}
    return {name: role for name, role in roles.items() if role in found}


def basis_roles(context: ReportContext, results: dict[str, Observation]) -> list[str]:
    """Roles of the Observations that the prognosis rests on: not those of lesions or totals it was not made from."""
    used = {full_url(context.assessment_id, lesion_part(number)) for number in context.predicted_lesions}

    def is_basis(role: str) -> bool:
        if role in ("model-inputs", "predicted-response"):
            return True
        if is_distance_role(role):  # measured on another image, and never an input
            return False
        focus = results[role].focus
        if focus is None:
            return context.predicts_from_totals
        return {item.reference for item in focus} <= used

    return [role for role in results if is_basis(role)]
