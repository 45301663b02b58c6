"""Import of a study from a DICOMweb server (PS3.18, WADO-RS Retrieve Study)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.errors import InvalidDicomError

from oncoresponse.dicom.reading import is_media_directory
from oncoresponse.errors import NoImages, PeerUnavailable, QuotaExceeded, UrlNotAllowed
from oncoresponse.servers.directory_import import ImportCount
from oncoresponse.servers.study_settings import StudySettings
from oncoresponse.storage.study_store import CheckInstance, StudyStore

# These log URLs and headers, and the URL of a study holds its UID.
for _name in ("dicomweb_client", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ANY_TRANSFER_SYNTAX = (("application/dicom", "*"),)
_BLOCK_BYTES = 1024 * 1024


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
    store: StudyStore, name: str, url: str, study_instance_uid: str, settings: StudySettings, check: CheckInstance
) -> Iterator[ImportCount]:
    """Retrieve a study and add its instances, reporting after each. One instance at a time is in memory.

    Instances arrive in the transfer syntax in which the server keeps them, and are stored byte for byte.

    Args:
        store: Where the study is.
        name: The study.
        url: Base URL; a user name and password in it are sent as HTTP Basic authentication.
        study_instance_uid: (0020,000D).
        settings: The allow-list and the timeouts.
        check: Refuses unreadable DICOM.

    Raises:
        UrlNotAllowed: The URL, or one that it redirects to, is not on the allow-list.
        PeerUnavailable: The server cannot be reached, refuses, or sends what is not DICOM.
        NoImages: The server has no such study.
        DicomError, QuotaExceeded, DiskFull, StudyAlreadyComplete: See :meth:`StudyStore.add`.
    """
    parts = require_allowed_url(url, settings.allowed_dicomweb_urls)
    scheme, host, port = _origin(parts)
    base_url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"
    examined = 0
    with closing(_AllowedSession(settings)) as session:
        if parts.username is not None:
            session.auth = (unquote(parts.username), unquote(parts.password or ""))
        for data in _instances(session, base_url, study_instance_uid, settings):
            examined += 1
            if not is_media_directory(data[:1024]):
                store.add(name, _blocks(data), check)
            yield ImportCount(examined, examined, 0)


class _AllowedSession(requests.Session):
    """Follows no redirect off the allow-list, and receives no more than a study may be large."""

    def __init__(self, settings: StudySettings) -> None:
        super().__init__()
        self._settings = settings
        self._responses: list[requests.Response] = []
        self.hooks["response"].append(self._limit)

    def close(self) -> None:
        # The pool does not know the connection of an answer that nobody has read to its end.
        for response in self._responses:
            response.close()
        super().close()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            absolute = urlsplit(urljoin(resp.url, target))
            require_allowed_url(absolute._replace(query="", fragment="").geturl(), self._settings.allowed_dicomweb_urls)
        return target

    def _limit(self, response: requests.Response, **_: object) -> None:
        # The client looks for the end of a part before it hands it on; a part without end would fill the memory.
        self._responses.append(response)
        iterate, limit = response.iter_content, self._settings.quota_bytes_per_study

        def limited(*arguments: Any, **named: Any) -> Iterator[bytes]:
            received = 0
            for block in iterate(*arguments, **named):
                received += len(block)
                if received > limit + _BLOCK_BYTES:
                    raise QuotaExceeded(
                        "The study is larger than this server allows. Ask the administrator for more.",
                        scope="study",
                        limit_bytes=limit,
                    )
                yield block

        response.iter_content = limited  # type: ignore[method-assign]


def _instances(session: _AllowedSession, base_url: str, uid: str, settings: StudySettings) -> Iterator[bytes]:
    client = DICOMwebClient(
        base_url,
        session=session,
        chunk_size=_BLOCK_BYTES,
        permissive_uid=True,
        timeout=(settings.dicomweb_connect_timeout_seconds, settings.dicomweb_read_timeout_seconds),
    )
    # The caller repeats the import with the same request_id; waiting here would only hold a thread.
    client.set_http_retry_params(retry=False)
    try:
        datasets = client.iter_study(uid, media_types=_ANY_TRANSFER_SYNTAX)
        for dataset in datasets:
            # The bytes as they came; writing the data set anew might change them.
            yield dataset.buffer.getvalue()
    except requests.HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        if status == requests.codes.not_found:
            raise NoImages("The DICOMweb server has no such study. Check the Study Instance UID.") from None
        raise PeerUnavailable(f"The DICOMweb server answered with HTTP status {status}.", http_status=status) from None
    except (requests.RequestException, OSError):
        raise PeerUnavailable(
            "The DICOMweb server does not answer, or broke off. Try again; if it goes on, check that it runs."
        ) from None
    except (InvalidDicomError, KeyError, ValueError, EOFError):
        raise PeerUnavailable(
            "The DICOMweb server did not answer with DICOM instances. "
            "Check that the URL is that of its DICOMweb service."
        ) from None


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
