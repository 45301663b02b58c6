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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch, ModelNotFound
from oncoresponse.series_rules import SeriesRule
from oncoresponse.volume import QUANTITY_OF_MODALITY, file_sha256

_DEFINITION_FILE = "model.yaml"
_MANIFEST_FILE = "manifest.json"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntendedUse(_Strict):
    """Who may use the model, on whom, for what, and when not (HTI-1 source attributes 5 to 10)."""

    purpose: str
    population: str
    user: str
    role: str
    contraindications: tuple[str, ...]
    device_status: str


class RequiredSeries(_Strict):
    """One image series the model cannot do without.

    Attributes:
        modality: DICOM modality.
        quantity: What a voxel measures: that to which the intake converts the modality.
        purpose: What the model does with it.
        prefer: Which of several series that fit is used, by rules in order; empty: several are ambiguous.
    """

    modality: Literal["CT", "PT", "MR"]
    quantity: str = Field(min_length=1)
    purpose: str
    prefer: tuple[SeriesRule, ...] = ()

    @property
    def input_role(self) -> str:
        """The name by which a request selects a series for this input."""
        return self.modality

    @model_validator(mode="after")
    def _intake_gives_the_quantity(self) -> Self:
        given = QUANTITY_OF_MODALITY.get(self.modality)
        if given is not None and self.quantity != given.value:
            raise ValueError(f"{self.modality} is converted to {given.value}; {self.quantity} is not available.")
        return self


class Covariate(_Strict):
    """A clinical input the model accepts beside the images."""

    name: str
    title: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False


class TumorLimits(_Strict):
    """What a contour must satisfy before its features are believed."""

    minimum_volume_ml: float = Field(gt=0)
    maximum_volume_ml: float = Field(gt=0)


class Outcome(_Strict):
    """What the response model predicts."""

    code: str
    title: str
    definition: str
    favorable_answer: str
    unfavorable_answer: str


class OutsideCheck(_Strict):
    """What somebody found who tried a model on patients kept apart. It is reported and decides nothing.

    It belongs to one booster and is shown only while the model predicts with that booster, or refused it.

    Attributes:
        booster_sha256: The booster that was tried.
        model_version: Version of the model that held it.
        date: ``YYYY-MM``.
        sentence: What was found, on how many patients.
        source: Whether and how it can be made again.
    """

    booster_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    model_version: str
    date: str = Field(pattern=r"^\d{4}-\d{2}$")
    sentence: str
    source: str

    @property
    def text(self) -> str:
        """Finding, version, date and source."""
        return f"{self.sentence} (version {self.model_version}, {self.date}; {self.source})."


class ModelDefinition(_Strict):
    """Contents of ``model.yaml``. Unknown keys are refused.

    ``limitations`` come heaviest first. ``source_attributes`` states, for the model card, what no training run can know
    (see :mod:`oncoresponse.response.source_attributes`).
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    title: str
    manufacturer: str
    intended_use: IntendedUse
    required_series: tuple[RequiredSeries, ...]
    contour_modality: Literal["CT", "PT", "MR"]
    covariates: tuple[Covariate, ...] = ()
    tumor_limits: TumorLimits
    outcome: Outcome
    limitations: tuple[str, ...]
    training_data: str
    source_attributes: dict[str, str] = {}
    outside_checks: tuple[OutsideCheck, ...] = ()

    def outside_checks_of(self, boosters: Sequence[str]) -> tuple[str, ...]:
        """What was found outside about any of the boosters (SHA-256), in words."""
        return tuple(check.text for check in self.outside_checks if check.booster_sha256 in boosters)

    @property
    def measured_quantity(self) -> str | None:
        """What a voxel of the series measures on which contour and features are; ``None`` where no image is read."""
        return next((item.quantity for item in self.required_series if item.modality == self.contour_modality), None)

    @model_validator(mode="after")
    def _one_series_for_each_input(self) -> Self:
        roles = [item.input_role for item in self.required_series]
        if len(set(roles)) < len(roles):
            raise ValueError("A modality is required twice; this version takes one series of each.")
        if roles and self.contour_modality not in roles:
            raise ValueError(f"contour_modality {self.contour_modality} is not among required_series.")
        return self


class Manifest(_Strict):
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
            definition = ModelDefinition.model_validate(yaml.safe_load((path / _DEFINITION_FILE).read_bytes()))
            manifest = Manifest.model_validate_json((path / _MANIFEST_FILE).read_bytes())
        except OSError as error:
            raise ModelFolderInvalid(
                f"Model folder '{path.name}' has no readable {_DEFINITION_FILE} and {_MANIFEST_FILE}. "
                "Install the complete folder, or run the training commands that write it."
            ) from error
        except (ValidationError, yaml.YAMLError, ValueError) as error:
            raise ModelFolderInvalid(f"Model folder '{path.name}' is not valid: {error}") from error
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
