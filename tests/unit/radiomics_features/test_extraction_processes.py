"""Extraction in child processes: what happens when a child is killed, hangs, or the parent dies.

A FIFO in place of the image stops a child at a known point, in the middle of its task: opening the FIFO's other end
returns when the child has opened its own.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from oncoradiomics.errors import EmptyMaskError, ExtractionError, ExtractionTimeout, ImageFileError
from oncoradiomics.extraction import describe_lesion
from oncoradiomics.extraction_processes import ExtractionProcesses
from oncoradiomics.image_files import read_image
from oncoradiomics.quantities import SUV_BODY_WEIGHT
from oncoradiomics.settings import Settings

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
_CHILD_ENDS_WITHIN_MS = 20_000


@pytest.fixture
def first_order() -> Settings:
    return Settings.from_mapping({"setting": {"binWidth": 0.5}, "featureClass": {"firstorder": None}})


@pytest.fixture
def stalled(tmp_path) -> Path:
    path = tmp_path / "stalled.nrrd"
    os.mkfifo(path)
    return path


async def child_has_opened(fifo: Path) -> int:
    return await asyncio.to_thread(os.open, fifo, os.O_WRONLY)


def has_ended(descriptor: int) -> bool:
    """Wait for the end of the process behind a pidfd and close that."""
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(_CHILD_ENDS_WITHIN_MS))
    finally:
        os.close(descriptor)


def kill(process_id: int) -> None:
    descriptor = os.pidfd_open(process_id)
    os.kill(process_id, signal.SIGKILL)
    assert has_ended(descriptor)


async def test_a_child_gives_what_the_function_gives_while_the_event_loop_goes_on(lesion_files, plain_settings):
    async with ExtractionProcesses(1) as processes:
        assert os.getpid() not in processes.process_ids
        task = asyncio.create_task(processes.extract(*lesion_files, plain_settings, SUV_BODY_WEIGHT))
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 1
        assert task.result() == describe_lesion(*map(read_image, lesion_files), plain_settings, SUV_BODY_WEIGHT)


async def test_a_child_killed_in_the_middle_is_replaced_and_the_work_is_done(lesion_files, stalled, first_order):
    expected = describe_lesion(*map(read_image, lesion_files), first_order, SUV_BODY_WEIGHT)
    async with ExtractionProcesses(1) as processes:
        (process_id,) = processes.process_ids
        task = asyncio.create_task(processes.extract(stalled, lesion_files[1], first_order, SUV_BODY_WEIGHT))
        end = await child_has_opened(stalled)
        lesion_files[0].replace(stalled)
        kill(process_id)
        os.close(end)
        assert await task == expected
        assert processes.process_ids != (process_id,)


async def test_a_child_that_dies_twice_is_an_error_and_the_next_one_works(lesion_files, stalled, first_order):
    async with ExtractionProcesses(1) as processes:
        task = asyncio.create_task(processes.extract(stalled, lesion_files[1], first_order, SUV_BODY_WEIGHT))
        for _ in range(2):
            end = await child_has_opened(stalled)
            kill(processes.process_ids[0])
            os.close(end)
        with pytest.raises(ExtractionError, match="died 2 times") as caught:
            await task
        assert caught.value.reason == "FEATURE_EXTRACTION_FAILED"
        assert (await processes.extract(*lesion_files, first_order, SUV_BODY_WEIGHT)).features


async def test_a_timeout_kills_the_child_and_the_next_one_works(lesion_files, stalled, first_order):
    async with ExtractionProcesses(1, timeout_seconds=3) as processes:
        (process_id,) = processes.process_ids
        with pytest.raises(ExtractionTimeout) as caught:
            await processes.extract(stalled, lesion_files[1], first_order, SUV_BODY_WEIGHT)
        assert caught.value.reason == "DEADLINE_EXCEEDED"
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)
        assert (await processes.extract(*lesion_files, first_order, SUV_BODY_WEIGHT)).features


async def test_cancellation_kills_the_child_and_the_next_one_works(lesion_files, stalled, first_order):
    async with ExtractionProcesses(1) as processes:
        (process_id,) = processes.process_ids
        task = asyncio.create_task(processes.extract(stalled, lesion_files[1], first_order, SUV_BODY_WEIGHT))
        end = await child_has_opened(stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        os.close(end)
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)
        assert (await processes.extract(*lesion_files, first_order, SUV_BODY_WEIGHT)).features


async def test_children_are_replaced_after_their_share_and_errors_come_home(lesion_files, tmp_path, first_order):
    async with ExtractionProcesses(1, tasks_per_process=2) as processes:
        (first,) = processes.process_ids
        with pytest.raises(EmptyMaskError, match="label 9"):
            await processes.extract(*lesion_files, Settings.from_mapping({"setting": {"label": 9}}), SUV_BODY_WEIGHT)
        with pytest.raises(ImageFileError) as caught:
            await processes.extract(tmp_path / "Doe^John.nrrd", lesion_files[1], first_order, SUV_BODY_WEIGHT)
        assert "Doe" not in str(caught.value)
        assert processes.process_ids == (first,)
        await processes.extract(*lesion_files, first_order, SUV_BODY_WEIGHT)
        assert processes.process_ids != (first,)
    with pytest.raises(ExtractionError, match="closed"):
        await processes.extract(*lesion_files, first_order, SUV_BODY_WEIGHT)


def test_children_end_when_the_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from oncoradiomics.extraction_processes import ExtractionProcesses\n"
        "async def main():\n"
        "    async with ExtractionProcesses(1) as processes:\n"
        "        print(processes.process_ids[0], flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n",
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "radiomics")}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert has_ended(descriptor)
