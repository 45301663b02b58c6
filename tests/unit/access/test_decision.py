"""The one table of access, cell by cell, and what stands around it."""

import importlib
from itertools import product
from pathlib import Path

import pytest
from oncoresponse.access.audit_event import AuditAction
from oncoresponse.access.authentication import Authentication
from oncoresponse.access.call import Call, accepted_correlation_id, answering, current_call, current_correlation_id
from oncoresponse.access.caller import ANONYMOUS, OWN_SERVICES, Caller, Credentials, Identification
from oncoresponse.access.decision import require_allowed
from oncoresponse.access.roles import USER_ROLES, AccessRole
from oncoresponse.access.rpc_rules import RPC_RULES
from oncoresponse.errors import AccessDenied, NotAuthenticated

WORDS = ("create", "read", "update", "delete", "execute")
PROTOS = Path(__file__).parents[3] / "protos"


def caller(*roles: AccessRole, **more) -> Caller:
    return Caller("somebody", frozenset(roles), Identification.LOCAL_TOKEN, **more)


def every_rpc() -> set[str]:
    """Of the services that the protos describe, found in the files and not in the table."""
    found = set()
    for path in PROTOS.rglob("*.proto"):
        module = importlib.import_module(".".join(path.relative_to(PROTOS).with_suffix("").parts) + "_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            found |= {f"{service.full_name}/{method.name}" for method in service.methods}
    return found


def test_every_rpc_has_a_rule_and_every_rule_an_rpc():
    assert every_rpc() == set(RPC_RULES)
    assert len(RPC_RULES) > 20


@pytest.mark.parametrize(("operation", "role"), list(product(sorted(RPC_RULES), AccessRole)))
def test_cell(operation, role):
    if role in RPC_RULES[operation].roles:
        assert require_allowed(caller(role), operation) is RPC_RULES[operation]
    else:
        with pytest.raises(AccessDenied) as caught:
            require_allowed(caller(role), operation)
        assert set(caught.value.metadata["needed"].split(" or ")) == {str(role) for role in RPC_RULES[operation].roles}


@pytest.mark.parametrize("operation", sorted(RPC_RULES))
def test_nobody_without_a_role_and_no_user_in_a_stage(operation):
    with pytest.raises(AccessDenied):
        require_allowed(caller(), operation)
    if ".stages." in operation:
        assert RPC_RULES[operation].roles == {AccessRole.STAGE}
        with pytest.raises(AccessDenied):
            require_allowed(caller(*USER_ROLES), operation)


def test_an_operation_without_a_rule_is_for_nobody():
    with pytest.raises(AccessDenied):
        require_allowed(caller(*AccessRole), "oncoresponse.v1.StudyService/Forgotten")


def test_emergency_access_is_for_reading_patient_data_and_for_who_may():
    doctor = caller(AccessRole.SIGN, may_break_glass=True)
    reason = "unconscious in the emergency room"
    read = "oncoresponse.v1.AssessmentService/GetAssessment"
    with pytest.raises(AccessDenied):
        require_allowed(doctor, read)
    require_allowed(doctor, read, reason)
    with pytest.raises(AccessDenied):
        require_allowed(caller(AccessRole.READ), read, reason)
    allowed = {operation for operation, rule in RPC_RULES.items() if rule.allows_emergency_access}
    assert allowed
    for operation in RPC_RULES.keys() - allowed:
        with pytest.raises(AccessDenied):
            require_allowed(doctor, operation, reason)
    assert {RPC_RULES[operation].action for operation in allowed} == {AuditAction.READ}


def test_a_caller_of_one_tenant_administers_nothing():
    delete = "oncoresponse.v1.StudyService/DeleteStudy"
    require_allowed(caller(AccessRole.ADMINISTER), delete)
    with pytest.raises(AccessDenied):
        require_allowed(caller(AccessRole.ADMINISTER, tenant="north"), delete)


def test_what_of_others_a_call_may_see():
    def seen(by: Caller, reason: str = "") -> str | None:
        return Call(by, "operation", "correlation-id", emergency_reason=reason).tenant

    assert seen(caller(AccessRole.READ)) == ""
    assert seen(caller(AccessRole.READ, tenant="north")) == "north"
    assert seen(caller(AccessRole.READ, tenant="north"), "a reason that was given") is None
    assert seen(OWN_SERVICES) is None


def test_anonymous_is_for_the_loopback_address_and_where_it_is_allowed():
    local, far = Credentials(loopback=True), Credentials()
    assert Authentication([], ANONYMOUS).caller(local) is ANONYMOUS
    for authentication, credentials in (
        (Authentication([], ANONYMOUS), far),
        (Authentication([]), local),
        (Authentication([], ANONYMOUS), Credentials("a token that nobody knows", loopback=True)),
    ):
        with pytest.raises(NotAuthenticated):
            authentication.caller(credentials)
    assert AccessRole.STAGE not in ANONYMOUS.roles
    assert not ANONYMOUS.is_person_or_system


def test_what_a_call_concerns_is_kept_once_and_in_order():
    call = Call(ANONYMOUS, "operation", "correlation-id")
    with answering(call):
        assert current_correlation_id() == "correlation-id"
        current_call().concerns("studies/b", "", "studies/a")
        current_call().concerns("studies/b")
    assert call.objects == ("studies/b", "studies/a")
    with pytest.raises(LookupError):
        current_call()
    assert current_correlation_id() == ""


@pytest.mark.parametrize("asked", ["", "short", "x" * 65, "with space", "line\nbreak", "-begins-with-dash"])
def test_a_correlation_id_that_does_not_fit_into_a_line_is_replaced(asked):
    first, second = accepted_correlation_id(asked), accepted_correlation_id(asked)
    assert asked not in (first, second)
    assert first != second
    assert accepted_correlation_id("0af7651916cd43dd8448eb211c80319c") == "0af7651916cd43dd8448eb211c80319c"


def test_the_documentation_has_this_table():
    """A line for each RPC, with the same roles and the same word for the audit record."""
    page = (PROTOS.parent / "docs" / "security.md").read_text(encoding="utf-8")
    lines = page.split("rpc_rules.py: begin -->\n")[1].split("<!--")[0].strip().splitlines()
    words = {AuditAction(letter): word for letter, word in zip("CRUDE", WORDS, strict=True)}
    written = {}
    for line in lines[2:]:
        name, *cells, word = (cell.strip() for cell in line.strip("|").split("|"))
        roles = {role for role, cell in zip(AccessRole, cells, strict=True) if cell == "yes"}
        package = "oncoresponse." if name.startswith("`stages.") else "oncoresponse.v1."
        operation = "/".join(f"{package}{name.strip('`')}".rsplit(".", 1))
        written[operation] = (roles, word)
    assert written == {name: (set(rule.roles), words[rule.action]) for name, rule in RPC_RULES.items()}
