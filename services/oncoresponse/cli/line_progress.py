"""Progress bars for a terminal; plain lines with the time where there is none, and in the log of the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LOG_FILE = "training.log"
SECONDS_BETWEEN_LINES = 5.0

_log = logging.getLogger("oncoresponse.progress")


class LineProgress(Progress):
    """A progress bar that also says how far it is in lines of the log, at most one in a few seconds for each task.

    Args:
        console: Where the bar is drawn; nothing is drawn where it is no terminal.
        seconds_between_lines: Of one task. Its first and its last line are always written.
    """

    def __init__(self, console: Console, seconds_between_lines: float = SECONDS_BETWEEN_LINES) -> None:
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._between = seconds_between_lines
        self._said: dict[TaskID, float] = {}
        self._finished: set[TaskID] = set()

    def add_task(self, *args: Any, **kwargs: Any) -> TaskID:
        """As rich does, with a line of the log."""
        task = super().add_task(*args, **kwargs)
        self._say(task)
        return task

    def update(self, task_id: TaskID, *args: Any, **kwargs: Any) -> None:
        """As rich does, with a line of the log."""
        super().update(task_id, *args, **kwargs)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As rich does, with a line of the log."""
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        task, now = self._tasks[task_id], time.monotonic()
        last = self._said.get(task_id)
        due = last is None or now - last >= self._between or task.finished
        if not due or task_id in self._finished:
            return
        self._said[task_id] = now
        if task.finished:
            self._finished.add(task_id)
        _log.info(_line(task))


def _line(task: Task) -> str:
    # rich shows a percentage of a task without a total as 0.
    text = f"{task.description}: {task.percentage:.0f} %"
    if task.finished:
        return f"{text}, done in {task.elapsed or 0:.0f} s"
    return text if task.time_remaining is None else f"{text}, about {task.time_remaining:.0f} s left"


@contextmanager
def training_progress(run_directory: Path | None) -> Iterator[LineProgress]:
    """A bar on standard error, or lines where it is no terminal; lines in ``training.log`` of the run folder too."""
    console = Console(stderr=True)
    root = logging.getLogger("oncoresponse")
    handlers: list[logging.Handler] = []
    if not console.is_terminal:
        handlers.append(logging.StreamHandler())
    if run_directory is not None:
        run_directory.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(run_directory / LOG_FILE, encoding="utf-8"))
    level = root.level
    root.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        root.addHandler(handler)
    try:
        with LineProgress(console) as bar:
            yield bar
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
