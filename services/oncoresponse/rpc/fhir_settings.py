"""Settings of what reports say of the hospital in FHIR: whose identifiers, which organization, which time zone."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_SYSTEM = r"^(|(https?://|urn:)\S{1,250})$"
# Nothing that a URL inside a search or a JSON text would have to escape.
_WEB = r"^(|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?)$"
_System = Annotated[str, Field(pattern=_SYSTEM)]


class FhirSettings(BaseModel):
    """What the report's FHIR Bundle says of the installation. A URI ends without a slash.

    Attributes:
        organization: Literal reference to the Organization of the EHR, ``Organization/123``; excludes the next two.
        organization_system, organization_identifier: Business identifier of the organization: the Bundle creates the
            Organization once, with ``performing_organization`` as its name, where the EHR has none.
        patient_id_system: URI of the namespace of Patient IDs (MRN) for which a study names no issuer.
        patient_id_systems: The same by Issuer of Patient ID (0010,0021), for the issuers that studies name.
        accession_system: URI of the namespace of accession numbers.
        visit_system: URI of the namespace of Admission IDs (0038,0010), from which the Encounter is named.
        time_zone: IANA name of the zone of studies that state none, as ``Europe/Berlin``.
        local_base: Base URL of local code systems and identifier systems, as ``https://hospital.org/fhir``.
        dicomweb_url: Base URL under which readers of the EHR reach the archive by DICOMweb (WADO-RS).
        inline_bytes: Largest attachment inside a resource, before base64; a larger one is a Binary of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    organization: str = Field(default="", pattern=r"^(|Organization/[A-Za-z0-9.-]{1,64})$")
    organization_system: _System = ""
    organization_identifier: str = Field(default="", max_length=200)
    patient_id_system: _System = ""
    patient_id_systems: dict[Annotated[str, Field(min_length=1, max_length=64)], _System] = {}
    accession_system: _System = ""
    visit_system: _System = ""
    time_zone: str = ""
    local_base: str = Field(default="", pattern=_WEB)
    dicomweb_url: str = Field(default="", pattern=_WEB)
    inline_bytes: int = Field(default=4 * 1024**2, ge=0, le=64 * 1024**2)

    @field_validator("local_base", "dicomweb_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value and value not in available_timezones():
            raise ValueError(f"{value!r} is no time zone of the IANA database, as Europe/Berlin is")
        if value:
            ZoneInfo(value)
        return value

    @model_validator(mode="after")
    def _one_organization(self) -> FhirSettings:
        if bool(self.organization_system) != bool(self.organization_identifier):
            raise ValueError("organization_system and organization_identifier belong together")
        if self.organization and self.organization_identifier:
            raise ValueError("name the organization by its reference or by its identifier, not by both")
        return self
