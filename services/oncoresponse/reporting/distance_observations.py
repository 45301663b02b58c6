"""Observations of distances: how far a lesion is from bone and skin."""

from __future__ import annotations

from fhir.resources.R4B.observation import Observation

from oncoresponse.case.identifiers import lesion_part
from oncoresponse.reporting.code_systems import NOT_PERFORMED, UNKNOWN, concept, lesion_measure, quantity
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.fhir_elements import narrative
from oncoresponse.reporting.lesion_distances import (
    DISTANCE_METHOD,
    UNIT,
    ReportedDistance,
    reported_distances,
)
from oncoresponse.reporting.lesion_observations import measured
from oncoresponse.reporting.lesion_wording import of_lesion
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion

_ROLE = "distance-to-"


def distance_observations(context: ReportContext, lesion: ReportedLesion, engine: Algorithm) -> dict[str, Observation]:
    """By role; none without a CT.

    A lower bound has the comparator ``>=`` (Quantity.comparator). Without a value stands why (dataAbsentReason):
    ``unknown`` where it was looked for, else ``not-performed``.
    """
    prefix = "" if lesion.number == 1 else f"{lesion_part(lesion.number)}-"
    return {
        (role := prefix + item.name.replace("_", "-")): _observation(context, lesion, item, role, engine)
        for item in reported_distances(lesion.distances)
    }


def is_distance_role(role: str) -> bool:
    """Whether an Observation of that role is of a distance."""
    return _ROLE in role


def _observation(
    context: ReportContext, lesion: ReportedLesion, item: ReportedDistance, role: str, engine: Algorithm
) -> Observation:
    element = measured(context, role, engine, [lesion])
    title = f"{item.title}, lesion {lesion.number}" if context.has_several_lesions else item.title
    element["code"] = concept(lesion_measure(item.name, item.title), text=title)
    element["method"] = concept(text=DISTANCE_METHOD)
    if item.mm is None:
        element["dataAbsentReason"] = concept(UNKNOWN if item.was_tried else NOT_PERFORMED, text=item.absent)
        text = f"{item.title}: {item.absent}"
    else:
        element["valueQuantity"] = quantity(item.mm, UNIT, UNIT)
        if item.is_lower_bound:
            element["valueQuantity"]["comparator"] = ">="
        text = f"{item.title}: {item.text} {UNIT}"
    element["text"] = narrative(of_lesion(context, lesion, text))
    return Observation.model_validate(element)
