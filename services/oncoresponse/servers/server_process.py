"""One server process: the chosen services behind one address, healthy only when they can work."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from oncoresponse.access.authentication import Authentication
from oncoresponse.errors import ConfigurationError, OncoResponseError
from oncoresponse.model.folder import installed_model_names
from oncoresponse.rpc.access_control import Gate
from oncoresponse.rpc.edge_token import edge_token
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.own_socket import own_socket
from oncoresponse.rpc.peers import HOSTED_BY, SERVICE_NAMES, Peers
from oncoresponse.rpc.process_metrics import ProcessMetrics
from oncoresponse.rpc.server_options import server_options
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.rpc.stage_token import StageToken, stage_token
from oncoresponse.servers.front_door import gate_of_front_door
from oncoresponse.servers.process_audit import ProcessAudit
from oncoresponse.servers.process_servicer import ProcessServicer
from oncoresponse.servers.services import SERVICES, Built, Surroundings
from oncoresponse.servers.stage_servicer import Stage, StageServicer
from oncoresponse.stages.v1 import process_pb2_grpc, stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.audit_store import AuditStore
from oncoresponse.storage.database_engine import require_restored
from oncoresponse.storage.private_files import mend_modes

_log = logging.getLogger(__name__)


class ServerProcess:
    """Starts, watches over and stops the services of this process.

    Health (grpc.health.v1) answers for each service and for "": NOT_SERVING until the service can work
    (weights loaded, database reached, for assessments every service they call reached over the way of the calls), while
    the database of the assessments does not answer, and again from the moment a stop is asked for.

    Args:
        settings: Of the process.
        beside: What runs in the process as a client of its front door: started when it is ready, ended before it stops.

    Attributes:
        address: Of the front door, ``HOST:PORT``.
        stage_address: For the services of other processes; empty for none.
        own_address: gRPC address of the front door for what runs beside; empty for none.
        edge_token: What the edges of the installation show there.
    """

    def __init__(
        self,
        settings: ServerSettings,
        beside: Callable[[ServerProcess], AbstractAsyncContextManager[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._beside = beside
        self._beside_stack = AsyncExitStack()
        self._health = health_aio.HealthServicer()
        self._unable: set[str] = set()
        self._metrics = ProcessMetrics(settings.data_directory)
        self._servers: list[grpc.aio.Server] = []
        self._running: list[Built] = []
        self._exit_stack = AsyncExitStack()
        self._failed = asyncio.Event()
        self._failure: OncoResponseError | None = None
        self.address = ""
        self.stage_address = ""
        self.own_address = ""
        self.edge_token = ""

    async def start(self) -> None:
        """Listen, then make the services ready side by side; assessments last, when all they call is ready.

        Raises:
            ConfigurationError: The address is taken or would expose patient data, there is no model, or a service that
                assessments need runs nowhere.
            OncoResponseError: A service cannot start; the message says why.
        """
        settings = self._settings
        settings.require_safe_listening()
        settings.require_complete_services()
        _require_models(settings)
        if settings.offers_front_door:
            await asyncio.to_thread(require_restored, settings.system_database_url)
        settings.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if mended := await asyncio.to_thread(mend_modes, settings.data_directory):
            _log.warning(
                "%d files and folders of the data folder were open to other users; they are not any more", mended
            )
        services = sorted(settings.services, key=lambda service: service is Service.ASSESSMENT)
        self._unable.update(SERVICE_NAMES[service] for service in services)
        token = stage_token(settings.data_directory, settings.stage_token_file)
        if settings.offers_front_door:
            self.edge_token = edge_token(settings.data_directory, settings.edge_token_file)
        front = self._new_server(gate_of_front_door(settings, self._audit_store(), self.edge_token))
        inner = self._new_server(Gate(Authentication([StageToken(token)])))
        for name in ("", *(SERVICE_NAMES[service] for service in services)):
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        # A process that only runs stages has no front door: it is the services that call it at its address.
        self.address = self._bind(front if settings.offers_front_door else inner, settings.listen)
        if settings.stage_listen:
            self.stage_address = self._bind(inner, settings.stage_listen)
        socket = self._exit_stack.enter_context(own_socket(settings.data_directory))
        inner.add_insecure_port(socket)
        if self._beside is not None:
            self.own_address = self._exit_stack.enter_context(own_socket(settings.data_directory))
            front.add_insecure_port(self.own_address)
        artifacts = ArtifactStore(settings.system_artifact_url, minimum_free_bytes=settings.minimum_free_bytes)
        peers = Peers(settings, socket, token)
        self._exit_stack.push_async_callback(peers.close)
        around = Surroundings(settings, artifacts, peers, front, inner, self._set_health, self._fail, self._metrics)
        process = ProcessServicer(settings, artifacts, self._metrics)
        around.offer_inside(process_pb2_grpc.add_ProcessServiceServicer_to_server, process)
        built = {service: SERVICES[service](around) for service in services}
        ready_stages: dict[str, Stage] = {}
        if any(item.stages for item in built.values()):
            offered = {name for item in built.values() for name in item.stages}
            stages = StageServicer(artifacts, ready_stages, offered)
            around.offer_inside(stage_pb2_grpc.add_StageServiceServicer_to_server, stages)
        if settings.reflection:
            health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            own = (name for service in services if (name := SERVICE_NAMES[service]).startswith("oncoresponse.v1."))
            hosted = (name for name, host in HOSTED_BY.items() if host in services)
            reflection.enable_server_reflection((*own, *hosted, health_name, reflection.SERVICE_NAME), front)
        for server in self._servers:
            await server.start()
        called = {service: running for service, running in built.items() if service is not Service.ASSESSMENT}
        await _together(*(self._make_ready(*item, ready_stages) for item in called.items()))
        if Service.ASSESSMENT in built:
            # Before the workflow goes on with what a crash left unfinished, so that it finds whom it calls.
            needed = [each for each in Service if each not in (Service.ASSESSMENT, Service.MONITORING)]
            await peers.wait_until_serving(needed)
            if Service.MONITORING not in (*settings.services, *settings.addresses):
                _log.warning("predictions are not recorded for monitoring: the service has no address")
            await self._make_ready(Service.ASSESSMENT, built[Service.ASSESSMENT], ready_stages)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        for service, running in built.items():
            if running.watch is not None:
                report = functools.partial(self._report, SERVICE_NAMES[service])
                self._exit_stack.push_async_callback(_cancelled, asyncio.create_task(running.watch(report)))
        if self._beside is not None:
            await self._beside_stack.enter_async_context(self._beside(self))
        _log.info("serving %s on %s", ", ".join(settings.services), self.address)

    async def _make_ready(self, service: Service, running: Built, ready_stages: dict[str, Stage]) -> None:
        self._exit_stack.push_async_callback(running.close)
        self._running.append(running)
        await running.make_ready()
        ready_stages.update(running.stages)
        self._unable.discard(SERVICE_NAMES[service])
        await self._health.set(SERVICE_NAMES[service], health_pb2.HealthCheckResponse.SERVING)

    async def _set_health(self, name: str, serves: bool) -> None:
        kind = health_pb2.HealthCheckResponse
        await self._health.set(name, kind.SERVING if serves else kind.NOT_SERVING)

    async def stop(self) -> None:
        """Refuse new calls, let running ones finish, close everything."""
        await self._health.enter_graceful_shutdown()
        await self._beside_stack.aclose()
        for running in self._running:
            await running.drain()
        await asyncio.gather(*(server.stop(self._settings.drain_seconds) for server in self._servers))
        await self._exit_stack.aclose()

    async def serve_until_signal(self, on_ready: Callable[[str], None] | None = None) -> bool:
        """Run until SIGTERM or SIGINT, which also end a start that is under way, or until a service has to end.

        Returns:
            Whether it was ready. If not, a thread may still be loading something, which nobody waits for any more.

        Raises:
            DeclaredLost: Other workers go on with the assessments of this one.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        starting, stopped = asyncio.create_task(self.start()), asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stopped.done() and not starting.done():
                _log.warning("stopped before all services were ready")
                starting.cancel()
                await asyncio.wait((starting,))
                # asyncio would wait minutes for the thread that loads weights.
                loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="after-start"))
                return False
            await starting
            if on_ready is not None:
                on_ready(self.address)
            failed = asyncio.create_task(self._failed.wait())
            await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
            failed.cancel()
            if self._failure is not None:
                raise self._failure
            return True
        finally:
            stopped.cancel()
            await self.stop()

    def _fail(self, error: OncoResponseError) -> None:
        # Calls that come now are refused as while it starts: UNAVAILABLE.
        self._unable.update(SERVICE_NAMES[service] for service in self._settings.services)
        self._failure = error
        self._failed.set()

    async def _report(self, service: str, able: bool) -> None:
        """Say of a service that was ready that it cannot work, or can again."""
        (self._unable.discard if able else self._unable.add)(service)
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(service, serving if able else not_serving)
        await self._health.set("", not_serving if self._unable else serving)

    def _audit_store(self) -> AuditStore | None:
        if not self._settings.offers_front_door:
            return None
        audit = ProcessAudit(self._settings)
        self._exit_stack.callback(audit.close)
        self._exit_stack.push_async_callback(_cancelled, asyncio.create_task(audit.watch()))
        return audit.store

    def _new_server(self, gate: Gate) -> grpc.aio.Server:
        self._exit_stack.callback(gate.close)
        server = grpc.aio.server(
            interceptors=(RulesAndErrors(gate, self._unable, self._metrics.called),), options=server_options()
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self._servers.append(server)
        return server

    def _bind(self, server: grpc.aio.Server, listen: str) -> str:
        settings = self._settings
        host = listen.rpartition(":")[0]
        try:
            if settings.tls_certificate is not None and settings.tls_key is not None:
                authority = settings.tls_client_authority
                credentials = grpc.ssl_server_credentials(
                    [(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())],
                    root_certificates=authority.read_bytes() if authority else None,
                    require_client_auth=authority is not None,
                )
                port = server.add_secure_port(listen, credentials)
            else:
                port = server.add_insecure_port(listen)
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(
                f"Cannot listen on {listen}. Another process may use the port, or a TLS file is unreadable."
            ) from error
        return f"{host}:{port}"


async def _together(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Await all; where one fails, the others are cancelled and over before its error is raised."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    # The driver may wait for a server that does not answer; nobody else does.
    await asyncio.wait((task,), timeout=1.0)


def _require_models(settings: ServerSettings) -> None:
    if set(settings.services) != {Service.ASSESSMENT} and not installed_model_names(settings.models_directory):
        raise ConfigurationError(
            f"There is no model in {settings.models_directory}, so no study could be assessed. Give the folder of the "
            "installed models (models_directory, --models-dir).",
            setting="models_directory",
        )
