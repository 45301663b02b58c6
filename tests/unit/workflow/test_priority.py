"""Assessments that wait are begun by priority, and those of one priority in their order."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from oncoresponse.errors import AssessmentNotFound
from oncoresponse.model.plan import STAGES
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import is_finished

pytestmark = pytest.mark.slow


class CountedStage:
    """A conversion that notes whose it is, and ends, with a failure, when it is let go."""

    def __init__(self):
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.let_go = asyncio.Semaphore(0)

    async def run(self, case, *_):
        await self.begun.put(case.order.planned_treatment)
        await self.let_go.acquire()
        raise AssessmentNotFound("let go")


async def created(records, manifest, word, priority):
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()),
        study="studies/gone",
        model="models/sts-petct",
        planned_treatment=word,
        priority=f"ASSESSMENT_PRIORITY_{priority}",
    )
    return (await records.create(request, manifest, "0" * 64, tuple(STAGES))).name


async def test_what_waits_is_begun_by_priority(tmp_path, launched):
    stage = CountedStage()
    async with launched(tmp_path / "data", stages={"conversion": stage}) as records:
        manifest = ArtifactStore((tmp_path / "data" / "artifacts").as_uri()).put_bytes(b"{}", "application/json")
        names = [await created(records, manifest, f"first {number}", "ROUTINE") for number in range(2)]
        # As many as there are workers: all that follow wait.
        for _ in range(2):
            await asyncio.wait_for(stage.begun.get(), 30)
        orders = [("a", "ROUTINE"), ("b", "UNSPECIFIED"), ("c", "URGENT"), ("d", "STAT"), ("e", "URGENT")]
        names += [await created(records, manifest, word, priority) for word, priority in orders]
        begun = []
        for _ in orders:
            stage.let_go.release()
            begun.append(await asyncio.wait_for(stage.begun.get(), 30))
        assert begun == ["d", "c", "e", "a", "b"]
        for _ in range(2):
            stage.let_go.release()
        for name in names:
            while not is_finished(await records.get(name)):
                await asyncio.sleep(0.02)
