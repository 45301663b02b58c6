"""By what studies are found."""

from __future__ import annotations

from dataclasses import dataclass

_OF_PATIENT = (
    "study.study_id IN (SELECT study_id FROM study_patient JOIN patient USING (patient_key) "
    "WHERE patient_id = :patient_id)"
)
_OF_ISSUER = f"{_OF_PATIENT[:-1]} AND issuer_of_patient_id = :issuer)"


@dataclass(frozen=True)
class StudyFilter:
    """What a listed study has; empty and ``None`` ask for nothing.

    Attributes:
        patient_id: DICOM Patient ID (0010,0020). Looked up, never logged.
        issuer_of_patient_id: (0010,0021), with ``patient_id``; without it any issuer fits.
        study_date_from, study_date_to: Study Date (0008,0020), YYYYMMDD, both included.
        modality: DICOM modality of one of the series.
        complete: Whether the study is complete.
        tenant: Of this tenant, empty for those without one; ``None`` for all.
    """

    patient_id: str = ""
    issuer_of_patient_id: str = ""
    study_date_from: str = ""
    study_date_to: str = ""
    modality: str = ""
    complete: bool | None = None
    tenant: str | None = None

    @property
    def needs_index(self) -> bool:
        """Whether it asks for what only the index of a study knows."""
        return any((self.patient_id, self.study_date_from, self.study_date_to, self.modality))

    def conditions(self) -> tuple[str, dict[str, str]]:
        """SQL to be put behind ``WHERE ... `` of a statement on ``study``, and its named parameters.

        Each part reads an index of the tables, so that a list does not go through all studies.
        """
        parts: list[str] = []
        values: dict[str, str] = {}
        if self.patient_id:
            parts.append(_OF_ISSUER if self.issuer_of_patient_id else _OF_PATIENT)
            values |= {"patient_id": self.patient_id, "issuer": self.issuer_of_patient_id}
        for name, relation in (("study_date_from", ">="), ("study_date_to", "<=")):
            if getattr(self, name):
                # An empty date is before every other.
                parts.append(f"study.study_date {relation} :{name} AND study.study_date <> ''")
                values[name] = getattr(self, name)
        if self.modality:
            parts.append("study.study_id IN (SELECT study_id FROM series WHERE modality = :modality)")
            values["modality"] = self.modality
        if self.tenant is not None:
            parts.append("study.tenant = :tenant")
            values["tenant"] = self.tenant
        if self.complete is not None:
            parts.append(f"study.manifest_sha256 IS {'NOT NULL' if self.complete else 'NULL'}")
        return "".join(f" AND {part}" for part in parts), values
