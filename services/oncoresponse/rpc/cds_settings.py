"""Settings of CDS Hooks: which EHRs may call, and whose identifiers theirs are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_URL = r"^https?://[^\s@?#]+$"
_PAGE = r"^(|https?://[^\s@]+)$"
_SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
IMAGING_ORDERS = (
    # SNOMED CT: Imaging (procedure), the category of US Core for imaging; LOINC: Radiology.
    "http://snomed.info/sct|363679005",
    "http://loinc.org|LP29684-5",
    # HL7 v2 table 0074: diagnostic imaging, radiology, CT, MR, nuclear medicine, radiograph, ultrasound.
    *(f"{_SECTION}|{code}" for code in ("IMG", "RAD", "CT", "NMR", "NMS", "RX", "RUS")),
)
"""Category or code of the orders for which ``order-select`` gives cards, where the settings name none."""


class CdsClient(BaseModel):
    """An EHR that may call.

    Attributes:
        issuer: ``iss`` of its tokens.
        jwks_file: File with its public keys (JWKS), read anew when it changes.
        jwks_url: Instead: where they are; https. A ``jku`` of a token has to be this URL, and no other is ever asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1, max_length=500)
    jwks_file: Path | None = None
    jwks_url: str = Field(default="", pattern=r"^(|https://[^\s@?#]+)$")

    @field_validator("jwks_file")
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _one_place_of_keys(self) -> CdsClient:
        if (self.jwks_file is None) == (not self.jwks_url):
            raise ValueError("give jwks_file or jwks_url")
        return self


class CdsHooksSettings(BaseModel):
    """CDS Hooks 2.0 on the HTTP server.

    Attributes:
        base_url: Of this HTTP server as the EHR calls it: ``BASE/cds-services`` is the discovery, and audience of its
            token.
        clients: Who may call, by name.
        patient_identifiers: DICOM Issuer of Patient ID by system of a patient's identifier in the EHR; an empty issuer
            for images that name none. Identifiers of other systems lead to nobody.
        report_url: Link of a card, ``{id}`` stands for the id of the DiagnosticReport; when not given, of the read API.
        judgement_url: With ``judgement_first``: link of a card that awaits the physician's judgement, ``{id}`` stands
            for the identifier of the assessment; without it the card's own reasons are the way.
        source_url: Page of the hospital that says what this software is and is not for, ``source.url`` of each card.
        order_codes: What an order is for which ``order-select`` gives cards: its category or code, ``SYSTEM|CODE``, or
            ``SYSTEM|`` for any code of a system. An empty list: every order.
        origins: Web applications whose pages call by themselves, as ``https://app.hospital.example`` (CORS); by default
            none may.
        tls_authority: PEM file of the authority to trust for ``jwks_url``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(pattern=_URL)
    clients: dict[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")], CdsClient] = Field(min_length=1)
    patient_identifiers: dict[str, Annotated[str, Field(max_length=64)]] = Field(min_length=1)
    report_url: str = Field(default="", max_length=500, pattern=_PAGE)
    judgement_url: str = Field(default="", max_length=500, pattern=_PAGE)
    source_url: str = Field(default="", max_length=500, pattern=_PAGE)
    order_codes: tuple[Annotated[str, Field(max_length=500, pattern=r"^[^\s|]+\|[^|]*$")], ...] = IMAGING_ORDERS
    origins: tuple[Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")], ...] = ()
    tls_authority: Path | None = None

    @field_validator("base_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _issuers_differ(self) -> CdsHooksSettings:
        issuers = [each.issuer for each in self.clients.values()]
        if len(set(issuers)) < len(issuers):
            raise ValueError("two clients have the same issuer")
        return self
