"""Search on a DICOMweb server (PS3.18 section 10.6, QIDO-RS)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from dicomweb_client.web import DICOMwebClient

from oncoresponse.errors import NoImages
from oncoresponse.intake.dicomweb_session import AllowedSession, Target, told_errors
from oncoresponse.intake.study_settings import StudySettings

# A thousand studies with all that a server may add to each.
_LARGEST_DOCUMENT_BYTES = 16 * 1024**2
_MOST_SERIES = 10_000
_LONGEST_VALUE = 64
# PS3.18 section 8.3.4: attributes beside those that a server gives by itself.
_FIELDS = ("00080061", "00100021", "00201206", "00201208")


@dataclass(frozen=True)
class StudyFilter:
    """What is looked for; what is empty does not matter.

    Attributes:
        patient_id: (0010,0020), exactly.
        date_from, date_to: (0008,0020), YYYYMMDD, both included.
        modality: Of one of the series.
        accession_number: (0008,0050), exactly.
        limit: At most so many.
    """

    patient_id: str = ""
    date_from: str = ""
    date_to: str = ""
    modality: str = ""
    accession_number: str = ""
    limit: int = 50


@dataclass(frozen=True)
class FoundStudy:
    """What a server says of a study."""

    study_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    study_date: str
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int


def find_studies(target: Target, wanted: StudyFilter, settings: StudySettings) -> list[FoundStudy]:
    """The studies of a server that fit, at most as many as asked for.

    Raises:
        OncoResponseError: As :func:`~oncoresponse.intake.dicomweb_import.import_dicomweb`, but for what concerns a
            study.
    """
    filters = {
        "PatientID": wanted.patient_id,
        "StudyDate": f"{wanted.date_from}-{wanted.date_to}" if wanted.date_from or wanted.date_to else "",
        "ModalitiesInStudy": wanted.modality,
        "AccessionNumber": wanted.accession_number,
    }
    given = {name: value for name, value in filters.items() if value}
    with closing(AllowedSession(settings, target.server)) as session, told_errors():
        client = _client(session, target, settings)
        found = client.search_for_studies(search_filters=given, limit=wanted.limit, fields=list(_FIELDS))
        studies = [_study(item) for item in _documents(found)[: wanted.limit]]
    return [study for study in studies if study.study_instance_uid]


def series_of_modalities(
    target: Target, study_instance_uid: str, modalities: Collection[str], settings: StudySettings
) -> tuple[str, ...]:
    """UIDs of the series of a study that have one of the modalities, or of which the server does not say it.

    Raises:
        NoImages: The study has none.
        OncoResponseError: As :func:`find_studies`.
    """
    with closing(AllowedSession(settings, target.server)) as session, told_errors():
        client = _client(session, target, settings)
        found = client.search_for_series(study_instance_uid, fields=["00080060"])
        known = [(_text(item, "0020000E"), _text(item, "00080060")) for item in _documents(found)[:_MOST_SERIES]]
    chosen = tuple(uid for uid, modality in known if uid and (not modality or modality in modalities))
    if not chosen:
        raise NoImages(
            "The server answers that the study has no series that the model may need. Check the Study Instance UID, or "
            "retrieve the whole study.",
            modalities=", ".join(sorted(modalities)),
        )
    return chosen


def _client(session: AllowedSession, target: Target, settings: StudySettings) -> DICOMwebClient:
    session.expect_documents(_LARGEST_DOCUMENT_BYTES)
    client = DICOMwebClient(
        target.base_url,
        session=session,
        permissive_uid=True,
        timeout=(settings.dicomweb_connect_timeout_seconds, settings.dicomweb_idle_seconds),
    )
    client.set_http_retry_params(retry=False)
    return client


def _study(item: Mapping[str, Any]) -> FoundStudy:
    return FoundStudy(
        study_instance_uid=_text(item, "0020000D"),
        patient_id=_text(item, "00100020"),
        issuer_of_patient_id=_text(item, "00100021"),
        study_date=_text(item, "00080020"),
        modalities=tuple(sorted(filter(None, map(_plain, _values(item, "00080061"))))),
        series_count=_count(item, "00201206"),
        instance_count=_count(item, "00201208"),
    )


def _documents(answer: object) -> list[Mapping[str, Any]]:
    """The answer to a search (PS3.18 section F.2), as far as its shape is concerned.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
        raise ValueError("not a list of data sets")
    return answer


def _values(item: Mapping[str, Any], tag: str) -> list[Any]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _text(item: Mapping[str, Any], tag: str) -> str:
    return next(map(_plain, _values(item, tag)), "")


def _plain(value: object) -> str:
    """A value as text, when it is one that is shown to people and programs as it is."""
    return value.strip() if isinstance(value, str) and len(value) <= _LONGEST_VALUE and value.isprintable() else ""


def _count(item: Mapping[str, Any], tag: str) -> int:
    value = next(iter(_values(item, tag)), 0)
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0
