"""Calls from the workflow to the stage services: one deadline, retries while a peer is away or busy.

A role may run in several processes (one for each GPU). Each call goes to the process that has the fewest calls of this
worker, in turn among equals; one that does not answer is passed over.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from oncoresponse.errors import Busy, DeadlineExceeded
from oncoresponse.servers.rpc_status import from_rpc_error
from oncoresponse.servers.settings import Role, ServerSettings, split_addresses
from oncoresponse.v1 import (
    model_pb2_grpc,
    monitoring_pb2_grpc,
    radiomics_pb2_grpc,
    reporting_pb2_grpc,
    response_pb2_grpc,
    segmentation_pb2_grpc,
    study_pb2_grpc,
)

_Answer = TypeVar("_Answer", bound=Message)
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

_STUBS: Mapping[Role, Any] = {
    Role.STUDY: study_pb2_grpc.StudyServiceStub,
    Role.SEGMENTATION: segmentation_pb2_grpc.SegmentationServiceStub,
    Role.RADIOMICS: radiomics_pb2_grpc.RadiomicsServiceStub,
    Role.RESPONSE: response_pb2_grpc.ResponseServiceStub,
    Role.REPORTING: reporting_pb2_grpc.ReportingServiceStub,
    Role.MODEL: model_pb2_grpc.ModelServiceStub,
    Role.MONITORING: monitoring_pb2_grpc.MonitoringServiceStub,
}


class Peers:
    """Channels to the roles, wherever they run. All calls go over gRPC, also within one process.

    Args:
        settings: Addresses and TLS files.
        own_address: Where this process listens; used for a role without an address of its own.
    """

    def __init__(self, settings: ServerSettings, own_address: str) -> None:
        self._settings = settings
        self._own_address = own_address
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls_under_way: Counter[str] = Counter()
        self._turn = 0

    async def call(
        self, role: Role, method: str, request: Message, answer_type: type[_Answer], *, timeout_seconds: float
    ) -> _Answer:
        """Call a unary method until it answers, fails for good, or the deadline passes.

        A peer that is away, restarts or has a full queue is waited for, or another process of its role is asked; any
        other failure is final.

        Raises:
            OncoResponseError: What the peer answered, or DeadlineExceeded.
        """
        deadline = time.monotonic() + timeout_seconds
        pause = _FIRST_PAUSE_SECONDS
        busy: Busy | None = None
        while True:
            for address in self._in_order(role):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise busy or DeadlineExceeded(
                        f"The {role} service did not answer within {timeout_seconds:.0f} s. "
                        "Check that it runs, or raise stage_timeout_seconds."
                    )
                stub = _STUBS[role](self._channel(address))
                self._calls_under_way[address] += 1
                try:
                    answer = await getattr(stub, method)(request, timeout=remaining)
                except grpc.aio.AioRpcError as error:
                    failure = from_rpc_error(error)
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

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def _in_order(self, role: Role) -> list[str]:
        """Addresses of a role, the one to ask first in front."""
        addresses = split_addresses(self._settings.addresses.get(role, self._own_address))
        turn = self._turn % len(addresses)
        self._turn += 1
        return sorted(addresses[turn:] + addresses[:turn], key=lambda address: self._calls_under_way[address])

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = self._open(address)
        return self._channels[address]

    def _open(self, address: str) -> grpc.aio.Channel:
        authority = self._settings.tls_authority
        # A peer that restarts should be found again in about a second, not after gRPC's default of up to two minutes.
        options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 100)]
        if authority is None and self._settings.tls_certificate is None:
            return grpc.aio.insecure_channel(address, options=options)
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        credentials = grpc.ssl_channel_credentials(
            authority.read_bytes() if authority else None,
            key.read_bytes() if key else None,
            certificate.read_bytes() if certificate else None,
        )
        return grpc.aio.secure_channel(address, credentials, options=options)
