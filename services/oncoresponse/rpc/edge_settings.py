"""Settings of the edges: what of an installation speaks HTTP and DICOM, as a client of the front door."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.addresses import host_of, is_loopback, require_address
from oncoresponse.rpc.tls import require_readable_pem
from oncoresponse.rpc.tls_files import TlsFiles

# PS3.5 section 6.2, value representation AE: no control character, no backslash, not blank at the ends.
_AE_TITLE = r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$"


class HttpSettings(BaseModel):
    """The HTTP server: DICOMweb, and what of the front door is offered over HTTP.

    Attributes:
        listen: Address to listen on. Port 0 takes a free port.
        tls_certificate, tls_key: PEM files; those of the server when not given. Required to listen beyond the loopback
            address.
        tls_client_authority: PEM file of the authority of client certificates; that of the server when not given.
        client_certificates: Where there is an authority of them: ``required``, who shows none is refused at once;
            ``optional``, a token will do; ``none``, nobody is asked for one.
        request_seconds: A request has sent its header by then, or is cut off.
        idle_seconds: Longest time in which the sender of a body sends, or the reader of an answer takes, nothing.
        upload_seconds: Longest time that one upload may take.
        header_bytes: Largest header of a request, all lines together.
        header_count: Most lines of a header.
        body_bytes: Largest body of a request that is no upload.
        upload_bytes: Largest upload, all objects of one request together.
        connections: Open connections; one more is closed.
        quiet_seconds: A study that came in over HTTP is complete when nothing more of it has come for so long.
        requests: Requests at the same time; one more is answered with BUSY. Health is answered beyond it.
        public_url: URL of this server as callers reach it, without a path, for the links in FHIR answers; empty to take
            what each request was sent to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = "127.0.0.1:8042"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authority: Path | None = None
    client_certificates: str = Field(default="required", pattern="^(required|optional|none)$")
    request_seconds: float = Field(default=10.0, gt=0)
    idle_seconds: float = Field(default=60.0, gt=0)
    upload_seconds: float = Field(default=3600.0, gt=0)
    header_bytes: int = Field(default=32 * 1024, ge=1024, le=1024**2)
    header_count: int = Field(default=64, ge=8, le=1000)
    body_bytes: int = Field(default=1024**2, gt=0)
    upload_bytes: int = Field(default=4 * 1024**3, gt=0)
    connections: int = Field(default=500, ge=1, le=100_000)
    quiet_seconds: float = Field(default=30.0, gt=0)
    requests: int = Field(default=64, ge=1, le=10_000)
    public_url: str = Field(default="", pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+/?)?$")

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        return require_address(value)

    @field_validator("tls_certificate", "tls_key", "tls_client_authority")
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    def require_safe_listening(self, *, allow_insecure_network: bool, allow_anonymous: bool) -> None:
        """Refuse to offer patient data in the clear to a network, or to nobody in particular.

        Args:
            allow_insecure_network: Setting of the server.
            allow_anonymous: Setting of the server.

        Raises:
            ConfigurationError: The address is not loopback, and there is no TLS, or callers need not say who they are.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("http: tls_certificate and tls_key belong together; set both.", setting="http")
        if self.tls_client_authority is not None and self.tls_certificate is None:
            raise ConfigurationError(
                "http: tls_client_authority needs TLS: set tls_certificate and tls_key too.", setting="http"
            )
        require_readable_pem(authority=self.tls_client_authority, certificate=self.tls_certificate, key=self.tls_key)
        if is_loopback(host_of(self.listen)):
            return
        if self.tls_certificate is None and not allow_insecure_network:
            raise ConfigurationError(
                f"Listening for HTTP on {self.listen} would send patient data unencrypted. Set tls_certificate and "
                "tls_key, or allow_insecure_network for a network that is protected otherwise.",
                setting="http",
            )
        if allow_anonymous:
            raise ConfigurationError(
                "Beyond the loopback address every caller says who it is: with allow_anonymous, http listens on "
                "127.0.0.1 or ::1. Leave allow_anonymous out, and give callers tokens or certificates.",
                setting="http",
            )


class DicomWebServer(TlsFiles):
    """A DICOMweb server that studies are found on and retrieved from.

    Attributes:
        url: Base URL of its DICOMweb service.
        user, password_file: User name, and file with the password, of HTTP Basic authentication.
        token_file: Instead: file with a bearer token.
        tls_authority: PEM file of the authority to trust; those that the machine trusts when not given.
        tls_certificate, tls_key: PEM files to show.
    """

    url: str = Field(pattern=r"^https?://[^\s@]+$")
    user: str = Field(default="", max_length=255)
    password_file: Path | None = None
    token_file: Path | None = None

    @field_validator("password_file", "token_file")
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _one_login(self) -> DicomWebServer:
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file belong together")
        if self.user and self.token_file is not None:
            raise ValueError("give user and password_file, or token_file")
        return self


class PacsSettings(BaseModel):
    """The DICOM receiver: a storage service class provider (PS3.4 annex B).

    Attributes:
        listen: Address to listen on. Port 0 takes a free port.
        ae_title: Application Entity title that senders call.
        callers: Who may send: calling AE title, and the address that it has to come from; empty for any. A title is
            no proof of who calls: beyond loopback TLS with client certificates is, or a network that is yours.
        tls_certificate, tls_key: PEM files; with them TLS 1.2 at least is spoken, and nothing else.
        tls_client_authority: PEM file; when given, senders must show a certificate of this authority.
        quiet_seconds: A study is whole when nothing more of it has come for so long.
        associations: Open at the same time; one more is rejected as a passing condition.
        idle_seconds: An association on which nothing happens for so long is ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = "127.0.0.1:11112"
    ae_title: str = Field(default="ONCORESPONSE", pattern=_AE_TITLE)
    callers: dict[Annotated[str, Field(pattern=_AE_TITLE)], str] = Field(min_length=1, max_length=1000)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authority: Path | None = None
    quiet_seconds: float = Field(default=30.0, gt=0, le=86_400)
    associations: int = Field(default=20, ge=1, le=1000)
    idle_seconds: float = Field(default=60.0, gt=0)

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        return require_address(value)

    @field_validator("tls_certificate", "tls_key", "tls_client_authority")
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    def require_safe_listening(self, *, allow_insecure_network: bool) -> None:
        """Refuse to take patient data in the clear from a network.

        Args:
            allow_insecure_network: Setting of the server.

        Raises:
            ConfigurationError: The address is not loopback, and there is no TLS; or a file cannot be used.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("pacs: tls_certificate and tls_key belong together; set both.", setting="pacs")
        if self.tls_client_authority is not None and self.tls_certificate is None:
            raise ConfigurationError("pacs: tls_client_authority needs tls_certificate and tls_key.", setting="pacs")
        require_readable_pem(authority=self.tls_client_authority, certificate=self.tls_certificate, key=self.tls_key)
        if not is_loopback(host_of(self.listen)) and self.tls_certificate is None and not allow_insecure_network:
            raise ConfigurationError(
                f"Receiving DICOM on {self.listen} without TLS would let patient data cross the network unencrypted. "
                "Set tls_certificate and tls_key, or allow_insecure_network for a network that is protected otherwise.",
                setting="pacs",
            )


class Destination(TlsFiles):
    """Where results are sent: a PACS.

    Attributes:
        kind: ``stow`` (DICOMweb STOW-RS, PS3.18 section 10.5) or ``c-store`` (PS3.4 annex B).
        server: With ``stow``: name in ``dicomweb_servers``; its login is used.
        address: With ``c-store``: ``HOST:PORT``.
        ae_title: With ``c-store``: title that is called.
        calling_ae_title: With ``c-store``: title that calls.
        tls_authority: With ``c-store``: PEM file of the authority to trust; with it, or with a certificate, TLS 1.2 at
            least is spoken, and nothing else.
        tls_certificate, tls_key: PEM files to show.
        storage_commitment: With ``c-store``: ask for storage commitment (PS3.4 annex J); what the peer does not commit
            to is sent again. Its answer comes on the same association or to the receiver (``pacs``), which then has to
            run in the same process.
        commitment_seconds: Longest wait for that answer.
        objects: File names of artifacts that are sent, with ``*`` and ``?`` as in a shell; all DICOM objects when not
            given.
        omit: Those that are not, of these.
        connect_seconds: Longest wait for a connection.
        idle_seconds: Longest wait for the answer to one object.
        parallel: Deliveries at the same time.
    """

    kind: Literal["stow", "c-store"]
    server: str = Field(default="", max_length=63)
    address: str = ""
    ae_title: str = Field(default="", pattern=f"{_AE_TITLE}|^$")
    calling_ae_title: str = Field(default="ONCORESPONSE", pattern=_AE_TITLE)
    storage_commitment: bool = False
    commitment_seconds: float = Field(default=60.0, gt=0, le=3600)
    objects: tuple[Annotated[str, Field(max_length=64)], ...] = Field(default=("*.dcm",), min_length=1, max_length=50)
    omit: tuple[Annotated[str, Field(max_length=64)], ...] = Field(default=(), max_length=50)
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    idle_seconds: float = Field(default=60.0, gt=0, le=3600)
    parallel: int = Field(default=2, ge=1, le=20)

    @model_validator(mode="after")
    def _one_kind(self) -> Destination:
        if self.kind == "stow":
            if not self.server:
                raise ValueError("stow needs server, a name in dicomweb_servers")
            if self.address or self.ae_title or self.storage_commitment or self.tls_authority or self.tls_certificate:
                raise ValueError("with stow, address, ae_title, TLS files and storage_commitment do not apply")
            return self
        if self.server:
            raise ValueError("server belongs to stow")
        if not self.ae_title:
            raise ValueError("c-store needs ae_title")
        require_address(self.address)
        return self

    def require_safe_sending(self, *, allow_insecure_network: bool) -> None:
        """Refuse to send patient data in the clear to a network.

        Args:
            allow_insecure_network: Setting of the server.

        Raises:
            ConfigurationError: The address is not loopback, and there is no TLS; or a file cannot be used.
        """
        require_readable_pem(authority=self.tls_authority, certificate=self.tls_certificate, key=self.tls_key)
        if self.kind == "c-store" and not self.uses_tls and not is_loopback(host_of(self.address)):
            if allow_insecure_network:
                return
            raise ConfigurationError(
                f"Sending DICOM to {self.address} without TLS would let patient data cross the network unencrypted. "
                "Set tls_authority, or allow_insecure_network for a network that is protected otherwise.",
                setting="destinations",
            )


class DicomPeer(TlsFiles):
    """An archive that is asked for studies by C-FIND and C-MOVE (PS3.4 annex C).

    What it is asked to send comes to the receiver (``pacs``): the archive has to know that one's AE title and address,
    and the receiver the archive's AE title (``callers``).

    Attributes:
        address: ``HOST:PORT``.
        ae_title: Title that is called.
        calling_ae_title: Title that calls.
        tls_authority: PEM file of the authority to trust; with it, or with a certificate, TLS 1.2 at least is spoken,
            and nothing else.
        tls_certificate, tls_key: PEM files to show.
        connect_seconds: Longest wait for a connection.
        idle_seconds: Longest wait for the next answer.
    """

    address: str
    ae_title: str = Field(pattern=_AE_TITLE)
    calling_ae_title: str = Field(default="ONCORESPONSE", pattern=_AE_TITLE)
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    idle_seconds: float = Field(default=60.0, gt=0, le=3600)

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        return require_address(value)

    def require_safe_calling(self, *, allow_insecure_network: bool) -> None:
        """Refuse to ask for patient data in the clear over a network.

        Args:
            allow_insecure_network: Setting of the server.

        Raises:
            ConfigurationError: The address is not loopback, and there is no TLS; or a file cannot be used.
        """
        require_readable_pem(authority=self.tls_authority, certificate=self.tls_certificate, key=self.tls_key)
        if not (self.uses_tls or allow_insecure_network or is_loopback(host_of(self.address))):
            raise ConfigurationError(
                f"Asking {self.address} for studies without TLS would let patient data cross the network unencrypted. "
                "Set tls_authority, or allow_insecure_network for a network that is protected otherwise.",
                setting="dicom_peers",
            )
