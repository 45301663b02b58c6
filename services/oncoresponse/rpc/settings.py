"""Settings of the server process: from a YAML file and the environment, unknown keys refused."""

from __future__ import annotations

import json
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from oncoresponse.access.certificates import CertificateCaller
from oncoresponse.access.oidc_settings import OidcSettings
from oncoresponse.access.rate_limit import CallerLimits
from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.addresses import host_of, is_loopback, require_address
from oncoresponse.rpc.caller_variables import CALLER_VARIABLES, PREFIX
from oncoresponse.rpc.cds_settings import CdsHooksSettings
from oncoresponse.rpc.edge_settings import Destination, DicomPeer, DicomWebServer, HttpSettings, PacsSettings
from oncoresponse.rpc.ehr_settings import (
    FhirDestination,
    MllpDestination,
    SubscriptionDestination,
    WebhookDestination,
)
from oncoresponse.rpc.fhir_settings import FhirSettings
from oncoresponse.rpc.order_settings import FhirOrders, Hl7Settings
from oncoresponse.rpc.retention_settings import RetentionDays
from oncoresponse.rpc.settings_sources import EARLIER_NAMES, EarlierVariables, SettingsFile
from oncoresponse.rpc.tls import CallerTls, require_readable_pem

# A database that was away has answered by then, or the step is run again.
_NOTED_WITHIN_SECONDS = 600.0
_HOST_AND_PORT = r"[^\s,{}\"]+:[0-9]{1,5}"


class Service(StrEnum):
    """A service that a process may run. One process runs all of them unless told otherwise."""

    STUDY = "study"
    ASSESSMENT = "assessment"
    SEGMENTATION = "segmentation"
    RADIOMICS = "radiomics"
    RESPONSE = "response"
    REPORTING = "reporting"
    MODEL = "model"
    MONITORING = "monitoring"


FRONT_SERVICES = (Service.STUDY, Service.ASSESSMENT, Service.RESPONSE, Service.MODEL, Service.MONITORING)
"""Those with an API for callers from outside; the others run stages, and are called by services alone."""


class ServerSettings(BaseSettings):
    """Everything an administrator can set.

    Each field may stand in the settings file under its own name, or in the environment in upper case
    behind ``ONCORESPONSE_``. The environment wins over the file, the command line over both. A list may be written as
    one item, as items with commas between, or as JSON; a map in the environment is JSON. Relative paths are relative to
    the working folder at the start.

    Attributes:
        services: Services this process runs.
        listen: Address to listen on. Port 0 takes a free port.
        data_directory: Studies, artifacts and the SQLite database. Holds patient data.
        artifact_url: Where artifacts are kept, as an fsspec URL; empty for a folder in ``data_directory``.
        models_directory: Installed models.
        database_url: ``postgresql://...``; empty for SQLite in ``data_directory``.
        executor_id: Name of this worker in the database. After a crash a worker of the same name goes on
            with what the old one had begun. Workers that run at the same time need different names.
        addresses: Where a service that runs elsewhere answers; missing ones answer at ``listen``. Several processes of
            one service: their addresses with commas between, or a list; calls are spread over them. One address instead
            of a map is that of every service that this process does not run.
        assessment_workers: Assessments this process runs at the same time.
        assessment_queue_limit: Assessments that may wait; one more is refused with BUSY.
        stage_timeout_seconds: Deadline of one stage, retries included.
        radiomics_processes: Child processes for feature extraction; 0 for one a core.
        segmentation_queue_limit: Studies that one segmentation process holds, the one at work included; one more is
            refused with BUSY.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        torch_compile: Compile the segmentation networks: a slower start for faster studies.
        import_directories: Directories that ImportDirectory may read.
        dicomweb_urls: Base URLs that ImportDicomWeb may read.
        study_quota_bytes: Largest study.
        total_quota_bytes: All studies together.
        minimum_free_bytes: Writing stops when the disk has less than this.
        tls_certificate, tls_key: PEM files. Required to listen beyond the loopback address.
        tls_client_authority: PEM file; when given, callers must show a certificate of this authority.
        tls_authority: PEM file to trust when calling other services over TLS.
        tls_peer_name: Name in the certificates of other services, where it is not that in their address.
        tls_client_certificate, tls_client_key: PEM files to show when calling other services; ``tls_certificate`` and
            ``tls_key`` when not given. For server certificates that must not act as a client.
        allow_insecure_network: Listen beyond loopback without TLS. For a network you trust, and say so.
        performing_organization: Name of the institution, for DiagnosticReport.performer; empty for none.
        surgical_margin_mm: Width of the shell around each lesion among the 3D models, on CT; not given: none.
        fingerprint_key: File with the site's secret under which training wrote the fingerprints of its patients;
            without one patients are recognized by their images and measurements alone.
        reflection: Offer gRPC reflection.
        dicom_limits: How large a DICOM file may be and become; fields as
            :class:`~oncoresponse.dicom.limits.DicomLimits`.
        drain_seconds: Time that running calls get on shutdown.
        workflow_retention_days: Days after which what the workflow database holds of a finished assessment (inputs,
            steps) is deleted; what the assessment ended with stays. 0 for never.
        stage_listen: Address on which the services of the installation call those of this process; empty where they all
            run in one. A process without a service of the front door is called at ``listen``.
        stage_token_file: File with the secret by which services know each other, for processes that share no data
            folder; without it one is made in the data folder.
        log_format: ``text`` for people, ``json`` for a program that collects logs.
        allow_anonymous: On the loopback address, callers need not say who they are. For one person on one machine.
        model_activation: ``two-people``: a version of a model is used once two people have made it active.
            ``installed``: the installed folder is. Empty: ``installed`` with ``allow_anonymous``, where nobody could be
            named, else ``two-people``.
        require_golden_vectors: Refuse a model folder without ``golden.json`` instead of warning.
        users_file: Local users and their tokens; ``users.yaml`` in ``data_directory`` when not given.
        oidc: Issuer of tokens; fields as :class:`~oncoresponse.access.oidc_settings.OidcSettings`.
        revocations_file: Tokens of the issuer that are refused; ``revoked.yaml`` in ``data_directory`` when not given.
        certificate_callers: Who shows which client certificate; fields of each as
            :class:`~oncoresponse.access.certificates.CertificateCaller`. Needs ``tls_client_authority``.
        caller_limits: How much one caller may ask for; fields as
            :class:`~oncoresponse.access.rate_limit.CallerLimits`.
        audit_database_url: Database of the audit record; empty for ``database_url``, or without that for
            ``audit.sqlite`` in ``data_directory``.
        audit_anchor: File that gets number and hash of the newest row of the audit record; best where another owns it.
        audit_syslog: Syslog daemon that gets them: ``HOST:PORT`` (UDP), or the path of its socket; empty for none.
        erasure_register: File that notes who was erased and what was deleted, as keyed digests, for a restore from an
            older backup; ``erasures.jsonl`` in ``data_directory`` when not given; best on another disk.
        judgement_first: Withhold what the model says until a physician has recorded a judgement of the assessment: from
            a caller who may sign, until that caller has; from any other, until somebody has.
        retention_days: Days that data are kept, by kind; 0 keeps them. Fields as :class:`RetentionDays`.
        garbage_after_seconds: Files that belong to nobody are removed when they are this old; 0 for ten minutes more
            than ``stage_timeout_seconds``. A stage must have noted by then what it wrote.
        reservation_minutes: An upload that sends nothing for so long keeps no room beyond what it has sent.
        dicomweb_idle_seconds: Longest time in which a DICOMweb server may send less than a kibibyte.
        dicomweb_total_seconds: Longest time that one import from a DICOMweb server may take.
        worker_beat_seconds: How often a worker that runs assessments gives a sign of life; without one for four times
            as long, the others take over what it had begun.
        edge_token_file: File with the secret by which the front door knows the edges, for edges that share no data
            folder with it; without it one is made in the data folder.
        http: The HTTP server; absent for none. Fields as :class:`~oncoresponse.rpc.edge_settings.HttpSettings`.
        dicomweb_servers: DICOMweb servers by a name of your choice; they may be read, as those of ``dicomweb_urls``.
            Fields of each as :class:`~oncoresponse.rpc.edge_settings.DicomWebServer`.
        pacs: The DICOM receiver; absent for none. Fields as :class:`~oncoresponse.rpc.edge_settings.PacsSettings`.
        destinations: Where results are sent, by a name of your choice, which ``deliver_to`` of a rule or a request
            says. Fields of each as :class:`~oncoresponse.rpc.edge_settings.Destination`,
            :class:`~oncoresponse.rpc.ehr_settings.FhirDestination` or
            :class:`~oncoresponse.rpc.ehr_settings.MllpDestination`, by its ``kind``.
        rules: File that says which studies that come in by ``pacs`` or ``http`` start which model; without it they are
            kept, and nothing is started.
        dicom_peers: Archives that are asked for studies by C-FIND and C-MOVE, by a name of your choice. Fields of each
            as :class:`~oncoresponse.rpc.edge_settings.DicomPeer`.
        fhir: What reports say of the hospital in FHIR; fields as :class:`~oncoresponse.rpc.fhir_settings.FhirSettings`.
        hl7: Listener for HL7 v2 orders and patient merges; fields as
            :class:`~oncoresponse.rpc.order_settings.Hl7Settings`.
        fhir_orders: FHIR servers that are asked for orders, by name; fields of each as
            :class:`~oncoresponse.rpc.order_settings.FhirOrders`.
        cds_hooks: Cards for the EHR on the HTTP server; fields as
            :class:`~oncoresponse.rpc.cds_settings.CdsHooksSettings`.
        edges_may_merge_patients: A message ADT^A40 merges two patients, as an administrator may.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    services: Annotated[tuple[Service, ...], NoDecode] = tuple(Service)
    listen: str = "127.0.0.1:50051"
    data_directory: Path = Path.home() / ".local" / "share" / "oncoresponse"
    artifact_url: str = ""
    models_directory: Path = Path("models")
    database_url: str = ""
    executor_id: str = Field(default="worker-1", pattern=r"^[A-Za-z0-9._-]{1,63}$")
    addresses: Annotated[dict[Service, str], NoDecode] = {}
    assessment_workers: int = Field(default=2, ge=1, le=64)
    assessment_queue_limit: int = Field(default=1000, ge=1)
    stage_timeout_seconds: float = Field(default=600.0, gt=0)
    radiomics_processes: int = Field(default=0, ge=0, le=256)
    segmentation_queue_limit: int = Field(default=64, ge=1, le=10_000)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda|cuda:[0-9]{1,2})$")
    torch_compile: bool = False
    import_directories: Annotated[tuple[Path, ...], NoDecode] = ()
    dicomweb_urls: Annotated[tuple[str, ...], NoDecode] = ()
    study_quota_bytes: int = Field(default=4 * 1024**3, gt=0)
    total_quota_bytes: int = Field(default=200 * 1024**3, gt=0)
    minimum_free_bytes: int = Field(default=1024**3, ge=0)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authority: Path | None = None
    tls_authority: Path | None = None
    tls_peer_name: str = ""
    tls_client_certificate: Path | None = None
    tls_client_key: Path | None = None
    allow_insecure_network: bool = False
    performing_organization: str = ""
    fingerprint_key: Path | None = None
    reflection: bool = False
    dicom_limits: DicomLimits = DEFAULT_LIMITS
    drain_seconds: float = Field(default=30.0, ge=0)
    workflow_retention_days: int = Field(default=90, ge=0, le=36_500)
    surgical_margin_mm: float | None = Field(default=None, gt=0, le=100)
    stage_listen: str = ""
    stage_token_file: Path | None = None
    allow_anonymous: bool = False
    log_format: str = Field(default="text", pattern="^(text|json)$")
    model_activation: str = Field(default="", pattern=r"^(|two-people|installed)$")
    require_golden_vectors: bool = False
    users_file: Path | None = None
    oidc: OidcSettings | None = None
    revocations_file: Path | None = None
    certificate_callers: tuple[CertificateCaller, ...] = ()
    caller_limits: CallerLimits = CallerLimits()
    audit_database_url: str = ""
    audit_anchor: Path | None = None
    audit_syslog: str = ""
    erasure_register: Path | None = None
    judgement_first: bool = False
    retention_days: RetentionDays = RetentionDays()
    garbage_after_seconds: float = Field(default=0.0, ge=0)
    reservation_minutes: float = Field(default=15.0, gt=0)
    dicomweb_idle_seconds: float = Field(default=60.0, gt=0)
    dicomweb_total_seconds: float = Field(default=3600.0, gt=0)
    worker_beat_seconds: float = Field(default=3.0, ge=0.1, le=5)
    edge_token_file: Path | None = None
    http: HttpSettings | None = None
    dicomweb_servers: dict[str, DicomWebServer] = {}
    pacs: PacsSettings | None = None
    destinations: dict[
        Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")],
        Annotated[
            Destination | FhirDestination | MllpDestination | WebhookDestination | SubscriptionDestination,
            Field(discriminator="kind"),
        ],
    ] = {}
    rules: Path | None = None
    dicom_peers: dict[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")], DicomPeer] = {}
    fhir: FhirSettings = FhirSettings()
    hl7: Hl7Settings | None = None
    fhir_orders: dict[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")], FhirOrders] = {}
    edges_may_merge_patients: bool = False
    cds_hooks: CdsHooksSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_address_for_all_other_services(cls, values: Any) -> Any:
        address = _decoded(values.get("addresses"))
        if not isinstance(address, str) or not address.strip():
            return values if address != "" else {**values, "addresses": {}}
        if not all(re.fullmatch(_HOST_AND_PORT, part) for part in split_addresses(address)):
            raise ValueError("addresses is one HOST:PORT, or a map of services to them (in the environment as JSON)")
        own = {str(service).strip() for service in _as_list(values.get("services", tuple(Service)))}
        return {**values, "addresses": {service: address for service in Service if service.value not in own}}

    @field_validator("addresses", mode="before")
    @classmethod
    def _join_lists_of_addresses(cls, value: object) -> object:
        decoded = _decoded(value)
        if not isinstance(decoded, dict):
            return decoded
        return {
            service: ",".join(map(str, item)) if isinstance(item, list) else item for service, item in decoded.items()
        }

    @field_validator("addresses")
    @classmethod
    def _addresses_are_complete(cls, value: dict[Service, str]) -> dict[Service, str]:
        for service, text in value.items():
            for address in split_addresses(text):
                if not re.fullmatch(_HOST_AND_PORT, address):
                    raise ValueError(f"{service}: {address!r} is not HOST:PORT")
        return value

    @field_validator("services", "import_directories", "dicomweb_urls", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return _as_list(value)

    @field_validator("services")
    @classmethod
    def _each_service_once(cls, value: tuple[Service, ...]) -> tuple[Service, ...]:
        if not value:
            raise ValueError("name at least one service, or leave the setting out for all of them")
        return tuple(dict.fromkeys(value))

    @field_validator("data_directory", "models_directory")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("import_directories")
    @classmethod
    def _absolute_each(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().absolute() for path in value)

    @field_validator(
        "tls_certificate",
        "tls_key",
        "tls_client_authority",
        "tls_authority",
        "tls_client_certificate",
        "tls_client_key",
        "stage_token_file",
        "edge_token_file",
        "users_file",
        "revocations_file",
        "audit_anchor",
        "erasure_register",
        "rules",
    )
    @classmethod
    def _home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line (init) over environment over file; no dotenv, no secrets folder."""
        return init_settings, env_settings, EarlierVariables(settings_cls), SettingsFile(settings_cls)

    @field_validator("listen", "stage_listen", "audit_syslog")
    @classmethod
    def _host_and_port(cls, value: str, field: ValidationInfo) -> str:
        if field.field_name != "listen" and (not value or value.startswith("/")):
            return value
        return require_address(value)

    @property
    def system_database_url(self) -> str:
        """URL of the database of workflows and monitoring."""
        return self.database_url or f"sqlite:///{self.data_directory / 'oncoresponse.sqlite'}"

    @property
    def system_artifact_url(self) -> str:
        """URL of the store of artifacts."""
        return self.artifact_url or (self.data_directory / "artifacts").as_uri()

    @property
    def installed_is_active(self) -> bool:
        """Whether an installed model may be used without change control."""
        return (self.model_activation or ("installed" if self.allow_anonymous else "two-people")) == "installed"

    @property
    def system_audit_database_url(self) -> str:
        """URL of the database of the audit record."""
        own = f"sqlite:///{self.data_directory / 'audit.sqlite'}"
        return self.audit_database_url or self.database_url or own

    @property
    def garbage_grace_seconds(self) -> float:
        """See ``garbage_after_seconds``."""
        return self.garbage_after_seconds or self.stage_timeout_seconds + _NOTED_WITHIN_SECONDS

    @property
    def caller_tls(self) -> CallerTls:
        """What this process shows and trusts when it calls other services."""
        own = self.tls_client_certificate is not None
        certificate = self.tls_client_certificate if own else self.tls_certificate
        return CallerTls(
            self.tls_authority, certificate, self.tls_client_key if own else self.tls_key, self.tls_peer_name
        )

    @property
    def offers_front_door(self) -> bool:
        """Whether a service of this process is for callers from outside."""
        return any(service in FRONT_SERVICES for service in self.services)

    @property
    def runs_edges(self) -> bool:
        """Whether a process with these settings runs edges: they are set, and all that they call runs in it."""
        listens = self.http is not None or self.pacs is not None or self.hl7 is not None
        named = listens or bool(self.destinations or self.fhir_orders)
        return named and {Service.STUDY, Service.ASSESSMENT} <= set(self.services)

    @property
    def http_server(self) -> HttpSettings | None:
        """The HTTP server, with the TLS files of the front door where it has none of its own; absent for none."""
        if self.http is None:
            return None
        files = {"tls_client_authority": self.http.tls_client_authority or self.tls_client_authority}
        if self.http.tls_certificate is None:
            files |= {"tls_certificate": self.tls_certificate, "tls_key": self.http.tls_key or self.tls_key}
        if self.http.client_certificates == "none":
            files["tls_client_authority"] = None
        return self.http.model_copy(update=files)

    def require_complete_services(self) -> None:
        """Refuse to run assessments that could never end.

        Raises:
            ConfigurationError: A service that an assessment calls runs neither here nor at a known address.
        """
        if Service.ASSESSMENT not in self.services:
            return
        called = (service for service in Service if service not in (Service.ASSESSMENT, Service.MONITORING))
        if lacking := [service for service in called if service not in self.services and service not in self.addresses]:
            raise ConfigurationError(
                f"This process runs assessments, which need the services {', '.join(lacking)}. Run them here "
                "(services), or say where they answer (addresses)."
            )

    def require_safe_listening(self) -> None:
        """Refuse to offer patient data in the clear to a network.

        Raises:
            ConfigurationError: The address is not loopback, there is no TLS, and nobody allowed it.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("tls_certificate and tls_key belong together; set both.")
        if self.tls_client_authority is not None and self.tls_certificate is None:
            raise ConfigurationError("tls_client_authority needs TLS: set tls_certificate and tls_key too.")
        require_readable_pem(authority=self.tls_client_authority, certificate=self.tls_certificate, key=self.tls_key)
        self.caller_tls.require_usable()
        if not self.offers_front_door and self.stage_listen:
            raise ConfigurationError(
                "This process has no service of the front door, so the other services call it at listen. Leave "
                "stage_listen out.",
                setting="stage_listen",
            )
        for address in filter(None, (self.listen, self.stage_listen)):
            if not is_loopback(host_of(address)) and self.tls_certificate is None and not self.allow_insecure_network:
                raise ConfigurationError(
                    f"Listening on {address} would send patient data unencrypted. Set tls_certificate and tls_key, "
                    "or allow_insecure_network for a network that is protected otherwise."
                )
        if self.allow_anonymous and not is_loopback(host_of(self.listen)):
            raise ConfigurationError(
                "Beyond the loopback address every caller says who it is: allow_anonymous is for 127.0.0.1 and ::1. "
                "Leave it out, and give callers tokens or certificates.",
                setting="allow_anonymous",
            )


def split_addresses(text: str) -> list[str]:
    """``HOST:PORT,HOST:PORT`` as a list."""
    return [part.strip() for part in text.split(",")]


def _decoded(value: object) -> object:
    """A string that is written as JSON, as what it says; anything else as it is."""
    if not isinstance(value, str) or not value.strip().startswith(("[", "{", '"')):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        # "[::1]:50051" begins like a list.
        return value


def _as_list(value: object) -> Any:
    decoded = _decoded(value)
    if isinstance(decoded, str):
        return tuple(part.strip() for part in decoded.split(",") if part.strip())
    return (decoded,) if isinstance(decoded, Path) else decoded


def load_settings(file: Path | None = None, **overrides: object) -> ServerSettings:
    """Settings from file, environment and ``overrides`` (``None`` values are left out).

    Raises:
        ConfigurationError: A key is unknown or a value is not allowed.
    """
    known = {f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields}
    known |= {f"{PREFIX}{name.upper()}" for name in EARLIER_NAMES}
    known |= {f"{PREFIX}SETTINGS_FILE", *CALLER_VARIABLES}
    if unknown := sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known):
        raise ConfigurationError(f"Unknown environment variables: {', '.join(unknown)}. Check their spelling.")
    if file is not None:
        os.environ[f"{PREFIX}SETTINGS_FILE"] = str(file)
    try:
        settings = ServerSettings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError(f"Settings are not valid: {schema_faults(error)}") from error
    except SettingsError as error:
        # Its text may hold the value, and with it a password.
        raise ConfigurationError(
            "An environment variable ONCORESPONSE_... is not written as its setting asks."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"The settings file cannot be read: {error}") from error
    return settings
