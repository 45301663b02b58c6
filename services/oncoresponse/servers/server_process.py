"""One server process: the chosen roles behind one address, healthy only when they can work."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from oncoresponse.errors import ConfigurationError
from oncoresponse.model.folder import installed_model_names
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.own_socket import own_socket
from oncoresponse.rpc.peers import SERVICE_NAMES, Peers
from oncoresponse.rpc.settings import Role, ServerSettings
from oncoresponse.storage.artifact_store import ArtifactStore

_log = logging.getLogger(__name__)

# Each connection of a slow caller is dropped after this long without an answer to a ping.
_CHANNEL_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


class ServerProcess:
    """Starts, watches over and stops the roles of this process.

    Health (grpc.health.v1) answers for each service and for "": NOT_SERVING until the role can work
    (weights loaded, database reached, for assessments every role they call reached over the way of the calls), and
    again from the moment a stop is asked for.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._health = health_aio.HealthServicer()
        self._starting: set[str] = set()
        self._server: grpc.aio.Server | None = None
        self._exit_stack = AsyncExitStack()
        self.address = ""

    async def start(self) -> None:
        """Listen, then make the roles ready one after another; assessments last, when all they call is ready.

        Raises:
            ConfigurationError: The address is taken or would expose patient data, there is no model, or a role that
                assessments need runs nowhere.
            OncoResponseError: A role cannot start; the message says why.
        """
        settings = self._settings
        settings.require_safe_listening()
        settings.require_complete_roles()
        _require_models(settings)
        settings.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        roles = sorted(settings.roles, key=lambda role: role is Role.ASSESSMENT)
        self._starting.update(SERVICE_NAMES[role] for role in roles)
        self._server = grpc.aio.server(interceptors=(RulesAndErrors(self._starting),), options=_CHANNEL_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for name in ("", *(SERVICE_NAMES[role] for role in roles)):
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        self.address = self._bind(self._server)
        socket = self._exit_stack.enter_context(own_socket(settings.data_directory))
        self._server.add_insecure_port(socket)
        artifacts = ArtifactStore(
            settings.artifact_url or (settings.data_directory / "artifacts").as_uri(),
            minimum_free_bytes=settings.minimum_free_bytes,
        )
        peers = Peers(settings, socket)
        self._exit_stack.push_async_callback(peers.close)
        make_ready = [self._add_role(role, artifacts, peers) for role in roles]
        if settings.reflection:
            health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            names = (*(SERVICE_NAMES[role] for role in roles), health_name, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        await self._server.start()
        for role, ready in zip(roles, make_ready, strict=True):
            if role is Role.ASSESSMENT:
                # Before the workflow goes on with what a crash left unfinished, so that it finds whom it calls.
                await peers.wait_until_serving([each for each in Role if each not in (role, Role.MONITORING)])
                if Role.MONITORING not in (*settings.roles, *settings.addresses):
                    _log.warning("predictions are not recorded for monitoring: the role has no address")
            await ready()
            self._starting.discard(SERVICE_NAMES[role])
            await self._health.set(SERVICE_NAMES[role], health_pb2.HealthCheckResponse.SERVING)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        _log.info("serving %s on %s", ", ".join(settings.roles), self.address)

    async def stop(self) -> None:
        """Refuse new calls, let running ones finish, close everything."""
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(self._settings.drain_seconds)
        await self._exit_stack.aclose()

    async def serve_until_signal(self, on_ready: Callable[[str], None] | None = None) -> bool:
        """Run until SIGTERM or SIGINT, which also end a start that is under way.

        Returns:
            Whether it was ready. If not, a thread may still be loading something, which nobody waits for any more.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        starting, stopped = asyncio.create_task(self.start()), asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stopped.done() and not starting.done():
                _log.warning("stopped before all roles were ready")
                starting.cancel()
                await asyncio.wait((starting,))
                # asyncio would wait minutes for the thread that loads weights.
                loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="after-start"))
                return False
            await starting
            if on_ready is not None:
                on_ready(self.address)
            await stopped
            return True
        finally:
            stopped.cancel()
            await self.stop()

    def _bind(self, server: grpc.aio.Server) -> str:
        settings = self._settings
        host = settings.listen.rpartition(":")[0]
        try:
            if settings.tls_certificate is not None and settings.tls_key is not None:
                authority = settings.tls_client_authority
                credentials = grpc.ssl_server_credentials(
                    [(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())],
                    root_certificates=authority.read_bytes() if authority else None,
                    require_client_auth=authority is not None,
                )
                port = server.add_secure_port(settings.listen, credentials)
            else:
                port = server.add_insecure_port(settings.listen)
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(
                f"Cannot listen on {settings.listen}. Another process may use the port, or a TLS file is unreadable."
            ) from error
        return f"{host}:{port}"

    def _add_role(self, role: Role, artifacts: ArtifactStore, peers: Peers) -> Callable[[], Awaitable[None]]:
        """Register a role's service; returns what makes it ready. Imports are here so that a process
        loads torch, matplotlib or DBOS only for a role that needs it."""
        settings, server = self._settings, self._server
        if role is Role.MODEL:
            from oncoresponse.servers.model_servicer import ModelServicer
            from oncoresponse.v1 import model_pb2_grpc

            model_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(settings.models_directory), server)
            return _nothing
        if role is Role.STUDY:
            from oncoresponse.dicom.pixel_decoding import close_decoders
            from oncoresponse.intake.study_settings import StudySettings
            from oncoresponse.servers.study_servicer import StudyServicer
            from oncoresponse.storage.study_store import StudyStore
            from oncoresponse.v1 import study_pb2_grpc

            study_settings = StudySettings(
                allowed_import_directories=settings.import_directories,
                allowed_dicomweb_urls=settings.dicomweb_urls,
                quota_bytes_per_study=settings.study_quota_bytes,
                quota_bytes_total=settings.total_quota_bytes,
                dicom_limits=settings.dicom_limits,
            )
            self._exit_stack.callback(close_decoders)
            store = StudyStore(settings.data_directory, artifacts, study_settings)
            study_pb2_grpc.add_StudyServiceServicer_to_server(
                StudyServicer(store, artifacts, settings.models_directory, study_settings), server
            )
            return _nothing
        if role is Role.SEGMENTATION:
            from oncoresponse.servers.segmentation_servicer import SegmentationServicer
            from oncoresponse.v1 import segmentation_pb2_grpc

            segmentation = SegmentationServicer(
                artifacts,
                settings.models_directory,
                settings.device,
                queue_limit=settings.segmentation_queue_limit,
                torch_compile=settings.torch_compile,
            )
            segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(segmentation, server)
            return segmentation.make_ready
        if role is Role.RADIOMICS:
            from oncoresponse.servers.radiomics_servicer import RadiomicsServicer
            from oncoresponse.v1 import radiomics_pb2_grpc

            radiomics = RadiomicsServicer(artifacts, settings.models_directory, settings.radiomics_processes)
            radiomics_pb2_grpc.add_RadiomicsServiceServicer_to_server(radiomics, server)
            self._exit_stack.push_async_callback(radiomics.close)
            return radiomics.make_ready
        if role is Role.RESPONSE:
            from oncoresponse.servers.response_servicer import ResponseServicer
            from oncoresponse.v1 import response_pb2_grpc

            response = ResponseServicer(artifacts, settings.models_directory, _fingerprint_key(settings))
            response_pb2_grpc.add_ResponseServiceServicer_to_server(response, server)
            return response.make_ready
        if role is Role.REPORTING:
            from oncoresponse.servers.reporting_servicer import ReportingServicer
            from oncoresponse.v1 import reporting_pb2_grpc

            reporting = ReportingServicer(artifacts, settings.models_directory, settings.performing_organization)
            reporting_pb2_grpc.add_ReportingServiceServicer_to_server(reporting, server)
            return _nothing
        if role is Role.MONITORING:
            from oncoresponse.monitoring.store import MonitoringStore
            from oncoresponse.servers.monitoring_servicer import MonitoringServicer
            from oncoresponse.v1 import monitoring_pb2_grpc

            monitoring = MonitoringServicer(
                MonitoringStore(settings.system_database_url), artifacts, settings.models_directory
            )
            monitoring_pb2_grpc.add_MonitoringServiceServicer_to_server(monitoring, server)
            self._exit_stack.push_async_callback(monitoring.close)
            return monitoring.make_ready
        from oncoresponse.servers.assessment_servicer import AssessmentServicer
        from oncoresponse.v1 import assessment_pb2_grpc
        from oncoresponse.workflow.assessment_records import AssessmentRecords
        from oncoresponse.workflow.assessment_workflow import ChainSurroundings, provide_surroundings
        from oncoresponse.workflow.recording_workflow import provide_recording_peers

        provide_recording_peers(peers)
        provide_surroundings(ChainSurroundings(peers, artifacts, settings.stage_timeout_seconds))
        records = AssessmentRecords(settings)
        assessment_pb2_grpc.add_AssessmentServiceServicer_to_server(
            AssessmentServicer(records, artifacts, peers), server
        )

        async def launch() -> None:
            self._exit_stack.push_async_callback(records.close)
            await records.launch()

        return launch


def _require_models(settings: ServerSettings) -> None:
    if set(settings.roles) != {Role.ASSESSMENT} and not installed_model_names(settings.models_directory):
        raise ConfigurationError(
            f"There is no model in {settings.models_directory}, so no study could be assessed. Give the folder of the "
            "installed models (models_directory, --models-dir).",
            setting="models_directory",
        )


async def _nothing() -> None:
    return None


def _fingerprint_key(settings: ServerSettings) -> bytes | None:
    from oncoresponse.response.training_fingerprints import read_key

    return None if settings.fingerprint_key is None else read_key(settings.fingerprint_key)
