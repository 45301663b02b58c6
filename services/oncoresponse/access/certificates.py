"""Callers that show a client certificate: systems of the hospital, by the names in their certificates."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from oncoresponse.access.caller import Caller, Credentials, Identification
from oncoresponse.access.names import CallerName, DisplayName, TenantName, UserRoles
from oncoresponse.errors import ConfigurationError, NotAuthenticated


class CertificateCaller(BaseModel):
    """Who shows a certificate with a certain name.

    Attributes:
        certificate: Common name of the subject, or a subject alternative name, letter by letter. The authority
            (``tls_client_authority``) has to give it to nobody else.
        name: Name of the caller.
        roles: What the caller may do.
        display_name: As it stands in a report that the caller signs.
        tenant: Whose studies it sees; empty where the installation has no tenants.
        may_break_glass: May read what is closed to it, for a reason.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: str = Field(min_length=1, max_length=255)
    name: CallerName
    roles: UserRoles
    display_name: DisplayName = ""
    tenant: TenantName = ""
    may_break_glass: bool = False


class CertificateCallers:
    """Recognizes them; see :class:`~oncoresponse.access.authentication.Authenticator`.

    Args:
        callers: Who there is. A certificate that none of them names is nobody's.

    Raises:
        ConfigurationError: One certificate name is entered twice.
    """

    def __init__(self, callers: Sequence[CertificateCaller]) -> None:
        self._callers = {caller.certificate: caller for caller in callers}
        if len(self._callers) < len(callers):
            raise ConfigurationError(
                "certificate_callers has one certificate twice. Enter each once.", setting="certificate_callers"
            )

    def authenticate(self, credentials: Credentials) -> Caller | None:
        """Whose certificate it is; ``None`` without one, and for a call with a token: who shows a token is who it says.

        Raises:
            NotAuthenticated: The certificate is nobody's, or carries the names of two.
        """
        if credentials.bearer or not credentials.certificate_names:
            return None
        named = (self._callers.get(name) for name in credentials.certificate_names)
        found = {caller.certificate: caller for caller in named if caller is not None}
        if not found:
            raise NotAuthenticated(
                "No caller has this client certificate. Ask your administrator to enter it (certificate_callers)."
            )
        if len(found) > 1:
            raise NotAuthenticated(
                "The client certificate carries the names of two callers, so it is not clear who calls. Show another."
            )
        (caller,) = found.values()
        return Caller(
            name=caller.name,
            roles=caller.roles,
            identified_by=Identification.CERTIFICATE,
            display_name=caller.display_name or caller.name,
            tenant=caller.tenant,
            may_break_glass=caller.may_break_glass,
        )
