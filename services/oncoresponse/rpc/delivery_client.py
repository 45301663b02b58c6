"""A client with what concerns deliveries, for operators."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from oncoresponse.rpc.client import Client
from oncoresponse.v1 import delivery_pb2, delivery_pb2_grpc


class DeliveryClient(Client):
    """:class:`~oncoresponse.rpc.client.Client` with the calls about what is sent to others."""

    @cached_property
    def _deliveries(self) -> delivery_pb2_grpc.DeliveryServiceStub:
        return delivery_pb2_grpc.DeliveryServiceStub(self._channels[self._address])

    def deliveries(self, request: delivery_pb2.ListDeliveriesRequest) -> Iterator[delivery_pb2.Delivery]:
        """All that fit, newest first, over as many pages as there are."""
        asked = delivery_pb2.ListDeliveriesRequest()
        asked.CopyFrom(request)
        while True:
            with self._errors(self._address):
                page = self._deliveries.ListDeliveries(asked)
            yield from page.deliveries
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    def delivery(self, name: str) -> delivery_pb2.Delivery:
        """One of them.

        Raises:
            DeliveryNotFound: There is none.
        """
        with self._errors(self._address):
            answer: delivery_pb2.GetDeliveryResponse = self._deliveries.GetDelivery(
                delivery_pb2.GetDeliveryRequest(name=name)
            )
        return answer.delivery

    def resend_delivery(self, name: str, *, everything: bool = False) -> delivery_pb2.Delivery:
        """Have it sent again; with ``everything`` also what the destination has.

        Raises:
            DeliveryNotFound, DeliveryStateForbids: There is none; it is being sent, or its report was withdrawn.
        """
        with self._errors(self._address):
            request = delivery_pb2.ResendDeliveryRequest(name=name, everything=everything)
            answer: delivery_pb2.ResendDeliveryResponse = self._deliveries.ResendDelivery(request)
        return answer.delivery

    def drop_delivery(self, name: str) -> delivery_pb2.Delivery:
        """Give it up.

        Raises:
            DeliveryNotFound, DeliveryStateForbids: There is none; it was sent, or is being sent.
        """
        with self._errors(self._address):
            answer: delivery_pb2.DropDeliveryResponse = self._deliveries.DropDelivery(
                delivery_pb2.DropDeliveryRequest(name=name)
            )
        return answer.delivery
