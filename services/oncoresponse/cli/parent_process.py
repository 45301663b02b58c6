"""A server that belongs to one command ends with it, however the command ends, and leaves nothing of a patient."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

# Nobody waits for the results any more, so running calls get less time than on an ordinary shutdown.
_STOP_SECONDS = 10.0


@contextmanager
def ending_with_parent(data_directory: Path) -> Iterator[None]:
    """Stop this process when its standard input closes, and then remove its data folder.

    The parent holds the other end of a pipe, which the operating system closes also when the parent is killed. As long
    as the parent lives it stops this process by SIGTERM and removes the folder itself.

    Args:
        data_directory: Removed with everything in it, but only once the parent is gone.
    """
    parent_is_gone, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        parent_is_gone.set()
        os.kill(os.getpid(), signal.SIGTERM)
        if not ended.wait(_STOP_SECONDS):
            shutil.rmtree(data_directory, ignore_errors=True)
            os._exit(1)

    signal.signal(signal.SIGTERM, exit_by_signal)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if parent_is_gone.is_set():
            shutil.rmtree(data_directory, ignore_errors=True)


def exit_by_signal(number: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler: leave as after an error, so that everything opened is closed; with the shell's exit status."""
    raise SystemExit(128 + number)


@contextmanager
def signals_end_by_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit, as SIGINT raises KeyboardInterrupt, so that clean-up is done.

    A signal that the caller ignores (``nohup``) stays ignored. Only for the main thread.
    """
    former = {
        number: signal.signal(number, exit_by_signal)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
