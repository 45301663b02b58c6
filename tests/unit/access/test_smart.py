"""Scopes of SMART App Launch: what they allow, and the one patient whom a token is for."""

from __future__ import annotations

import pytest
from oncoresponse.access.caller import Caller, Identification
from oncoresponse.access.decision import OF_ONE_PATIENT, require_allowed
from oncoresponse.access.roles import AccessRole
from oncoresponse.access.rpc_rules import RPC_RULES
from oncoresponse.access.smart import patient_names, smart_access
from oncoresponse.case.resource_search import PatientName
from oncoresponse.errors import AccessDenied

ADA = PatientName("reference", "", "Patient/ada")


@pytest.mark.parametrize(
    ("scopes", "read", "search"),
    [
        ("user/*.rs", {"*"}, {"*"}),
        ("user/*.read", {"*"}, {"*"}),
        ("user/*.*", {"*"}, {"*"}),
        ("system/Observation.cruds", {"Observation"}, {"Observation"}),
        ("user/Observation.r system/Device.s", {"Observation"}, {"Device"}),
        ("patient/Observation.rs openid launch/patient", {"Observation"}, {"Observation"}),
        ("user/*.write", set(), set()),
        ("user/*.cud", set(), set()),
        ("user/Observation.rs?category=imaging", set(), set()),
    ],
)
def test_scopes_about_resources(scopes, read, search):
    found = smart_access(scopes.split(), [ADA])
    assert (found.read, found.search) == (read, search)
    assert found.patient == ((ADA,) if "patient/" in scopes.split()[0] else None)
    for kind in ("Observation", "Device"):
        for wanted, allowed in ((False, read), (True, search)):
            if {"*", kind} & allowed:
                found.require(kind, search=wanted)
            else:
                with pytest.raises(AccessDenied):
                    found.require(kind, search=wanted)


@pytest.mark.parametrize(
    "scopes",
    ["", "openid profile launch/patient", "user/*", "user/*.sr", "USER/*.rs", "user/*.rs/x", "user/observation.rs"],
)
def test_other_scopes_say_nothing_about_resources(scopes):
    assert smart_access(scopes.split(), [ADA]) is None


def test_names_of_the_patient_of_a_launch():
    assert patient_names("77", None, "") == [PatientName("reference", "", "Patient/77")]
    assert patient_names("Patient/77", None, "") == [PatientName("reference", "", "Patient/77")]
    assert patient_names(None, "12", "North") == [PatientName("dicom", "North", "12")]
    assert patient_names(None, "urn:mrn|12", "North") == [PatientName("identifier", "urn:mrn", "12")]
    for nothing in ("", ["77"], {"id": "77"}, 77, True, "x" * 501, None):
        assert patient_names(nothing, nothing, "") == []
    assert patient_names(None, "urn:mrn|", "") == []


def caller(scopes: str, *patient: PatientName) -> Caller:
    roles = frozenset(AccessRole)
    return Caller("u", roles, Identification.OIDC, may_break_glass=True, smart=smart_access(scopes.split(), patient))


@pytest.mark.parametrize("operation", sorted(RPC_RULES))
def test_a_token_for_one_patient_makes_only_calls_that_are_limited_to_one(operation):
    for scopes in ("patient/*.rs", "user/*.rs patient/Observation.r system/*.rs", "patient/*.rs?x=1"):
        if operation in OF_ONE_PATIENT:
            require_allowed(caller(scopes, ADA), operation)
        else:
            with pytest.raises(AccessDenied):
                require_allowed(caller(scopes, ADA), operation)
        with pytest.raises(AccessDenied):
            require_allowed(caller(scopes), operation)
        with pytest.raises(AccessDenied):
            require_allowed(caller(scopes, ADA), operation, "a reason that is long enough")
    require_allowed(caller("user/*.rs", ADA), operation)
