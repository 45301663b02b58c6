"""Watchers of a process share one poller: what it asks of the database does not grow with them."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import aclosing

import pytest
import sqlalchemy
from oncoresponse.errors import AssessmentNotFound, PeerUnavailable
from oncoresponse.model.plan import STAGES
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import AssessmentFilter
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_message import is_finished
from oncoresponse.workflow.run_removal import remove_runs

pytestmark = pytest.mark.slow


class HeldStage:
    """A conversion that ends when it is told to, with a failure."""

    def __init__(self):
        self.begun, self.released = asyncio.Event(), asyncio.Event()

    async def run(self, *_):
        self.begun.set()
        await self.released.wait()
        raise AssessmentNotFound("held long enough")


@pytest.fixture
async def held(tmp_path, launched):
    stage = HeldStage()
    async with launched(tmp_path / "data", stages={"conversion": stage}) as records:
        yield records, stage
        stage.released.set()


async def created(records, data_folder):
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()), study="studies/gone", model="models/sts-petct"
    )
    manifest = ArtifactStore((data_folder / "artifacts").as_uri()).put_bytes(b"{}", "application/json")
    return await records.create(request, manifest, "0" * 64, tuple(STAGES))


async def statements_while(records, seconds):
    """Statements to the database in a while, those of the workflow engine left out."""
    seen = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    sqlalchemy.event.listen(records._engine, "before_cursor_execute", note)
    try:
        await asyncio.sleep(seconds)  # what is measured is what happens in a time
    finally:
        sqlalchemy.event.remove(records._engine, "before_cursor_execute", note)
    return len(seen)


async def watchers_of(records, names, each):
    """Tasks that watch, once all have had their first state."""
    first = [asyncio.Event() for _ in range(len(names) * each)]

    async def watch(name, seen):
        async for _ in records.watching.follow(name.removeprefix("assessments/")):
            seen.set()

    tasks = [asyncio.create_task(watch(names[number % len(names)], seen)) for number, seen in enumerate(first)]
    await asyncio.gather(*(seen.wait() for seen in first))
    return tasks


async def cancelled(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_thousand_watchers_ask_the_database_no_more_than_ten(held, tmp_path):
    records, stage = held
    names = [(await created(records, tmp_path / "data")).name for _ in range(10)]
    await stage.begun.wait()
    counts = {}
    for each in (1, 100):
        tasks = await watchers_of(records, names, each)
        counts[len(tasks)] = await statements_while(records, 2.0)
        await cancelled(tasks)
    # Ten looks a second, and one comparison in five seconds; slower where the machine is.
    assert 0 < counts[10] <= 22
    assert 0 < counts[1000] <= 22
    assert await statements_while(records, 0.5) == 0


async def test_each_watcher_sees_the_first_and_the_last_state_and_rising_revisions(held, tmp_path):
    records, stage = held
    name = (await created(records, tmp_path / "data")).name
    await stage.begun.wait()
    seen = {}

    async def watch(number):
        seen[number] = []
        async for update in records.watching.follow(name.removeprefix("assessments/")):
            seen[number].append(update)

    slow = records.watching.follow(name.removeprefix("assessments/"))
    first = await anext(slow)
    tasks = [asyncio.create_task(watch(number)) for number in range(20)]
    stage.released.set()
    # The slow one has not come back for its second state, and keeps nobody waiting.
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    for updates in seen.values():
        revisions = [update.revision for update in updates]
        assert revisions == sorted(set(revisions))
        assert is_finished(updates[-1])
        assert updates[-1] == await records.get(name)
    assert not is_finished(first)
    assert [is_finished(update) async for update in slow] == [True]


async def test_what_is_not_there_or_goes_ends_a_watch(held, tmp_path):
    records, stage = held
    with pytest.raises(AssessmentNotFound):
        await anext(records.watching.follow(str(uuid.uuid4())))
    name = (await created(records, tmp_path / "data")).name
    await stage.begun.wait()
    async with aclosing(records.watching.follow(name.removeprefix("assessments/"))) as updates:
        await anext(updates)
        await records.cancel(name)
        async for update in updates:
            assert update.state == assessment_pb2.ASSESSMENT_STATE_CANCELLED
    waiting = records.watching.follow((await created(records, tmp_path / "data")).name.removeprefix("assessments/"))
    found = await anext(waiting)
    await asyncio.to_thread(remove_runs, records._engine, [found.name.removeprefix("assessments/")])
    with pytest.raises(AssessmentNotFound):
        while True:
            await asyncio.wait_for(anext(waiting), 15)


async def test_watchers_are_told_when_the_service_stops(held, tmp_path):
    records, stage = held
    name = (await created(records, tmp_path / "data")).name
    await stage.begun.wait()
    tasks = await watchers_of(records, [name], 5)
    start = time.monotonic()
    await records.watching.close()
    for task in tasks:
        with pytest.raises(PeerUnavailable):
            await task
    assert time.monotonic() - start < 1.0
    with pytest.raises(PeerUnavailable):
        await anext(records.watching.follow(name.removeprefix("assessments/")))


async def test_a_page_of_assessments_asks_once_for_all_of_their_runs(held, tmp_path):
    """The chart, which is asked once too, has an engine of its own."""
    records, _ = held
    for _ in range(30):
        await created(records, tmp_path / "data")
    for size in (1, 30):
        counted = asyncio.create_task(statements_while(records, 0.5))
        await asyncio.sleep(0)  # lets the counting begin
        page = await records.lists.page(AssessmentFilter(), 0, size, "")
        assert len(page.assessments) == size
        assert await counted == 1
