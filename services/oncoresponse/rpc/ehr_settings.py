"""Settings of destinations that are an EHR, or its interface engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.addresses import host_of, is_loopback, require_address
from oncoresponse.rpc.tls import require_readable_pem
from oncoresponse.rpc.tls_files import TlsFiles

_URL = r"^https?://[^\s@?#]+$"
# HD of HL7 v2.5.1 section 2.A.36: namespace, universal ID, its type.
_AUTHORITY = r"^[^\s|^~\\&]{0,20}(&[0-9A-Za-z.:-]{1,199}&[A-Z0-9]{1,6})?$"
_APPLICATION = r"^[^|^~\\&\x00-\x1f\x7f]{0,180}$"
Hl7Application = Annotated[str, Field(pattern=_APPLICATION)]


class SmartBackend(BaseModel):
    """SMART Backend Services: a client that shows a signed assertion (SMART App Launch 2.2, RFC 7523).

    Attributes:
        client_id: As the EHR has registered it.
        key_file: Private key, PEM or JWK; P-384 signs ES384, RSA of at least 2048 bits RS384. Read anew for each
            assertion, so that it can be changed while the server runs.
        key_id: ``kid`` by which the EHR finds the public key; that of the JWK, else the thumbprint of RFC 7638, when
            not given.
        scope: What is asked for, such as ``system/Patient.rs system/DiagnosticReport.crus``.
        token_url: Token endpoint; that of ``.well-known/smart-configuration`` when not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: str = Field(min_length=1, max_length=255)
    key_file: Path
    key_id: str = Field(default="", max_length=255)
    scope: str = Field(min_length=1, max_length=2000)
    token_url: str = Field(default="", pattern=f"{_URL}|^$")

    @field_validator("key_file")
    @classmethod
    def _home_folder(cls, value: Path) -> Path:
        return value.expanduser()


class FhirServer(TlsFiles):
    """A FHIR R4 server that is called.

    Attributes:
        url: Base URL.
        smart: Login by SMART Backend Services.
        user, password_file: Instead: HTTP Basic authentication.
        token_file: Instead: file with a bearer token.
        tls_authority: PEM file of the authority to trust; those that the machine trusts when not given.
        tls_certificate, tls_key: PEM files to show.
        connect_seconds: Longest wait for a connection.
        idle_seconds: Longest wait for an answer.
    """

    url: str = Field(pattern=_URL)
    smart: SmartBackend | None = None
    user: str = Field(default="", max_length=255)
    password_file: Path | None = None
    token_file: Path | None = None
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    idle_seconds: float = Field(default=60.0, gt=0, le=3600)

    @field_validator("password_file", "token_file")
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file belong together")
        if sum((self.smart is not None, bool(self.user), self.token_file is not None)) > 1:
            raise ValueError("give one of smart, user with password_file, and token_file")
        return self

    def require_safe_calling(self, *, setting: str, allow_insecure_network: bool) -> None:
        """Refuse to exchange patient data, or a login, in the clear over a network.

        Args:
            setting: Where this stands, for the message.
            allow_insecure_network: Setting of the server.

        Raises:
            ConfigurationError: A URL is not loopback, and not https; or a file cannot be used.
        """
        require_readable_pem(authority=self.tls_authority, certificate=self.tls_certificate, key=self.tls_key)
        token_url = "" if self.smart is None else self.smart.token_url
        if allow_insecure_network or all(is_private_url(url) for url in (self.url, token_url) if url):
            return
        raise ConfigurationError(
            f"A FHIR server of {setting} beyond the loopback address needs https: patient data would cross the network "
            "unencrypted. Correct url and token_url, or set allow_insecure_network.",
            setting=setting,
        )


class FhirDestination(FhirServer):
    """A FHIR R4 server that results are sent to.

    Attributes:
        kind: ``fhir``.
        form: ``transaction``: the report Bundle. ``document``: a DocumentReference with the PDF. ``imr``: after a
            signature, the Bundle of IHE IMR (RAD-141).
        patient: ``search``: the patient is looked for by identifier, never by name, and what is sent refers to that
            one. ``as-sent``: what is sent refers to the identifier, and the server assigns it.
        patient_system: System of patient identifiers for which the report names neither system nor issuer.
        patient_systems: The same by Issuer of Patient ID (0010,0021); of an issuer that is not here nothing is sent.
        supersede: With ``document``: the document of the version before gets status ``superseded``; false for servers
            that do it themselves by ``relatesTo``, or allow no update.
        parallel: Deliveries at the same time.
    """

    kind: Literal["fhir"]
    form: Literal["transaction", "document", "imr"] = "transaction"
    patient: Literal["search", "as-sent"] = "search"
    patient_system: str = Field(default="", pattern=r"^[^\s|]*$", max_length=255)
    patient_systems: dict[str, Annotated[str, Field(pattern=r"^[^\s|]+$", max_length=255)]] = Field(
        default_factory=dict
    )
    supersede: bool = True
    parallel: int = Field(default=2, ge=1, le=20)

    def require_safe_sending(self, *, allow_insecure_network: bool) -> None:
        """See :meth:`require_safe_calling`."""
        self.require_safe_calling(setting="destinations", allow_insecure_network=allow_insecure_network)


def is_private_url(url: str) -> bool:
    """Whether what is sent there is encrypted, or stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.hostname is not None and is_loopback(parts.hostname))


class MllpDestination(TlsFiles):
    """An interface engine that takes HL7 v2.5.1 messages by MLLP.

    Attributes:
        kind: ``mllp``.
        address: ``HOST:PORT``.
        form: ``oru``: ORU^R01, results with the PDF. ``mdm``: MDM^T02 with the PDF, T10 for a later version, and T11
            where the report is withdrawn.
        withdraw_by: With ``mdm``: ``T11`` cancels the document; ``T10`` replaces it by the page that says so. HL7 has
            T11 for documents that were not made available yet, and many systems take nothing else.
        tls_authority: PEM file of the authority to trust; with it, or with a certificate, TLS 1.2 at least is spoken,
            and nothing else.
        tls_certificate, tls_key: PEM files to show.
        sending_application, sending_facility: MSH-3, MSH-4.
        receiving_application, receiving_facility: MSH-5, MSH-6.
        processing_id: MSH-11: production, training or debugging.
        assigning_authority: PID-3.4 where the study names no issuer, as ``NAME`` or ``NAME&1.2.3&ISO``.
        assigning_authorities: The same by Issuer of Patient ID (0010,0021); one that is not here stands for itself.
        connect_seconds: Longest wait for a connection.
        idle_seconds: Longest wait for the acknowledgement.
        parallel: Deliveries at the same time, each on a connection of its own.
    """

    kind: Literal["mllp"]
    address: str
    form: Literal["oru", "mdm"] = "oru"
    withdraw_by: Literal["T11", "T10"] = "T11"
    sending_application: Hl7Application = "ONCORESPONSE"
    sending_facility: Hl7Application = ""
    receiving_application: Hl7Application = ""
    receiving_facility: Hl7Application = ""
    processing_id: Literal["P", "T", "D"] = "P"
    assigning_authority: str = Field(default="", pattern=_AUTHORITY)
    assigning_authorities: dict[str, Annotated[str, Field(pattern=_AUTHORITY)]] = Field(default_factory=dict)
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    idle_seconds: float = Field(default=60.0, gt=0, le=3600)
    parallel: int = Field(default=1, ge=1, le=20)

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        return require_address(value)

    def require_safe_sending(self, *, allow_insecure_network: bool) -> None:
        """Refuse to send patient data in the clear to a network.

        Args:
            allow_insecure_network: Setting of the server.

        Raises:
            ConfigurationError: The address is not loopback, and there is no TLS; or a file cannot be used.
        """
        require_readable_pem(authority=self.tls_authority, certificate=self.tls_certificate, key=self.tls_key)
        if self.uses_tls or allow_insecure_network or is_loopback(host_of(self.address)):
            return
        raise ConfigurationError(
            f"Sending HL7 to {self.address} without TLS would let patient data cross the network unencrypted. Set "
            "tls_authority, or allow_insecure_network for a network that is protected otherwise.",
            setting="destinations",
        )


EventTold = Literal["report.ready", "report.signed", "report.amended", "report.withdrawn", "physician.needed"]
EVERY_EVENT: tuple[EventTold, ...] = get_args(EventTold)


class WebhookDestination(TlsFiles):
    """A URL that is told what happened (Standard Webhooks), without patient data.

    Attributes:
        kind: ``webhook``.
        url: Of the receiver; redirects are not followed.
        secret_file: File with the shared secrets, ``whsec_`` and base64, one a line; each signs.
        events: Which are told; the others count as sent.
        tls_authority: PEM file of the authority to trust; those that the machine trusts when not given.
        tls_certificate, tls_key: PEM files to show.
        connect_seconds: Longest wait for a connection.
        idle_seconds: Longest wait for an answer.
        parallel: Deliveries at the same time.
    """

    kind: Literal["webhook"]
    url: str = Field(pattern=r"^https?://[^\s@#]+$")
    secret_file: Path
    events: tuple[EventTold, ...] = EVERY_EVENT
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    idle_seconds: float = Field(default=30.0, gt=0, le=3600)
    parallel: int = Field(default=2, ge=1, le=20)

    @field_validator("secret_file")
    @classmethod
    def _home_folder(cls, value: Path) -> Path:
        return value.expanduser()

    def require_safe_sending(self, *, allow_insecure_network: bool) -> None:
        """Refuse to tell a network in the clear which assessments there are.

        Args:
            allow_insecure_network: Setting of the server.

        Raises:
            ConfigurationError: The URL is not loopback, and not https; or a file cannot be used.
        """
        require_readable_pem(authority=self.tls_authority, certificate=self.tls_certificate, key=self.tls_key)
        if allow_insecure_network or is_private_url(self.url):
            return
        raise ConfigurationError(
            "A destination of kind webhook beyond the loopback address needs https. Correct url, or set "
            "allow_insecure_network.",
            setting="destinations",
        )


class SubscriptionDestination(FhirServer):
    """A subscriber of a FHIR topic: R4 Subscriptions Backport 1.1, ``rest-hook``, payload ``id-only``.

    Attributes:
        kind: ``subscription``.
        url: Endpoint that gets the notifications.
        fhir_url: Base URL of the read API as the subscriber calls it; the references are below it.
        topic: Canonical URL of the topic.
        events: Which are told; the others count as sent, and leave their numbers out.
        parallel: One after another; after a failure a later one may come first, as their numbers tell.
    """

    kind: Literal["subscription"]
    fhir_url: str = Field(pattern=_URL)
    topic: str = Field(
        default="https://oncoresponse.example/fhir/SubscriptionTopic/imaging-report", pattern=r"^[a-z]+:\S{1,250}$"
    )
    events: tuple[EventTold, ...] = EVERY_EVENT
    parallel: Literal[1] = 1

    def require_safe_sending(self, *, allow_insecure_network: bool) -> None:
        """See :meth:`require_safe_calling`."""
        self.require_safe_calling(setting="destinations", allow_insecure_network=allow_insecure_network)
