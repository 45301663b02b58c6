"""Settings of the issuer of tokens (OpenID Connect)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oncoresponse.access.issuer_http import require_issuer_url
from oncoresponse.access.roles import AccessRole

BREAK_GLASS = "break_glass"
"""In place of an access role: the caller may read what is closed to it, for a reason (emergency access)."""

_Given = Literal["submit", "read", "sign", "train", "metrics", "administer", "break_glass"]


class OidcSettings(BaseModel):
    """Which tokens are accepted, and what their claims mean.

    Attributes:
        issuer: Claim ``iss``, letter by letter; https, or http on the loopback address.
        audience: What claim ``aud`` has to hold: the name under which the issuer knows this installation.
        jwks_url: Where its keys are; empty to read it from ``ISSUER/.well-known/openid-configuration``.
        roles_claim: Claim with the roles; dots lead into objects (``realm_access.roles`` of Keycloak).
        role_names: What its values mean: to an access role or ``break_glass``. Without it those that are called like an
            access role, or ``break_glass``, mean just that. Values that are not here mean nothing.
        tenant_claim: Claim with the tenant; a token without it is then refused. Empty where there are no tenants.
        scope_claim: Claim with the scopes, of which those of SMART App Launch narrow what may be read over FHIR.
        patient_claim: Claim with the id of the patient of a launch, as the EHR's FHIR server calls that Patient.
        patient_identifier_claim: Claim with the medical record number of that patient, ``SYSTEM|VALUE`` or the value
            alone; empty where there is none.
        patient_identifier_issuer: DICOM Issuer of Patient ID (0010,0021) of a value alone.
        authority: PEM file of the authority of the issuer's certificate; those of the system when not given.
        maximum_lifetime_minutes: Longest time between ``iat`` and ``exp``. Where the issuer is not asked, what it took
            back stays valid here that long.
        keys_kept_minutes: How long its keys are used while it cannot be reached.
        introspection_url: Endpoint that says whether a token is still valid (RFC 7662); empty to ask nobody.
        introspection_client: Client id to show there.
        introspection_secret_file: File with the secret of that client.
        introspection_seconds: How long an answer holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str
    audience: str = Field(min_length=1)
    jwks_url: str = ""
    roles_claim: str = Field(default="roles", min_length=1)
    role_names: dict[str, _Given] = {}
    tenant_claim: str = ""
    scope_claim: str = "scope"
    patient_claim: str = "patient"
    patient_identifier_claim: str = ""
    patient_identifier_issuer: str = ""
    authority: Path | None = None
    maximum_lifetime_minutes: float = Field(default=60, gt=0, le=24 * 60)
    keys_kept_minutes: float = Field(default=120, ge=1, le=7 * 24 * 60)
    introspection_url: str = ""
    introspection_client: str = ""
    introspection_secret_file: Path | None = None
    introspection_seconds: float = Field(default=60, ge=0, le=3600)

    @field_validator("issuer", "jwks_url", "introspection_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return require_issuer_url(value) if value else value

    @field_validator("issuer")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value:
            raise ValueError("name the issuer, as its tokens do (iss)")
        return value

    @field_validator("authority", "introspection_secret_file")
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _whole(self) -> OidcSettings:
        if self.introspection_url and not (self.introspection_client and self.introspection_secret_file):
            raise ValueError("introspection_url needs introspection_client and introspection_secret_file")
        return self

    def meaning_of(self, value: str) -> str | None:
        """Access role or ``break_glass`` that a value of the claim stands for; ``None`` for nothing."""
        if self.role_names:
            return self.role_names.get(value)
        return value if value in {*AccessRole, BREAK_GLASS} - {AccessRole.STAGE} else None
