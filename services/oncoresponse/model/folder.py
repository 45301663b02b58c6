"""A model folder: everything that defines one clinical task, and the SHA-256 of each of its files.

::

    models/sts-petct/
      model.yaml            written by hand: purpose, required series, covariates, limits
      manifest.json         written by commands: every other file's SHA-256
      model-card.md, .json  written by commands
      segmentation/         network.json, *.safetensors, evaluation; or external_network.json and what it names
      radiomics/            settings.yaml, robustness.csv
      response/             booster.ubj, response.json, evaluation

A model that is predicted from a table has neither ``segmentation`` nor ``radiomics``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import ValidationError

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch, ModelNotFound
from oncoresponse.model.definition import ImagingResponse, ModelDefinition, Strict, parse_definition
from oncoresponse.model.request_rules import require_images

_DEFINITION_FILE = "model.yaml"
_MANIFEST_FILE = "manifest.json"


class Manifest(Strict):
    """Contents of ``manifest.json``.

    Attributes:
        files: Relative path to lower-case hexadecimal SHA-256.
        version: Version that was sealed with these files; it never names others.
    """

    files: dict[str, str]
    version: str | None = None


@dataclass(frozen=True)
class ModelFolder:
    """An installed model, its definition read and its files checked against the manifest."""

    path: Path
    definition: ModelDefinition
    manifest: Manifest

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> ModelFolder:
        """Read a model folder.

        Args:
            path: The folder.
            verify: Hash every file; leave on wherever a prediction may follow.

        Raises:
            ModelFolderInvalid: A file is missing, extra, or does not follow its schema.
            ModelHashMismatch: A file is not the one the manifest names.
        """
        try:
            definition = parse_definition(yaml.safe_load((path / _DEFINITION_FILE).read_bytes()))
            manifest = Manifest.model_validate_json((path / _MANIFEST_FILE).read_bytes())
        except OSError as error:
            raise ModelFolderInvalid(
                f"Model folder '{path.name}' has no readable {_DEFINITION_FILE} and {_MANIFEST_FILE}. "
                "Install the complete folder, or run the training commands that write it."
            ) from error
        except (ValidationError, yaml.YAMLError, ValueError) as error:
            raise ModelFolderInvalid(f"Model folder '{path.name}' is not valid: {schema_faults(error)}") from error
        if definition.name != path.name:
            raise ModelFolderInvalid(f"Model folder '{path.name}' defines a model called '{definition.name}'.")
        folder = cls(path, definition, manifest)
        if verify:
            folder.verify()
        return folder

    def verify(self) -> None:
        """Compare every file with the manifest.

        Raises:
            ModelFolderInvalid: A file is missing or not in the manifest.
            ModelHashMismatch: A file changed.
        """
        present = _hash_files(self.path)
        if missing := sorted(set(self.manifest.files) - set(present)):
            raise ModelFolderInvalid(f"Model '{self.definition.name}' lacks {', '.join(missing)}. Install it again.")
        if extra := sorted(set(present) - set(self.manifest.files)):
            raise ModelFolderInvalid(
                f"Model '{self.definition.name}' holds {', '.join(extra)}, which its manifest does not name. "
                "Remove the file, or write the manifest again with 'oncoresponse models seal'."
            )
        for name, digest in self.manifest.files.items():
            if present[name] != digest:
                raise ModelHashMismatch(
                    f"File {name} of model '{self.definition.name}' is not the one its manifest names. "
                    "Install the model again; do not edit a sealed model.",
                    file=name,
                )

    @property
    def imaging(self) -> ImagingResponse:
        """The definition of a model that reads images.

        Raises:
            InvalidRequest: It reads none.
        """
        require_images(bool(self.definition.inputs))
        if not isinstance(self.definition, ImagingResponse):
            raise ModelFolderInvalid(f"Model '{self.definition.name}' is no imaging response.")
        return self.definition

    def has(self, relative: str) -> bool:
        """Whether the model has a file, or a part of that folder's name such as ``segmentation``."""
        return any(name == relative or name.startswith(f"{relative}/") for name in self.manifest.files)

    def file(self, relative: str) -> Path:
        """Path of a file the manifest names.

        Raises:
            ModelFolderInvalid: The manifest does not name it.
        """
        if relative not in self.manifest.files:
            raise ModelFolderInvalid(f"Model '{self.definition.name}' has no {relative}.")
        return self.path / relative

    @cached_property
    def sha256(self) -> str:
        """Identity of the model: SHA-256 over the manifest's sorted names and hashes."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.manifest.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def seal_model_folder(path: Path) -> ModelFolder:
    """Write ``manifest.json`` for the files as they are now and open the result, whatever was sealed before."""
    manifest = {"version": _version(path), "files": dict(sorted(_hash_files(path).items()))}
    (path / _MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return ModelFolder.open(path)


def seal_version(path: Path) -> ModelFolder:
    """Seal a version that predictions may name: never the same version twice with different files.

    Raises:
        ModelFolderInvalid: The version was sealed before with other files.
    """
    sealed, version = _sealed(path), _version(path)
    if sealed is not None and version is not None and sealed.version == version and sealed.files != _hash_files(path):
        raise ModelFolderInvalid(
            f"Version {version} of model '{path.name}' was sealed with other files. Raise the version in "
            f"{_DEFINITION_FILE}; a version that predictions may name is never changed."
        )
    return seal_model_folder(path)


def raise_version_if_changed(path: Path) -> str | None:
    """Raise the last number of the version in ``model.yaml`` when the sealed files of that version differ from those
    that are there now, and say the new version; ``None`` when there was nothing to raise.
    """
    sealed, version = _sealed(path), _version(path)
    if sealed is None or version is None or sealed.version != version or sealed.files == _hash_files(path):
        return None
    first, second, third = version.split(".")
    raised = f"{first}.{second}.{int(third) + 1}"
    definition = path / _DEFINITION_FILE
    text = definition.read_text(encoding="utf-8")
    definition.write_text(re.sub(r"(?m)^version:.*$", f"version: {raised}", text, count=1), encoding="utf-8")
    return raised


def _sealed(path: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((path / _MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _version(path: Path) -> str | None:
    """The version ``model.yaml`` states, if it can be read; opening the folder says what is wrong with it."""
    try:
        stated = yaml.safe_load((path / _DEFINITION_FILE).read_bytes())
    except (OSError, yaml.YAMLError):
        return None
    version = stated.get("version") if isinstance(stated, dict) else None
    return version if isinstance(version, str) and re.fullmatch(r"\d+\.\d+\.\d+", version) else None


def find_model(models_directory: Path, name: str) -> Path:
    """Folder of an installed model.

    Raises:
        ModelNotFound: There is none of that name.
    """
    if name not in installed_model_names(models_directory):
        raise ModelNotFound(f"No model called '{name[:63]}' is installed. 'oncoresponse models list' names them.")
    return models_directory / name


def installed_model_names(models_directory: Path) -> list[str]:
    """Names of the folders below ``models_directory`` that define a model."""
    if not models_directory.is_dir():
        return []
    return sorted(entry.name for entry in models_directory.iterdir() if (entry / _DEFINITION_FILE).is_file())


def _hash_files(path: Path) -> dict[str, str]:
    return {
        file.relative_to(path).as_posix(): file_sha256(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != _MANIFEST_FILE
    }
