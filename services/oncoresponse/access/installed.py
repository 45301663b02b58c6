"""All ways of recognizing callers that the settings of an installation name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oncoresponse.access.authentication import Authentication, Authenticator
from oncoresponse.access.caller import ANONYMOUS
from oncoresponse.access.certificates import CertificateCaller, CertificateCallers
from oncoresponse.access.local_users import USERS_FILE, LocalUsers
from oncoresponse.access.oidc import OidcTokens
from oncoresponse.access.oidc_settings import OidcSettings
from oncoresponse.access.revocations import REVOCATIONS_FILE, Revocations
from oncoresponse.errors import ConfigurationError


def users_file_of(data_directory: Path, users_file: Path | None = None) -> Path:
    """Where users and tokens are: the file of the setting, or the one of the data folder."""
    return users_file or data_directory / USERS_FILE


def revocations_file_of(data_directory: Path, revocations_file: Path | None = None) -> Path:
    """Where it is written which tokens of the issuer are refused."""
    return revocations_file or data_directory / REVOCATIONS_FILE


def authentication_of(
    users_file: Path,
    *,
    oidc: OidcSettings | None = None,
    revocations_file: Path | None = None,
    certificate_callers: Sequence[CertificateCaller] = (),
    asks_for_certificates: bool = False,
    allow_anonymous: bool = False,
    before: Sequence[Authenticator] = (),
) -> Authentication:
    """Every way, tokens before certificates.

    The file of users is watched also where it is not there yet, so that a first user is let in without a restart.

    Args:
        users_file: See :func:`users_file_of`.
        oidc: Issuer of tokens.
        revocations_file: See :func:`revocations_file_of`.
        certificate_callers: Who shows which certificate.
        asks_for_certificates: Whether the server asks for client certificates and verifies them.
        allow_anonymous: Whether callers on the loopback address need not say who they are.
        before: Ways of other parts of the installation, asked first. They do not count as callers.

    Raises:
        ConfigurationError: A file cannot be used, certificates are named and not asked for, or nobody could be
            recognized at all.
    """
    if certificate_callers and not asks_for_certificates:
        raise ConfigurationError(
            "certificate_callers names client certificates, and nobody is asked for one. Set tls_client_authority.",
            setting="certificate_callers",
        )
    users = LocalUsers(users_file)
    if users.is_empty and oidc is None and not certificate_callers and not allow_anonymous:
        raise ConfigurationError(
            "This server would recognize nobody. Add a first user with 'oncoresponse users add NAME --role submit "
            f"--role read --users-file {users_file}', or name the issuer of your tokens (oidc) or client certificates "
            "(certificate_callers). For one person on one machine there is --allow-anonymous.",
            setting="users_file",
        )
    ways: list[Authenticator] = [*before, users]
    if oidc is not None:
        revocations = None if revocations_file is None else Revocations(revocations_file)
        ways.append(OidcTokens(oidc, revocations))
    if certificate_callers:
        ways.append(CertificateCallers(certificate_callers))
    return Authentication(ways, ANONYMOUS if allow_anonymous else None)
