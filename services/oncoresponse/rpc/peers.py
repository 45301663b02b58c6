"""Calls from the workflow to the stage services: one deadline, retries while a peer is away or busy.

Services of this process are called through its own socket (:mod:`oncoresponse.rpc.own_socket`), others at their
address.

A service may run in several processes (one for each GPU). Each call goes to the process that has the fewest calls of
this worker, in turn among equals; one that does not answer is passed over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from oncoresponse.access.call import current_correlation_id
from oncoresponse.errors import Busy, ConfigurationError, DeadlineExceeded, NotAuthenticated
from oncoresponse.rpc.access_control import AUTHORIZATION, CORRELATION_ID
from oncoresponse.rpc.settings import FRONT_SERVICES, ServerSettings, Service, split_addresses
from oncoresponse.rpc.status import from_rpc_error, is_answered
from oncoresponse.rpc.tls import connection_fault

_Answer = TypeVar("_Answer", bound=Message)
_CHECK_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)

SERVICE_NAMES = {
    service: f"oncoresponse.v1.{service.value.capitalize()}Service"
    if service in FRONT_SERVICES
    else f"oncoresponse.stages.v1.StageService.{service.value}"
    for service in Service
}
"""Names of the services in gRPC's health protocol: those of the front door by their own, of a process that only runs
stages by the service it stands for."""
HOSTED_BY = {
    "oncoresponse.v1.AccessService": Service.STUDY,
    "oncoresponse.v1.IntakeService": Service.STUDY,
    "oncoresponse.v1.OrderService": Service.STUDY,
    "oncoresponse.v1.ReportService": Service.ASSESSMENT,
    "oncoresponse.v1.CardService": Service.ASSESSMENT,
    "oncoresponse.v1.ReplayService": Service.ASSESSMENT,
    "oncoresponse.v1.DeliveryService": Service.ASSESSMENT,
    "oncoresponse.v1.ResourceService": Service.ASSESSMENT,
    "oncoresponse.v1.OperationsService": Service.ASSESSMENT,
}
"""Services of the front door that another one brings along: they can work when that one can."""


class Peers:
    """Channels to the services, wherever they run. All calls go over gRPC, also within one process.

    Args:
        settings: Addresses and TLS files.
        own_socket: gRPC address of the socket of this process, for the services that it runs.
        stage_token: What services show each other.
    """

    def __init__(self, settings: ServerSettings, own_socket: str, stage_token: str = "") -> None:
        self._stage_token = stage_token
        self._settings = settings
        self._own_socket = own_socket
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls_under_way: Counter[str] = Counter()
        self._turn = 0

    async def call(
        self,
        service: Service,
        stub: Callable[[grpc.aio.Channel], Any],
        method: str,
        request: Message,
        answer_type: type[_Answer],
        *,
        timeout_seconds: float,
    ) -> _Answer:
        """Call a unary method until it answers, fails for good, or the deadline passes.

        A peer that is away, restarts or has a full queue is waited for, or another process of its service is asked; any
        other failure is final.

        Raises:
            OncoResponseError: What the peer answered, or DeadlineExceeded with what keeps it from answering.
            ConfigurationError: The service has no address, or what answers there does not offer it.
        """
        deadline = time.monotonic() + timeout_seconds
        pause = _FIRST_PAUSE_SECONDS
        busy: Busy | None = None
        cause = ""
        while True:
            for address in self._in_order(service):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise busy or DeadlineExceeded(
                        f"The {service} service did not answer within {timeout_seconds:.0f} s. "
                        + (cause or "Check that it runs, or raise stage_timeout_seconds.")
                    )
                self._calls_under_way[address] += 1
                try:
                    answer = await getattr(stub(self._channel(address)), method)(
                        request, timeout=remaining, metadata=self._metadata()
                    )
                except grpc.aio.AioRpcError as error:
                    failure = from_rpc_error(error)
                    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                        raise self._other_service(service, address) from None
                    if isinstance(failure, NotAuthenticated):
                        raise self._other_token(service, address) from None
                    if error.code() is grpc.StatusCode.UNAVAILABLE and not cause:
                        cause = failure.message if is_answered(error) else await self._cause(service, address)
                    busy = failure if isinstance(failure, Busy) else None
                    if busy is None and error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise failure from None
                else:
                    if not isinstance(answer, answer_type):
                        raise TypeError(f"{method} answered {type(answer).__name__}, not {answer_type.__name__}")
                    return answer
                finally:
                    self._calls_under_way[address] -= 1
            wanted = pause if busy is None else busy.retry_after_seconds or pause
            await asyncio.sleep(min(wanted, max(deadline - time.monotonic(), 0)))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        correlation_id = current_correlation_id()
        shown = ((AUTHORIZATION, f"Bearer {self._stage_token}"),) if self._stage_token else ()
        return (*shown, (CORRELATION_ID, correlation_id)) if correlation_id else shown

    def elsewhere(self) -> dict[str, tuple[Service, ...]]:
        """The addresses of other processes, each with the services that it is asked for."""
        found: dict[str, tuple[Service, ...]] = {}
        for service, addresses in self._settings.addresses.items():
            for address in split_addresses(addresses):
                found[address] = (*found.get(address, ()), service)
        return found

    async def ask(
        self,
        address: str,
        stub: Callable[[grpc.aio.Channel], Any],
        method: str,
        request: Message,
        *,
        timeout_seconds: float,
    ) -> Any:
        """Call a unary method at one address, once.

        Raises:
            grpc.aio.AioRpcError: As gRPC has it.
        """
        return await getattr(stub(self._channel(address)), method)(
            request, timeout=timeout_seconds, metadata=self._metadata()
        )

    async def wait_until_serving(self, services: Collection[Service]) -> None:
        """Return when each service says, over the way that calls will take, that it can work; log what keeps it.

        Raises:
            ConfigurationError: What answers at an address does not offer the service.
        """
        told: set[tuple[str, str]] = set()
        for service in services:
            while not await self._is_serving(service, told):
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 5)

    async def _is_serving(self, service: Service, told: set[tuple[str, str]]) -> bool:
        for address in self._in_order(service):
            health = health_pb2_grpc.HealthStub(self._channel(address))
            request = health_pb2.HealthCheckRequest(service=SERVICE_NAMES[service])
            try:
                found = await health.Check(request, timeout=_CHECK_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
                    raise self._other_service(service, address) from None
                cause = await self._cause(service, address)
            else:
                if found.status == health_pb2.HealthCheckResponse.SERVING:
                    return True
                cause = f"The {service} service at {address} is not ready yet."
            if (address, cause) not in told:
                told.add((address, cause))
                _log.warning("waiting for the %s service: %s", service, cause)
        return False

    async def _cause(self, service: Service, address: str) -> str:
        """Why an address does not answer, in words for the administrator."""
        if address == self._own_socket:
            return ""
        fault = await asyncio.to_thread(connection_fault, address, self._settings.caller_tls)
        return f"{fault.message} The address is that of addresses.{service}."

    def _other_service(self, service: Service, address: str) -> ConfigurationError:
        return ConfigurationError(
            f"What answers at {address} does not offer the {service} service. Correct addresses.{service}, or the "
            "services of the process there, or bring it to this release.",
            setting=f"addresses.{service}",
        )

    def _other_token(self, service: Service, address: str) -> ConfigurationError:
        return ConfigurationError(
            f"What answers at {address} does not know this process as a service of the installation. Set "
            f"addresses.{service} to the address of stage_listen there (listen is for users), and stage_token_file to "
            "the same secret in both processes, unless they share a data folder.",
            setting=f"addresses.{service}",
        )

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def _in_order(self, service: Service) -> list[str]:
        """Addresses of a service, the one to ask first in front."""
        elsewhere = self._settings.addresses.get(service)
        if elsewhere is None and service not in self._settings.services:
            raise ConfigurationError(
                f"The {service} service runs neither in this process nor at a known address. Set addresses.{service}.",
                setting=f"addresses.{service}",
            )
        addresses = split_addresses(elsewhere) if elsewhere is not None else [self._own_socket]
        turn = self._turn % len(addresses)
        self._turn += 1
        return sorted(addresses[turn:] + addresses[:turn], key=lambda address: self._calls_under_way[address])

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = self._open(address)
        return self._channels[address]

    def _open(self, address: str) -> grpc.aio.Channel:
        # A peer that restarts should be found again in about a second, not after gRPC's default of up to two minutes.
        options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 100)]
        tls = self._settings.caller_tls
        if address == self._own_socket or not tls.is_wanted:
            return grpc.aio.insecure_channel(address, options=options)
        return grpc.aio.secure_channel(address, tls.channel_credentials(), options=[*options, *tls.channel_options()])
