"""A client with the calls about orders that came from other systems."""

from __future__ import annotations

from collections.abc import Iterator

from oncoresponse.rpc.client import Client
from oncoresponse.v1 import order_pb2, order_pb2_grpc


class OrderClient(Client):
    """:class:`~oncoresponse.rpc.client.Client` with the calls about orders."""

    @property
    def _orders(self) -> order_pb2_grpc.OrderServiceStub:
        return order_pb2_grpc.OrderServiceStub(self._channels[self._study_address])

    def orders(self, request: order_pb2.ListOrdersRequest) -> Iterator[order_pb2.Order]:
        """Orders, newest first, page by page."""
        request = order_pb2.ListOrdersRequest.FromString(request.SerializeToString())
        while True:
            with self._errors(self._study_address):
                page = self._orders.ListOrders(request)
            yield from page.orders
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def order(self, name: str) -> order_pb2.Order:
        """One order.

        Raises:
            OrderNotFound: There is none of this name.
        """
        with self._errors(self._study_address):
            found: order_pb2.Order = self._orders.GetOrder(order_pb2.GetOrderRequest(name=name)).order
        return found

    def cancel_order(self, name: str) -> order_pb2.Order:
        """Start nothing for an order; an assessment that runs for it is cancelled too.

        Raises:
            OrderNotFound: There is none of this name.
        """
        with self._errors(self._study_address):
            cancelled: order_pb2.Order = self._orders.CancelOrder(order_pb2.CancelOrderRequest(name=name)).order
        if cancelled.assessment:
            self.cancel(cancelled.assessment)
        return cancelled
