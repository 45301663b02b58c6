"""What an archive is asked for, and what it tells of a study."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyQuery:
    """What is looked for; what is not given is not asked. At least one is."""

    patient_id: str = ""
    study_date_from: str = ""
    study_date_to: str = ""
    modality: str = ""
    accession_number: str = ""


@dataclass(frozen=True)
class PeerStudy:
    """A study as the archive tells of it; empty where it does not say."""

    study_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    study_date: str
    study_time: str
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int
