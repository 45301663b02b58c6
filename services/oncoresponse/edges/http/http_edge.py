"""The HTTP server as an edge: a uvicorn in the event loop of the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import grpc
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.application import application
from oncoresponse.edges.http.cds_routes import CdsRoutes
from oncoresponse.edges.http.connection import connection_class
from oncoresponse.edges.http.fhir.fhir_routes import FhirRoutes
from oncoresponse.edges.http.health_routes import HealthRoutes
from oncoresponse.edges.http.metrics_route import HttpMetrics, MetricsRoute
from oncoresponse.edges.http.stow import StowRoute
from oncoresponse.edges.pacs.priors import PriorFetcher
from oncoresponse.edges.quiet_intake import QuietIntake
from oncoresponse.edges.rule_runner import RuleRunner
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.edge_settings import HttpSettings
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import intake_pb2

_BACKLOG = 256
_KEEP_ALIVE_SECONDS = 15
_LARGEST_ANSWER_BYTES = 64 * 1024**2


class HttpEdge:
    """See :class:`~oncoresponse.edges.edge.Edge`.

    Args:
        settings: Of the process.
        http: Of the server, TLS files included.
        front_door: Whom it calls.
        priors: Fetches earlier studies.

    Raises:
        ConfigurationError: It would offer patient data in the clear, or a TLS file or the rules cannot be used.
    """

    name = "http"

    def __init__(
        self, settings: ServerSettings, http: HttpSettings, front_door: FrontDoor, priors: PriorFetcher
    ) -> None:
        http.require_safe_listening(
            allow_insecure_network=settings.allow_insecure_network, allow_anonymous=settings.allow_anonymous
        )
        self.address = ""
        self._http = http
        self._front_door = front_door
        self._settings = settings
        self._rules = RuleRunner(settings, front_door, intake_pb2.RECEIVED_WAY_HTTP, priors)
        self._intake: QuietIntake | None = None
        self._server: _Server | None = None
        self._channel: grpc.aio.Channel | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address is taken.
        """
        http = self._http
        listening = _listening(http.listen)
        # A PDF and the reports of a page are larger than what gRPC takes by itself.
        self._channel = self._front_door.channel(_LARGEST_ANSWER_BYTES)
        health = HealthRoutes(self._channel)
        self._intake = QuietIntake(
            self._front_door,
            self._channel,
            http.quiet_seconds,
            self._settings.data_directory / "edges" / "open-studies",
            completed=self._completed,
        )
        self._rules.start(self._channel)
        await self._intake.start()
        stow = StowRoute(
            self._front_door,
            self._channel,
            self._intake,
            largest_instance_bytes=self._settings.dicom_limits.file_bytes,
            minimum_free_bytes=self._settings.minimum_free_bytes,
        )
        fhir = FhirRoutes(self._front_door, self._channel, http.public_url, self._settings.oidc)
        hooks = self._settings.cds_hooks
        cds = CdsRoutes(self._front_door, self._channel, hooks)
        metrics = HttpMetrics(own_process=not self._front_door.is_in_this_process)
        handlers = {
            ("GET", "/livez"): health.live,
            ("GET", "/readyz"): health.ready,
            ("GET", "/metrics"): MetricsRoute(self._front_door, self._channel, metrics).metrics,
            ("GET", "/cds-services"): cds.discovery,
            ("POST", "/cds-services/{service}"): cds.cards,
            ("POST", "/cds-services/{service}/feedback"): cds.feedback,
            ("POST", "/dicom-web/studies"): stow.store,
            ("POST", "/dicom-web/studies/{study}"): stow.store,
            # FHIR
            ("GET", "/fhir/metadata"): fhir.metadata,
            ("GET", "/fhir/.well-known/smart-configuration"): fhir.smart_configuration,
            ("GET", "/.well-known/smart-configuration"): fhir.smart_configuration,
            ("POST", "/fhir/{type}/_search"): fhir.search_by_form,
            ("GET", "/fhir/{type}"): fhir.search,
            ("GET", "/fhir/Subscription/{id}/$status"): fhir.subscription_status,
            ("GET", "/fhir/{type}/{id}"): fhir.read,
            ("GET", "/fhir/{type}/{id}/_history/{version}"): fhir.read_version,
        }
        config = uvicorn.Config(
            application(http, handlers, metrics.answered, () if hooks is None else hooks.origins),
            http=connection_class(http),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            h11_max_incomplete_event_size=http.header_bytes,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(self._settings.drain_seconds)),
            ssl_certfile=http.tls_certificate,
            ssl_context_factory=None if http.tls_certificate is None else lambda *_: tls_context(http),
            reset_contextvars=True,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listening]))
        began = asyncio.create_task(self._server.began.wait())
        await asyncio.wait((began, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if not began.done():
            began.cancel()
            await self._serving
        port = listening.getsockname()[1]
        self.address = f"{http.listen.rpartition(':')[0]}:{port}"

    async def stop(self) -> None:
        """Take no new connection, let running requests end, close the channel."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await self._serving
        if self._intake is not None:
            await self._intake.stop()
        await self._rules.stop()
        if self._channel is not None:
            await self._channel.close()
        self._server = self._serving = self._channel = None

    def ready(self) -> bool:
        """Whether it listens."""
        return self._serving is not None and not self._serving.done()

    async def _completed(self, study: str, sender: str) -> None:
        # A caller is no AE title, whatever it is called.
        del sender
        await self._rules.received(study)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: signals are the process's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.began = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and says so."""
        await super().startup(sockets)
        self.began.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the connections that have no request at work at once: TLS would wait for the other side's goodbye."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol) and (connection.cycle is None or connection.cycle.response_complete):
                connection.transport.abort()
        await super().shutdown(sockets)


def tls_context(http: HttpSettings) -> ssl.SSLContext:
    """TLS 1.2 at least, with the ciphers that this Python and OpenSSL hold for safe."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if http.tls_certificate is not None:
        # An empty password instead of a question at the terminal.
        context.load_cert_chain(http.tls_certificate, http.tls_key, password="")
    if http.tls_client_authority is not None:
        context.load_verify_locations(http.tls_client_authority)
        context.verify_mode = ssl.CERT_REQUIRED if http.client_certificates == "required" else ssl.CERT_OPTIONAL
    return context


def _listening(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen for HTTP on {listen}. Another process may use the port.", setting="http"
        ) from error
    listening.setblocking(False)
    return listening
