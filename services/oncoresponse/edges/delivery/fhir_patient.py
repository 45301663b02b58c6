"""Which patient of a FHIR server a report is about: found by identifier, never by name, and never created."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from oncoresponse.edges.delivery.fhir_client import FhirClient
from oncoresponse.edges.delivery.http_exchange import RESOURCE_ID, Json, no_evidence, require_success
from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.errors import PatientAmbiguousAtDestination, PatientNotFoundAtDestination
from oncoresponse.rpc.ehr_settings import FhirDestination

_SEARCH = "its search for a patient"
_REPLACED_BY = "replaced-by"  # R4 ValueSet link-type


def subject_of(bundle: Json) -> Json:
    """The subject of the report: literal, or by identifier; empty where there is none.

    A Patient that the Bundle brings is looked for by its first identifier that has a system.
    """
    resources = {entry.get("fullUrl", ""): entry["resource"] for entry in bundle["entry"] if "resource" in entry}
    report: Json = next((each for each in resources.values() if each["resourceType"] == "DiagnosticReport"), {})
    subject: Json = report.get("subject", {})
    brought = resources.get(subject.get("reference", ""), {})
    if brought.get("resourceType") == "Patient":
        known = [each for each in brought.get("identifier", []) if each.get("value")]
        known.sort(key=lambda each: not each.get("system"))
        return {"type": "Patient", "identifier": known[0]} if known else {}
    return subject


def find_patient(client: FhirClient, subject: Json, destination: FhirDestination) -> str:
    """``Patient/ID`` of the one patient that a subject names.

    Where the subject has a literal reference and an identifier, both have to lead to the same patient. A server that
    does not know the search parameter may answer with everybody, so each match is looked at.

    Args:
        client: Of the destination.
        subject: Of :func:`subject_of`.
        destination: Says the system of identifiers for which the report names none.

    Raises:
        AttemptEnded: There is none, or there are several: the delivery is held. Or the server does not answer.
    """
    literal = _literal(subject, destination)
    identifier = subject.get("identifier", {})
    value = identifier.get("value", "")
    issuer = identifier.get("assigner", {}).get("display", "")
    system = identifier.get("system") or system_of_issuer(issuer, destination)
    if literal and not (value and system):
        return _read(client, literal)
    if not value:
        raise _not_found("The report names no patient identifier.")
    if not system:
        raise _not_found(
            "The report names a patient identifier without a system. Give the system in the settings: patient_systems "
            "for the Issuer of Patient ID (0010,0021) that the study names, patient_system where it names none."
        )
    found = _found_by_identifier(client, system, value)
    if not found:
        raise _not_found("The destination has no patient of this identifier. Register the patient there.")
    if len(found) > 1:
        raise AttemptEnded(
            PatientAmbiguousAtDestination(
                "The destination has several patients of this identifier. Merge them there, then resend."
            ),
            hold=True,
        )
    (patient,) = found
    if literal and literal != patient:
        raise _not_found("The patient that the request named is another than the one with the identifier of the study.")
    return patient


def system_of_issuer(issuer: str, destination: FhirDestination) -> str:
    """System of the identifiers of an issuer; that of the settings without one only for identifiers without one.

    The same number of another issuer is another patient.
    """
    return destination.patient_systems.get(issuer, "") if issuer else destination.patient_system


def with_patient(resource: Json, bundle_subject: Json, patient: str) -> Json:
    """A Bundle in which every reference to the patient is that of the server; a Patient in it is left out.

    Args:
        resource: The Bundle.
        bundle_subject: Subject of the report, as it stands in the Bundle.
        patient: ``Patient/ID``.
    """
    known = {bundle_subject.get("reference", "")} - {""}
    known |= {
        entry.get("fullUrl", "")
        for entry in resource["entry"]
        if entry.get("resource", {}).get("resourceType") == "Patient"
    }
    entries = [entry for entry in resource["entry"] if entry.get("resource", {}).get("resourceType") != "Patient"]
    for reference in _references(entries):
        named = reference.get("reference")
        if named in known or (named is None and reference.get("type") == "Patient" and "identifier" in reference):
            reference["reference"] = patient
    return {**resource, "entry": entries}


def _references(value: object) -> Iterator[Json]:
    """Every element that may be a Reference."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str) or value.get("type") == "Patient":
            yield value
        for item in list(value.values()):
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _literal(subject: Json, destination: FhirDestination) -> str:
    """``Patient/ID``; empty where the subject has no literal reference to this server."""
    reference = subject.get("reference", "")
    base = destination.url.rstrip("/") + "/"
    reference = reference.removeprefix(base)
    if not reference or reference.startswith("urn:"):
        return ""
    kind, _, identity = reference.partition("/")
    if kind != "Patient" or not RESOURCE_ID.fullmatch(identity):
        if urlsplit(reference).scheme:
            raise _not_found("The request named a patient of another server than this destination.")
        raise _not_found("The request named no patient of a FHIR server.")
    return str(reference)


def _read(client: FhirClient, reference: str) -> str:
    answer = client.call("GET", reference)
    if answer.status in (404, 410):
        raise _not_found("The destination has no patient of the reference that the request named.")
    require_success(answer, "a read of the patient")
    found = answer.document
    if found.get("resourceType") != "Patient" or f"Patient/{found.get('id')}" != reference:
        raise no_evidence("a read of the patient")
    if _is_replaced(found):
        raise _not_found("The patient that the request named was merged into another at the destination.")
    return reference


def _found_by_identifier(client: FhirClient, system: str, value: str) -> set[str]:
    """``Patient/ID`` of those that hold it, without those that were merged into another."""
    token = f"{_escaped(system)}|{_escaped(value)}"
    answer = client.call(
        "GET", "Patient", parameters={"identifier": token, "_count": "20"}, headers={"Prefer": "handling=strict"}
    )
    require_success(answer, _SEARCH)
    document = answer.document
    entries = document.get("entry", [])
    if document.get("resourceType") != "Bundle" or document.get("type") != "searchset" or not isinstance(entries, list):
        raise no_evidence(_SEARCH)
    found = set()
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or resource.get("resourceType") != "Patient":
            continue
        if not RESOURCE_ID.fullmatch(str(resource.get("id", ""))):
            raise no_evidence(_SEARCH)
        if _holds(resource, system, value) and not _is_replaced(resource):
            found.add(f"Patient/{resource['id']}")
    has_more = any(isinstance(each, dict) and each.get("relation") == "next" for each in _list(document.get("link")))
    if has_more:
        # Twenty were asked for: more are on pages that are not looked at, so nobody knows that it is one.
        raise AttemptEnded(
            PatientAmbiguousAtDestination(
                "The destination finds more patients by this identifier than one page holds. Check that it searches "
                "by identifier, then resend."
            ),
            hold=True,
        )
    return found


def _escaped(text: str) -> str:
    r"""R4 Search, "Escaping Search Parameters": ``\``, ``,``, ``$`` and ``|`` of a value."""
    return re.sub(r"([\\,$|])", r"\\\1", text)


def _holds(patient: Json, system: str, value: str) -> bool:
    return any(
        isinstance(each, dict) and each.get("system") == system and each.get("value") == value
        for each in _list(patient.get("identifier"))
    )


def _is_replaced(patient: Json) -> bool:
    return any(isinstance(each, dict) and each.get("type") == _REPLACED_BY for each in _list(patient.get("link")))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _not_found(message: str) -> AttemptEnded:
    return AttemptEnded(
        PatientNotFoundAtDestination(f"{message} Nothing was sent; resend when that is mended."), hold=True
    )
