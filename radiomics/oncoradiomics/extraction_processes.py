"""Feature extraction in child processes, for servers and cohorts.

The reference engine, pyradiomics, holds the GIL for seconds, and any extraction may have to be stopped, so none runs in
a thread of a server. Each child is its own pool of one, so that stopping an extraction (timeout, cancellation, a killed
child) never touches another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from types import TracebackType

import SimpleITK as sitk

from oncoradiomics.errors import ExtractionError, ExtractionTimeout
from oncoradiomics.extraction import Engine, describe_lesion
from oncoradiomics.features import FeatureDocument
from oncoradiomics.image_files import read_image
from oncoradiomics.quantities import SUV_BODY_WEIGHT
from oncoradiomics.settings import Settings

_ATTEMPTS = 2


class ExtractionProcesses:
    """A fixed number of child processes that extract features; use it as an asynchronous context manager.

    Children are started by ``spawn`` (a fork of a process with threads, such as a gRPC server, may deadlock), warmed up
    with their imports, and replaced after ``tasks_per_process`` extractions, which bounds any leak of a C extension.
    They end when the parent ends, however it ends.

    Args:
        processes: How many; 0 for one a core.
        timeout_seconds: Longest one extraction may take in its child, waiting for a free child not counted.
        tasks_per_process: Extractions after which a child is replaced.
    """

    def __init__(self, processes: int = 0, *, timeout_seconds: float = 600.0, tasks_per_process: int = 100) -> None:
        if processes < 0 or timeout_seconds <= 0 or tasks_per_process < 1:
            raise ValueError("processes must be 0 or more, timeout_seconds above 0, tasks_per_process 1 or more")
        self.processes = processes or os.cpu_count() or 1
        self._timeout_seconds = timeout_seconds
        self._children = [_Child(tasks_per_process) for _ in range(self.processes)]
        self._free: asyncio.Queue[_Child] = asyncio.Queue()
        for child in self._children:
            self._free.put_nowait(child)
        self._closed = False

    async def __aenter__(self) -> ExtractionProcesses:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start every child and wait until its imports are done.

        Raises:
            ExtractionError: A child does not start.
        """
        try:
            await asyncio.gather(*(child.start() for child in self._children))
        except BrokenProcessPool as error:
            raise ExtractionError(
                "A feature extraction process does not start. Check the installation and the free memory."
            ) from error

    async def extract(
        self,
        image_path: Path,
        mask_path: Path,
        settings: Settings,
        quantity: str,
        engine: Engine = "native",
        *,
        also: Collection[str] = (),
    ) -> FeatureDocument:
        """Features and measures of the lesion in two files that the child reads itself.

        Cancelling the call kills its child; so does the timeout. A child that dies (out of memory, killed) is replaced
        and the extraction tried once more.

        Args:
            image_path: Scalar volume (NRRD, NIfTI or another SimpleITK format).
            mask_path: Label map on the same grid.
            settings: What to compute and how.
            quantity: What a voxel measures, as for :func:`~oncoradiomics.extraction.describe_lesion`.
            engine: As for :func:`~oncoradiomics.extraction.extract`.
            also: Measures on request, as for :func:`~oncoradiomics.extraction.describe_lesion`.

        Raises:
            QuantityError: The quantity is not said.
            GeometryError: Image and mask are on different grids.
            EmptyMaskError: The mask is empty.
            ImageFileError: A file cannot be read.
            ExtractionTimeout: It took longer than allowed.
            ExtractionError: Features cannot be computed, or the child died twice.
        """
        if self._closed:
            raise ExtractionError("The feature extraction processes are closed.")
        child = await self._free.get()
        try:
            for _ in range(_ATTEMPTS):
                with contextlib.suppress(BrokenProcessPool):
                    task = partial(_describe_files, image_path, mask_path, settings, quantity, engine, tuple(also))
                    return await child.extract(task, self._timeout_seconds)
            raise ExtractionError(
                f"The feature extraction process died {_ATTEMPTS} times. Check the free memory and the size of the "
                "image, then try again."
            )
        finally:
            self._free.put_nowait(child)

    async def close(self) -> None:
        """Kill the children, busy or not, and wait until they are gone."""
        self._closed = True
        await asyncio.gather(*(asyncio.to_thread(child.stop) for child in self._children))

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Operating system ids of the running children."""
        return tuple(child.process_id for child in self._children if child.process_id is not None)


class _Child:
    """One child process, started when needed."""

    def __init__(self, tasks_per_process: int) -> None:
        self._tasks_per_process = tasks_per_process
        self._tasks_left = 0
        self._executor: ProcessPoolExecutor | None = None
        self.process_id: int | None = None

    async def start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            # Own recycling: the executor's max_tasks_per_child can hang (CPython issue 115634).
            executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare_child)
            self._executor, self._tasks_left = executor, self._tasks_per_process
            try:
                self.process_id = await asyncio.wrap_future(executor.submit(os.getpid))
            except BaseException:
                self.stop()
                raise
        return self._executor

    async def extract(self, task: Callable[[], FeatureDocument], timeout_seconds: float) -> FeatureDocument:
        if self._tasks_left == 0:
            await asyncio.to_thread(self.stop)
        try:
            executor = await self.start()
            self._tasks_left -= 1
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.wrap_future(executor.submit(task))
        except TimeoutError as error:
            await asyncio.to_thread(self.stop)
            raise ExtractionTimeout(
                f"Feature extraction took longer than {timeout_seconds:g} s and was stopped. Check the size of the "
                "contour, or allow more time."
            ) from error
        except (asyncio.CancelledError, BrokenProcessPool):
            # In a thread would be another await, which a cancelled task should not begin; killing takes milliseconds.
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the process and wait for its end."""
        executor, self._executor = self._executor, None
        process_id, self.process_id = self.process_id, None
        if executor is None:
            return
        if process_id is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        executor.shutdown(wait=True, cancel_futures=True)


def _prepare_child() -> None:
    """Runs once in a new child: imports, one thread, and an end when the parent ends."""
    # Ctrl-C goes to the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    warm_up()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def warm_up() -> None:
    """Extract from a tiny lesion, so that machine code is compiled or loaded and libraries are imported.

    The first time after an installation this compiles for ten seconds and keeps the result on disk.
    """
    image = sitk.GaussianSource(sitk.sitkFloat32, [8, 8, 8], [2.0] * 3, [4.0] * 3, 1.0)
    mask = sitk.Cast(image > 0.5, sitk.sitkUInt8)
    image_types = {"Original": {}, "LoG": {"sigma": [1.0]}, "Wavelet": {}}
    settings = Settings.model_validate({"imageType": image_types, "setting": {"binWidth": 0.1}})
    describe_lesion(image, mask, settings, SUV_BODY_WEIGHT)


def _describe_files(
    image_path: Path, mask_path: Path, settings: Settings, quantity: str, engine: Engine, also: tuple[str, ...]
) -> FeatureDocument:
    return describe_lesion(read_image(image_path), read_image(mask_path), settings, quantity, engine, also=also)
