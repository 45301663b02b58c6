"""Makes a backup of an installation that goes on working.

The databases come first, the files after them, so that each file is there to which a row refers. That of
the assessments comes before that of the studies, so that each study is there which an assessment names, and the audit
record last. A file that an erasure removes meanwhile is left out; so is its patient, when the backup is restored.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import os
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy.engine import make_url

import oncoresponse
from oncoresponse.access.installed import revocations_file_of, users_file_of
from oncoresponse.access.local_users import USERS_FILE
from oncoresponse.access.revocations import REVOCATIONS_FILE
from oncoresponse.backup import contents, postgresql
from oncoresponse.backup.contents import Header, Manifest, Member
from oncoresponse.backup.encryption import encrypt
from oncoresponse.errors import BackupSourceInvalid, ConfigurationError, DiskFull, OncoResponseError
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.disk_space import disk_full_when_no_room
from oncoresponse.storage.erasure_register import REGISTER_FILE
from oncoresponse.storage.inventory import kept_file
from oncoresponse.storage.process_folder import ProcessFolder

COPIES_FOLDER = "backup"
PART_FOLDER = ".oncoresponse-backup"
_CHUNK = 1024**2
_SQLITE_SECONDS = 60.0
_TAR_BLOCK = 512
# Headers of members, and the tag of each 64 KiB.
_SLACK = 1.02
_TAR_END = b"\0" * (2 * _TAR_BLOCK)
_OUTSIDE = (
    "tls_certificate",
    "tls_key",
    "tls_client_authority",
    "tls_authority",
    "tls_client_certificate",
    "tls_client_key",
    "stage_token_file",
    "edge_token_file",
    "fingerprint_key",
    "rules",
    "audit_anchor",
)
_SEPARATELY = ("artifacts", COPIES_FOLDER)
_DATABASE = re.compile(r"([a-z]+|studies/studies)\.sqlite(-wal|-shm|-journal)?")

Progress = Callable[[int, int], None]
"""Is told how many bytes of how many are written."""


@dataclass(frozen=True)
class Written:
    """What became of a backup.

    Attributes:
        begun: See :class:`~oncoresponse.backup.contents.Header`.
        manifest: Its last member.
        size_bytes: Length of the file.
        unreadable_models: Models of which no SHA-256 could be noted.
    """

    begun: datetime.datetime
    manifest: Manifest
    size_bytes: int
    unreadable_models: tuple[str, ...]


@dataclass
class _Copy:
    """A database as it was at one moment: a file, or a dump that comes in pieces."""

    name: str
    kind: str
    size_bytes: int
    schemas: dict[str, int]
    file: Path | None = None
    dump: postgresql.Dump | None = None


@dataclass
class _Counts:
    members: dict[str, Member] = field(default_factory=dict)
    artifacts: int = 0
    names: Any = field(default_factory=hashlib.sha256)
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    unknown: int = 0
    header: str = ""

    def manifest(self) -> Manifest:
        return Manifest(
            header=self.header,
            members=self.members,
            artifacts=self.artifacts,
            artifacts_sha256=self.names.hexdigest(),
            artifact_bytes=self.bytes,
            damaged=tuple(self.damaged),
            unknown_files=self.unknown,
        )


def write_backup(
    settings: ServerSettings,
    to: Path,
    recipients: Sequence[Any],
    programs: Path | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Written:
    """Write a backup to a new file.

    Args:
        settings: Of the server, which may be running.
        to: The file. It is written beside its place under another name, and renamed when it is whole.
        recipients: Public keys (:func:`~oncoresponse.backup.encryption.read_recipients`).
        programs: Folder of pg_dump; ``None`` for the PATH.
        progress: See :data:`Progress`.

    Raises:
        ConfigurationError: The file is there, or its folder is not; or there is no data folder.
        BackupSourceInvalid: A database is damaged, or cannot be dumped.
        DiskFull: There is no room, for the file or for copies of SQLite databases.
        PeerUnavailable: The database does not answer.
    """
    data = settings.data_directory
    if to.exists() or not to.parent.is_dir():
        raise ConfigurationError("--to names a file that is there, or a folder that is not. Give a new file.")
    if not (data / "studies" / "studies.sqlite").is_file():
        raise ConfigurationError("There is no OncoResponse in this data folder. Give that of the server (--data-dir).")
    begun = datetime.datetime.now(datetime.UTC)
    artifacts = ArtifactStore(settings.system_artifact_url)
    with ExitStack() as stack:
        # What a killed backup left, here and of the copies, is removed by the next one.
        part = stack.enter_context(closing(ProcessFolder(to.parent / PART_FOLDER)))
        copies = stack.enter_context(closing(ProcessFolder(data / COPIES_FOLDER)))
        databases = _copies(settings, copies.path, programs, stack)
        models, unreadable = _models(settings.models_directory)
        header = Header(
            release=oncoresponse.__version__,
            begun=begun,
            databases={each.name: each.kind for each in databases},
            schemas={area: version for each in databases for area, version in each.schemas.items()},
            models=models,
            from_settings=tuple(name for name in _OUTSIDE if getattr(settings, name) is not None),
        )
        total = sum(each.size_bytes for each in databases) + sum(each.size_bytes for each in artifacts.everything())
        _require_room(to.parent, total)
        file = part.path / "backup"
        counts = _Counts()
        with _disk_full(to.parent), file.open("xb") as out:
            file.chmod(0o600)
            pieces = _pieces(settings, header, databases, artifacts, counts)
            encrypt(_counted(pieces, total, progress), out, recipients)
            out.flush()
            os.fsync(out.fileno())
        file.rename(to)
        folder = os.open(to.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return Written(begun, counts.manifest(), to.stat().st_size, tuple(unreadable))


def _copies(settings: ServerSettings, folder: Path, programs: Path | None, stack: ExitStack) -> list[_Copy]:
    data = settings.data_directory
    urls = {
        contents.ASSESSMENTS: settings.system_database_url,
        contents.STUDIES: f"sqlite:///{data / 'studies' / 'studies.sqlite'}",
        contents.AUDIT: settings.system_audit_database_url,
    }
    if urls[contents.AUDIT] == urls[contents.ASSESSMENTS]:
        del urls[contents.AUDIT]
    found = []
    for name, url in urls.items():
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            found.append(_sqlite_copy(name, Path(str(parsed.database)), folder))
        else:
            dump = stack.enter_context(postgresql.dump_of_now(url, programs))
            found.append(_Copy(name, "postgresql", dump.size_bytes, dump.schemas, dump=dump))
    return found


def _sqlite_copy(name: str, path: Path, folder: Path) -> _Copy:
    """By SQLite's online backup: one moment, whatever is written meanwhile."""
    copy = folder / f"{name}{contents.SQLITE_SUFFIX}"
    if not path.is_file():
        raise BackupSourceInvalid(f"The database of {name} is not there. Has the server been started on this folder?")
    size = path.stat().st_size
    _require_room(folder, size)
    copy.touch(mode=0o600)
    # Into memory first: who writes waits while the database is copied, not while it comes from the disk.
    with path.open("rb", buffering=0) as file:
        while file.read(_CHUNK):
            pass
    try:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_SQLITE_SECONDS)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            target.execute("PRAGMA synchronous = OFF")
            source.backup(target)
            # A log of its own would have to be copied too.
            target.execute("PRAGMA journal_mode = DELETE")
            if target.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise BackupSourceInvalid(f"The database of {name} is damaged. Restore it from an earlier backup.")
            rows = target.execute("SELECT area, version FROM oncoresponse_schema").fetchall()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise DiskFull("The disk of the data folder has no room for a copy of the databases.") from error
        raise BackupSourceInvalid(
            f"The database of {name} cannot be read: it is damaged, or held by another."
        ) from error
    schemas = {str(area): int(version) for area, version in rows}
    return _Copy(name, "sqlite", copy.stat().st_size, schemas, file=copy)


def _pieces(
    settings: ServerSettings, header: Header, databases: list[_Copy], artifacts: ArtifactStore, counts: _Counts
) -> Iterator[bytes]:
    """The file, as the program tar would write it, before its encryption."""
    text = header.model_dump_json(indent=1).encode()
    counts.header = hashlib.sha256(text).hexdigest()
    yield from _member(contents.HEADER, io.BytesIO(text), len(text))
    for each in databases:
        if each.file is not None:
            with each.file.open("rb") as file:
                yield from _noted(f"{contents.DATABASES}{each.name}{contents.SQLITE_SUFFIX}", file, counts)
            each.file.unlink()
        elif each.dump is not None:
            for number, piece in enumerate(each.dump.pieces()):
                name = f"{contents.DATABASES}{each.name}{contents.DUMP_SUFFIX}/{number:06}"
                yield from _noted(name, io.BytesIO(piece), counts)
    for name, path in _data_files(settings, counts):
        # What is completed or erased meanwhile is not there any more.
        with suppress(FileNotFoundError), path.open("rb") as file:
            yield from _noted(contents.DATA + name, file, counts)
    for stored in artifacts.everything():
        with suppress(FileNotFoundError), artifacts.stored_file(stored.key) as path, path.open("rb") as file:
            digest = hashlib.sha256()
            size = path.stat().st_size
            yield from _member(contents.ARTIFACTS + stored.key, file, size, digest)
            counts.artifacts += 1
            counts.bytes += size
            counts.names.update(bytes.fromhex(stored.key))
            if digest.hexdigest() != stored.key:
                counts.damaged.append(stored.key)
    text = counts.manifest().model_dump_json(indent=1).encode()
    yield from _member(contents.MANIFEST, io.BytesIO(text), len(text))
    yield _TAR_END


def _data_files(settings: ServerSettings, counts: _Counts) -> Iterator[tuple[str, Path]]:
    """Files of the data folder that the inventory says a backup has to hold, databases and artifacts left out."""
    data = settings.data_directory
    elsewhere = {
        USERS_FILE: users_file_of(data, settings.users_file),
        REVOCATIONS_FILE: revocations_file_of(data, settings.revocations_file),
        REGISTER_FILE: settings.erasure_register or data / REGISTER_FILE,
    }
    for name, path in elsewhere.items():
        if path.is_file():
            yield name, path
    for folder, subfolders, names in os.walk(data, followlinks=True, onerror=_raise_unless_gone):
        if Path(folder) == data:
            subfolders[:] = [each for each in subfolders if each not in _SEPARATELY]
        for path in (Path(folder) / each for each in sorted(names)):
            name = path.relative_to(data).as_posix()
            kept = kept_file(name)
            if name in elsewhere or _DATABASE.fullmatch(name):
                continue
            if kept is None:
                counts.unknown += 1
            elif kept.backed_up:
                yield name, path


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _noted(name: str, file: BinaryIO, counts: _Counts) -> Iterator[bytes]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    digest = hashlib.sha256()
    yield from _member(name, file, size, digest)
    counts.members[name] = Member(sha256=digest.hexdigest(), size_bytes=size)


def _member(name: str, file: BinaryIO, size: int, digest: Any = None) -> Iterator[bytes]:
    """A member of a tar; what grows meanwhile is cut, and what shrinks (a part that is sent anew) is filled up."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    yield info.tobuf(tarfile.PAX_FORMAT)
    left = size
    while left:
        piece = file.read(min(_CHUNK, left)) or b"\0" * min(_CHUNK, left)
        left -= len(piece)
        if digest is not None:
            digest.update(piece)
        yield piece
    yield b"\0" * (-size % _TAR_BLOCK)


def _counted(pieces: Iterator[bytes], total: int, progress: Progress) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        done += len(piece)
        progress(min(done, total), total)
        if piece:
            yield piece
    progress(total, total)


def _models(folder: Path) -> tuple[dict[str, str], list[str]]:
    found, unreadable = {}, []
    for name in installed_model_names(folder):
        try:
            found[name] = ModelFolder.open(find_model(folder, name), verify=False).sha256
        except OncoResponseError:
            unreadable.append(name)
    return found, unreadable


def _require_room(folder: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(folder).free < needed_bytes * _SLACK:
        raise DiskFull(
            f"The disk of {folder} has no room for {needed_bytes / 1e6:.0f} MB. Free space, or write elsewhere."
        )


@contextmanager
def _disk_full(folder: Path) -> Iterator[None]:
    try:
        with disk_full_when_no_room():
            yield
    except DiskFull:
        raise DiskFull(
            f"The disk of {folder} is full, and no backup was written. Free space, or write it elsewhere."
        ) from None
