"""Whether the systems that the settings name answer and let this installation in. Nothing else is asked or sent."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from oncoresponse.edges.delivery.destinations import smart_login_of
from oncoresponse.edges.delivery.fhir_client import FhirClient
from oncoresponse.edges.delivery.http_exchange import exchange
from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.edges.dicom_association import DicomTarget, associated
from oncoresponse.errors import (
    ConfigurationError,
    DestinationAccessDenied,
    OncoResponseError,
    PeerUnavailable,
    TlsHandshakeFailed,
)
from oncoresponse.http_client.metered_connections import Meter
from oncoresponse.http_client.one_way_session import OneWaySession
from oncoresponse.http_client.server_login import log_in
from oncoresponse.rpc.addresses import host_of
from oncoresponse.rpc.edge_settings import DicomWebServer
from oncoresponse.rpc.ehr_settings import FhirServer, MllpDestination, WebhookDestination
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.rpc.tls_files import TlsFiles, client_context

_SECONDS = 10.0
_DENIED = (401, 403)


@dataclass(frozen=True)
class PeerCheck:
    """A system of others, and how to ask it.

    Attributes:
        subject: Setting and name.
        ask: Returns what was found; raises OncoResponseError where it does not answer or lets nobody in.
    """

    subject: str
    ask: Callable[[], str]


def peer_checks(settings: ServerSettings) -> Iterator[PeerCheck]:
    """Of every system that the settings name, in their order."""
    for name, server in settings.dicomweb_servers.items():
        yield PeerCheck(f"dicomweb_servers.{name}", lambda server=server: _dicomweb(server))  # type: ignore[misc]
    for name, peer in settings.dicom_peers.items():
        yield PeerCheck(f"dicom_peers.{name}", lambda peer=peer: _echo(peer))  # type: ignore[misc]
    for name, destination in settings.destinations.items():
        subject = f"destinations.{name}"
        if isinstance(destination, FhirServer):
            yield PeerCheck(subject, lambda it=destination: _fhir(it, settings))  # type: ignore[misc]
        elif isinstance(destination, MllpDestination):
            yield PeerCheck(subject, lambda it=destination: _connect(it.address, it, encrypted=it.uses_tls))  # type: ignore[misc]
        elif isinstance(destination, WebhookDestination):
            yield PeerCheck(subject, lambda it=destination: _webhook(it))  # type: ignore[misc]
        elif destination.kind == "c-store":
            yield PeerCheck(subject, lambda it=destination: _echo(it))  # type: ignore[misc]
    for name, orders in settings.fhir_orders.items():
        yield PeerCheck(f"fhir_orders.{name}", lambda it=orders: _fhir(it, settings))  # type: ignore[misc]


def _echo(target: DicomTarget) -> str:
    """C-ECHO (PS3.4 annex A)."""
    association = associated(target, [(str(Verification), None)])
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if status and status.Status == 0:
        return f"answers C-ECHO as {target.ae_title}"
    raise PeerUnavailable("The PACS took the association and did not answer C-ECHO. It may not offer verification.")


def _dicomweb(server: DicomWebServer) -> str:
    """A search that is for one study; what it finds is not looked at."""
    with OneWaySession(Meter(_SECONDS, _SECONDS), server.tls_authority) as session:
        log_in(session, server, setting="dicomweb_servers")
        answer = _asked(session, f"{server.url.rstrip('/')}/studies")
    if answer in _DENIED:
        raise DestinationAccessDenied("The server lets nobody in with this login. Check it (user, token_file).")
    if answer >= 300:
        raise PeerUnavailable(f"The server answers a search (QIDO-RS) with HTTP {answer}. Check the URL.")
    return "answers QIDO-RS"


def _asked(session: OneWaySession, url: str) -> int:
    try:
        return exchange(
            session,
            "GET",
            url,
            timeouts=(_SECONDS, _SECONDS),
            parameters={"limit": "1"},
            headers={"Accept": "application/dicom+json"},
        ).status
    except AttemptEnded as ended:
        raise ended.error from None


def _fhir(server: FhirServer, settings: ServerSettings) -> str:
    """Its CapabilityStatement, asked for with the login of the settings."""
    try:
        with FhirClient(server, smart_login_of(server, settings)) as client:
            answer = client.call("GET", "metadata")
    except AttemptEnded as ended:
        raise ended.error from None
    if answer.status in _DENIED:
        raise DestinationAccessDenied("The server lets nobody in with this login. Check it.")
    version = answer.document.get("fhirVersion")
    if answer.document.get("resourceType") in ("OperationOutcome", "Bundle"):
        # R4 wants a CapabilityStatement of every server; some small ones have none.
        return "answers in FHIR, without a CapabilityStatement"
    if answer.document.get("resourceType") != "CapabilityStatement":
        raise PeerUnavailable("What answers at the URL is no FHIR server, for it has no CapabilityStatement.")
    if not str(version).startswith("4.0"):
        raise PeerUnavailable("The server speaks another version of FHIR than R4 (4.0). Use its R4 endpoint.")
    return f"FHIR {version}"


def _webhook(destination: WebhookDestination) -> str:
    parts = urlsplit(destination.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _connect(f"{parts.hostname}:{port}", destination, encrypted=parts.scheme == "https")


def _connect(address: str, files: TlsFiles, *, encrypted: bool) -> str:
    """A connection, encrypted where the settings say so; nothing is sent."""
    host, port = host_of(address), int(address.rpartition(":")[2])
    try:
        context = client_context(files)
    except OSError as error:
        raise ConfigurationError(
            "A TLS file of this destination cannot be read, is no PEM file of its kind, or the key is not the "
            "certificate's (tls_authority, tls_certificate, tls_key)."
        ) from error
    try:
        with socket.create_connection((host, port), timeout=_SECONDS) as connection:
            if not encrypted:
                return "takes a connection; nothing was sent"
            with context.wrap_socket(connection, server_hostname=host):
                return "takes an encrypted connection; nothing was sent"
    except ssl.SSLError as error:
        raise TlsHandshakeFailed(
            "No encrypted connection: its certificate is not of an authority that is trusted here (tls_authority), has "
            "expired, or does not carry the name of the address.",
            cause="no_connection",
        ) from error
    except OSError as error:
        raise PeerUnavailable("No connection to its address. Check that it runs, and the address.") from error


def reason_of(error: OncoResponseError) -> str:
    """What is said of a failed check."""
    return f"{error.message} ({error.reason})"
