"""Who the installation is to the EHR, and how what it writes is put: as frozen data, from the settings."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_INLINE_BYTES = 4 * 1024**2
"""Attachments up to this size stand inside their resource."""


@dataclass(frozen=True)
class ReportSite:
    """What reports need to know of the hospital.

    Attributes:
        organization_reference: Organization of the EHR (``Organization/123``); empty for none.
        organization_system, organization_identifier: Business identifier of the organization, under which the EHR knows
            it; both or none.
        patient_id_system: URI of the namespace of Patient IDs for which a study names no issuer.
        patient_id_systems: The same for the Issuers of Patient ID (0010,0021) that studies name, in pairs; an issuer
            that is not among them has none, as the ID may be of another hospital.
        accession_system: URI of the namespace of accession numbers.
        visit_system: URI of the namespace of Admission IDs (0038,0010).
        time_zone: IANA name of the time zone of scanners that state none; empty: then no time of day is claimed.
        local_base: Base URL of local code systems and identifier systems; empty for the one of the software.
        dicomweb_url: Base URL of the archive's DICOMweb service, for the addresses of objects; empty for none.
        inline_bytes: Largest attachment inside a resource; a larger one is a Binary.
    """

    organization_reference: str = ""
    organization_system: str = ""
    organization_identifier: str = ""
    patient_id_system: str = ""
    patient_id_systems: tuple[tuple[str, str], ...] = ()
    accession_system: str = ""
    visit_system: str = ""
    time_zone: str = ""
    local_base: str = ""
    dicomweb_url: str = ""
    inline_bytes: int = DEFAULT_INLINE_BYTES

    def system_of_patient_id(self, issuer: str | None) -> str:
        """URI of the namespace of a Patient ID; empty where it is not known."""
        return dict(self.patient_id_systems).get(issuer, "") if issuer else self.patient_id_system


NO_SITE = ReportSite()
"""Nothing is known of the hospital."""
