"""Files of the access rules that only their owner may read: watched by the server, replaced whole by commands."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

import yaml
from pydantic import BaseModel

from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ConfigurationError

_LARGEST_BYTES = 4 * 1024**2
_OTHERS = 0o077

_log = logging.getLogger(__name__)

Content = TypeVar("Content", bound=BaseModel)
_Signature = tuple[int, int, int]


class WatchedFile(Generic[Content]):
    """What a YAML file says now: read again when its time, size or inode is another one.

    A file that cannot be understood, or that others may read, leaves what was known before in force and is logged once.
    A file that is gone says nothing (``kind()``), so that taking it away closes the door and does not leave it ajar.

    Args:
        path: The file; it need not be there.
        kind: Model of its content. Called without arguments it gives that of a file which is not there.
        setting: Name of the setting that names the file, for messages.

    Raises:
        ConfigurationError: The file is there, and cannot be used.
    """

    def __init__(self, path: Path, kind: type[Content], setting: str) -> None:
        self._path = path
        self._kind = kind
        self._setting = setting
        self._lock = threading.Lock()
        self._signature: _Signature | None = None
        with suppress(OSError):  # what is wrong is said by the reading
            self._signature = _signature_of(path)
        self._content = read_private(path, kind, setting)

    @property
    def content(self) -> Content:
        """What holds now. Costs one ``stat`` where nothing has changed."""
        try:
            signature = _signature_of(self._path)
        except OSError:
            return self._content
        if signature == self._signature:
            return self._content
        with self._lock:
            if signature != self._signature:
                # Before the reading: what is written meanwhile makes another signature, and is read next time.
                self._signature = signature
                try:
                    self._content = read_private(self._path, self._kind, self._setting)
                    _log.warning("%s has changed and was read again", self._setting)
                except ConfigurationError as error:
                    _log.error("what %s said before stays in force. %s", self._setting, error.message)
            return self._content


def _signature_of(path: Path) -> _Signature | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def read_private(path: Path, kind: type[Content], setting: str) -> Content:
    """The content of a YAML file that only its owner may read; ``kind()`` where there is none.

    Raises:
        ConfigurationError: It cannot be read or understood, or others than its owner may read or write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return kind()
    except OSError as error:
        raise ConfigurationError(f"The file of {setting} cannot be read: {error.strerror}.", setting=setting) from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_BYTES:
            raise ConfigurationError(f"What {setting} names is not a file of less than 4 MiB.", setting=setting)
        if found.st_mode & _OTHERS:
            raise ConfigurationError(
                f"The file of {setting} can be read by others than its owner. Take their rights away (chmod 600), and "
                "give out new tokens if others were on this machine.",
                setting=setting,
            )
        data = file.read(_LARGEST_BYTES)
    try:
        content = yaml.safe_load(data)
        return kind() if content is None else kind.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"The file of {setting} is not YAML in UTF-8.", setting=setting) from error
    except ValueError as error:
        raise ConfigurationError(
            f"The file of {setting} is not valid: {schema_faults(error)}", setting=setting
        ) from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other command change files of the folder meanwhile; makes the folder where it is missing.

    Raises:
        ConfigurationError: The folder cannot be made or entered.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be made or entered: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: BaseModel, heading: str) -> None:
    """Replace the file, whole or not at all; readable by its owner only.

    Where root writes it, it belongs to whoever the folder belongs to, so that the server can read it.

    Raises:
        ConfigurationError: It cannot be written.
    """
    listed = yaml.safe_dump(content.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"# {heading}\n{listed}")
                file.flush()
                if os.geteuid() == 0:
                    owner = path.stat() if path.exists() else path.parent.stat()
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigurationError(f"The file {path} cannot be written: {error.strerror}.") from error
