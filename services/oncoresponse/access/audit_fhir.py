"""Lines of the audit record as FHIR R4 AuditEvent, in the shapes of IHE BALP 1.1.3.

https://profiles.ihe.net/ITI/BALP/: the patterns Create, Read, Update and Delete, each with or without a patient; of
several patients one AuditEvent each. What was done are calls of gRPC, for which BALP has no word of its own: they stand
as RESTful operations of the same kind, with the full name of the call. The patient is named by a keyed digest, never by
the Patient ID, so that an export may leave the house.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

PATIENT_DIGEST_SYSTEM = "urn:oncoresponse:audit-patient-digest"
"""System of the identifier of a patient: HMAC-SHA-256 under the key of the installation."""

_NAMESPACE = uuid.UUID("4b5c8f5e-6e52-5a5a-9b0e-3d0c2f4a7b61")
_PROFILES = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_SOURCE, _DESTINATION = ("110153", "Source Role ID"), ("110152", "Destination Role ID")
_INTERACTIONS = {
    "C": ("create", "Create"),
    "R": ("read", "Read"),
    "U": ("update", "Update"),
    "D": ("delete", "Delete"),
    "E": ("operation", ""),
}
# https://hl7.org/fhir/R4/valueset-audit-event-outcome.html: 4 is like HTTP 400, 8 like HTTP 500.
_SUCCESS, _REFUSED, _FAILED = "0", "4", "8"
_OWN_FAILURES = {
    "INTERNAL",
    "AUDIT_UNAVAILABLE",
    "PEER_UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "DISK_FULL",
    "OUT_OF_MEMORY",
    "CHECKSUM_MISMATCH",
}


def audit_event_resources(sequence: int, own_hash: str, event: Mapping[str, Any]) -> Iterator[Json]:
    """One AuditEvent for each patient of a line, or one without patient.

    Args:
        sequence: Number of the line.
        own_hash: Its hash; identifiers follow from it, so that an export that is repeated repeats them.
        event: The line.

    Yields:
        Resources as plain JSON.
    """
    patients = [str(patient["id"]) for patient in event["patients"]] or [""]
    for number, patient in enumerate(patients):
        yield _resource(sequence, str(uuid.uuid5(_NAMESPACE, f"{own_hash}/{number}")), event, patient)


def _resource(sequence: int, identifier: str, event: Mapping[str, Any], patient: str) -> Json:
    code, profile = _INTERACTIONS[event["action"]]
    outcome = str(event["outcome"])
    resource: Json = {
        "resourceType": "AuditEvent",
        "id": identifier,
        "type": _coding(f"{_TERMINOLOGY}audit-event-type", "rest", "RESTful Operation"),
        "subtype": [
            _coding("http://hl7.org/fhir/restful-interaction", code, code),
            _coding("urn:oncoresponse:operation", str(event["operation"]), ""),
        ],
        "action": event["action"],
        "recorded": event["time"],
        "outcome": _SUCCESS if outcome == "OK" else _FAILED if outcome in _OWN_FAILURES else _REFUSED,
        "agent": _agents(event),
        "source": {
            "observer": {"display": "OncoResponse"},
            "type": [_coding(f"{_TERMINOLOGY}security-source-type", "4", "Application Server")],
        },
        "entity": [*_entities(sequence, event, patient)],
    }
    if profile and outcome == "OK":
        resource["meta"] = {"profile": [f"{_PROFILES}{'Patient' if patient else ''}{profile}"]}
    if outcome != "OK":
        resource["outcomeDesc"] = outcome
    if event["emergency_reason"]:
        resource["purposeOfEvent"] = [_emergency()]
    return resource


def _agents(event: Mapping[str, Any]) -> list[Json]:
    """The application that called, this service, and who called: data flow from the service when they are read."""
    client, server = (_DESTINATION, _SOURCE) if event["action"] == "R" else (_SOURCE, _DESTINATION)
    who = {"identifier": {"system": "urn:oncoresponse:caller", "value": event["caller"]}}
    network = {"network": {"address": event["address"], "type": "2"}} if event["address"] else {}
    user: Json = {
        "type": _concept(f"{_TERMINOLOGY}v3-ParticipationType", "IRCP", "information recipient"),
        "who": who,
        "requestor": True,
        "role": [_concept("urn:oncoresponse:access-role", role, "") for role in event["caller_roles"]],
    }
    if not user["role"]:
        del user["role"]
    if event["emergency_reason"]:
        user["purposeOfUse"] = [_emergency()]
    return [
        {"type": _concept(_DICOM, *client), "who": who, "requestor": False, **network},
        {"type": _concept(_DICOM, *server), "who": {"display": "OncoResponse"}, "requestor": False},
        user,
    ]


def _entities(sequence: int, event: Mapping[str, Any], patient: str) -> Iterator[Json]:
    yield {
        "what": {"identifier": {"value": event["correlation_id"]}},
        "type": _coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId", ""),
    }
    if patient:
        yield {
            "what": {"identifier": {"system": PATIENT_DIGEST_SYSTEM, "value": patient}},
            "type": _coding(f"{_TERMINOLOGY}audit-entity-type", "1", "Person"),
            "role": _coding(f"{_TERMINOLOGY}object-role", "1", "Patient"),
        }
    for name in event["objects"]:
        yield {
            "what": {"identifier": {"system": "urn:oncoresponse:resource", "value": name}},
            "type": _coding(f"{_TERMINOLOGY}audit-entity-type", "2", "System Object"),
            "role": _coding(f"{_TERMINOLOGY}object-role", "4", "Domain Resource"),
        }
    details = {"sequence": str(sequence), "tenant": event["tenant"], "emergency reason": event["emergency_reason"]}
    details["remark"] = event["remark"]
    yield {
        "what": {"display": "line of the audit record"},
        "type": _coding(f"{_TERMINOLOGY}audit-entity-type", "2", "System Object"),
        "role": _coding(f"{_TERMINOLOGY}object-role", "13", "Security Resource"),
        "detail": [{"type": name, "valueString": value} for name, value in details.items() if value],
    }


def _emergency() -> Json:
    return _concept(f"{_TERMINOLOGY}v3-ActReason", "BTG", "break the glass")


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [_coding(system, code, display)]}


def _coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, **({"display": display} if display else {})}
