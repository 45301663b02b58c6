"""Sends DICOM objects by STOW-RS (PS3.18 section 10.5), one request for each, so that each has an answer of its own."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from io import BytesIO

import requests

from oncoresponse.edges.delivery.dicom_files import is_wanted
from oncoresponse.edges.delivery.sending import AttemptEnded, FileOutcome, Outcome, Parcel
from oncoresponse.errors import (
    ConfigurationError,
    DeliveryRefused,
    OncoResponseError,
    PacsAccessDenied,
    PacsAnswerRefused,
    PeerUnavailable,
    TlsHandshakeFailed,
    UnsupportedSopClass,
)
from oncoresponse.http_client.metered_connections import Meter
from oncoresponse.http_client.one_way_session import OneWaySession
from oncoresponse.http_client.server_login import log_in
from oncoresponse.rpc.edge_settings import Destination, DicomWebServer
from oncoresponse.v1 import delivery_pb2

_LARGEST_ANSWER_BYTES = 4 * 1024**2
_TOO_LONG = "The DICOMweb server takes longer for a delivery than it may (idle_seconds). Check that server."
_LONGEST_RETRY_AFTER_SECONDS = 24 * 3600.0
# Beside 5xx: the same request may succeed later.
_PASSING = (408, 425, 429)
_DENIED = (401, 403, 407)
# PS3.18 table 10.5.3-1 and PS3.7 annex C.
_DUPLICATE, _SOP_CLASS_NOT_SUPPORTED = 0x0111, 0x0122
_NO_ROOM = range(0xA700, 0xA800)
_MISMATCH, _NOT_UNDERSTOOD = range(0xA900, 0xAA00), range(0xC000, 0xD000)
_FAILED, _REASON, _VALUE = "00081198", "00081197", "Value"
_REFERENCED, _SOP_CLASS, _SOP_INSTANCE = "00081199", "00081150", "00081155"

# They log URLs, and those may hold UIDs.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class StowSender:
    """See :class:`~oncoresponse.edges.delivery.sending.DeliverySender`.

    Args:
        destination: What is sent there.
        server: Where it is, and how to log in.
    """

    def __init__(self, destination: Destination, server: DicomWebServer) -> None:
        self._destination = destination
        self._server = server

    def takes(self, file: delivery_pb2.DeliveryFile) -> bool:
        """DICOM objects that the settings name."""
        return is_wanted(file, self._destination)

    def send(self, delivery: delivery_pb2.Delivery, parcels: Sequence[Parcel]) -> Outcome:
        """Send what is not stored yet."""
        del delivery
        files: dict[str, FileOutcome] = {}
        seconds = self._destination.idle_seconds
        try:
            meter = Meter((len(parcels) + 1) * seconds, seconds, _TOO_LONG)
            with OneWaySession(meter, self._server.tls_authority) as session:
                log_in(session, self._server, setting="dicomweb_servers")
                for parcel in parcels:
                    files[parcel.file_name] = FileOutcome(stored=True) if parcel.stored else self._sent(session, parcel)
        except AttemptEnded as ended:
            return ended.outcome(files)
        except OncoResponseError as error:
            return Outcome(files, error)
        return Outcome(files)

    def _sent(self, session: requests.Session, parcel: Parcel) -> FileOutcome:
        """Raises AttemptEnded where the fault is none of this object alone, so that the others need not be tried."""
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {len(parcel.data)}\r\n\r\n"
        body = BytesIO(b"".join((head.encode(), parcel.data, f"\r\n--{boundary}--\r\n".encode())))
        try:
            answer = session.post(
                f"{self._server.url.rstrip('/')}/studies",
                data=body,
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                    "Accept": "application/dicom+json",
                },
                # The first is that of each block that is sent, too.
                timeout=(self._destination.connect_seconds, self._destination.idle_seconds),
                allow_redirects=False,
                stream=True,
            )
            document = _document(answer)
        except requests.exceptions.SSLError:
            raise AttemptEnded(_untrusted()) from None
        except (requests.RequestException, OSError):
            raise AttemptEnded(_away()) from None
        return _outcome(answer, document)


def _document(answer: requests.Response) -> bytes:
    """The body, as far as it may be long.

    Raises:
        PacsAnswerRefused: It is longer.
    """
    data = bytearray()
    with answer:
        for block in answer.iter_content(64 * 1024):
            data += block
            if len(data) > _LARGEST_ANSWER_BYTES:
                raise PacsAnswerRefused(
                    "The DICOMweb server sends an answer without end. Check what answers at the URL.", cut="document"
                )
    return bytes(data)


def _outcome(answer: requests.Response, document: bytes) -> FileOutcome:
    """What the answer says of the object. PS3.18 section 10.5.3."""
    status = answer.status_code
    if status in _DENIED:
        raise AttemptEnded(
            PacsAccessDenied(
                "The DICOMweb server refuses the login of the settings (dicomweb_servers), or storing to that user. "
                "Correct the login, or its rights on that server.",
                http_status=status,
            )
        )
    if status >= 500 or status in _PASSING:
        raise AttemptEnded(
            PeerUnavailable(f"The DICOMweb server answered with HTTP status {status}.", http_status=status),
            retry_after_seconds=_retry_after(answer),
        )
    if status in (200, 202, 409):
        return _of_store_response(document, accepted=status != 409)
    if status in (413, 415):
        refused = DeliveryRefused(
            f"The DICOMweb server refuses the object with HTTP status {status}: too large, or of a kind that it does "
            "not take. Correct that server, or leave the object out (omit).",
            http_status=status,
        )
        return FileOutcome(error=refused, permanent=True)
    raise AttemptEnded(
        DeliveryRefused(
            f"The DICOMweb server refuses the request with HTTP status {status}. Check that the URL is that of its "
            "DICOMweb service (dicomweb_servers), and that it takes objects.",
            http_status=status,
        ),
        permanent=True,
    )


def _of_store_response(document: bytes, *, accepted: bool) -> FileOutcome:
    """The Store Instances Response Module (PS3.18 annex I) in DICOM JSON.

    An answer that names neither the object as stored nor why it was not is no evidence that it is.
    """
    try:
        content = json.loads(document)
        if isinstance(content, list):
            (content,) = content
        failures = [item[_REASON][_VALUE][0] for item in content.get(_FAILED, {}).get(_VALUE, [])]
        stored = [item[_SOP_INSTANCE][_VALUE][0] for item in content.get(_REFERENCED, {}).get(_VALUE, [])]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        failures, stored = [], []
    if failures:
        return of_failure(failures[0] if isinstance(failures[0], int) else 0)
    if stored and accepted:
        return FileOutcome(stored=True)
    raise AttemptEnded(
        PacsAnswerRefused(
            "The DICOMweb server does not say that it has stored the object. Check that the URL is that of its "
            "DICOMweb service, not of a viewer or a log-in page.",
            cut="no_store_response",
        )
    )


def of_failure(reason: int) -> FileOutcome:
    """Failure Reason (0008,1197), or the status of C-STORE, of an object that was not stored."""
    if reason == _DUPLICATE:
        return FileOutcome(stored=True)
    code = f"{reason:04X}"
    if reason == _SOP_CLASS_NOT_SUPPORTED:
        return FileOutcome(
            error=UnsupportedSopClass(
                "The destination does not take objects of this SOP class. Let it take them, send them elsewhere "
                "(objects of another destination), or leave them out (omit).",
                status=code,
            ),
            permanent=True,
        )
    if reason in _MISMATCH or reason in _NOT_UNDERSTOOD:
        refused = DeliveryRefused(
            f"The destination refuses the object with status {code}: it does not accept what it holds.", status=code
        )
        return FileOutcome(error=refused, permanent=True)
    what = "has no room for the object" if reason in _NO_ROOM else "could not store the object"
    return FileOutcome(error=PeerUnavailable(f"The destination {what} (status {code}).", status=code))


def _retry_after(answer: requests.Response) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3); a date is not looked at."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_RETRY_AFTER_SECONDS) if text.isascii() and text.isdigit() else None


def _untrusted() -> OncoResponseError:
    return TlsHandshakeFailed(
        "No encrypted connection to the DICOMweb server: its certificate is not of an authority that is trusted here, "
        "or does not carry the name in the URL. Give the PEM file of the authority (dicomweb_servers).",
        cause="untrusted_authority",
    )


def _away() -> OncoResponseError:
    return PeerUnavailable("The DICOMweb server does not answer, or broke off.")


def server_of(destination: Destination, servers: dict[str, DicomWebServer], name: str) -> DicomWebServer:
    """The server that a destination names.

    Raises:
        ConfigurationError: There is none.
    """
    if destination.server not in servers:
        raise ConfigurationError(
            f"The destination {name} names a server that dicomweb_servers has not. Correct its field server.",
            setting="destinations",
        )
    return servers[destination.server]
