"""Who calls, as far as a service has to know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from oncoresponse.access.roles import USER_ROLES, AccessRole
from oncoresponse.access.smart import SmartAccess


class Identification(StrEnum):
    """How a caller was recognized."""

    OIDC = "OIDC token"
    CERTIFICATE = "client certificate"
    LOCAL_TOKEN = "local token"  # noqa: S105 - a word, no secret
    STAGE_TOKEN = "stage token"  # noqa: S105 - a word, no secret
    EDGE_TOKEN = "edge token"  # noqa: S105 - a word, no secret
    ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Caller:
    """One caller.

    Attributes:
        name: Stable and unique: ``iss#sub`` of a token, subject of a certificate, name in the file of local users.
        roles: What it may do.
        identified_by: How it was recognized.
        display_name: As it stands in a report that it signs; ``name`` where nothing better is known.
        tenant: Whose studies it sees; empty where the installation has no tenants.
        may_break_glass: May read what is closed to it, for a reason that it gives (emergency access).
        smart: What the SMART scopes of its token allow; ``None`` where it has none, so that the roles alone decide.
    """

    name: str
    roles: frozenset[AccessRole]
    identified_by: Identification
    display_name: str = ""
    tenant: str = ""
    may_break_glass: bool = False
    smart: SmartAccess | None = None

    @property
    def is_person_or_system(self) -> bool:
        """Whether somebody is behind it who can be named, so that it can sign."""
        return self.identified_by in (Identification.OIDC, Identification.CERTIFICATE, Identification.LOCAL_TOKEN)


ANONYMOUS = Caller("anonymous", USER_ROLES, Identification.ANONYMOUS)
"""Everybody on the loopback address, where the installation allows that."""

OWN_SERVICES = Caller("service", frozenset({AccessRole.STAGE}), Identification.STAGE_TOKEN)
"""The services of the installation among themselves."""

EDGES = Caller("edges", frozenset({AccessRole.SUBMIT, AccessRole.READ, AccessRole.STAGE}), Identification.EDGE_TOKEN)
"""What of the installation speaks other protocols, where no user is behind a call: a study that comes by itself."""


@dataclass(frozen=True)
class Credentials:
    """What a call brought along to say who calls.

    Attributes:
        bearer: The token of ``authorization: Bearer ...``; empty for none. Never logged.
        certificate_names: Subject of the client certificate that TLS has verified: its common name first, then its
            subject alternative names; empty for none.
        loopback: Whether the call came over the loopback address or a Unix socket.
    """

    bearer: str = ""
    certificate_names: tuple[str, ...] = ()
    loopback: bool = False
