"""DeliveryService: what has to be sent to others, for the edges that send it and the operators who look after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.access.call import current_call
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import DeliveryNotFound
from oncoresponse.rpc.artifact_messages import artifact_message
from oncoresponse.storage.delivery_rows import DeliveryState, SentFile, StoredDelivery
from oncoresponse.storage.delivery_store import DeliveryFilter, DeliveryStore, Failure
from oncoresponse.v1 import delivery_pb2, delivery_pb2_grpc
from oncoresponse.workflow.assessment_message import PREFIX
from oncoresponse.workflow.assessment_records import AssessmentRecords

_PREFIX = "deliveries/"
_DEFAULT_PAGE_SIZE = 50
_STATE_OF = {delivery_pb2.DeliveryState.Value(f"DELIVERY_STATE_{state.name}"): state for state in DeliveryState}

_log = logging.getLogger(__name__)


class DeliveryServicer(delivery_pb2_grpc.DeliveryServiceServicer):
    """See ``protos/oncoresponse/v1/delivery.proto``.

    Args:
        records: The assessments.
        store: The deliveries.
    """

    def __init__(self, records: AssessmentRecords, store: DeliveryStore) -> None:
        self._records = records
        self._store = store

    async def ListDeliveries(
        self, request: delivery_pb2.ListDeliveriesRequest, context: grpc.aio.ServicerContext
    ) -> delivery_pb2.ListDeliveriesResponse:
        """List deliveries, newest first."""
        wanted = DeliveryFilter(
            destination=request.destination,
            assessment=request.assessment.removeprefix(PREFIX),
            state=_STATE_OF.get(request.state),
            tenant=current_call().tenant,
        )
        found, token = await asyncio.to_thread(
            self._store.page, wanted, request.page_size or _DEFAULT_PAGE_SIZE, request.page_token
        )
        await self._concerns(found)
        return delivery_pb2.ListDeliveriesResponse(deliveries=map(_message, found), next_page_token=token)

    async def GetDelivery(
        self, request: delivery_pb2.GetDeliveryRequest, context: grpc.aio.ServicerContext
    ) -> delivery_pb2.GetDeliveryResponse:
        """Describe one delivery."""
        return delivery_pb2.GetDeliveryResponse(delivery=_message(await self._own(request.name)))

    async def ResendDelivery(
        self, request: delivery_pb2.ResendDeliveryRequest, context: grpc.aio.ServicerContext
    ) -> delivery_pb2.ResendDeliveryResponse:
        """Make a delivery due now."""
        found = await self._own(request.name)
        resent = await asyncio.to_thread(self._store.resend, found.delivery, everything=request.everything)
        return delivery_pb2.ResendDeliveryResponse(delivery=_message(resent))

    async def DropDelivery(
        self, request: delivery_pb2.DropDeliveryRequest, context: grpc.aio.ServicerContext
    ) -> delivery_pb2.DropDeliveryResponse:
        """Give a delivery up."""
        found = await self._own(request.name)
        return delivery_pb2.DropDeliveryResponse(
            delivery=_message(await asyncio.to_thread(self._store.drop, found.delivery))
        )

    async def TakeDeliveries(
        self, request: delivery_pb2.TakeDeliveriesRequest, context: grpc.aio.ServicerContext
    ) -> delivery_pb2.TakeDeliveriesResponse:
        """Lease what is due."""
        taken = await asyncio.to_thread(
            self._store.take, list(request.destinations), request.max_deliveries, request.lease.ToMilliseconds()
        )
        if not taken:
            return delivery_pb2.TakeDeliveriesResponse()
        await self._concerns(taken)
        reports = await asyncio.to_thread(self._store.reports, [each.assessment for each in taken])
        leased = [
            delivery_pb2.LeasedDelivery(
                delivery=_message(each), lease_token=each.lease_token, lease_end_time=_timestamp(each.lease_end_ms)
            )
            for each in taken
        ]
        for each in leased:
            each.delivery.report = reports.get(each.delivery.assessment.removeprefix(PREFIX), "")
        return delivery_pb2.TakeDeliveriesResponse(deliveries=leased)

    async def ExtendLease(
        self, request: delivery_pb2.ExtendLeaseRequest, context: grpc.aio.ServicerContext
    ) -> delivery_pb2.ExtendLeaseResponse:
        """Lengthen a lease."""
        found = await self._own(request.name)
        end = await asyncio.to_thread(
            self._store.extend, found.delivery, request.lease_token, request.lease.ToMilliseconds()
        )
        return delivery_pb2.ExtendLeaseResponse(lease_end_time=_timestamp(end))

    async def SettleDelivery(
        self, request: delivery_pb2.SettleDeliveryRequest, context: grpc.aio.ServicerContext
    ) -> delivery_pb2.SettleDeliveryResponse:
        """Note what came of an attempt."""
        found = await self._own(request.name)
        files = [
            SentFile(file.file_name, "", 0, "", file.stored, file.committed, file.reason) for file in request.files
        ]
        settled = await asyncio.to_thread(
            self._store.settle, found.delivery, request.lease_token, files, _failure(request), dict(request.receipt)
        )
        if settled.state in (DeliveryState.DEAD, DeliveryState.HELD):
            _log.warning(
                "%s%s of %s%s to %s is %s after %d attempts: %s",
                _PREFIX,
                settled.delivery,
                PREFIX,
                settled.assessment,
                settled.destination,
                settled.state.value,
                settled.attempts,
                settled.reason,
            )
        return delivery_pb2.SettleDeliveryResponse(delivery=_message(settled))

    async def _own(self, name: str) -> StoredDelivery:
        """A delivery of the caller's tenant, noted for the audit record.

        Raises:
            DeliveryNotFound: There is none for this tenant.
        """
        found = await asyncio.to_thread(self._store.get, name.removeprefix(_PREFIX))
        tenant = current_call().tenant
        if tenant is not None and await self._records.lists.tenant_of(found.assessment) != tenant:
            raise DeliveryNotFound("There is no delivery of this name. The list of deliveries gives the names.")
        await self._concerns([found])
        return found

    async def _concerns(self, found: Sequence[StoredDelivery]) -> None:
        if not found:
            return
        assessments = sorted({each.assessment for each in found})
        patients = await self._records.lists.patients_of(*assessments)
        names = (_PREFIX + each.delivery for each in found)
        current_call().concerns(*names, *(PREFIX + each for each in assessments), patients=patients)


def _failure(request: delivery_pb2.SettleDeliveryRequest) -> Failure | None:
    if not request.HasField("failure"):
        return None
    failure = request.failure
    retry_after = failure.retry_after.ToMilliseconds() if failure.HasField("retry_after") else None
    return Failure(failure.reason, failure.message, failure.permanent, retry_after, failure.hold)


def _message(found: StoredDelivery) -> delivery_pb2.Delivery:
    message = delivery_pb2.Delivery(
        name=_PREFIX + found.delivery,
        destination=found.destination,
        assessment=PREFIX + found.assessment,
        report_version=found.report_version,
        event=f"DELIVERY_EVENT_{found.event.name}",
        state=f"DELIVERY_STATE_{found.state.name}",
        attempts=found.attempts,
        create_time=_timestamp(found.create_time_ms),
        reason=found.reason,
        message=found.message,
        files=map(_file_message, found.files),
        receipt=found.receipt,
        number=found.number,
    )
    if found.state is DeliveryState.WAITING:
        message.next_attempt_time.CopyFrom(_timestamp(found.next_time_ms))
    if found.end_time_ms:
        message.end_time.CopyFrom(_timestamp(found.end_time_ms))
    return message


def _file_message(file: SentFile) -> delivery_pb2.DeliveryFile:
    artifact = StoredArtifact(sha256=file.sha256, size_bytes=file.size_bytes, media_type=file.media_type)
    return delivery_pb2.DeliveryFile(
        file_name=file.name,
        artifact=artifact_message(artifact),
        stored=file.stored,
        committed=file.committed,
        reason=file.reason,
    )


def _timestamp(milliseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(milliseconds)
    return stamp
