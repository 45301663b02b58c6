"""Opened models, kept while their folder's manifest stays the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from oncoresponse.errors import ModelChanged
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names
from oncoresponse.model.versions import find_version

_Loaded = TypeVar("_Loaded")


class ModelCache(Generic[_Loaded]):
    """Loads what a stage needs of a model once, and again when an administrator installs a new version.

    Args:
        models_directory: Installed models.
        load: Makes the loaded thing from a verified folder.
        needs: Part of a folder, such as ``radiomics``, without which :meth:`load_all` passes a model by.
    """

    def __init__(
        self, models_directory: Path, load: Callable[[ModelFolder], _Loaded], *, needs: str | None = None
    ) -> None:
        self._models_directory = models_directory
        self._load = load
        self._needs = needs
        self._loaded: dict[Path, tuple[bytes, ModelFolder, _Loaded]] = {}
        self._lock = threading.Lock()

    def get(self, resource_name: str, sha256: str = "") -> tuple[ModelFolder, _Loaded]:
        """The folder and the loaded thing of ``models/{model}``.

        Args:
            resource_name: Which model.
            sha256: :attr:`ModelFolder.sha256` that the request is pinned to; empty for whichever is installed.

        Raises:
            ModelNotFound, ModelFolderInvalid, ModelHashMismatch: The model is missing or not what it says.
            ModelChanged: It is another one than the request is pinned to.
        """
        name = resource_name.removeprefix("models/")
        with self._lock:
            path = find_model(self._models_directory, name)
            known = self._known(path)
            if sha256 and (known is None or known[1].sha256 != sha256):
                # Not the installed version, or not read yet: one that is kept for what was pinned to it.
                path = find_version(self._models_directory, name, sha256)
                known = self._known(path)
            if known is None:
                folder = ModelFolder.open(path)
                require_pinned(folder, sha256)
                known = (_manifest(path), folder, self._load(folder))
                # What was loaded is what the manifest names only if no file was replaced meanwhile.
                folder.verify()
                self._keep(path, known)
            require_pinned(known[1], sha256)
            return known[1], known[2]

    def loaded(self) -> list[tuple[ModelFolder, _Loaded]]:
        """What is loaded now."""
        with self._lock:
            return [(folder, loaded) for _, folder, loaded in self._loaded.values()]

    def _known(self, path: Path) -> tuple[bytes, ModelFolder, _Loaded] | None:
        known = self._loaded.get(path)
        return known if known is not None and known[0] == _manifest(path) else None

    def _keep(self, path: Path, loaded: tuple[bytes, ModelFolder, _Loaded]) -> None:
        """Keep the installed version and one other: networks take gigabytes."""
        if path.parent != self._models_directory:
            for other in [each for each in self._loaded if each.name == path.name and each.parent != path.parent]:
                if other.parent != self._models_directory:
                    del self._loaded[other]
        self._loaded[path] = loaded

    def load_all(self) -> None:
        """Load every installed model that has what is needed, so that the first request does not wait for it."""
        for name in installed_model_names(self._models_directory):
            if self._needs is None or ModelFolder.open(self._models_directory / name, verify=False).has(self._needs):
                self.get(name)


def _manifest(path: Path) -> bytes:
    manifest = path / "manifest.json"
    return manifest.read_bytes() if manifest.is_file() else b""


def require_pinned(folder: ModelFolder, sha256: str) -> None:
    """Refuse a model that is not the one a request is pinned to; an empty digest pins nothing.

    Raises:
        ModelChanged: The model has another SHA-256.
    """
    if sha256 and folder.sha256 != sha256:
        raise ModelChanged(
            f"Another version of model '{folder.definition.name}' was installed after the assessment was created "
            f"(version {folder.definition.version} now) and the earlier one was not kept; stages of two models never "
            "make one report. Create the assessment again; it then runs on the model that is installed.",
            installed_sha256=folder.sha256,
            pinned_sha256=sha256,
        )
