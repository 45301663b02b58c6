"""What a rule asks of the front door, and how its refusals are taken: a real server answers what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
import yaml
from oncoresponse.edges import rule_runner
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.pacs.priors import PriorFetcher
from oncoresponse.edges.routing import Rule
from oncoresponse.edges.rule_runner import RuleRunner, assessment_request
from oncoresponse.errors import (
    AssessmentNotFinished,
    AssessmentNotFound,
    Busy,
    ConfigurationError,
    ModelNotFound,
    OncoResponseError,
    PeerUnavailable,
    StudyNotFound,
)
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import (
    assessment_pb2,
    assessment_pb2_grpc,
    intake_pb2,
    intake_pb2_grpc,
    study_pb2,
    study_pb2_grpc,
)


def test_a_rule_says_everything_of_the_assessment():
    rule = Rule.model_validate(
        {
            "name": "one",
            "when": {},
            "model": "sts-petct",
            "planned_treatment": "As decided",
            "use_contour": True,
            "priority": "stat",
            "deliver_to": ["archive"],
        }
    )
    request = assessment_request("studies/a", rule)
    assert request == assessment_request("studies/a", rule)
    assert request.request_id != assessment_request("studies/b", rule).request_id
    assert request.HasField("contour")
    assert (request.study, request.model, request.planned_treatment) == ("studies/a", "models/sts-petct", "As decided")
    assert request.priority == assessment_pb2.ASSESSMENT_PRIORITY_STAT
    assert request.deliver_to == ["archive"]


def runner_of(settings: ServerSettings, door: FrontDoor, way: int = intake_pb2.RECEIVED_WAY_HTTP) -> RuleRunner:
    return RuleRunner(settings, door, way, PriorFetcher(settings))


def test_rules_that_deliver_to_nobody_keep_an_edge_from_starting(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        yaml.safe_dump({"rules": [{"name": "one", "when": {}, "model": "sts-petct", "deliver_to": ["archive"]}]})
    )
    door = FrontDoor("127.0.0.1:1", "token")
    with pytest.raises(ConfigurationError, match="archive"):
        runner_of(ServerSettings(rules=path), door)
    destination = {"kind": "c-store", "address": "127.0.0.1:104", "ae_title": "ARCHIVE"}
    runner_of(ServerSettings(rules=path, destinations={"archive": destination}), door)


class Door(
    study_pb2_grpc.StudyServiceServicer,
    assessment_pb2_grpc.AssessmentServiceServicer,
    intake_pb2_grpc.IntakeServiceServicer,
):
    """A front door that remembers, and refuses as it is told."""

    def __init__(self) -> None:
        self.versions = {"studies/a": "", "studies/b": "studies/a", "studies/c": "studies/b"}
        self.refusals: list[OncoResponseError] = []
        self.asked: list[assessment_pb2.CreateAssessmentRequest] = []
        self.noted: dict[str, intake_pb2.ReceivedStudy] = {}
        self.said: list[tuple[str, str]] = []
        self.changed = asyncio.Event()

    async def GetStudy(self, request, context):  # noqa: N802
        if request.name not in self.versions:
            raise StudyNotFound("gone")
        series = [study_pb2.StudySeries(modality="CT")]
        return study_pb2.GetStudyResponse(
            study=study_pb2.Study(name=request.name, series=series, supersedes=self.versions[request.name])
        )

    async def CreateAssessment(self, request, context):  # noqa: N802
        self.asked.append(request)
        if self.refusals:
            raise self.refusals.pop(0)
        name = f"assessments/{request.study.removeprefix('studies/')}"
        return assessment_pb2.CreateAssessmentResponse(assessment=assessment_pb2.Assessment(name=name))

    async def NoteReceivedStudy(self, request, context):  # noqa: N802
        self.noted[request.study.study] = request.study
        self.said.append((intake_pb2.ReceivedState.Name(request.study.state)[15:], request.study.reason))
        self.changed.set()
        return intake_pb2.NoteReceivedStudyResponse(study=request.study)

    async def ListReceivedStudies(self, request, context):  # noqa: N802
        found = [each for each in self.noted.values() if each.state == request.state and each.way == request.way]
        return intake_pb2.ListReceivedStudiesResponse(studies=found)

    async def DescribeReceivedStudy(self, request, context):  # noqa: N802
        return intake_pb2.DescribeReceivedStudyResponse(received=self.noted.get(request.study))

    async def until(self, found: Callable[[], object]) -> None:
        """Something holds after what was noted."""
        async with asyncio.timeout(30):
            while not found():
                self.changed.clear()
                await self.changed.wait()

    def state(self, study: str) -> int:
        return self.noted[study].state if study in self.noted else 0


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Context manager: a runner, whose rule fits every CT, at a door."""
    monkeypatch.setattr(rule_runner, "_FIRST_PAUSE_SECONDS", 0.01)
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": [{"name": "ct", "when": {"modalities": ["CT"]}, "model": "sts-petct"}]}))

    @asynccontextmanager
    async def running(door: Door) -> AsyncIterator[RuleRunner]:
        server = grpc.aio.server(interceptors=(RulesAndErrors(None),))
        study_pb2_grpc.add_StudyServiceServicer_to_server(door, server)
        assessment_pb2_grpc.add_AssessmentServiceServicer_to_server(door, server)
        intake_pb2_grpc.add_IntakeServiceServicer_to_server(door, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        front = FrontDoor(f"127.0.0.1:{port}", "token")
        channel = front.channel()
        rules = runner_of(ServerSettings(rules=path), front, intake_pb2.RECEIVED_WAY_C_STORE)
        rules.start(channel)
        yield rules
        await rules.stop()
        await channel.close()
        await server.stop(None)

    return running


async def test_what_passes_is_tried_until_it_works_and_the_list_says_what_it_waits_for(runner):
    door = Door()
    door.refusals = [Busy("full"), PeerUnavailable("away"), AssessmentNotFinished("the one to replace")]
    async with runner(door) as rules:
        await rules.received("studies/a", "CT1")
        await door.until(lambda: door.state("studies/a") == intake_pb2.RECEIVED_STATE_STARTED)
    assert door.said == [
        ("WAITING", ""),
        ("WAITING", "BUSY"),
        ("WAITING", "PEER_UNAVAILABLE"),
        ("WAITING", "ASSESSMENT_NOT_FINISHED"),
        ("STARTED", ""),
    ]
    assert len({each.request_id for each in door.asked}) == 1
    noted = door.noted["studies/a"]
    assert (noted.rule, noted.assessment, noted.ae_title) == ("ct", "assessments/a", "CT1")


async def test_a_refusal_for_good_is_noted_once(runner):
    door = Door()
    door.refusals = [ModelNotFound("none")]
    async with runner(door) as rules:
        await rules.received("studies/a")
        await door.until(lambda: door.state("studies/a") == intake_pb2.RECEIVED_STATE_REFUSED)
    assert door.said == [("WAITING", ""), ("REFUSED", "MODEL_NOT_FOUND")]
    assert door.noted["studies/a"].rule == "ct"


async def test_what_a_killed_process_left_waiting_is_done_by_the_next(runner):
    door = Door()
    waiting = intake_pb2.RECEIVED_STATE_WAITING
    for name, way in (("studies/a", intake_pb2.RECEIVED_WAY_C_STORE), ("studies/b", intake_pb2.RECEIVED_WAY_HTTP)):
        door.noted[name] = intake_pb2.ReceivedStudy(study=name, way=way, state=waiting)
    async with runner(door):
        await door.until(lambda: door.state("studies/a") == intake_pb2.RECEIVED_STATE_STARTED)
    # What came another way is another edge's.
    assert door.state("studies/b") == waiting


async def test_a_version_replaces_what_the_same_rule_started_for_an_earlier_one(runner):
    door = Door()
    started = intake_pb2.RECEIVED_STATE_STARTED
    async with runner(door) as rules:
        await rules.received("studies/a")
        await door.until(lambda: door.state("studies/a") == started)
        # Nothing came of the version between.
        door.noted["studies/b"] = intake_pb2.ReceivedStudy(study="studies/b", state=intake_pb2.RECEIVED_STATE_KEPT)
        await rules.received("studies/c")
        await door.until(lambda: door.state("studies/c") == started)
        assert [each.replaces for each in door.asked] == ["", "assessments/a"]
        # The earlier one was deleted meanwhile.
        door.refusals = [AssessmentNotFound("gone")]
        await rules.received("studies/c")
        await door.until(lambda: len(door.asked) == 4 and door.state("studies/c") == started)
    assert [each.replaces for each in door.asked[2:]] == ["assessments/a", ""]


async def test_a_study_that_is_deleted_is_let_go(runner):
    door = Door()
    waiting = intake_pb2.RECEIVED_STATE_WAITING
    door.noted["studies/gone"] = intake_pb2.ReceivedStudy(
        study="studies/gone", way=intake_pb2.RECEIVED_WAY_C_STORE, state=waiting
    )
    async with runner(door):
        await door.until(lambda: ("REFUSED", "STUDY_NOT_FOUND") in door.said)
    assert door.asked == []
