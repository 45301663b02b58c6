"""How callers, tenants and people are written, so that they fit into logs, the audit record and a report."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from oncoresponse.access.roles import AccessRole

LONGEST_DISPLAY_NAME = 100
_TAKEN = frozenset({"anonymous", "service", "unknown", "unchecked"})
"""What the audit record calls callers that nobody can be."""


def _free_name(value: str) -> str:
    if value in _TAKEN:
        raise ValueError("this name means something else in the audit record; take another one")
    return value


def is_display_name(text: str) -> bool:
    """Whether a text can stand in one line of a report: no control characters, nothing that turns the direction."""
    return len(text) <= LONGEST_DISPLAY_NAME and text.isprintable() and text == text.strip()


def _display_name(value: str) -> str:
    if not is_display_name(value):
        raise ValueError(f"a display name is one line of at most {LONGEST_DISPLAY_NAME} printable characters")
    return value


def _no_stage(value: frozenset[AccessRole]) -> frozenset[AccessRole]:
    if AccessRole.STAGE in value:
        raise ValueError("the role stage belongs to the services among themselves; no user is given it")
    return value


CallerName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"), AfterValidator(_free_name)
]
"""Name of a caller that an administrator gives. It has no ``#``, so none is that of an OIDC subject (``iss#sub``)."""

TENANT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
TenantName = Annotated[str, StringConstraints(pattern=rf"^({TENANT})?$")]
DisplayName = Annotated[str, AfterValidator(_display_name)]
UserRoles = Annotated[frozenset[AccessRole], AfterValidator(_no_stage)]
"""Access roles that a caller from outside may be given."""
