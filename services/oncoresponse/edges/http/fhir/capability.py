"""What the server can do: the R4 CapabilityStatement, made of the table of what is searched."""

from __future__ import annotations

from typing import Any

import oncoresponse
from oncoresponse.case.resource_search import EVERY_TYPE, PARAMETERS, SORT_DATES, SearchKind, SearchParameter
from oncoresponse.case.subscription_status import PROFILES, SUBSCRIPTION

FHIR_VERSION = "4.0.1"
_DEFINITIONS = "http://hl7.org/fhir/SearchParameter"
_STATUS = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status"
_SUBSCRIPTION = {
    "type": SUBSCRIPTION,
    "supportedProfile": [f"{PROFILES}/backport-subscription"],
    "interaction": [{"code": "read"}],
    "operation": [{"name": "status", "definition": _STATUS}],
    "documentation": "Those of the settings. Not for a token for one patient, and not for callers of a tenant.",
}
_SMART_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def capability_statement(base: str, date: str) -> dict[str, Any]:
    """The CapabilityStatement.

    Args:
        base: URL of the server.
        date: When this server began to offer it.
    """
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "OncoResponse", "version": oncoresponse.__version__},
        "implementation": {"description": "Reports of imaging assessments, for reading", "url": base},
        "fhirVersion": FHIR_VERSION,
        "format": ["json", "application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "documentation": (
                    "Read-only. Signing, amending and withdrawing a report changes its resources; what a withdrawal "
                    "took away is answered with 410. Parameters that are not known are ignored and told in an "
                    "OperationOutcome of the Bundle, or refused with Prefer: handling=strict."
                ),
                "security": {
                    "service": [{"coding": [{"system": _SMART_SERVICE, "code": "SMART-on-FHIR"}]}],
                    "description": "Tokens of the issuer that .well-known/smart-configuration names.",
                },
                "resource": [*(_resource(kind) for kind in PARAMETERS), _SUBSCRIPTION],
            }
        ],
    }


def _resource(kind: str) -> dict[str, Any]:
    references = [
        name
        for name, parameter in PARAMETERS[kind].items()
        if parameter.kind is SearchKind.REFERENCE and not parameter.is_patient
    ]
    found: dict[str, Any] = {
        "type": kind,
        "interaction": [{"code": "read"}, {"code": "vread"}, {"code": "search-type"}],
        "versioning": "versioned",
        "readHistory": False,
        "conditionalRead": "not-match",
        "searchParam": [_parameter(*item) for item in (*EVERY_TYPE.items(), *PARAMETERS[kind].items())],
    }
    if references:
        found["searchInclude"] = [f"{kind}:{name}" for name in references]
    if reverse := _reverse_includes(kind):
        found["searchRevInclude"] = reverse
    date = f"date and {SORT_DATES[kind]}, " if SORT_DATES.get(kind, "date") != "date" else "date, "
    sorts = f"{date if kind in SORT_DATES else ''}_lastUpdated"
    found["documentation"] = f"_sort goes by {sorts}. vread finds the newest version alone."
    return found


def _parameter(name: str, parameter: SearchParameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "type": str(parameter.kind)}
    if parameter.is_patient:
        found["documentation"] = (
            "Whose the report is to which this belongs. By reference, or by medical record number: "
            f"{name}.identifier or {name}:identifier."
        )
    elif not parameter.standard:
        found["documentation"] = "Not in R4; by the element of that name."
    if parameter.standard and name in EVERY_TYPE:
        found["definition"] = f"{_DEFINITIONS}/Resource-{name.removeprefix('_')}"
    return found


def _reverse_includes(kind: str) -> list[str]:
    """What commonly refers to a type."""
    found = {
        "DiagnosticReport": ["Provenance:target"],
        "Observation": ["DiagnosticReport:result", "Observation:has-member", "Provenance:target"],
        "RiskAssessment": ["Provenance:target"],
        "ImagingStudy": ["Observation:derived-from", "DocumentReference:related"],
        "DocumentReference": ["Provenance:target"],
        "Device": ["Observation:device", "RiskAssessment:performer", "Provenance:agent"],
        "BodyStructure": ["Observation:focus", "Provenance:target"],
        "Media": ["DiagnosticReport:media", "Provenance:target"],
    }
    return found.get(kind, [])
