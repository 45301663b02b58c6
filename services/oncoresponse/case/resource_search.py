"""What of FHIR R4 is read and searched: the types of resource, and by what each is found.

One table, which the index, the search and the CapabilityStatement are made of. The parameters are those of the R4
search parameter registry (https://hl7.org/fhir/R4/searchparameter-registry.html), with what it lacks and integrators
ask for: ``status`` and ``code`` of RiskAssessment, and ``patient`` of what is reached by way of a report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class SearchKind(StrEnum):
    """Type of a search parameter (R4 section 3.1.1.4)."""

    TOKEN = "token"  # noqa: S105 - a word of FHIR
    DATE = "date"
    REFERENCE = "reference"


@dataclass(frozen=True)
class SearchParameter:
    """By what resources are found.

    Attributes:
        kind: What its values are.
        paths: Elements, names with dots between; ``[x]`` stands for each of the types of the element.
        is_patient: Whose data it is, by the report that the resource belongs to.
        standard: Whether R4 has it for this type.
    """

    kind: SearchKind
    paths: tuple[str, ...] = ()
    is_patient: bool = False
    standard: bool = True


@dataclass(frozen=True)
class PatientName:
    """Whose a report is.

    Attributes:
        kind: ``reference``, a literal reference; ``identifier``, as the Bundle writes it; ``dicom``, as the images do.
        system: Of the identifier; of ``dicom`` the issuer of the Patient ID.
        value: The reference, or the identifier.
    """

    kind: str
    system: str
    value: str


def _token(*paths: str, standard: bool = True) -> SearchParameter:
    return SearchParameter(SearchKind.TOKEN, paths, standard=standard)


def _date(*paths: str) -> SearchParameter:
    return SearchParameter(SearchKind.DATE, paths)


def _reference(*paths: str) -> SearchParameter:
    return SearchParameter(SearchKind.REFERENCE, paths)


_PATIENT = SearchParameter(SearchKind.REFERENCE, is_patient=True)
_PATIENT_OF_REPORT = SearchParameter(SearchKind.REFERENCE, is_patient=True, standard=False)
_IDENTIFIER = _token("identifier")
_STATUS = _token("status")
_SUBJECT = {"patient": _PATIENT, "subject": _PATIENT}

PARAMETERS: Mapping[str, Mapping[str, SearchParameter]] = MappingProxyType(
    {
        "DiagnosticReport": {
            "identifier": _IDENTIFIER,
            **_SUBJECT,
            "status": _STATUS,
            "code": _token("code"),
            "category": _token("category"),
            "conclusion": _token("conclusionCode"),
            "date": _date("effectiveDateTime", "effectivePeriod"),
            "issued": _date("issued"),
            "result": _reference("result"),
            "media": _reference("media.link"),
            "based-on": _reference("basedOn"),
            "encounter": _reference("encounter"),
            "performer": _reference("performer"),
            "results-interpreter": _reference("resultsInterpreter"),
        },
        "Observation": {
            "identifier": _IDENTIFIER,
            **_SUBJECT,
            "status": _STATUS,
            "code": _token("code"),
            "category": _token("category"),
            "value-concept": _token("valueCodeableConcept"),
            "component-code": _token("component.code"),
            "date": _date("effectiveDateTime", "effectivePeriod", "effectiveInstant"),
            "device": _reference("device"),
            "derived-from": _reference("derivedFrom"),
            "has-member": _reference("hasMember"),
            "focus": _reference("focus"),
            "part-of": _reference("partOf"),
            "based-on": _reference("basedOn"),
            "encounter": _reference("encounter"),
            "performer": _reference("performer"),
        },
        "RiskAssessment": {
            "identifier": _IDENTIFIER,
            **_SUBJECT,
            "status": _token("status", standard=False),
            "code": _token("code", standard=False),
            "method": _token("method"),
            "risk": _token("prediction.qualitativeRisk"),
            "date": _date("occurrenceDateTime", "occurrencePeriod"),
            "condition": _reference("condition"),
            "encounter": _reference("encounter"),
            "performer": _reference("performer"),
        },
        "ImagingStudy": {
            "identifier": _IDENTIFIER,
            **_SUBJECT,
            "status": _STATUS,
            "modality": _token("series.modality"),
            "bodysite": _token("series.bodySite"),
            "series": _token("series.uid"),
            "instance": _token("series.instance.uid"),
            "dicom-class": _token("series.instance.sopClass"),
            "started": _date("started"),
            "basedon": _reference("basedOn"),
            "encounter": _reference("encounter"),
            "endpoint": _reference("endpoint", "series.endpoint"),
            "interpreter": _reference("interpreter"),
            "performer": _reference("series.performer.actor"),
            "referrer": _reference("referrer"),
        },
        "Device": {
            "identifier": _IDENTIFIER,
            "patient": _PATIENT_OF_REPORT,
            "status": _STATUS,
            "type": _token("type"),
            "organization": _reference("owner"),
        },
        "Provenance": {
            "patient": _PATIENT,
            "agent-role": _token("agent.role"),
            "agent-type": _token("agent.type"),
            "recorded": _date("recorded"),
            "when": _date("occurredDateTime", "occurredPeriod"),
            "target": _reference("target"),
            "agent": _reference("agent.who"),
            "entity": _reference("entity.what"),
        },
        "DocumentReference": {
            "identifier": _token("masterIdentifier", "identifier"),
            **_SUBJECT,
            "status": _STATUS,
            "type": _token("type"),
            "category": _token("category"),
            "contenttype": _token("content.attachment.contentType"),
            "format": _token("content.format"),
            "security-label": _token("securityLabel"),
            "date": _date("date"),
            "related": _reference("context.related"),
            "relatesto": _reference("relatesTo.target"),
            "encounter": _reference("context.encounter"),
            "author": _reference("author"),
            "authenticator": _reference("authenticator"),
            "custodian": _reference("custodian"),
        },
        "Binary": {"patient": _PATIENT_OF_REPORT},
        "Media": {
            "identifier": _IDENTIFIER,
            **_SUBJECT,
            "status": _STATUS,
            "type": _token("type"),
            "modality": _token("modality"),
            "created": _date("createdDateTime", "createdPeriod"),
            "based-on": _reference("basedOn"),
            "device": _reference("device"),
            "encounter": _reference("encounter"),
            "operator": _reference("operator"),
        },
        "BodyStructure": {
            "identifier": _IDENTIFIER,
            "patient": _PATIENT,
            "location": _token("location"),
            "morphology": _token("morphology"),
        },
        "ServiceRequest": {
            "identifier": _IDENTIFIER,
            **_SUBJECT,
            "status": _STATUS,
            "intent": _token("intent"),
            "code": _token("code"),
            "authored": _date("authoredOn"),
            "encounter": _reference("encounter"),
            "performer": _reference("performer"),
            "requester": _reference("requester"),
        },
        "Patient": {"identifier": _IDENTIFIER},
        "Practitioner": {"identifier": _IDENTIFIER},
        "PractitionerRole": {
            "identifier": _IDENTIFIER,
            "practitioner": _reference("practitioner"),
            "organization": _reference("organization"),
        },
        "Organization": {
            "identifier": _IDENTIFIER,
            "active": _token("active"),
            "type": _token("type"),
            "partof": _reference("partOf"),
            "endpoint": _reference("endpoint"),
        },
        "Endpoint": {
            "identifier": _IDENTIFIER,
            "status": _STATUS,
            "connection-type": _token("connectionType"),
            "organization": _reference("managingOrganization"),
        },
    }
)
"""By type of resource and name of the parameter. What is not here, is not served."""

EVERY_TYPE: Mapping[str, SearchParameter] = MappingProxyType(
    {
        "_id": SearchParameter(SearchKind.TOKEN),
        "_lastUpdated": SearchParameter(SearchKind.DATE),
        "_tag": _token("meta.tag"),
        "_security": _token("meta.security"),
        "_profile": _token("meta.profile"),
    }
)
"""Those of all types."""

SHARED_TYPES = frozenset({"Device", "Organization", "Endpoint", "Practitioner", "PractitionerRole"})
"""What describes no patient, and is one resource however many reports refer to it, unless it names a patient."""

SORT_DATES: Mapping[str, str] = MappingProxyType(
    {
        "DiagnosticReport": "date",
        "Observation": "date",
        "RiskAssessment": "date",
        "ImagingStudy": "started",
        "Provenance": "recorded",
        "DocumentReference": "date",
        "Media": "created",
        "ServiceRequest": "authored",
    }
)
"""The date parameter that ``_sort`` goes by, beside ``_lastUpdated``."""


def parameter_of(resource_type: str, name: str) -> SearchParameter | None:
    """A parameter of a type by its name; ``None`` where there is none."""
    return EVERY_TYPE.get(name) or PARAMETERS[resource_type].get(name)
