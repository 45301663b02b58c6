"""The receiver as an edge: studies come in, and rules start assessments of those that are whole."""

from __future__ import annotations

import asyncio

import grpc

from oncoresponse.edges.delivery.commitment import CommitmentResults
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.pacs.priors import PriorFetcher
from oncoresponse.edges.pacs.receiver import FETCHED, Receiver
from oncoresponse.edges.quiet_intake import QuietIntake
from oncoresponse.edges.rule_runner import RuleRunner
from oncoresponse.rpc.edge_settings import PacsSettings
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import intake_pb2


class PacsEdge:
    """See :class:`~oncoresponse.edges.edge.Edge`.

    Args:
        settings: Of the process.
        pacs: Of the receiver.
        front_door: Whom it calls.
        results: Takes what archives say of storage commitment.
        priors: Fetches earlier studies.

    Raises:
        ConfigurationError: It would take patient data in the clear, or the rules have faults.
    """

    name = "pacs"

    def __init__(
        self,
        settings: ServerSettings,
        pacs: PacsSettings,
        front_door: FrontDoor,
        results: CommitmentResults,
        priors: PriorFetcher,
    ) -> None:
        pacs.require_safe_listening(allow_insecure_network=settings.allow_insecure_network)
        self.address = ""
        self._settings = settings
        self._pacs = pacs
        self._front_door = front_door
        self._results = results
        self._rules = RuleRunner(settings, front_door, intake_pb2.RECEIVED_WAY_C_STORE, priors)
        self._priors = priors
        self._channel: grpc.aio.Channel | None = None
        self._intake: QuietIntake | None = None
        self._receiver: Receiver | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address is taken, or a TLS file cannot be used.
        """
        self._channel = self._front_door.channel()
        record = self._settings.data_directory / "edges" / "open-studies-pacs"
        self._intake = QuietIntake(
            self._front_door, self._channel, self._pacs.quiet_seconds, record, completed=self._completed
        )
        self._rules.start(self._channel)
        await self._intake.start()
        self._receiver = Receiver(
            self._pacs,
            self._front_door,
            self._channel,
            self._intake,
            self._results,
            self._priors.has_asked,
            largest_instance_bytes=self._settings.dicom_limits.file_bytes,
        )
        port = self._receiver.start()
        self.address = f"{self._pacs.listen.rpartition(':')[0]}:{port}"

    async def stop(self) -> None:
        """End associations; what came is completed in its time, after the next start."""
        if self._receiver is not None:
            await asyncio.to_thread(self._receiver.stop)
        if self._intake is not None:
            await self._intake.stop()
        await self._rules.stop()
        if self._channel is not None:
            await self._channel.close()
        self._receiver = self._channel = None

    def ready(self) -> bool:
        """Whether it listens."""
        return self._receiver is not None

    async def _completed(self, study: str, sender: str) -> None:
        kind, _, title = sender.partition(":")
        await self._rules.received(study, title, fetched=kind == FETCHED)
