"""OrderService: orders that came from the hospital's other systems, and what became of them."""

from __future__ import annotations

import asyncio

import grpc

from oncoresponse.access.call import current_call
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import OrderNotFound
from oncoresponse.storage.order_store import OrderState, OrderStore, StoredOrder
from oncoresponse.v1 import order_pb2, order_pb2_grpc

_DEFAULT_PAGE_SIZE = 50
_STATE_OF = {
    order_pb2.ORDER_STATE_WAITING: OrderState.WAITING,
    order_pb2.ORDER_STATE_STARTED: OrderState.STARTED,
    order_pb2.ORDER_STATE_REFUSED: OrderState.REFUSED,
    order_pb2.ORDER_STATE_CANCELLED: OrderState.CANCELLED,
}
_PLAIN = (
    "source",
    "order_number",
    "accession_number",
    "patient_id",
    "issuer_of_patient_id",
    "birth_date",
    "sex",
    "patient_reference",
    "service_request_reference",
    "encounter_reference",
    "tenant",
)
_OF_THE_SERVER = ("study", "assessment", "reason")


class OrderServicer(order_pb2_grpc.OrderServiceServicer):
    """See ``protos/oncoresponse/v1/order.proto``. Users see the orders of their tenant.

    Args:
        store: The orders.
    """

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def ListOrders(
        self, request: order_pb2.ListOrdersRequest, context: grpc.aio.ServicerContext
    ) -> order_pb2.ListOrdersResponse:
        """List orders, newest first."""
        found, token = await asyncio.to_thread(
            self._store.page,
            request.page_size or _DEFAULT_PAGE_SIZE,
            request.page_token,
            state=_STATE_OF.get(request.state),
            accession_number=request.accession_number,
            has_study=request.has_study,
            untouched=request.untouched,
            tenant=current_call().tenant,
        )
        return order_pb2.ListOrdersResponse(orders=map(_concerned, found), next_page_token=token)

    async def GetOrder(
        self, request: order_pb2.GetOrderRequest, context: grpc.aio.ServicerContext
    ) -> order_pb2.GetOrderResponse:
        """Describe one order."""
        return order_pb2.GetOrderResponse(order=_concerned(await self._own(request.name)))

    async def CancelOrder(
        self, request: order_pb2.CancelOrderRequest, context: grpc.aio.ServicerContext
    ) -> order_pb2.CancelOrderResponse:
        """Start nothing more for an order."""
        own = await self._own(request.name)
        cancelled = await asyncio.to_thread(self._store.cancel, own.name)
        return order_pb2.CancelOrderResponse(order=_concerned(cancelled))

    async def RecordOrder(
        self, request: order_pb2.RecordOrderRequest, context: grpc.aio.ServicerContext
    ) -> order_pb2.RecordOrderResponse:
        """Keep an order that came."""
        given = {name: getattr(request.order, name) for name in _PLAIN}
        order = StoredOrder(**given, codes=tuple(request.order.codes))
        kept = await asyncio.to_thread(self._store.record, order, cancelled=request.cancelled)
        return order_pb2.RecordOrderResponse(order=_concerned(kept), studies=kept.studies)

    async def SettleOrder(
        self, request: order_pb2.SettleOrderRequest, context: grpc.aio.ServicerContext
    ) -> order_pb2.SettleOrderResponse:
        """Note what became of an order."""
        settled = await asyncio.to_thread(
            self._store.settle,
            request.name,
            _STATE_OF[request.state],
            request.study,
            request.assessment,
            request.reason,
        )
        return order_pb2.SettleOrderResponse(order=_concerned(settled))

    async def _own(self, name: str) -> StoredOrder:
        """An order of the caller's tenant.

        Raises:
            OrderNotFound: There is none for this tenant.
        """
        found = await asyncio.to_thread(self._store.get, name)
        if current_call().tenant not in (None, found.tenant):
            raise OrderNotFound("There is no order of this name. ListOrders gives the names.")
        return found


def _concerned(order: StoredOrder) -> order_pb2.Order:
    """The message; the audit record learns whom the call is about."""
    patient = IndexedPatient(patient_id=order.patient_id, issuer_of_patient_id=order.issuer_of_patient_id)
    names = [each for each in (order.name, order.study, order.assessment) if each]
    current_call().concerns(*names, patients=(patient,) if order.patient_id else ())
    return order_message(order)


def order_message(order: StoredOrder) -> order_pb2.Order:
    """An order as the protos have it."""
    given = {name: getattr(order, name) for name in (*_PLAIN, *_OF_THE_SERVER)}
    message = order_pb2.Order(
        name=order.name,
        codes=order.codes,
        studies=order.studies,
        state=next(state for state, known in _STATE_OF.items() if known is order.state),
        **given,
    )
    message.create_time.FromNanoseconds(order.create_time_ns)
    return message
