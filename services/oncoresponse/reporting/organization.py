"""The institution that ran the assessment, as the EHR knows it."""

from __future__ import annotations

from fhir.resources.R4B.organization import Organization

from oncoresponse.reporting.code_systems import Json
from oncoresponse.reporting.fhir_elements import narrative
from oncoresponse.reporting.fhir_identifiers import full_url
from oncoresponse.reporting.report_content import ReportContext


def performer(context: ReportContext) -> list[Json]:
    """``performer``: the Organization of the EHR; its name alone where nothing else is known; nothing without a name.

    With a business identifier the reference leads to an entry of the Bundle and carries the identifier too, so that a
    reader of the resource alone knows which Organization it is.
    """
    site, name = context.site, context.performing_organization
    reference: Json = {"type": "Organization"}
    if name:
        reference["display"] = name
    if site.organization_reference:
        return [{"reference": site.organization_reference, **reference}]
    if site.organization_identifier:
        return [{"reference": full_url(*_parts(context)), "identifier": organization_identifier(context), **reference}]
    return [reference] if name else []


def organization_identifier(context: ReportContext) -> Json:
    """Business identifier of the Organization."""
    return {"system": context.site.organization_system, "value": context.site.organization_identifier}


def organization_entry(context: ReportContext) -> tuple[str, Organization] | None:
    """``fullUrl`` and resource of the Organization; ``None`` where the EHR's own is referred to, or none is known.

    It is created once, where the EHR has none of this identifier, and never changed.
    """
    if not context.site.organization_identifier or context.site.organization_reference:
        return None
    name = context.performing_organization
    element: Json = {
        "text": narrative(name or f"Organization {context.site.organization_identifier}"),
        "identifier": [organization_identifier(context)],
        "active": True,
    }
    if name:
        element["name"] = name
    return full_url(*_parts(context)), Organization.model_validate(element)


def _parts(context: ReportContext) -> tuple[str, ...]:
    return ("organization", context.site.organization_system, context.site.organization_identifier)
