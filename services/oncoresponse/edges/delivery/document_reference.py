"""The report as a FHIR R4 DocumentReference with its PDF: made of the Bundle, without network.

For an EHR that takes documents and no transactions. Each version is a document of its own, found by an identifier that
derives from assessment and version, so that a repeat creates nothing.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Sequence

from oncoresponse.edges.delivery.http_exchange import Json

_NAMESPACE = uuid.UUID("0d3bb2f3-0a4d-5c53-9a8f-3f0f3a4d7b8e")
URI = "urn:ietf:rfc:3986"
_LOINC = "http://loinc.org"
_TYPE = {"system": _LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}
_CATEGORY = {
    "system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
    "code": "clinical-note",
    "display": "Clinical Note",
}
# R4 ValueSet composition-status has no others of those that a report has.
_DOC_STATUSES = ("preliminary", "final", "amended", "entered-in-error")
_AUTHORS = ("Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson")
_AUTHENTICATORS = ("Practitioner", "PractitionerRole", "Organization")
_LONGEST_DESCRIPTION = 140


def document_identifier(assessment: str, version: int) -> Json:
    """Identifier of the document of one version.

    Args:
        assessment: ``assessments/ID``.
        version: Of its report.
    """
    return {"system": URI, "value": uuid.uuid5(_NAMESPACE, f"{assessment}\n{version}\ndocument").urn}


def report_of(bundle: Json) -> Json:
    """The DiagnosticReport of a Bundle."""
    return next(
        (
            entry["resource"]
            for entry in bundle["entry"]
            if entry.get("resource", {}).get("resourceType") == "DiagnosticReport"
        ),
        {},
    )


def document_reference(bundle: Json, pdf: bytes, identifier: Json, subject: Json, replaced: Sequence[str] = ()) -> Json:
    """Make it. The same arguments give the same resource.

    Args:
        bundle: Of the version of the report.
        pdf: Its page.
        identifier: Of the document.
        subject: Reference to the patient.
        replaced: ``DocumentReference/ID`` of versions before.
    """
    report = report_of(bundle)
    status = report.get("status", "preliminary")
    first_line = str(report.get("conclusion", "")).partition("\n")[0]
    security = report.get("meta", {}).get("security")
    context: Json = {}
    if encounter := _standing(report.get("encounter")):
        context["encounter"] = [encounter]
    if effective := report.get("effectiveDateTime"):
        context["period"] = {"start": effective}
    if related := [found for each in report.get("basedOn", []) if (found := _standing(each))]:
        context["related"] = related
    made: Json = {
        "resourceType": "DocumentReference",
        **({"meta": {"security": security}} if security else {}),
        "masterIdentifier": identifier,
        "identifier": [identifier],
        "status": "entered-in-error" if status == "entered-in-error" else "current",
        "docStatus": status if status in _DOC_STATUSES else "preliminary",
        "type": {"coding": [_TYPE], "text": "Diagnostic imaging study"},
        "category": [{"coding": [_CATEGORY]}],
        "subject": subject,
        "description": first_line[:_LONGEST_DESCRIPTION],
        "content": [{"attachment": pdf_attachment(pdf, str(report.get("issued", "")))}],
        "context": context,
    }
    if issued := report.get("issued"):
        made["date"] = issued
    signers = [found for each in report.get("resultsInterpreter", []) if (found := _standing(each, _AUTHORS))]
    makers = [found for each in report.get("performer", []) if (found := _standing(each, _AUTHORS))]
    if authors := [*makers, *signers]:
        made["author"] = authors
    if signers and signers[0].get("type") in _AUTHENTICATORS:
        made["authenticator"] = signers[0]
    if replaced:
        made["relatesTo"] = [{"code": "replaces", "target": {"reference": each}} for each in replaced]
    return {name: value for name, value in made.items() if value not in ("", {}, [])}


def pdf_attachment(pdf: bytes, issued: str = "") -> Json:
    """R4 Attachment: ``hash`` is SHA-1 in base64."""
    made: Json = {
        "contentType": "application/pdf",
        "data": base64.b64encode(pdf).decode(),
        "size": len(pdf),
        "hash": base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode(),
        "title": "OncoResponse report, research use only",
    }
    return {**made, "creation": issued} if issued else made


def superseded(document: Json) -> Json:
    """A document that a newer one replaces."""
    return {**document, "status": "superseded"}


def withdrawn(document: Json, pdf: bytes) -> Json:
    """A document whose report was withdrawn: it shows the page that says so, and no finding.

    Args:
        document: As the server has it.
        pdf: Page of the withdrawn version.
    """
    kept = {name: value for name, value in document.items() if name not in ("description", "text")}
    return {
        **kept,
        "status": "entered-in-error",
        "docStatus": "entered-in-error",
        "description": "Withdrawn report",
        "content": [{"attachment": pdf_attachment(pdf)}],
    }


def _standing(reference: Json | None, kinds: Sequence[str] = ()) -> Json | None:
    """A reference that means something outside the Bundle; ``None`` for one that does not, or is of another kind."""
    if reference is None or str(reference.get("reference", "")).startswith(("urn:", "#")):
        return None
    kind = reference.get("type") or str(reference.get("reference", "")).partition("/")[0]
    return reference if not kinds or kind in kinds else None
