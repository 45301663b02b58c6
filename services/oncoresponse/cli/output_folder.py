"""The folder of one result: the earlier result until the new one is whole, and never files of both."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from oncoresponse.case.artifact_names import is_artifact_name
from oncoresponse.errors import ConfigurationError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class OutputFolder:
    """Where files are written until the result is complete.

    Attributes:
        path: What the user named.
        incomplete: Folder on the same disk for the files of the result; see :meth:`complete`.
        had_result: Whether the folder held an earlier result when this began.
    """

    def __init__(self, path: Path, incomplete: Path, *, had_result: bool) -> None:
        self.path = path
        self.incomplete = incomplete
        self.had_result = had_result

    def complete(self) -> list[Path]:
        """Put the files of :attr:`incomplete` in the place of the earlier result and name them, in alphabetical order.

        First every file of the earlier result is set aside, then the new ones are moved in: at no moment do files of
        two results lie side by side. A failure in between puts the earlier result back; signals wait for the end.
        """
        new = sorted(self.incomplete.iterdir())
        earlier = Path(tempfile.mkdtemp(prefix=".earlier-", dir=self.path))
        moved: list[Path] = []
        with _signals_wait():
            try:
                for name in _results_in(self.path):
                    with suppress(FileNotFoundError):
                        (self.path / name).rename(earlier / name)
                for file in new:
                    moved.append(file.rename(self.path / file.name))  # noqa: PERF401  (what was moved is undone below)
            except OSError:
                for file in moved:
                    file.unlink(missing_ok=True)
                for file in earlier.iterdir():
                    file.rename(self.path / file.name)
                raise
            finally:
                shutil.rmtree(earlier, ignore_errors=True)
        return moved


@contextmanager
def output_folder(path: Path, *, study: Path | None = None) -> Iterator[OutputFolder]:
    """Make the folder where needed. What is in it stays as it is until :meth:`OutputFolder.complete`.

    Args:
        path: What the user named.
        study: Folder with the DICOM files, into which no result may go.

    Raises:
        ConfigurationError: The folder cannot be made or written, lies in the study's, or holds files of ours by name
            that are no result of an assessment.
    """
    if study is not None and path.resolve().is_relative_to(study.resolve()):
        raise ConfigurationError(
            "The output folder lies in the folder of the study, whose next assessment would read the result as a part "
            "of the study. Give another one."
        )
    existing = [parent for parent in path.absolute().parents if not parent.exists()] if not path.exists() else None
    try:
        path.mkdir(parents=True, exist_ok=True)
        had_result = _holds_result(path)
        # Inside, not beside it: where the folder is a mounted volume, what is beside it is another disk.
        incomplete = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=path))
    except OSError as error:
        raise ConfigurationError(
            f"The output folder cannot be written ({error.strerror}). Give another one, or correct its permissions."
        ) from error
    try:
        yield OutputFolder(path, incomplete, had_result=had_result)
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
        if existing is not None:
            # Folders that were made for a result that did not come about; others are not empty, or not ours.
            for folder in (path.absolute(), *existing):
                with suppress(OSError):
                    folder.rmdir()


def require_writable_folder(path: Path) -> None:
    """Make the folder where needed and make sure that files can be written into it, before hours of work.

    Raises:
        ConfigurationError: It cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"The folder for the output cannot be written ({error.strerror}). Give another one, or correct its "
            "permissions."
        ) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives the name to write to; the file takes the place of an earlier one when the block ends, and only then."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let signals that would end this process take effect at the end of the block; ignored ones stay ignored."""
    arrived: list[int] = []
    # Not sigmask: Python runs handlers in the main thread whichever thread got the signal.
    former = (
        {
            number: signal.signal(number, lambda number, _frame: arrived.append(number))
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        if threading.current_thread() is threading.main_thread()
        else {}
    )
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)


def _holds_result(path: Path) -> bool:
    """Whether the folder holds the result of an assessment.

    Raises:
        ConfigurationError: It holds files with the names of one, but none that shows that they are ours.
    """
    named = _results_in(path)
    if not named:
        return False
    for file, key in (("timings.json", "stage_seconds"), ("lesion-candidates.json", "candidates")):
        with suppress(OSError, ValueError):
            content = json.loads((path / file).read_bytes())
            if isinstance(content, dict) and key in content:
                return True
    raise ConfigurationError(
        f"The output folder holds {', '.join(named[:3])}, which no assessment of this program wrote. Nothing was "
        "changed. Give another folder."
    )


def _results_in(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return sorted(entry.name for entry in path.iterdir() if is_artifact_name(entry.name))
