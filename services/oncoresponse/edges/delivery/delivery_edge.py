"""Takes deliveries that are due, sends them, and says what came of them.

Nothing is kept here: an edge that is killed leaves a lease that ends, and the delivery is due again. What a destination
took at an earlier attempt is not sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import grpc

from oncoresponse.edges.delivery.sending import DeliverySender, Outcome, Parcel, settlement
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.errors import InternalError
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, delivery_pb2, delivery_pb2_grpc

_CALL_SECONDS = 60.0
_LEASE_SECONDS = 60.0
# A third of the lease: two calls may fail before another takes the delivery.
_EXTEND_SECONDS = 20.0
_POLL_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 30.0
# What may pass by itself; everything else that the front door says of an artifact will not.
_PASSING = ("JUDGEMENT_NEEDED", "PEER_UNAVAILABLE", "BUSY", "RATE_LIMITED", "DEADLINE_EXCEEDED", "AUDIT_UNAVAILABLE")

_log = logging.getLogger(__name__)


class DeliveryEdge:
    """See :class:`~oncoresponse.edges.edge.Edge`.

    Args:
        front_door: Whom it calls.
        senders: By name of the destination, each with how many deliveries it may send at the same time.
    """

    name = "delivery"
    address = ""

    def __init__(self, front_door: FrontDoor, senders: Mapping[str, tuple[DeliverySender, int]]) -> None:
        self._front_door = front_door
        self._senders = senders
        self._channel: grpc.aio.Channel | None = None
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to take deliveries, for each destination by itself: one that is away holds up no other."""
        self._channel = self._front_door.channel()
        for name, (sender, parallel) in self._senders.items():
            self._loops += [asyncio.create_task(self._run(self._channel, name, sender)) for _ in range(parallel)]

    async def stop(self) -> None:
        """Take nothing more. What is being sent is not waited for: its lease ends, and it is sent again."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        if self._channel is not None:
            await self._channel.close()
        self._channel = None

    def ready(self) -> bool:
        """Whether it takes deliveries."""
        return bool(self._loops) and not any(loop.done() for loop in self._loops)

    async def _run(self, channel: grpc.aio.Channel, destination: str, sender: DeliverySender) -> None:
        stub = delivery_pb2_grpc.DeliveryServiceStub(channel)
        request = delivery_pb2.TakeDeliveriesRequest(destinations=[destination], max_deliveries=1)
        request.lease.FromSeconds(int(_LEASE_SECONDS))
        pause = _POLL_SECONDS
        while True:
            try:
                taken = await stub.TakeDeliveries(
                    request, metadata=self._front_door.own_metadata, timeout=_CALL_SECONDS
                )
                for leased in taken.deliveries:
                    await self._deliver(channel, leased, sender)
                pause = _POLL_SECONDS
                if taken.deliveries:
                    continue
            except grpc.RpcError as failure:
                error = from_rpc_error(failure)
                _log.warning("deliveries to %s are not taken now: %s", destination, error.reason)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except Exception:
                # A defect of one delivery must not end them all; its lease ends, and attempts are counted.
                _log.exception("a delivery to %s ended in a defect", destination)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _deliver(
        self, channel: grpc.aio.Channel, leased: delivery_pb2.LeasedDelivery, sender: DeliverySender
    ) -> None:
        extending = asyncio.create_task(self._extend(channel, leased))
        try:
            outcome = await self._outcome(channel, leased.delivery, sender)
        finally:
            extending.cancel()
        delivery = leased.delivery
        stub = delivery_pb2_grpc.DeliveryServiceStub(channel)
        settled = await stub.SettleDelivery(
            settlement(leased, outcome), metadata=self._front_door.own_metadata, timeout=_CALL_SECONDS
        )
        state = delivery_pb2.DeliveryState.Name(settled.delivery.state).removeprefix("DELIVERY_STATE_").lower()
        _log.info("%s of %s to %s: %s", delivery.name, delivery.assessment, delivery.destination, state)

    async def _outcome(
        self, channel: grpc.aio.Channel, delivery: delivery_pb2.Delivery, sender: DeliverySender
    ) -> Outcome:
        wanted = [file for file in delivery.files if sender.takes(file)]
        if not wanted:
            return Outcome({})
        try:
            parcels = [
                Parcel(file.file_name, await self._artifact(channel, delivery, file.file_name), file.stored)
                for file in wanted
            ]
        except grpc.RpcError as failure:
            error = from_rpc_error(failure)
            return Outcome({}, error, permanent=error.reason not in _PASSING)
        try:
            return await asyncio.to_thread(sender.send, delivery, parcels)
        except Exception:
            _log.exception("%s ended in a defect", delivery.name)
            return Outcome({}, InternalError("Sending ended in a defect of this service, which its log describes."))

    async def _artifact(self, channel: grpc.aio.Channel, delivery: delivery_pb2.Delivery, name: str) -> bytes:
        request = assessment_pb2.GetArtifactRequest(
            assessment=delivery.assessment, file_name=name, report_version=delivery.report_version
        )
        stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
        answers = stub.GetArtifact(request, metadata=self._front_door.own_metadata, timeout=_CALL_SECONDS)
        return b"".join([answer.data async for answer in answers if answer.WhichOneof("payload") == "data"])

    async def _extend(self, channel: grpc.aio.Channel, leased: delivery_pb2.LeasedDelivery) -> None:
        """Holds the lease for as long as sending takes; where it is lost, another sends the same again: no harm."""
        request = delivery_pb2.ExtendLeaseRequest(name=leased.delivery.name, lease_token=leased.lease_token)
        request.lease.FromSeconds(int(_LEASE_SECONDS))
        stub = delivery_pb2_grpc.DeliveryServiceStub(channel)
        while True:
            await asyncio.sleep(_EXTEND_SECONDS)
            try:
                await stub.ExtendLease(request, metadata=self._front_door.own_metadata, timeout=_CALL_SECONDS)
            except grpc.RpcError as failure:
                _log.warning("a lease was not extended: %s", from_rpc_error(failure).reason)
