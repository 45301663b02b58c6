"""Versions of a model that are kept beside the installed one, so that what is pinned to one can still run.

::

    models/
      sts-petct/                        the installed version
      .versions/SHA256/sts-petct/       one that was installed before
      .versions/sts-petct.history       SHA-256 of those that were replaced, the last one at the end
"""

from __future__ import annotations

import ctypes
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from oncoresponse.errors import ModelFolderInvalid, ModelStateInvalid, OncoResponseError
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names

_KEPT = ".versions"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True)
class VersionOnDisk:
    """A version whose files are there."""

    version: str
    sha256: str
    path: Path
    installed: bool


def find_version(models_directory: Path, name: str, sha256: str) -> Path:
    """Folder of a version: the installed one, or one that was kept; the installed one where it is nowhere.

    Raises:
        ModelNotFound: No model of that name is installed.
    """
    installed = find_model(models_directory, name)
    kept = models_directory / _KEPT / sha256 / name
    if sha256 and kept.is_dir() and not _is_version(installed, sha256):
        return kept
    return installed


def versions_on_disk(models_directory: Path, name: str) -> list[VersionOnDisk]:
    """Versions of a model, the installed one first; folders that cannot be read are left out."""
    places = [models_directory / name] if name in installed_model_names(models_directory) else []
    places += sorted((models_directory / _KEPT).glob(f"*/{name}"))
    found: dict[str, VersionOnDisk] = {}
    for place in places:
        try:
            folder = ModelFolder.open(place, verify=False)
        except OncoResponseError:
            continue
        version = VersionOnDisk(folder.definition.version, folder.sha256, place, place.parent == models_directory)
        found.setdefault(folder.sha256, version)
    return list(found.values())


def install_version(models_directory: Path, source: Path) -> ModelFolder:
    """Install a model folder; the version that it replaces is kept.

    Other processes see the earlier version or the new one, never a part: the new one is complete before both change
    places in one step (renameat2, where the file system has it).

    Raises:
        ModelFolderInvalid, ModelHashMismatch: The folder is no complete, sealed model.
    """
    new = ModelFolder.open(source)
    if source.resolve().parent == models_directory.resolve():
        raise ModelFolderInvalid("This folder is installed already. Give the folder of the version to be installed.")
    arriving = models_directory / _KEPT / f".arriving-{uuid.uuid4().hex}" / new.definition.name
    try:
        shutil.copytree(source, arriving)
        ModelFolder.open(arriving)
        _put_in_place(models_directory, arriving)
    finally:
        shutil.rmtree(arriving.parent, ignore_errors=True)
    return ModelFolder.open(models_directory / new.definition.name)


def restore_version(models_directory: Path, name: str) -> ModelFolder:
    """Put the version back that the installed one replaced. A second call undoes the first.

    Raises:
        ModelStateInvalid: None is kept.
        ModelFolderInvalid, ModelHashMismatch: The kept one is damaged.
    """
    installed = ModelFolder.open(find_model(models_directory, name), verify=False)
    for sha256 in reversed(_history(models_directory, name)):
        kept = models_directory / _KEPT / sha256 / name
        if sha256 != installed.sha256 and kept.is_dir():
            return _restored(models_directory, kept)
    raise ModelStateInvalid(f"No earlier version of model '{name}' is kept. Install it from its folder.")


def _restored(models_directory: Path, kept: Path) -> ModelFolder:
    ModelFolder.open(kept)
    arriving = models_directory / _KEPT / f".arriving-{uuid.uuid4().hex}" / kept.name
    try:
        shutil.copytree(kept, arriving)
        _put_in_place(models_directory, arriving)
    finally:
        shutil.rmtree(arriving.parent, ignore_errors=True)
    return ModelFolder.open(models_directory / kept.name)


def _put_in_place(models_directory: Path, arriving: Path) -> None:
    name = arriving.name
    place = models_directory / name
    if not place.is_dir():
        arriving.rename(place)
        return
    replaced = ModelFolder.open(place, verify=False).sha256
    kept = models_directory / _KEPT / replaced / name
    _exchange(arriving, place)
    # What was installed lies in the place of what arrived.
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        arriving.rename(kept)
    with (models_directory / _KEPT / f"{name}.history").open("a", encoding="ascii") as history:
        history.write(f"{replaced}\n")


def _exchange(one: Path, other: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    exchange = getattr(library, "renameat2", None)
    if (
        exchange is not None
        and exchange(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    ):
        return
    aside = one.with_name(f"{one.name}.aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _history(models_directory: Path, name: str) -> list[str]:
    try:
        return (models_directory / _KEPT / f"{name}.history").read_text(encoding="ascii").split()
    except OSError:
        return []


def _is_version(path: Path, sha256: str) -> bool:
    try:
        return ModelFolder.open(path, verify=False).sha256 == sha256
    except OncoResponseError:
        return False
