"""Import of a study from a DICOMweb server (PS3.18, WADO-RS Retrieve Study and Retrieve Series)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass

from dicomweb_client.web import DICOMwebClient, _Transaction

from oncoresponse.case.left_out import LeftOutInstance, left_out_instance
from oncoresponse.dicom.reading import is_media_directory
from oncoresponse.errors import DicomError, PacsAnswerRefused, PeerUnavailable
from oncoresponse.intake.dicomweb_search import series_of_modalities
from oncoresponse.intake.dicomweb_session import BLOCK_BYTES, AllowedSession, Target, told_errors
from oncoresponse.intake.directory_import import ImportCount
from oncoresponse.intake.study_settings import StudySettings
from oncoresponse.storage.study_indexing import ReadObject
from oncoresponse.storage.study_store import StudyStore

_MOST_LEFT_OUT = 10_000


@dataclass(frozen=True)
class Wanted:
    """What of a study is retrieved.

    Attributes:
        study_instance_uid: (0020,000D).
        series: Series Instance UIDs; empty for no choice by them.
        modalities: Series of these modalities, which the server is asked for; empty for no choice by them.
    """

    study_instance_uid: str
    series: tuple[str, ...] = ()
    modalities: frozenset[str] = frozenset()


def import_dicomweb(
    store: StudyStore, name: str, target: Target, wanted: Wanted, settings: StudySettings, check: ReadObject
) -> Iterator[ImportCount]:
    """Retrieve a study and add its instances, reporting after each. One instance at a time is in memory.

    Instances arrive in the transfer syntax in which the server keeps them, and are stored byte for byte. A damaged one
    is left out, with the reason, because nobody who imports can remove it from the archive; whether the model needs it
    is known when the study is converted.

    Args:
        store: Where the study is.
        name: The study.
        target: The server.
        wanted: What to retrieve.
        settings: The allow-list and the timeouts.
        check: Refuses unreadable DICOM.

    Raises:
        UrlNotAllowed: The server redirects to a URL that is not on the allow-list.
        PacsAccessDenied: The server refuses the login, or the study to it.
        PacsTooSlow: The server drips, keeps silent, or takes longer than the settings allow.
        PacsAnswerRefused: It sends a header, redirects, an object or transport without end.
        PeerUnavailable: The server cannot be reached, is busy, or breaks off.
        TlsHandshakeFailed: Its certificate is not trusted.
        InvalidRequest: The URL is that of something else than DICOMweb, or the server refuses the request.
        NoImages: The server has no such study, or of it no such series.
        QuotaExceeded, DiskFull, StudyAlreadyComplete: See :meth:`StudyStore.add`.
    """
    series = wanted.series
    if wanted.modalities:
        series = series_of_modalities(target, wanted.study_instance_uid, wanted.modalities, settings)
    unreadable: list[LeftOutInstance] = []
    examined = 0
    with closing(AllowedSession(settings, target.server)) as session:
        for data in _instances(session, target, wanted.study_instance_uid, series, settings):
            if data is None:
                if unreadable and unreadable[-1].number == examined and not session.ended_whole:
                    raise PeerUnavailable("The DICOMweb server broke off in the middle of an object. Try again.")
                continue
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
        yield ImportCount(examined, examined - len(unreadable), len(unreadable), tuple(unreadable))


class _Parts(DICOMwebClient):
    """Gives the parts of an answer as they came; the client's own iterator ends at the first that it cannot parse."""

    def iter_parts(self, study_instance_uid: str, series_instance_uid: str) -> Iterator[bytes]:
        if series_instance_uid:
            url = self._get_series_url(_Transaction.RETRIEVE, study_instance_uid, series_instance_uid)
        else:
            url = self._get_studies_url(_Transaction.RETRIEVE, study_instance_uid)
        accepted = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        response = self._http_get(url, headers={"Accept": accepted}, stream=True)
        if response.headers["Content-Type"].lower().startswith("application/dicom"):
            # Against PS3.18 section 8.6.1.2, but some servers send a single instance so.
            return iter([response.content])
        parts: Iterator[bytes] = self._decode_multipart_message(response, stream=True)
        return parts


def _instances(
    session: AllowedSession, target: Target, study: str, series: Collection[str], settings: StudySettings
) -> Iterator[bytes | None]:
    """Instances, and ``None`` after those of each answer."""
    client = _Parts(
        target.base_url,
        session=session,
        chunk_size=BLOCK_BYTES,
        permissive_uid=True,
        timeout=(settings.dicomweb_connect_timeout_seconds, settings.dicomweb_idle_seconds),
    )
    # The caller repeats the import with the same request_id; waiting here would only hold a thread.
    client.set_http_retry_params(retry=False)
    with told_errors():
        for each in series or ("",):
            for part in client.iter_parts(study, each):
                session.begin_instance()
                yield bytes(part)
            yield None


def _blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), BLOCK_BYTES):
        yield data[start : start + BLOCK_BYTES]
