"""Who may call the front door of a process, and how much, as its settings say."""

from __future__ import annotations

import logging

from oncoresponse.access.audit_event import AuditSink
from oncoresponse.access.authentication import Authentication
from oncoresponse.access.installed import authentication_of, revocations_file_of, users_file_of
from oncoresponse.access.rate_limit import CallerLimiter
from oncoresponse.rpc.access_control import Gate
from oncoresponse.rpc.edge_token import EdgeToken
from oncoresponse.rpc.settings import ServerSettings

_log = logging.getLogger(__name__)


def gate_of_front_door(settings: ServerSettings, audit: AuditSink | None, edge_token: str) -> Gate:
    """The gate of the front door.

    Args:
        settings: Of the process.
        audit: Where calls are kept.
        edge_token: Shown by the edges of the installation.

    Raises:
        ConfigurationError: A file of callers cannot be used, or nobody could be recognized.
    """
    edges = EdgeToken(edge_token)
    return Gate(_authentication(settings, edges), audit, CallerLimiter(settings.caller_limits), edges)


def _authentication(settings: ServerSettings, edges: EdgeToken) -> Authentication:
    if not settings.offers_front_door:
        return Authentication([])
    if settings.allow_anonymous:
        _log.warning("allow_anonymous is on: whoever is on this machine may read and change everything")
    http = settings.http_server
    return authentication_of(
        users_file_of(settings.data_directory, settings.users_file),
        oidc=settings.oidc,
        revocations_file=revocations_file_of(settings.data_directory, settings.revocations_file),
        certificate_callers=settings.certificate_callers,
        asks_for_certificates=any(each is not None and each.tls_client_authority for each in (settings, http)),
        allow_anonymous=settings.allow_anonymous,
        before=(edges,),
    )
