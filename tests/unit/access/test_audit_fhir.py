"""The audit record as FHIR: read by another library, and in the shapes that IHE BALP asks for."""

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from oncoresponse.access.audit_fhir import PATIENT_DIGEST_SYSTEM, audit_event_resources

EVENT = {
    "time": "2026-11-26T10:00:00.000000+00:00",
    "caller": "https://idp#ada",
    "caller_roles": ["read", "sign"],
    "identified_by": "OIDC token",
    "tenant": "",
    "address": "10.0.0.7",
    "action": "R",
    "operation": "oncoresponse.v1.AssessmentService/GetAssessment",
    "outcome": "OK",
    "correlation_id": "order-4711-abcdef",
    "objects": ["assessments/a"],
    "patients": [{"id": "d" * 64, "id_and_issuer": "e" * 64}],
    "emergency_reason": "",
    "remark": "",
}


def exported(**changed):
    return list(audit_event_resources(7, "f" * 64, {**EVENT, **changed}))


def codes(concepts) -> set[str]:
    return {coding.code for concept in concepts for coding in concept.coding}


@pytest.mark.parametrize(
    ("action", "profile", "client", "server"),
    [
        ("C", "PatientCreate", "110153", "110152"),
        ("R", "PatientRead", "110152", "110153"),
        ("U", "PatientUpdate", "110153", "110152"),
        ("D", "PatientDelete", "110153", "110152"),
        ("E", None, "110153", "110152"),
    ],
)
def test_each_action_has_its_pattern(action, profile, client, server):
    (resource,) = exported(action=action)
    event = AuditEvent.model_validate(resource)
    expected = [f"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{profile}"] if profile else None
    assert (list(event.meta.profile) if event.meta else None) == expected
    assert (event.type.code, event.action, event.outcome) == ("rest", action, "0")
    assert [agent.type.coding[0].code for agent in event.agent] == [client, server, "IRCP"]
    assert [agent.requestor for agent in event.agent] == [False, False, True]
    assert event.agent[0].network.address == "10.0.0.7"
    assert codes(event.agent[2].role) == {"read", "sign"}
    request, patient, data, line = event.entity
    assert (request.type.code, request.what.identifier.value) == ("XrequestId", "order-4711-abcdef")
    assert (patient.type.code, patient.role.code) == ("1", "1")
    assert (patient.what.identifier.system, patient.what.identifier.value) == (PATIENT_DIGEST_SYSTEM, "d" * 64)
    assert (data.role.code, data.what.identifier.value) == ("4", "assessments/a")
    assert line.detail[0].valueString == "7"


def test_one_for_each_patient_and_one_without_any():
    two = exported(patients=[{"id": "a", "id_and_issuer": "b"}, {"id": "c", "id_and_issuer": "d"}])
    assert len({resource["id"] for resource in two}) == 2
    (none,) = exported(patients=[])
    assert none["meta"]["profile"][0].endswith("IHE.BasicAudit.Read")
    assert exported() == exported(), "the same line, the same resource"


@pytest.mark.parametrize(("reason", "outcome"), [("ACCESS_DENIED", "4"), ("INTERNAL", "8")])
def test_what_did_not_succeed_says_why_and_claims_no_pattern_of_success(reason, outcome):
    event = AuditEvent.model_validate(exported(outcome=reason)[0])
    assert (event.outcome, event.outcomeDesc, event.meta) == (outcome, reason, None)


def test_emergency_access_is_a_purpose():
    event = AuditEvent.model_validate(exported(emergency_reason="unconscious in the emergency room")[0])
    assert codes(event.purposeOfEvent) == {"BTG"}
    assert codes(event.agent[2].purposeOfUse) == {"BTG"}


def test_a_caller_that_nobody_knows():
    event = AuditEvent.model_validate(
        exported(caller="unknown", caller_roles=[], address="", objects=[], patients=[])[0]
    )
    assert event.agent[2].role is None
    assert event.agent[0].network is None
