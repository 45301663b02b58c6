"""Reads a backup: all of it into a folder beside the new data folder, verified before anything of it is used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import ValidationError
from sqlalchemy.engine import make_url

from oncoresponse.backup import contents, postgresql
from oncoresponse.backup.contents import Header, Manifest, Member
from oncoresponse.backup.encryption import decrypted
from oncoresponse.backup.writing import Progress
from oncoresponse.errors import BackupDamaged, ConfigurationError, DiskFull, RestoreTargetNotEmpty
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.disk_space import disk_full_when_no_room
from oncoresponse.storage.private_files import mend_modes
from oncoresponse.storage.process_folder import EVERYBODY_LOCK, ProcessFolder

_CHUNK = 1024**2
_TAKEN, _DONE = "taken", "done"
_LARGEST_DOCUMENT = 512 * 1024**2
_NOT_WHOLE = "The backup is not whole: what it holds is not what its manifest says. Nothing was restored."
_SQLITE_PLACES = {
    contents.ASSESSMENTS: "oncoresponse.sqlite",
    contents.STUDIES: "studies/studies.sqlite",
    contents.AUDIT: "audit.sqlite",
}

Take = Callable[[str, BinaryIO, int], str]
"""Takes the bytes of a member: name, file, length. Gives their SHA-256."""


@dataclass(frozen=True)
class Contents:
    """What a backup holds, verified.

    Attributes:
        header: Its first member.
        manifest: Its last one.
    """

    header: Header
    manifest: Manifest


@dataclass(frozen=True)
class Restored:
    """What became of a restore.

    Attributes:
        contents: Of the backup.
        missing_artifacts: Files that studies name and that are not there.
        missing_models: Models of the time of the backup that are not installed here, or another version of them.
    """

    contents: Contents
    missing_artifacts: int
    missing_models: tuple[str, ...]


def check_backup(file: Path, identities: Sequence[Any], progress: Progress = lambda _done, _total: None) -> Contents:
    """Read a backup to its end and verify every digest; nothing is written.

    Raises:
        BackupDamaged, BackupKeyWrong, SchemaTooNew, ConfigurationError: See :func:`restore_backup`.
    """
    return _read(file, identities, lambda _name, member, _size: _hashed(member), progress)


def restore_backup(
    file: Path,
    identities: Sequence[Any],
    settings: ServerSettings,
    finish: Callable[[ServerSettings, Contents], None],
    programs: Path | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Restored:
    """Restore into a new data folder, and new databases and store where the settings name them.

    Args:
        file: The backup.
        identities: Private keys.
        settings: Of the server that will run on what is restored.
        finish: What is to be done before the folder gets its name, such as erasing again. It gets settings of the place
            where everything lies until then.
        programs: Folder of pg_restore; ``None`` for the PATH.
        progress: See :data:`~oncoresponse.backup.writing.Progress`.

    Raises:
        BackupDamaged: The file is no backup, is cut off or was changed.
        BackupKeyWrong: It was encrypted for another key.
        SchemaTooNew: A newer release has written it.
        RestoreTargetNotEmpty: Folder, database or store hold something.
        ConfigurationError: The settings name other kinds of databases than the backup holds.
        DiskFull: There is no room.
    """
    data = settings.data_directory
    _require_new_folder(data)
    beside = data.parent / f".{data.name}.restoring"
    try:
        with ExitStack() as stack:
            # Beside its place, so that it can be renamed. What a killed restore left goes with the next one.
            staging = stack.enter_context(closing(ProcessFolder(beside))).path
            return _restored(file, identities, settings, finish, programs, progress, staging, stack)
    finally:
        # Another restore of the same name may be under way.
        with suppress(OSError):
            (beside / EVERYBODY_LOCK).unlink(missing_ok=True)
            beside.rmdir()


def _restored(
    file: Path,
    identities: Sequence[Any],
    settings: ServerSettings,
    finish: Callable[[ServerSettings, Contents], None],
    programs: Path | None,
    progress: Progress,
    staging: Path,
    stack: ExitStack,
) -> Restored:
    place = staging / "data"
    place.mkdir(mode=0o700)
    artifacts = ArtifactStore(settings.artifact_url or (place / "artifacts").as_uri())
    if settings.artifact_url:
        if next(artifacts.everything(), None) is not None:
            raise RestoreTargetNotEmpty("The store of artifact_url holds something. Give a new, empty one.")
        stack.enter_context(_removed_unless_done(artifacts, staging))
    _require_room(staging, file.stat().st_size if file.is_file() else 0)
    urls: dict[str, str] = {}
    take = _taker(place, artifacts, bool(settings.artifact_url), staging)
    read = _read(file, identities, take, progress, lambda header: urls.update(_postgresql_urls(settings, header)))
    for digest in read.manifest.damaged:
        artifacts.remove(digest)
    for name, url in urls.items():
        stack.enter_context(postgresql.restoring(url))
        parts = sorted((staging / contents.DATABASES / f"{name}{contents.DUMP_SUFFIX}").iterdir())
        postgresql.load(url, parts, programs)
    for name, path in _SQLITE_PLACES.items():
        copy = staging / contents.DATABASES / f"{name}{contents.SQLITE_SUFFIX}"
        if copy.is_file():
            (place / path).parent.mkdir(mode=0o700, exist_ok=True)
            copy.rename(place / path)
    finish(_settings_of(place, settings), read)
    missing = _missing_artifacts(place, artifacts)
    mend_modes(place)
    # Everything is on the disk before it gets its name.
    os.sync()
    (staging / _DONE).touch()
    place.rename(settings.data_directory)
    os.sync()
    return Restored(read, missing, _missing_models(settings.models_directory, read.header.models))


def _settings_of(place: Path, settings: ServerSettings) -> ServerSettings:
    """The settings for what does not lie at its place yet."""
    urls = {
        name: "" if make_url(url).get_backend_name() == "sqlite" else url
        for name in ("database_url", "audit_database_url")
        if (url := str(getattr(settings, name)))
    }
    return settings.model_copy(update={"data_directory": place, **urls})


def _read(
    file: Path,
    identities: Sequence[Any],
    take: Take,
    progress: Progress,
    on_header: Callable[[Header], None] = lambda _header: None,
) -> Contents:
    size = file.stat().st_size if file.is_file() else 0
    header: Header | None = None
    manifest: Manifest | None = None
    found: dict[str, Member] = {}
    damaged, names, artifacts, artifact_bytes, header_sha256 = [], hashlib.sha256(), 0, 0, ""
    with decrypted(file, identities) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as members:
                for info in members:
                    member = cast(BinaryIO | None, members.extractfile(info) if info.isreg() else None)
                    if member is None or manifest is not None or not contents.MEMBER.fullmatch(info.name):
                        raise BackupDamaged(_NOT_WHOLE)
                    if (header is None) != (info.name == contents.HEADER) or info.name in found:
                        raise BackupDamaged(_NOT_WHOLE)
                    if info.name == contents.HEADER:
                        text = _document(member, info.size)
                        header, header_sha256 = Header.model_validate_json(text), hashlib.sha256(text).hexdigest()
                        header.require_known()
                        on_header(header)
                    elif info.name == contents.MANIFEST:
                        manifest = Manifest.model_validate_json(_document(member, info.size))
                    else:
                        digest = take(info.name, member, info.size)
                        if info.name.startswith(contents.ARTIFACTS):
                            key = info.name.removeprefix(contents.ARTIFACTS)
                            names.update(bytes.fromhex(key))
                            artifacts, artifact_bytes = artifacts + 1, artifact_bytes + info.size
                            if digest != key:
                                damaged.append(key)
                        else:
                            found[info.name] = Member(sha256=digest, size_bytes=info.size)
                    progress(min(info.offset_data + info.size, size), size)
        except (tarfile.TarError, ValidationError, EOFError, json.JSONDecodeError) as error:
            raise BackupDamaged(_NOT_WHOLE) from error
    if header is None or manifest is None:
        raise BackupDamaged(_NOT_WHOLE)
    expected = (manifest.header, dict(manifest.members), manifest.artifacts, manifest.artifacts_sha256)
    if (
        expected != (header_sha256, found, artifacts, names.hexdigest())
        or artifact_bytes != manifest.artifact_bytes
        or tuple(damaged) != manifest.damaged
    ):
        raise BackupDamaged(_NOT_WHOLE)
    progress(size, size)
    return Contents(header, manifest)


def _taker(place: Path, artifacts: ArtifactStore, elsewhere: bool, staging: Path) -> Take:
    """Writes members where they belong: artifacts into the store, data into the new folder, databases beside."""

    def take(name: str, member: BinaryIO, _size: int) -> str:
        with _disk_full():
            if not name.startswith(contents.ARTIFACTS):
                path = place / name.removeprefix(contents.DATA) if name.startswith(contents.DATA) else staging / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                return _hashed(member, path)
            key = name.removeprefix(contents.ARTIFACTS)
            if not elsewhere:
                # Flushed to the disk all together at the end; one by one takes minutes.
                path = place / "artifacts" / key[:2] / key[2:4] / key
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                return _hashed(member, path)
            path = staging / "artifact"
            path.unlink(missing_ok=True)
            digest = _hashed(member, path)
            with (staging / _TAKEN).open("a") as taken:
                taken.write(f"{key}\n")
            artifacts.take_file(path, key, "application/octet-stream")
            return digest

    return take


@contextmanager
def _removed_unless_done(artifacts: ArtifactStore, staging: Path) -> Iterator[None]:
    """Removes from a store elsewhere what was put there, where the restore does not end well."""
    try:
        yield
    finally:
        taken = staging / _TAKEN
        if taken.exists() and not (staging / _DONE).exists():
            with taken.open() as lines:
                for line in lines:
                    artifacts.remove(line.strip())


def _hashed(member: BinaryIO, path: Path | None = None) -> str:
    digest = hashlib.sha256()
    with ExitStack() as stack:
        out = None
        if path is not None:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            out = stack.enter_context(os.fdopen(file, "wb"))
        while piece := member.read(_CHUNK):
            digest.update(piece)
            if out is not None:
                out.write(piece)
    return digest.hexdigest()


def _document(member: BinaryIO, size: int) -> bytes:
    if size > _LARGEST_DOCUMENT:
        raise BackupDamaged(_NOT_WHOLE)
    return member.read()


def _require_new_folder(data: Path) -> None:
    if data.is_dir() and os.path.ismount(data):
        raise ConfigurationError("--data-dir is where a disk is mounted. Give a new folder below it.")
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise RestoreTargetNotEmpty("The data folder to restore to holds something. Give a new folder.")
    data.parent.mkdir(parents=True, exist_ok=True)


def _postgresql_urls(settings: ServerSettings, header: Header) -> dict[str, str]:
    """URLs of the PostgreSQL databases by name, empty ones.

    Raises:
        ConfigurationError: The settings name a database of another kind, or SQLite outside of the data folder.
        RestoreTargetNotEmpty: One holds tables.
    """
    urls = {
        contents.ASSESSMENTS: settings.system_database_url,
        contents.AUDIT: settings.system_audit_database_url,
    }
    found = {}
    for name, kind in header.databases.items():
        url = urls.get(name)
        if url is None:
            continue
        parsed = make_url(url)
        wanted = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql"
        if wanted != kind:
            said = "Give it: --database-url." if kind == "postgresql" else "Leave --database-url out."
            raise ConfigurationError(f"The backup holds the database of {name} of {kind}. {said}")
        if kind == "postgresql":
            postgresql.require_empty(url)
            found[name] = url
        elif Path(str(parsed.database)) != settings.data_directory / _SQLITE_PLACES[name]:
            raise ConfigurationError("SQLite databases are restored into the data folder. Leave their URLs out.")
    one = settings.system_audit_database_url == settings.system_database_url
    if one == (contents.AUDIT in header.databases):
        raise ConfigurationError(
            "The audit record stands in the database of the assessments, or in one of its own, and the settings say "
            "otherwise than the backup (audit_database_url)."
        )
    return found


def _missing_artifacts(place: Path, artifacts: ArtifactStore) -> int:
    query = (
        "SELECT sha256 FROM instance WHERE finished UNION SELECT manifest_sha256 FROM study UNION "
        "SELECT index_sha256 FROM study"
    )
    with closing(sqlite3.connect(place / _SQLITE_PLACES[contents.STUDIES])) as connection:
        return sum(bool(digest) and artifacts.look(digest) is None for (digest,) in connection.execute(query))


def _missing_models(folder: Path, models: Any) -> tuple[str, ...]:
    installed = installed_model_names(folder)
    return tuple(
        name
        for name, sha256 in sorted(models.items())
        if name not in installed or ModelFolder.open(find_model(folder, name), verify=False).sha256 != sha256
    )


def _require_room(folder: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(folder).free < needed_bytes:
        raise DiskFull(f"The disk of the new data folder has no room for {needed_bytes / 1e6:.0f} MB.")


@contextmanager
def _disk_full() -> Iterator[None]:
    try:
        with disk_full_when_no_room():
            yield
    except DiskFull:
        raise DiskFull("The disk of the new data folder is full. Nothing was restored.") from None
