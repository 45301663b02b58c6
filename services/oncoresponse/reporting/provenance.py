"""Provenance: which algorithm made what, from which inputs, each input with its SHA-256."""

from __future__ import annotations

from fhir.resources.R4B.provenance import Provenance

from oncoresponse.reporting.code_systems import (
    AI_ASSERTED,
    ARTIFICIAL_INTELLIGENCE,
    DATA_OPERATION,
    PARTICIPANT_TYPE,
    SHA256,
    Code,
    Json,
    concept,
)
from oncoresponse.reporting.devices import Algorithm
from oncoresponse.reporting.document_references import model_card_reference
from oncoresponse.reporting.fhir_elements import ai_asserted, narrative
from oncoresponse.reporting.fhir_identifiers import entry_tag
from oncoresponse.reporting.imaging_study import imaging_study_reference
from oncoresponse.reporting.organization import performer
from oncoresponse.reporting.report_content import ReportContext

_CREATE = Code(DATA_OPERATION, "CREATE", "create")
_AUTHOR = Code(PARTICIPANT_TYPE, "author", "Author")
_ASSEMBLER = Code(PARTICIPANT_TYPE, "assembler", "Assembler")


def provenance(context: ReportContext, devices: dict[str, Algorithm], targets: list[Json]) -> Provenance:
    """R4 Provenance of all results of one assessment.

    R4 Provenance has no identifier; a tag makes it findable for the conditional create. Each signature has a Provenance
    of its own (:mod:`~oncoresponse.reporting.signed_bundle`).
    """
    entities: list[Json] = [{"role": "source", "what": imaging_study_reference(context)}]
    entities += [_entity("source", item.role, item.sha256) for item in context.artifacts]
    entities += [_entity("source", f"settings {name}", digest) for name, digest in context.settings_sha256]
    if card := model_card_reference(context):
        entities.append({"role": "derivation", "what": card})
    entities.append(_entity("derivation", f"model {context.model.name} {context.model.version}", context.model_sha256))
    uses_ai = context.any_contour_is_by_algorithm or context.prediction is not None
    makers = ", ".join(f"{algorithm.name} {algorithm.version}" for algorithm in devices.values())
    element: Json = {
        "text": narrative(f"Made by {makers}. No person has verified it at that time."),
        "meta": {"tag": [entry_tag(context.assessment_id, "provenance")]},
        "target": targets,
        "recorded": context.issued.isoformat(),
        "activity": concept(_CREATE),
        "agent": [_agent(algorithm, performer(context)) for algorithm in devices.values()],
        "entity": entities,
    }
    if uses_ai:
        element["meta"].update(ai_asserted())
        element["reason"] = [concept(AI_ASSERTED)]
    return Provenance.model_validate(element)


def _agent(algorithm: Algorithm, organizations: list[Json]) -> Json:
    """An algorithm; of artificial intelligence ``role`` says so (AI Transparency on FHIR, AI-Provenance)."""
    agent: Json = {
        "type": concept(_ASSEMBLER if algorithm.role == "software" else _AUTHOR),
        "who": algorithm.reference,
    }
    if algorithm.is_artificial_intelligence:
        agent["role"] = [concept(ARTIFICIAL_INTELLIGENCE)]
    if organizations:
        agent["onBehalfOf"] = organizations[0]
    return agent


def _entity(role: str, display: str, digest: str) -> Json:
    return {"role": role, "what": {"identifier": {"system": SHA256, "value": digest}, "display": display}}
