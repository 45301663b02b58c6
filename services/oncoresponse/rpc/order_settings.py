"""Settings of the ways on which orders come in: HL7 v2, and FHIR servers that are asked for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oncoresponse.access.names import TenantName
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.addresses import host_of, is_loopback, require_address
from oncoresponse.rpc.ehr_settings import FhirServer
from oncoresponse.rpc.tls import require_readable_pem

_Issuer = Annotated[str, Field(max_length=64)]


class Hl7Settings(BaseModel):
    """The listener for HL7 v2 messages by MLLP: ORM^O01, OML^O21, ADT^A40.

    Attributes:
        listen: ``HOST:PORT``; port 0 takes a free one.
        senders: Who may send, by sending application and facility (MSH-3, MSH-4) as ``APPLICATION|FACILITY``, with the
            IP address each has to come from; an empty address for any. That is no proof of who sends: use TLS.
        tenants: Whose studies the orders of a sender are for, by sender, where the installation serves several tenants;
            orders of the others are for all studies. A sender with a tenant merges no patients.
        issuers: DICOM Issuer of Patient ID by assigning authority (PID-3.4: its name, else its universal ID). An
            authority that is not here is the issuer itself.
        accession_field: Where orders have the accession number; when not given ``IPC-1``, else ``OBR-18`` (IHE).
        tls_certificate, tls_key: PEM files. Required beyond the loopback address.
        tls_client_authority: PEM file; when given, senders must show a certificate of this authority.
        connections: At the same time.
        message_bytes: Longest message.
        idle_seconds: How long a connection may take to send the next message whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str
    senders: dict[str, str] = Field(min_length=1)
    tenants: dict[str, TenantName] = Field(default_factory=dict)
    issuers: dict[str, _Issuer] = Field(default_factory=dict)
    accession_field: Literal["", "IPC-1", "OBR-18", "OBR-3", "ORC-2"] = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authority: Path | None = None
    connections: int = Field(default=20, ge=1, le=1000)
    message_bytes: int = Field(default=1024**2, ge=1024, le=64 * 1024**2)
    idle_seconds: float = Field(default=300.0, gt=0, le=86_400)

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        return require_address(value)

    @field_validator("senders")
    @classmethod
    def _application_and_facility(cls, value: dict[str, str]) -> dict[str, str]:
        if any(name.count("|") != 1 or name == "|" for name in value):
            raise ValueError("a sender is APPLICATION|FACILITY, as in MSH-3 and MSH-4; one of them may be empty")
        return value

    @field_validator("tls_certificate", "tls_key", "tls_client_authority")
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _tenants_of_senders(self) -> Hl7Settings:
        if unknown := sorted(self.tenants.keys() - self.senders.keys()):
            raise ValueError(f"tenants names {unknown[0]}, which is none of senders")
        return self

    @model_validator(mode="after")
    def _both_files(self) -> Hl7Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        if self.tls_client_authority is not None and self.tls_certificate is None:
            raise ValueError("tls_client_authority needs tls_certificate and tls_key")
        return self

    def require_safe_listening(self, *, allow_insecure_network: bool) -> None:
        """Refuse to take patient data in the clear from a network.

        Args:
            allow_insecure_network: Setting of the server.

        Raises:
            ConfigurationError: The address is not loopback, and there is no TLS; or a file cannot be used.
        """
        require_readable_pem(authority=self.tls_client_authority, certificate=self.tls_certificate, key=self.tls_key)
        if self.tls_certificate is not None or allow_insecure_network or is_loopback(host_of(self.listen)):
            return
        raise ConfigurationError(
            f"Listening on {self.listen} for HL7 without TLS would let patient data cross the network unencrypted. Set "
            "tls_certificate and tls_key of hl7, or allow_insecure_network for a network that is protected otherwise.",
            setting="hl7",
        )


class FhirOrders(FhirServer):
    """A FHIR R4 server that is asked for orders: its ServiceRequests. How it is called says the base class.

    Attributes:
        code: Only orders with one of these codes, ``SYSTEM|CODE``; what else the server holds is not asked for.
        accession_system: System of the identifier that is the accession number; without it the identifier of type
            ``ACSN`` (v2-0203).
        patient_systems: DICOM Issuer of Patient ID by system of a patient's identifier; an empty issuer for images that
            name none. The first that a patient has is taken; an order of a patient without one is refused.
        tenant: Whose studies its orders are for, where the installation serves several tenants; empty for all.
        poll_seconds: How often it is asked.
    """

    code: tuple[Annotated[str, Field(pattern=r"^[^\s|,]+\|[^\s|,]+$", max_length=255)], ...] = Field(
        min_length=1, max_length=50
    )
    accession_system: str = Field(default="", max_length=255)
    patient_systems: dict[str, _Issuer] = Field(min_length=1)
    tenant: TenantName = ""
    poll_seconds: float = Field(default=30.0, ge=0.2, le=3600)
