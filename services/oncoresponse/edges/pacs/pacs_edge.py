"""The receiver as an edge: studies come in, and rules start assessments of those that are whole."""

from __future__ import annotations

import asyncio
import logging
import uuid

import grpc

from oncoresponse.edges.delivery.commitment import CommitmentResults
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.pacs.receiver import Receiver
from oncoresponse.edges.pacs.routing import Rule, Rules, SeriesFacts, StudyFacts, choose, read_rules
from oncoresponse.edges.quiet_intake import QuietIntake
from oncoresponse.rpc.edge_settings import PacsSettings
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, study_pb2, study_pb2_grpc

_NAMESPACE = uuid.UUID("5f0b9a2e-1a56-5d0f-9a55-77a7b1f3c0de")
_CALL_SECONDS = 120.0

_log = logging.getLogger(__name__)


class PacsEdge:
    """See :class:`~oncoresponse.edges.edge.Edge`.

    Args:
        settings: Of the process.
        pacs: Of the receiver.
        front_door: Whom it calls.
        results: Takes what archives say of storage commitment.

    Raises:
        ConfigurationError: It would take patient data in the clear, or the rules have faults.
    """

    name = "pacs"

    def __init__(
        self, settings: ServerSettings, pacs: PacsSettings, front_door: FrontDoor, results: CommitmentResults
    ) -> None:
        pacs.require_safe_listening(allow_insecure_network=settings.allow_insecure_network)
        self.address = ""
        self._settings = settings
        self._pacs = pacs
        self._front_door = front_door
        self._results = results
        self._rules: Rules | None = None if pacs.rules is None else read_rules(pacs.rules)
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
        await self._intake.start()
        self._receiver = Receiver(
            self._pacs,
            self._front_door,
            self._channel,
            self._intake,
            self._results,
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
        if self._channel is not None:
            await self._channel.close()
        self._receiver = self._channel = None

    def ready(self) -> bool:
        """Whether it listens."""
        return self._receiver is not None

    async def _completed(self, study: str, sender: str) -> None:
        """Start what the rules say; again after a crash, the same assessment.

        Raises:
            grpc.RpcError: The front door does not.
        """
        if self._rules is None or self._channel is None:
            return
        metadata = self._front_door.own_metadata
        studies = study_pb2_grpc.StudyServiceStub(self._channel)
        answer = await studies.GetStudy(study_pb2.GetStudyRequest(name=study), metadata=metadata, timeout=_CALL_SECONDS)
        choice = choose(self._rules, _facts(answer.study, sender))
        if choice.rule is None:
            _log.warning("%s fits no rule; it is kept, and nothing is started", study)
            return
        request = _request(study, choice.rule)
        assessments = assessment_pb2_grpc.AssessmentServiceStub(self._channel)
        created = await assessments.CreateAssessment(request, metadata=metadata, timeout=_CALL_SECONDS)
        _log.info("%s: rule %s started %s", study, choice.rule.name, created.assessment.name)


def _facts(study: study_pb2.Study, sender: str) -> StudyFacts:
    return StudyFacts(
        tuple(
            SeriesFacts(
                series.modality,
                series.body_part_examined,
                series.series_description,
                series.study_description,
                tuple(series.procedure_codes),
            )
            for series in study.series
        ),
        sender.removeprefix("ae:") if sender.startswith("ae:") else "",
    )


def _request(study: str, rule: Rule) -> assessment_pb2.CreateAssessmentRequest:
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid5(_NAMESPACE, f"{study}\n{rule.name}\n{rule.model}")),
        study=study,
        model=f"models/{rule.model}",
        planned_treatment=rule.planned_treatment,
    )
    if rule.use_contour:
        request.contour.SetInParent()
    return request
