"""Starts what the rules say of a study that has come in whole, over whichever edge."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable

import grpc

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.routing import Rule, Rules, SeriesFacts, StudyFacts, choose, read_rules, require_destinations
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, study_pb2, study_pb2_grpc

_NAMESPACE = uuid.UUID("5f0b9a2e-1a56-5d0f-9a55-77a7b1f3c0de")
_CALL_SECONDS = 120.0

_log = logging.getLogger(__name__)


class RuleRunner:
    """The rules of an installation.

    Args:
        settings: Say where the rules are.
        front_door: Whom it calls.

    Raises:
        ConfigurationError: The rules have faults, or name a destination that is not in the settings.
    """

    def __init__(self, settings: ServerSettings, front_door: FrontDoor) -> None:
        self._front_door = front_door
        self._rules: Rules | None = None
        if settings.rules is not None:
            self._rules = read_rules(settings.rules)
            require_destinations(self._rules, settings.destinations)

    async def run(self, channel: grpc.aio.Channel, study: str, calling_ae_title: str = "") -> None:
        """Start what the rules say; again after a crash, the same assessment.

        Args:
            channel: To the front door.
            study: Complete, ``studies/...``.
            calling_ae_title: Who sent it; empty where it did not come by C-STORE.

        Raises:
            grpc.RpcError: The front door does not.
        """
        if self._rules is None:
            return
        metadata = self._front_door.own_metadata
        studies = study_pb2_grpc.StudyServiceStub(channel)
        answer = await studies.GetStudy(study_pb2.GetStudyRequest(name=study), metadata=metadata, timeout=_CALL_SECONDS)
        choice = choose(self._rules, study_facts(answer.study.series, calling_ae_title))
        if choice.rule is None:
            _log.warning("%s fits no rule; it is kept, and nothing is started", study)
            return
        request = assessment_request(study, choice.rule)
        assessments = assessment_pb2_grpc.AssessmentServiceStub(channel)
        created = await assessments.CreateAssessment(request, metadata=metadata, timeout=_CALL_SECONDS)
        _log.info("%s: rule %s started %s", study, choice.rule.name, created.assessment.name)


def study_facts(series: Iterable[study_pb2.StudySeries], calling_ae_title: str) -> StudyFacts:
    """What a rule may ask for, from what the front door says of the series of a study."""
    return StudyFacts(
        tuple(
            SeriesFacts(
                each.modality,
                each.body_part_examined,
                each.series_description,
                each.study_description,
                tuple(each.procedure_codes),
            )
            for each in series
        ),
        calling_ae_title,
    )


def assessment_request(study: str, rule: Rule) -> assessment_pb2.CreateAssessmentRequest:
    """What a rule asks for; the same request for the same study and rule."""
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid5(_NAMESPACE, f"{study}\n{rule.name}\n{rule.model}")),
        study=study,
        model=f"models/{rule.model}",
        planned_treatment=rule.planned_treatment,
        priority=f"ASSESSMENT_PRIORITY_{rule.priority.upper()}",
        deliver_to=rule.deliver_to,
    )
    if rule.use_contour:
        request.contour.SetInParent()
    return request
