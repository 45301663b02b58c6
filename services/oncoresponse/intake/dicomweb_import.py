"""Import of a study from a DICOMweb server (PS3.18, WADO-RS Retrieve Study)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
from dicomweb_client.web import DICOMwebClient, _Transaction

from oncoresponse.case.left_out import LeftOutInstance, left_out_instance
from oncoresponse.dicom.reading import is_media_directory
from oncoresponse.errors import (
    DicomError,
    InvalidRequest,
    NoImages,
    OncoResponseError,
    PacsAccessDenied,
    PacsAnswerRefused,
    PeerUnavailable,
    QuotaExceeded,
    TlsHandshakeFailed,
    UrlNotAllowed,
)
from oncoresponse.intake.directory_import import ImportCount
from oncoresponse.intake.metered_connections import Meter, MeteredAdapter
from oncoresponse.intake.study_settings import StudySettings
from oncoresponse.storage.study_indexing import ReadObject
from oncoresponse.storage.study_store import StudyStore

# These log URLs and headers, and the URL of a study holds its UID.
for _name in ("dicomweb_client", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_END_BYTES = 200
# Request Timeout, Too Early, Too Many Requests: the same request may succeed later.
_PASSING_STATUSES = (408, 425, 429)
_BLOCK_BYTES = 1024 * 1024
_MOST_REDIRECTS = 5
_MOST_LEFT_OUT = 10_000


def require_allowed_url(url: str, allowed: Sequence[str]) -> SplitResult:
    """The parsed URL, when it is one of the allowed ones or below one.

    Scheme, host and port must be equal, and the path must begin with the whole segments of the allowed path.

    Raises:
        UrlNotAllowed: It is not, or it is written in a way that servers read differently.
    """
    refused = UrlNotAllowed(
        "The DICOMweb URL is not one that this server may read. Ask its administrator to allow it.", field="url"
    )
    try:
        parts = urlsplit(url)
        origin, segments = _origin(parts), _segments(parts)
        known = [urlsplit(item) for item in allowed]
        fits = any(_origin(item) == origin and segments[: len(_segments(item))] == _segments(item) for item in known)
    except ValueError:
        raise refused from None
    if not fits or parts.query or parts.fragment:
        raise refused
    return parts


def import_dicomweb(
    store: StudyStore, name: str, url: str, study_instance_uid: str, settings: StudySettings, check: ReadObject
) -> Iterator[ImportCount]:
    """Retrieve a study and add its instances, reporting after each. One instance at a time is in memory.

    Instances arrive in the transfer syntax in which the server keeps them, and are stored byte for byte. A damaged one
    is left out, with the reason, because nobody who imports can remove it from the archive; whether the model needs it
    is known when the study is converted.

    Args:
        store: Where the study is.
        name: The study.
        url: Base URL; a user name and password in it are sent as HTTP Basic authentication.
        study_instance_uid: (0020,000D).
        settings: The allow-list and the timeouts.
        check: Refuses unreadable DICOM.

    Raises:
        UrlNotAllowed: The URL, or one that it redirects to, is not on the allow-list.
        PacsAccessDenied: The server refuses the login, or the study to it.
        PacsTooSlow: The server drips, keeps silent, or takes longer than the settings allow.
        PacsAnswerRefused: It sends a header, redirects, an object or transport without end.
        PeerUnavailable: The server cannot be reached, is busy, or breaks off.
        TlsHandshakeFailed: Its certificate is not trusted.
        InvalidRequest: The URL is that of something else than DICOMweb, or the server refuses the request.
        NoImages: The server has no such study.
        QuotaExceeded, DiskFull, StudyAlreadyComplete: See :meth:`StudyStore.add`.
    """
    parts = require_allowed_url(url, settings.allowed_dicomweb_urls)
    scheme, host, port = _origin(parts)
    base_url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"
    unreadable: list[LeftOutInstance] = []
    examined = 0
    with closing(_AllowedSession(settings)) as session:
        if parts.username is not None:
            session.auth = (unquote(parts.username), unquote(parts.password or ""))
        for data in _instances(session, base_url, study_instance_uid, settings):
            examined += 1
            try:
                if not is_media_directory(data[:1024]):
                    store.add(name, _blocks(data), check)
            except DicomError as error:
                unreadable.append(left_out_instance(examined, data, error))
                if len(unreadable) > _MOST_LEFT_OUT:
                    raise PacsAnswerRefused(
                        f"More than {_MOST_LEFT_OUT} objects of the DICOMweb server cannot be read. Check what answers "
                        "at the URL.",
                        cut="unreadable",
                    ) from None
            yield ImportCount(examined, examined - len(unreadable), len(unreadable))
        if unreadable and unreadable[-1].number == examined and not session.ended_whole:
            raise PeerUnavailable("The DICOMweb server broke off in the middle of an object. Try again.")
        yield ImportCount(examined, examined - len(unreadable), len(unreadable), tuple(unreadable))


class _AllowedSession(requests.Session):
    """Follows no redirect off the allow-list, and receives no more than a study and its instances may be large.

    Attributes:
        ended_whole: Whether the last answer ended with the closing delimiter of its parts (RFC 2046 section 5.1.1).
    """

    def __init__(self, settings: StudySettings) -> None:
        super().__init__()
        self._settings = settings
        self._responses: list[requests.Response] = []
        self._meter = Meter(settings.dicomweb_total_seconds, settings.dicomweb_idle_seconds)
        self._study_bytes = self._instance_bytes = 0
        self.ended_whole = False
        self.max_redirects = _MOST_REDIRECTS
        for scheme in _DEFAULT_PORTS:
            self.mount(f"{scheme}://", MeteredAdapter(self._meter))
        self.hooks["response"].append(self._limit)

    def close(self) -> None:
        # The pool does not know the connection of an answer that nobody has read to its end.
        for response in self._responses:
            response.raw.close()
        super().close()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            absolute = urlsplit(urljoin(resp.url, target))
            require_allowed_url(absolute._replace(query="", fragment="").geturl(), self._settings.allowed_dicomweb_urls)
        return target

    def begin_instance(self) -> None:
        """The instance before has come whole."""
        self._instance_bytes = 0

    def _limit(self, response: requests.Response, **_: object) -> None:
        # The client looks for the end of a part before it hands it on; a part without end would fill the memory.
        # What is counted is what comes out of a content coding, block by block: a small answer may inflate.
        self._responses.append(response)
        iterate = response.iter_content
        if response.is_redirect or not response.ok:
            # Nobody looks at the page that explains it, and it may have no end.
            response.raw.close()
            response.iter_content = lambda *_, **__: iter(())  # type: ignore[method-assign]
            return

        def limited(*arguments: Any, **named: Any) -> Iterator[bytes]:
            end = b""
            for block in iterate(*arguments, **named):
                end = (end + block)[-_LONGEST_END_BYTES:]
                self.ended_whole = end.rstrip().endswith(b"--")
                self._count(len(block))
                yield block

        response.iter_content = limited  # type: ignore[method-assign]

    def _count(self, count: int) -> None:
        self._meter.content()
        self._study_bytes += count
        self._instance_bytes += count
        limit = self._settings.quota_bytes_per_study
        if self._study_bytes > limit + _BLOCK_BYTES:
            raise QuotaExceeded(
                "The study is larger than this server allows. Ask the administrator for more.",
                scope="study",
                limit_bytes=limit,
            )
        limit = self._settings.dicom_limits.file_bytes
        if self._instance_bytes > limit + _BLOCK_BYTES:
            raise PacsAnswerRefused(
                "The DICOMweb server sends an object larger than a file may be here, or one without end. Check what "
                "answers at the URL, or ask the administrator for more (dicom_limits, file_bytes).",
                cut="instance",
                limit_bytes=limit,
            )


class _Parts(DICOMwebClient):
    """Gives the parts of an answer as they came; the client's own iterator ends at the first that it cannot parse."""

    def iter_parts(self, study_instance_uid: str) -> Iterator[bytes]:
        url = self._get_studies_url(_Transaction.RETRIEVE, study_instance_uid)
        accepted = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        response = self._http_get(url, headers={"Accept": accepted}, stream=True)
        if response.headers["Content-Type"].lower().startswith("application/dicom"):
            # Against PS3.18 section 8.6.1.2, but some servers send a single instance so.
            return iter([response.content])
        parts: Iterator[bytes] = self._decode_multipart_message(response, stream=True)
        return parts


def _instances(session: _AllowedSession, base_url: str, uid: str, settings: StudySettings) -> Iterator[bytes]:
    client = _Parts(
        base_url,
        session=session,
        chunk_size=_BLOCK_BYTES,
        permissive_uid=True,
        timeout=(settings.dicomweb_connect_timeout_seconds, settings.dicomweb_idle_seconds),
    )
    # The caller repeats the import with the same request_id; waiting here would only hold a thread.
    client.set_http_retry_params(retry=False)
    try:
        for part in client.iter_parts(uid):
            session.begin_instance()
            yield bytes(part)
    except requests.TooManyRedirects:
        raise PacsAnswerRefused(
            "The DICOMweb server sends from one address to the next. Give the URL at which it answers.", cut="redirects"
        ) from None
    except requests.HTTPError as error:
        raise _refusal(0 if error.response is None else error.response.status_code) from None
    except requests.exceptions.SSLError:
        raise TlsHandshakeFailed(
            "No encrypted connection to the DICOMweb server: its certificate is not of an authority that is trusted "
            "here, or does not carry the name in the URL. Name the PEM file of the authority in REQUESTS_CA_BUNDLE.",
            cause="untrusted_authority",
        ) from None
    except (requests.RequestException, OSError):
        raise PeerUnavailable(
            "The DICOMweb server does not answer, or broke off. Try again; if it goes on, check that it runs."
        ) from None
    except (KeyError, ValueError, EOFError):
        raise InvalidRequest(
            "What answers at the URL does not answer as a DICOMweb server. Check that the URL is that of the DICOMweb "
            "service, not of a viewer or a log-in page.",
            field="url",
        ) from None


def _refusal(status: int) -> OncoResponseError:
    """The error behind an HTTP status of a server that is reached (RFC 9110 section 15)."""
    if status in (requests.codes.not_found, requests.codes.gone):
        # A wrong path below the right host gets the same status as a missing study.
        return NoImages(
            "The server answers that there is no such study at this URL. Check the Study Instance UID, and that the "
            "URL is the base of the DICOMweb service."
        )
    if status in (requests.codes.unauthorized, requests.codes.forbidden, requests.codes.proxy_authentication_required):
        return PacsAccessDenied(
            "The DICOMweb server refuses the user name or password in the URL, or the study to that user. "
            "Correct the login, or its rights on that server.",
            http_status=status,
        )
    if 400 <= status < 500 and status not in _PASSING_STATUSES:
        return InvalidRequest(
            f"The DICOMweb server refuses the request with HTTP status {status}. Check that the URL is that of its "
            "DICOMweb service, and that it gives studies as application/dicom.",
            field="url",
            http_status=status,
        )
    return PeerUnavailable(
        f"The DICOMweb server answered with HTTP status {status}. Try again later.", http_status=status
    )


def _blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _BLOCK_BYTES):
        yield data[start : start + _BLOCK_BYTES]


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an http or https URL with a host")
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


def _segments(parts: SplitResult) -> list[str]:
    # Servers and proxies disagree about encoded slashes, backslashes and dots, so such paths are refused.
    decoded = unquote(parts.path)
    if "%2f" in parts.path.lower() or "\\" in decoded or "%" in decoded or not decoded.isprintable():
        raise ValueError("ambiguous path")
    segments = decoded.strip("/").split("/") if decoded.strip("/") else []
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError("ambiguous path")
    return segments
