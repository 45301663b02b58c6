"""What is done with an order, whichever way it came: kept at the front door, and carried out by the rules."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.orders.study_orders import SEVERAL_STUDIES
from oncoresponse.edges.pacs.priors import PriorFetcher
from oncoresponse.edges.pages import pages
from oncoresponse.edges.rule_runner import RuleRunner
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import (
    administration_pb2,
    administration_pb2_grpc,
    assessment_pb2,
    assessment_pb2_grpc,
    intake_pb2,
    order_pb2,
    order_pb2_grpc,
)

_CALL_SECONDS = 60.0
_LOOK_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 120.0
_PAGE = 1000
ASSESSMENT_ENDED = "ASSESSMENT_ENDED"
"""Said of a cancelled order whose assessment had ended before: its report stands until a physician withdraws it."""
_ENDED = (
    assessment_pb2.ASSESSMENT_STATE_SUCCEEDED,
    assessment_pb2.ASSESSMENT_STATE_FAILED,
    assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED,
)

_log = logging.getLogger(__name__)


class OrderIntake:
    """Keeps orders, and starts what they ask for as soon as their study is here. One for all ways on which they come.

    See :class:`~oncoresponse.edges.edge.Edge`.

    Args:
        settings: Of the process; its rules say which model assesses the study of an order.
        front_door: Whom it calls.
        priors: Fetches earlier studies.

    Raises:
        ConfigurationError: The rules have faults.
    """

    name = "orders"
    address = ""

    def __init__(self, settings: ServerSettings, front_door: FrontDoor, priors: PriorFetcher) -> None:
        self._front_door = front_door
        self._rules = RuleRunner(settings, front_door, intake_pb2.RECEIVED_WAY_CLIENT, priors)
        self._channel: grpc.aio.Channel | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look for studies of orders that wait."""
        self._channel = self._front_door.channel()
        self._rules.start(self._channel)
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Begin nothing more. What waits is gone on with after the next start."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._rules.stop()
        if self._channel is not None:
            await self._channel.close()
        self._looking = self._channel = None

    def ready(self) -> bool:
        """Whether it looks for studies."""
        return self._looking is not None and not self._looking.done()

    async def came(self, order: order_pb2.Order) -> None:
        """Keep an order; what it asks for is begun, and not waited for.

        Raises:
            grpc.RpcError: The front door does not keep it.
        """
        kept = await self._recorded(order_pb2.RecordOrderRequest(order=order))
        if kept.order.state != order_pb2.ORDER_STATE_WAITING:
            return
        if len(kept.studies) > 1:
            await self._settled(kept.order, order_pb2.ORDER_STATE_REFUSED, SEVERAL_STUDIES)
            return
        for study in kept.studies:
            self._rules.ordered(study)

    async def cancelled(self, order: order_pb2.Order) -> None:
        """Start nothing for an order, also where it comes later than this; an assessment that runs for it is cancelled.

        What has ended stays, which the order says: a person has to withdraw the report.

        Raises:
            grpc.RpcError: The front door does not keep it.
        """
        kept = await self._recorded(order_pb2.RecordOrderRequest(order=order, cancelled=True))
        if kept.order.assessment and await self._had_ended(kept.order.assessment):
            # It stays cancelled.
            await self._settled(kept.order, order_pb2.ORDER_STATE_STARTED, ASSESSMENT_ENDED)

    async def refused(self, order: order_pb2.Order, reason: str) -> None:
        """Keep an order that can have no study, so that somebody sees it.

        Raises:
            grpc.RpcError: The front door does not keep it.
        """
        kept = await self._recorded(order_pb2.RecordOrderRequest(order=order))
        if kept.order.state == order_pb2.ORDER_STATE_WAITING:
            await self._settled(kept.order, order_pb2.ORDER_STATE_REFUSED, reason)

    async def merge(self, request: administration_pb2.MergePatientsRequest) -> None:
        """Merge two patients, where the settings of the front door allow it.

        Raises:
            grpc.RpcError: The front door does not do it.
        """
        await administration_pb2_grpc.AdministrationServiceStub(self._channel).MergePatients(request, **self._call)

    async def _had_ended(self, assessment: str) -> bool:
        """Cancel what runs; whether it had ended otherwise before."""
        stub = assessment_pb2_grpc.AssessmentServiceStub(self._channel)
        request = assessment_pb2.CancelAssessmentRequest(name=assessment)
        answer = await stub.CancelAssessment(request, **self._call)
        state = assessment_pb2.AssessmentState.Name(answer.assessment.state)
        _log.info("%s: its order is cancelled, it is %s", assessment, state.removeprefix("ASSESSMENT_STATE_").lower())
        return answer.assessment.state in _ENDED

    async def _settled(self, order: order_pb2.Order, state: order_pb2.OrderState, reason: str) -> None:
        request = order_pb2.SettleOrderRequest(
            name=order.name, state=state, study=order.study, assessment=order.assessment, reason=reason
        )
        await order_pb2_grpc.OrderServiceStub(self._channel).SettleOrder(request, **self._call)

    async def _recorded(self, request: order_pb2.RecordOrderRequest) -> order_pb2.RecordOrderResponse:
        stub = order_pb2_grpc.OrderServiceStub(self._channel)
        answer: order_pb2.RecordOrderResponse = await stub.RecordOrder(request, **self._call)
        return answer

    async def _look(self) -> None:
        """Orders whose study has come since, over whichever way; at first also what an earlier process left undone."""
        pause, first = _LOOK_SECONDS, True
        while True:
            try:
                await self._looked(first=first)
                pause, first = _LOOK_SECONDS, False
            except grpc.RpcError as failure:
                _log.warning("orders that wait are not looked at now: %s", from_rpc_error(failure).reason)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _looked(self, *, first: bool) -> None:
        stub = order_pb2_grpc.OrderServiceStub(self._channel)
        request = order_pb2.ListOrdersRequest(
            page_size=_PAGE, state=order_pb2.ORDER_STATE_WAITING, has_study=True, untouched=not first
        )
        async for page in pages(stub.ListOrders, request, self._call):
            for order in page.orders:
                await self.came(order)

    @property
    def _call(self) -> dict[str, Any]:
        return {"metadata": self._front_door.own_metadata, "timeout": _CALL_SECONDS}
