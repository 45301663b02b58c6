"""Identifiers that derive from the assessment, so that sending a report again creates nothing new."""

from __future__ import annotations

from urllib.parse import quote

from oncoresponse.case.identifiers import derived_uuid
from oncoresponse.reporting.code_systems import DICOM_UID, ENTRY_TAG, IDENTIFIER_TYPE, URI, Json
from oncoresponse.reporting.report_content import ReportContext


def full_url(*parts: str) -> str:
    """``Bundle.entry.fullUrl`` of the resource in that role, which is no business identifier.

    A server replaces the fullUrl of an entry by the resource's own address in every element that may hold a URI (R4
    RESTful API, Transaction Processing Rules), and some do it wherever the text stands. An identifier equal to a
    fullUrl would not survive that, and the same Bundle, sent again, would not find its resources.
    """
    return derived_uuid("fullUrl", *parts).urn


def identifier(*parts: str) -> Json:
    """Business identifier of the resource in that role: a UUID as a URI."""
    return {"system": URI, "value": derived_uuid(*parts).urn}


def dicom_identifier(uid: str) -> Json:
    """A DICOM UID as FHIR writes it (R4 ImagingStudy, section 5.5.4)."""
    return {"system": DICOM_UID, "value": f"urn:oid:{uid}"}


def identifier_query(element: Json) -> str:
    """``ifNoneExist`` by business identifier, percent-encoded as in a search URL."""
    return f"identifier={quote(element['system'], safe=':/.')}|{quote(element['value'], safe=':/.-')}"


def tag_query(element: Json) -> str:
    """``ifNoneExist`` by tag, for Provenance, which has no identifier in R4."""
    return f"_tag={quote(element['system'], safe=':/.')}|{quote(element['code'], safe=':/.-')}"


def entry_tag(*parts: str) -> Json:
    """Tag that makes a Provenance findable."""
    return {"system": ENTRY_TAG, "code": str(derived_uuid(*parts))}


def subject(context: ReportContext) -> Json:
    """Reference to the patient.

    With an EHR reference the reference is literal. Without one it is logical (R4 ``Reference.identifier``): the DICOM
    Patient ID, typed MR, with its issuer where the study names one. No Patient is ever created or changed, because
    a Patient ID without a known issuer does not say which patient of the EHR it is.
    """
    if context.patient_reference:
        return {"reference": context.patient_reference, "type": "Patient"}
    patient = context.study.patient
    if not patient.patient_id:
        return {"type": "Patient", "display": "Patient not identified in the images"}
    element: Json = {
        "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "MR", "display": "Medical record number"}]},
        "value": patient.patient_id,
    }
    if system := context.site.system_of_patient_id(patient.issuer_of_patient_id):
        element["system"] = system
    if patient.issuer_of_patient_id:
        element["assigner"] = {"display": patient.issuer_of_patient_id}
    return {"type": "Patient", "identifier": element}


def order(context: ReportContext) -> list[Json]:
    """``basedOn``: the order in the EHR, or its accession number, or nothing."""
    if context.service_request_reference:
        return [{"reference": context.service_request_reference, "type": "ServiceRequest"}]
    if not context.study.accession_number:
        return []
    accession: Json = {
        "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "ACSN", "display": "Accession ID"}]},
        "value": context.study.accession_number,
    }
    if context.site.accession_system:
        accession["system"] = context.site.accession_system
    return [{"type": "ServiceRequest", "identifier": accession}]


def encounter(context: ReportContext) -> Json | None:
    """Reference to the encounter: that of the request, or the Admission ID of the study (0038,0010); ``None`` for none.

    The Admission ID is a visit number (v2-0203 VN) and, like the accession number, a logical reference: whoever
    receives it knows which Encounter it is.
    """
    if context.encounter_reference:
        return {"reference": context.encounter_reference, "type": "Encounter"}
    if not context.study.admission_id:
        return None
    visit: Json = {
        "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "VN", "display": "Visit number"}]},
        "value": context.study.admission_id,
    }
    if context.site.visit_system:
        visit["system"] = context.site.visit_system
    return {"type": "Encounter", "identifier": visit}
