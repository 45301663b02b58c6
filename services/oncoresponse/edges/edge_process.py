"""Runs the edges that the settings name, in the process of the server or in one of their own."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from oncoresponse.edges.delivery.commitment import CommitmentResults
from oncoresponse.edges.delivery.delivery_edge import DeliveryEdge
from oncoresponse.edges.delivery.destinations import senders_of
from oncoresponse.edges.edge import Edge
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.http_edge import HttpEdge
from oncoresponse.edges.orders.fhir_orders_edge import FhirOrdersEdge
from oncoresponse.edges.orders.hl7_edge import Hl7Edge
from oncoresponse.edges.orders.order_intake import OrderIntake
from oncoresponse.edges.pacs.pacs_edge import PacsEdge
from oncoresponse.edges.pacs.priors import PriorFetcher
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.addresses import host_of, is_loopback
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.rpc.tls import CallerTls

_log = logging.getLogger(__name__)


def _edges_of(settings: ServerSettings, front_door: FrontDoor) -> list[Edge]:
    """The edges that the settings name, in the order in which they start. A new edge has its lines here."""
    edges: list[Edge] = []
    results, priors = CommitmentResults(), PriorFetcher(settings)
    if settings.http_server is not None:
        edges.append(HttpEdge(settings, settings.http_server, front_door, priors))
    if settings.pacs is not None:
        edges.append(PacsEdge(settings, settings.pacs, front_door, results, priors))
    if settings.hl7 is not None or settings.fhir_orders:
        orders = OrderIntake(settings, front_door, priors)
        edges.append(orders)
        if settings.hl7 is not None:
            insecure = settings.allow_insecure_network
            edges.append(Hl7Edge(settings.hl7, orders, allow_insecure_network=insecure))
        if settings.fhir_orders:
            edges.append(FhirOrdersEdge(settings, orders))
    if settings.destinations:
        edges.append(DeliveryEdge(front_door, senders_of(settings, results)))
    return edges


class EdgeProcess:
    """The edges of one process.

    Args:
        settings: Say which edges there are.
        address: Of the front door: ``HOST:PORT``, or ``unix:PATH``.
        token: What edges show there, see :func:`~oncoresponse.rpc.edge_token.edge_token`.

    Raises:
        ConfigurationError: The settings name no edge, or one that cannot be, or the token would cross a network
            unencrypted.
    """

    def __init__(self, settings: ServerSettings, address: str, token: str) -> None:
        self._front_door = FrontDoor(
            address, token, CallerTls() if address.startswith("unix:") else settings.caller_tls
        )
        if not self._front_door.tls.is_wanted and not is_loopback(host_of(address)):
            raise ConfigurationError(
                "The token of the edges would cross the network unencrypted. Give the certificate authority of the "
                "server (tls_authority).",
                setting="tls_authority",
            )
        self._edges = _edges_of(settings, self._front_door)
        if not self._edges:
            raise ConfigurationError(
                "The settings name no edge, so there is nothing to run. Give http, pacs, hl7, fhir_orders or "
                "destinations."
            )
        self._started: list[Edge] = []

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where the edges listen, by their names."""
        return {edge.name: edge.address for edge in self._started if edge.address}

    async def start(self) -> None:
        """Start all; where one cannot, those that run are stopped again.

        Raises:
            OncoResponseError: What the edge that cannot start says.
        """
        try:
            for edge in self._edges:
                self._started.append(edge)
                await edge.start()
        except BaseException:
            await self.stop()
            raise
        _log.info("edges: %s", ", ".join(edge.name for edge in self._started))

    async def stop(self) -> None:
        """Stop all, the last one first."""
        while self._started:
            edge = self._started.pop()
            try:
                await edge.stop()
            except Exception as error:
                # The others are stopped all the same.
                _log.warning("the edge %s did not stop as it should: %s", edge.name, type(error).__name__)

    def ready(self) -> bool:
        """Whether all do their work."""
        return len(self._started) == len(self._edges) and all(edge.ready() for edge in self._started)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started at the beginning of the block, stopped at its end."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def run_until_signal(self, on_ready: Callable[[EdgeProcess], None]) -> None:
        """Run until SIGTERM or SIGINT."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        async with self.running():
            on_ready(self)
            await stopping.wait()
