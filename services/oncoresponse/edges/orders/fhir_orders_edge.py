"""Asks FHIR servers for orders, as an edge."""

from __future__ import annotations

import asyncio
import logging

import grpc

from oncoresponse.edges.delivery.destinations import smart_login_of
from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.edges.orders.fhir_orders import CameOrder, FhirOrderSource
from oncoresponse.edges.orders.order_intake import OrderIntake
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.rpc.status import from_rpc_error

_LONGEST_PAUSE_SECONDS = 600.0

_log = logging.getLogger(__name__)


class FhirOrdersEdge:
    """See :class:`~oncoresponse.edges.edge.Edge`.

    Args:
        settings: Of the process.
        orders: Keeps what is read.

    Raises:
        ConfigurationError: Patient data would cross a network in the clear, or a key cannot be used.
    """

    name = "fhir-orders"
    address = ""

    def __init__(self, settings: ServerSettings, orders: OrderIntake) -> None:
        insecure = settings.allow_insecure_network
        self._sources = []
        for name, source in settings.fhir_orders.items():
            source.require_safe_calling(setting="fhir_orders", allow_insecure_network=insecure)
            self._sources.append(FhirOrderSource(name, source, smart_login_of(source, settings)))
        self._orders = orders
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to ask, each server by itself: one that is away holds up no other."""
        self._loops = [asyncio.create_task(self._ask(each)) for each in self._sources]

    async def stop(self) -> None:
        """Ask no more."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []

    def ready(self) -> bool:
        """Whether it asks."""
        return bool(self._loops) and not any(loop.done() for loop in self._loops)

    async def _ask(self, source: FhirOrderSource) -> None:
        pause = source.settings.poll_seconds
        while True:
            reason = ""
            try:
                for came in await asyncio.to_thread(source.changed):
                    await self._kept(came)
                source.taken()
            except AttemptEnded as ended:
                reason = ended.error.reason
            except OncoResponseError as error:
                reason = error.reason
            except grpc.RpcError as failure:
                reason = from_rpc_error(failure).reason
            except Exception:
                # A defect in one answer must not end the asking.
                _log.exception("orders of %s: a defect", source.name)
                reason = "INTERNAL"
            if reason:
                _log.warning("orders of %s are not read now: %s", source.name, reason)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if reason else source.settings.poll_seconds
            await asyncio.sleep(pause)

    async def _kept(self, came: CameOrder) -> None:
        if came.cancelled:
            await self._orders.cancelled(came.order)
        elif came.refused:
            await self._orders.refused(came.order, came.refused)
        else:
            await self._orders.came(came.order)
