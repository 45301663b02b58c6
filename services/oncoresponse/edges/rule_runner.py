"""Starts what the rules say of a study that has come in whole, over whichever edge."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import grpc

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.orders.study_orders import StudyOrders, order_codes, what_an_order_says
from oncoresponse.edges.pacs.priors import PriorFetcher
from oncoresponse.edges.routing import (
    NO_ORDER,
    PriorsWanted,
    Rule,
    Rules,
    SeriesFacts,
    StudyFacts,
    choose,
    read_rules,
    require_destinations,
)
from oncoresponse.errors import AssessmentNotFinished, AssessmentNotFound, ErrorKind, OncoResponseError
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import (
    assessment_pb2,
    assessment_pb2_grpc,
    intake_pb2,
    intake_pb2_grpc,
    order_pb2,
    study_pb2,
    study_pb2_grpc,
)

_NAMESPACE = uuid.UUID("5f0b9a2e-1a56-5d0f-9a55-77a7b1f3c0de")
_CALL_SECONDS = 120.0
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
# Worth another try, until it works.
_PASSING = (ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.EXHAUSTED, ErrorKind.CANCELLED)
# What is noted of a study that nothing is started for.
_NO_RULES, _NO_RULE_FITS, _FETCHED, _ORDER_AWAITED = "NO_RULES", "NO_RULE_FITS", "FETCHED", "ORDER_AWAITED"
# After these tries, half a minute, an assessment starts without the earlier studies.
_PRIOR_TRIES = 5

# One for each study, of all runners of the process: an order and the study may come at the same time.
_IN_HAND: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

_log = logging.getLogger(__name__)


@dataclass
class _Priors:
    """How far earlier studies are fetched for one study.

    Attributes:
        done: Nothing more is tried.
        tries: So far.
        reason: Reason code of why there are none.
    """

    done: bool = False
    tries: int = 0
    reason: str = ""


class RuleRunner:
    """The rules of an installation, for what comes one way.

    What came in is noted at the front door before anything is done with it, and what became of it after, so that a
    process that is killed goes on where it was, and a refusal is listed.

    Args:
        settings: Say where the rules are.
        front_door: Whom it calls.
        way: How what it is told of has come.
        priors: Fetches earlier studies.

    Raises:
        ConfigurationError: The rules have faults, or name a destination or an archive that is not in the settings.
    """

    def __init__(
        self, settings: ServerSettings, front_door: FrontDoor, way: intake_pb2.ReceivedWay, priors: PriorFetcher
    ) -> None:
        self._front_door = front_door
        self._way = way
        self._rules: Rules | None = None
        if settings.rules is not None:
            self._rules = read_rules(settings.rules)
            require_destinations(self._rules, settings.destinations)
            priors.require_known(self._rules)
        self._priors = priors
        self._orders = StudyOrders(front_door)
        self._channel: grpc.aio.Channel | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, channel: grpc.aio.Channel) -> None:
        """Begin, with what an earlier process left undone.

        Args:
            channel: To the front door.
        """
        self._channel = channel
        self._orders.start(channel)
        self._begin(self._resume())

    async def stop(self) -> None:
        """Begin nothing more. What waits is gone on with after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._channel = None

    async def received(self, study: str, calling_ae_title: str = "", *, fetched: bool = False) -> None:
        """Note a study that has come in whole, and begin what the rules say of it; again after a crash, the same.

        Args:
            study: ``studies/...``.
            calling_ae_title: Who sent it; empty where it did not come by C-STORE.
            fetched: The installation asked for it, so that it starts nothing.

        Raises:
            grpc.RpcError: The front door does not note it.
        """
        noted = intake_pb2.ReceivedStudy(study=study, ae_title=calling_ae_title, way=self._way)
        if fetched or self._rules is None:
            await self._note(noted, intake_pb2.RECEIVED_STATE_KEPT, reason=_FETCHED if fetched else _NO_RULES)
            return
        await self._note(noted, intake_pb2.RECEIVED_STATE_WAITING)
        self._begin(self._carry_out(noted))

    def ordered(self, study: str) -> None:
        """An order has come for a complete study: begin what the rules say of it now.

        Args:
            study: ``studies/...``, whichever way it came.
        """
        self._begin(self._carry_out_ordered(study))

    async def _carry_out_ordered(self, study: str) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                described = await self._described(study)
                break
            except grpc.RpcError as failure:
                error = from_rpc_error(failure)
                if error.kind is ErrorKind.NOT_FOUND:
                    return
                _log.warning("%s: what its order asks for is not known yet: %s", study, error.reason)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        noted = intake_pb2.ReceivedStudy(study=study, way=intake_pb2.RECEIVED_WAY_CLIENT)
        await self._carry_out(described.received if described.HasField("received") else noted)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resume(self) -> None:
        request = intake_pb2.ListReceivedStudiesRequest(
            page_size=1000, state=intake_pb2.RECEIVED_STATE_WAITING, way=self._way
        )
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                stub = intake_pb2_grpc.IntakeServiceStub(self._channel)
                page = await stub.ListReceivedStudies(request, **self._call)
            except grpc.RpcError as failure:
                _log.warning("what came in earlier is not known yet: %s", from_rpc_error(failure).reason)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            for study in page.studies:
                self._begin(self._carry_out(study))
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _carry_out(self, noted: intake_pb2.ReceivedStudy) -> None:
        """Until it is done, or refused for good; once at a time for each study."""
        lock = _IN_HAND.setdefault(noted.study, asyncio.Lock())
        async with lock:
            await self._done(noted)

    async def _done(self, noted: intake_pb2.ReceivedStudy) -> None:
        pause, priors = _FIRST_PAUSE_SECONDS, _Priors()
        while True:
            try:
                await self._attempt(noted, priors)
            except (grpc.RpcError, OncoResponseError) as failure:
                error = from_rpc_error(failure) if isinstance(failure, grpc.RpcError) else failure
                passing = error.kind in _PASSING or error.reason == AssessmentNotFinished.reason
                _log.warning("%s: what the rules say is not done: %s", noted.study, error.reason)
                state = intake_pb2.RECEIVED_STATE_WAITING if passing else intake_pb2.RECEIVED_STATE_REFUSED
                try:
                    await self._note(noted, state, reason=error.reason)
                    await self._orders.stopped(noted.study, error.reason, passing=passing)
                except grpc.RpcError as unnoted:
                    if from_rpc_error(unnoted).kind is ErrorKind.NOT_FOUND:
                        return
                    passing = True
                if not passing:
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return

    async def _attempt(self, noted: intake_pb2.ReceivedStudy, priors: _Priors) -> None:
        described = await self._described(noted.study)
        orders = await self._orders.of(noted.study, described)
        if described.received.assessment:
            # An order that comes after the study is for what was started already.
            await self._orders.started(orders, noted.study, described.received.assessment)
            return
        rules = self._rules
        if rules is None:
            await self._kept(noted, orders, _NO_RULES)
            return
        study = await self._study(noted.study)
        choice = choose(rules, study_facts(study.series, noted.ae_title, order_codes(orders)))
        if choice.rule is None:
            _log.warning("%s fits no rule; it is kept, and nothing is started", study.name)
            awaited = any(why == NO_ORDER for _, why in choice.passed_over)
            await self._kept(noted, orders, _ORDER_AWAITED if awaited else _NO_RULE_FITS)
            return
        noted.rule = choice.rule.name
        if choice.rule.priors is not None and not priors.done:
            await self._fetch(noted, choice.rule.priors, priors)
        created = await self._assessment(study, choice.rule, orders)
        _log.info("%s: rule %s started %s", study.name, choice.rule.name, created)
        await self._note(noted, intake_pb2.RECEIVED_STATE_STARTED, assessment=created, reason=priors.reason)
        await self._orders.started(orders, noted.study, created)

    async def _kept(self, noted: intake_pb2.ReceivedStudy, orders: Sequence[order_pb2.Order], reason: str) -> None:
        await self._note(noted, intake_pb2.RECEIVED_STATE_KEPT, reason=reason)
        await self._orders.waiting(orders, reason)

    async def _described(self, study: str) -> intake_pb2.DescribeReceivedStudyResponse:
        stub = intake_pb2_grpc.IntakeServiceStub(self._channel)
        request = intake_pb2.DescribeReceivedStudyRequest(study=study)
        answer: intake_pb2.DescribeReceivedStudyResponse = await stub.DescribeReceivedStudy(request, **self._call)
        return answer

    async def _fetch(self, noted: intake_pb2.ReceivedStudy, wanted: PriorsWanted, priors: _Priors) -> None:
        """Earlier studies; an archive that does not give them holds up the assessment for a while and not for ever."""
        held = await self._described(noted.study)
        priors.tries += 1
        try:
            noted.prior_count = await self._priors.fetch(wanted, held)
        except OncoResponseError as error:
            if error.kind in _PASSING and priors.tries < _PRIOR_TRIES:
                raise
            _log.warning("%s: earlier studies were not fetched: %s", noted.study, error.reason)
            priors.reason = error.reason
        priors.done = True

    async def _assessment(self, study: study_pb2.Study, rule: Rule, orders: Sequence[order_pb2.Order]) -> str:
        stub = assessment_pb2_grpc.AssessmentServiceStub(self._channel)
        replaces = await self._earlier(study, rule)
        try:
            created = await stub.CreateAssessment(assessment_request(study.name, rule, replaces, orders), **self._call)
        except grpc.RpcError as failure:
            if not replaces or from_rpc_error(failure).reason != AssessmentNotFound.reason:
                raise
            # It was deleted since.
            created = await stub.CreateAssessment(assessment_request(study.name, rule, "", orders), **self._call)
        return str(created.assessment.name)

    async def _earlier(self, study: study_pb2.Study, rule: Rule) -> str:
        """What the same rule started for the last version of the study before this one; empty for nothing.

        Raises:
            grpc.RpcError: The front door does not say.
        """
        while study.supersedes:
            try:
                answer = await self._described(study.supersedes)
                study = await self._study(study.supersedes)
            except grpc.RpcError as failure:
                if from_rpc_error(failure).kind is ErrorKind.NOT_FOUND:
                    return ""
                raise
            if answer.received.rule == rule.name and answer.received.assessment:
                return str(answer.received.assessment)
        return ""

    async def _study(self, name: str) -> study_pb2.Study:
        stub = study_pb2_grpc.StudyServiceStub(self._channel)
        answer: study_pb2.GetStudyResponse = await stub.GetStudy(study_pb2.GetStudyRequest(name=name), **self._call)
        return answer.study

    async def _note(
        self,
        noted: intake_pb2.ReceivedStudy,
        state: intake_pb2.ReceivedState,
        *,
        assessment: str = "",
        reason: str = "",
    ) -> None:
        noted.state, noted.assessment, noted.reason = state, assessment, reason
        stub = intake_pb2_grpc.IntakeServiceStub(self._channel)
        await stub.NoteReceivedStudy(intake_pb2.NoteReceivedStudyRequest(study=noted), **self._call)

    @property
    def _call(self) -> dict[str, Any]:
        return {"metadata": self._front_door.own_metadata, "timeout": _CALL_SECONDS}


def study_facts(
    series: Iterable[study_pb2.StudySeries], calling_ae_title: str, codes: tuple[str, ...] | None = None
) -> StudyFacts:
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
        codes,
    )


def assessment_request(
    study: str, rule: Rule, replaces: str = "", orders: Sequence[order_pb2.Order] = ()
) -> assessment_pb2.CreateAssessmentRequest:
    """What a rule asks for; the same request for the same arguments.

    Args:
        study: ``studies/...``.
        rule: That fits.
        replaces: Assessment of an earlier version of the study, ``assessments/...``; empty for none.
        orders: For the study; the first says who the patient should be, and what the report refers to.
    """
    ordered = [orders[0].name] if orders else []
    identity = "\n".join((study, rule.name, rule.model, *([replaces] if replaces else []), *ordered))
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid5(_NAMESPACE, identity)),
        study=study,
        model=f"models/{rule.model}",
        planned_treatment=rule.planned_treatment,
        priority=f"ASSESSMENT_PRIORITY_{rule.priority.upper()}",
        deliver_to=rule.deliver_to,
        replaces=replaces,
    )
    if rule.use_contour:
        request.contour.SetInParent()
    if orders:
        request.MergeFrom(what_an_order_says(orders[0]))
    return request
