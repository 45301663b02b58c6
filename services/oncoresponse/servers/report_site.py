"""What reports need to know of the hospital, out of the settings."""

from __future__ import annotations

from oncoresponse.reporting.report_site import ReportSite
from oncoresponse.rpc.fhir_settings import FhirSettings


def report_site(settings: FhirSettings) -> ReportSite:
    """The site that the settings describe."""
    return ReportSite(
        organization_reference=settings.organization,
        organization_system=settings.organization_system,
        organization_identifier=settings.organization_identifier,
        patient_id_system=settings.patient_id_system,
        patient_id_systems=tuple(sorted(settings.patient_id_systems.items())),
        accession_system=settings.accession_system,
        visit_system=settings.visit_system,
        time_zone=settings.time_zone,
        local_base=settings.local_base,
        dicomweb_url=settings.dicomweb_url,
        inline_bytes=settings.inline_bytes,
    )
