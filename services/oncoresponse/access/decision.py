"""Whether a caller may make a call: decided here and nowhere else, from the table of rules."""

from __future__ import annotations

from collections.abc import Mapping

from oncoresponse.access.caller import Caller
from oncoresponse.access.roles import AccessRole
from oncoresponse.access.rpc_rules import RPC_RULES, Rule
from oncoresponse.errors import AccessDenied

OF_ONE_PATIENT = frozenset(
    {
        "oncoresponse.v1.AccessService/GetCaller",
        "oncoresponse.v1.ResourceService/ReadResource",
        "oncoresponse.v1.ResourceService/SearchResources",
    }
)
"""What a caller may call whose token is for one patient: these show nothing of another."""


def require_allowed(
    caller: Caller, operation: str, emergency_reason: str = "", rules: Mapping[str, Rule] = RPC_RULES
) -> Rule:
    """The rule of the operation, when the caller may do it.

    Args:
        caller: Who calls.
        operation: Full name of the RPC.
        emergency_reason: Reason for emergency access; empty for a usual call.
        rules: The table.

    Raises:
        AccessDenied: The caller may not, or the operation has no rule.
    """
    rule = rules.get(operation)
    if rule is None:
        raise AccessDenied("Nobody may call this: it has no rule of access. Report that as a defect.")
    if caller.smart is not None and caller.smart.patient is not None:
        if operation not in OF_ONE_PATIENT or emergency_reason:
            raise AccessDenied(
                "The token is for one patient (scope patient/...), and this is not limited to one. Read over FHIR, or "
                "sign in without such a scope."
            )
        if not caller.smart.patient:
            raise AccessDenied(
                "The token is for one patient (scope patient/...) and does not say for whom. Launch with a patient; "
                "your administrator looks at oidc.patient_claim."
            )
    if emergency_reason:
        if not caller.may_break_glass:
            raise AccessDenied("This caller has no emergency access. Call without a reason for it, or ask for it.")
        if not rule.allows_emergency_access:
            raise AccessDenied("Emergency access is for reading patient data. Make this call without a reason for it.")
        return rule
    # Both are of the whole installation, and a caller of one tenant sees nothing of the others.
    roles = caller.roles - {AccessRole.ADMINISTER, AccessRole.METRICS} if caller.tenant else caller.roles
    if not rule.roles & roles:
        wanted = " or ".join(sorted(rule.roles))
        raise AccessDenied(
            f"This needs the access role {wanted}, which the caller does not have. Ask your administrator.",
            needed=wanted,
        )
    return rule
