"""A connection to a DICOMweb server that the settings name: where it may lead, how much may come, who logs in."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests

from oncoresponse.errors import (
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
from oncoresponse.http_client.metered_connections import Meter, MeteredAdapter
from oncoresponse.http_client.server_login import log_in
from oncoresponse.intake.study_settings import DicomWebServer, StudySettings

# These log URLs and headers, and the URL of a study holds its UID.
for _name in ("dicomweb_client", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_END_BYTES = 200
# Request Timeout, Too Early, Too Many Requests: the same request may succeed later.
_PASSING_STATUSES = (408, 425, 429)
BLOCK_BYTES = 1024 * 1024
_MOST_REDIRECTS = 5


@dataclass(frozen=True)
class Target:
    """Where a request leads.

    Attributes:
        base_url: Of the DICOMweb service, in one way of writing.
        server: How to log in there; ``None`` where the settings say nothing of it.
    """

    base_url: str
    server: DicomWebServer | None


def target_of(url: str, server: str, settings: StudySettings) -> Target:
    """Where a request leads that names a URL, or a server of the settings.

    Raises:
        UrlNotAllowed: It is not one that may be read, or no server is called so.
        InvalidRequest: The URL holds a user name or a password.
    """
    if server:
        if server not in settings.dicomweb_servers:
            raise UrlNotAllowed(
                "No DICOMweb server of this name is in the settings (dicomweb_servers). Ask your administrator.",
                field="server",
            )
        url = settings.dicomweb_servers[server].url
    if urlsplit(url).username is not None:
        raise InvalidRequest(
            "User name and password of a DICOMweb server are not sent with a request. The administrator enters them "
            "in the settings (dicomweb_servers).",
            field="url",
        )
    parts = require_allowed_url(url, allowed_urls(settings))
    known = (item for item in settings.dicomweb_servers.values() if _covers(item.url, parts))
    # Of several the longest path: the nearest.
    nearest = max(known, key=lambda item: len(item.url), default=None)
    scheme, host, port = _origin(parts)
    base_url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"
    return Target(base_url, settings.dicomweb_servers[server] if server else nearest)


def allowed_urls(settings: StudySettings) -> tuple[str, ...]:
    """All base URLs that may be read."""
    return (*settings.allowed_dicomweb_urls, *(item.url for item in settings.dicomweb_servers.values()))


def _covers(base: str, parts: SplitResult) -> bool:
    known = urlsplit(base)
    wanted = _segments(known)
    return _origin(known) == _origin(parts) and _segments(parts)[: len(wanted)] == wanted


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


class AllowedSession(requests.Session):
    """Follows no redirect off the allow-list, and receives no more than a study and its instances may be large.

    Attributes:
        ended_whole: Whether the last answer ended with the closing delimiter of its parts (RFC 2046 section 5.1.1).
    """

    def __init__(self, settings: StudySettings, server: DicomWebServer | None = None) -> None:
        super().__init__()
        self._settings = settings
        self._allowed = allowed_urls(settings)
        self._largest_document_bytes: int | None = None
        self._responses: list[requests.Response] = []
        self._meter = Meter(settings.dicomweb_total_seconds, settings.dicomweb_idle_seconds)
        self._study_bytes = self._instance_bytes = 0
        self.ended_whole = False
        self.max_redirects = _MOST_REDIRECTS
        for scheme in _DEFAULT_PORTS:
            self.mount(f"{scheme}://", MeteredAdapter(self._meter))
        self.hooks["response"].append(self._limit)
        self._authority = None if server is None else server.tls_authority
        if server is not None:
            log_in(self, server, setting="dicomweb_servers")

    def expect_documents(self, largest_bytes: int) -> None:
        """Answers are documents from now on, and no larger than this together."""
        self._largest_document_bytes = largest_bytes

    def close(self) -> None:
        """Close every connection."""
        # The pool does not know the connection of an answer that nobody has read to its end.
        for response in self._responses:
            response.raw.close()
        super().close()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """See requests; refuses what leads off the allow-list."""
        target = super().get_redirect_target(resp)
        if target is not None:
            absolute = urlsplit(urljoin(resp.url, target))
            require_allowed_url(absolute._replace(query="", fragment="").geturl(), self._allowed)
        return target

    def merge_environment_settings(self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """See requests; the authority of the settings comes before that of the environment."""
        own = verify if self._authority is None else str(self._authority)
        return super().merge_environment_settings(url, proxies, stream, own, cert)

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
        if self._largest_document_bytes is not None and self._study_bytes > self._largest_document_bytes:
            raise PacsAnswerRefused(
                "The DICOMweb server finds more than can be taken in. Narrow the search.",
                cut="document",
                limit_bytes=self._largest_document_bytes,
            )
        limit = self._settings.quota_bytes_per_study
        if self._study_bytes > limit + BLOCK_BYTES:
            raise QuotaExceeded(
                "The study is larger than this server allows. Ask the administrator for more.",
                scope="study",
                limit_bytes=limit,
            )
        limit = self._settings.dicom_limits.file_bytes
        if self._instance_bytes > limit + BLOCK_BYTES:
            raise PacsAnswerRefused(
                "The DICOMweb server sends an object larger than a file may be here, or one without end. Check what "
                "answers at the URL, or ask the administrator for more (dicom_limits, file_bytes).",
                cut="instance",
                limit_bytes=limit,
            )


@contextmanager
def told_errors() -> Iterator[None]:
    """Turns what libraries raise about a server into errors of ours, without their words: those hold URLs."""
    try:
        yield
    except requests.TooManyRedirects:
        raise PacsAnswerRefused(
            "The DICOMweb server sends from one address to the next. Give the URL at which it answers.", cut="redirects"
        ) from None
    except requests.HTTPError as error:
        raise _refusal(0 if error.response is None else error.response.status_code) from None
    except requests.exceptions.SSLError:
        raise TlsHandshakeFailed(
            "No encrypted connection to the DICOMweb server: its certificate is not of an authority that is trusted "
            "here, or does not carry the name in the URL. Give the PEM file of the authority (dicomweb_servers).",
            cause="untrusted_authority",
        ) from None
    except (KeyError, ValueError, EOFError, RecursionError) as error:
        if isinstance(error, requests.RequestException) and not isinstance(error, requests.exceptions.JSONDecodeError):
            raise _away() from None
        raise InvalidRequest(
            "What answers at the URL does not answer as a DICOMweb server. Check that the URL is that of the DICOMweb "
            "service, not of a viewer or a log-in page.",
            field="url",
        ) from None
    except (requests.RequestException, OSError):
        raise _away() from None


def _away() -> PeerUnavailable:
    return PeerUnavailable(
        "The DICOMweb server does not answer, or broke off. Try again; if it goes on, check that it runs."
    )


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
            "The DICOMweb server refuses the login of the settings (dicomweb_servers), or the study to that user. "
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
