"""The folder of one result: nothing of another patient in it, and either the whole result or none of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oncoresponse.artifact_names import ARTIFACT_FILE_NAMES
from oncoresponse.errors import ConfigurationError


class OutputFolder:
    """Where files are written until the result is complete.

    Attributes:
        path: What the user named.
        incomplete: Folder on the same disk for the files of the result; see :meth:`complete`.
    """

    def __init__(self, path: Path, incomplete: Path) -> None:
        self.path = path
        self.incomplete = incomplete

    def complete(self) -> list[Path]:
        """Move every file of :attr:`incomplete` into place and name them, in alphabetical order."""
        return [file.replace(self.path / file.name) for file in sorted(self.incomplete.iterdir())]


@contextmanager
def output_folder(path: Path) -> Iterator[OutputFolder]:
    """Make the folder where needed and remove the result of an earlier assessment from it; other files stay.

    Raises:
        ConfigurationError: The folder cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Inside, not beside it: where the folder is a mounted volume, what is beside it is another disk.
        incomplete = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=path))
        for name in ARTIFACT_FILE_NAMES:
            (path / name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The output folder cannot be written ({error.strerror}). Give another one, or correct its permissions."
        ) from error
    try:
        yield OutputFolder(path, incomplete)
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
