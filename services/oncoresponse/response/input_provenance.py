"""How the inputs of a prediction, and those of the training patients, were made, and whether the two are the same.

A features document says it by itself (:attr:`FeatureDocument.identity`). Beside a table lies a small JSON file of the
same name, ``cohort.csv`` and ``cohort.provenance.json``; ``oncoradiomics cohort`` writes it. Where there is none,
nobody has declared it, and the answer says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from oncoradiomics.features import ExtractionIdentity, FeatureDocument
from oncoradiomics.lesion_measures import is_measure_of_another_quantity
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from oncoresponse.errors import OncoResponseError, QuantityMismatch, SettingsMismatch, TrainingDataInvalid
from oncoresponse.response.model_document import ResponseDocument
from oncoresponse.response.task import ResponseInput, ResponseTask

PROVENANCE_UNDECLARED: Literal["PROVENANCE_UNDECLARED"] = "PROVENANCE_UNDECLARED"
"""Code of a prediction of which nobody said how its inputs were made."""

SIDECAR_SUFFIX = ".provenance.json"

NOT_DECLARED = (
    "How the inputs of this patient were measured was not declared; measured otherwise than those of the training "
    "patients they do not fit the model."
)
TRAINING_NOT_DECLARED = (
    "How the features of the training patients were computed was not declared, so those of a new patient cannot be "
    "compared with them."
)


class InputProvenance(BaseModel):
    """What is declared of the inputs. Other keys of the file, such as who was left out, are not read.

    Attributes:
        extraction: Settings, engine and quantity of computed features; ``None`` where none were computed.
        measured_by: How inputs were measured that no engine computed, in words; empty where nothing is said.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    extraction: ExtractionIdentity | None = None
    measured_by: str = ""

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, content: Any) -> Any:
        # The file of 'oncoradiomics cohort' holds the four beside one another.
        if isinstance(content, dict) and "extraction" not in content:
            found = {name: content[name] for name in ExtractionIdentity.model_fields if name in content}
            return {**content, "extraction": found} if found else content
        return content

    @model_validator(mode="after")
    def _says_something(self) -> InputProvenance:
        if self.extraction is None and not self.measured_by.strip():
            raise ValueError("engine, engine_version, settings_sha256 and image_quantity, or measured_by, are needed")
        return self

    @classmethod
    def of(cls, document: FeatureDocument) -> InputProvenance:
        """That of a features document."""
        return cls(extraction=document.identity)


def read_provenance(table: Path, error: type[OncoResponseError]) -> InputProvenance | None:
    """What the file beside a table declares; ``None`` where there is no such file.

    Args:
        table: CSV file; the declaration has its name with ``.provenance.json`` for the ending.
        error: Raised when the file is there and cannot be understood.
    """
    sidecar = table.with_suffix(SIDECAR_SUFFIX)
    if not sidecar.is_file():
        return None
    try:
        return InputProvenance.model_validate_json(sidecar.read_bytes())
    except (OSError, ValidationError):
        raise error(
            f"The file *{SIDECAR_SUFFIX} beside the table is not understood. It is JSON with engine, engine_version, "
            "settings_sha256 and image_quantity, as 'oncoradiomics cohort' writes it, or with measured_by; correct it, "
            "or remove it."
        ) from None


def require_same_extraction(trained: ExtractionIdentity, found: ExtractionIdentity) -> None:
    """Refuse features that were made otherwise than those of the training patients.

    Raises:
        QuantityMismatch: They are of another quantity.
        SettingsMismatch: They were computed with other settings, or by another engine or version of it.
    """
    if found.image_quantity != trained.image_quantity:
        raise QuantityMismatch(
            f"The features are of {found.image_quantity}; the model was trained on {trained.image_quantity}. Measure "
            "the series that the model names.",
            needed=trained.image_quantity,
            found=found.image_quantity,
        )
    differs = [
        name
        for name in ("settings_sha256", "engine", "engine_version")
        if getattr(found, name) != getattr(trained, name)
    ]
    if differs:
        raise SettingsMismatch(
            "The features were not computed as those of the training patients were: "
            f"{', '.join(_WORDS[name] for name in differs)} differ. Compute them with the model's "
            f"radiomics/settings.yaml and {trained.engine} {trained.engine_version}, or train the model again.",
            differs=",".join(differs),
        )


_WORDS = {"settings_sha256": "the settings", "engine": "the engines", "engine_version": "the versions of the engine"}


def undeclared_sentence(document: ResponseDocument, provenance: InputProvenance | None) -> str | None:
    """What has to be said of the inputs of a prediction; ``None`` where they are known to be those of the training.

    Args:
        document: The model.
        provenance: How the inputs were made, if anybody said.

    Raises:
        QuantityMismatch, SettingsMismatch: As :func:`require_same_extraction`.
    """
    found = provenance.extraction if provenance is not None else None
    if not any(entry.source == "features" for entry in document.inputs):
        return None if provenance is not None else NOT_DECLARED
    if found is None:
        return NOT_DECLARED
    if document.extraction is None:
        return TRAINING_NOT_DECLARED
    require_same_extraction(document.extraction, found)
    return None


def require_measures_of(inputs: tuple[ResponseInput, ...], quantity: str) -> None:
    """Refuse a task whose inputs cannot be measured on images of a quantity.

    Raises:
        QuantityMismatch: An input is a measure of another one, such as SUVmax where the image is CT.
    """
    for entry in inputs:
        if entry.source == "features" and is_measure_of_another_quantity(entry.name, quantity):
            raise QuantityMismatch(
                f"Input '{entry.name}' does not exist for images in {quantity}. Choose a measure of that quantity, or "
                "measure another series (features_from in model.yaml).",
                input=entry.name,
                found=quantity,
            )


def training_extraction(
    task: ResponseTask, features: Path, model_directory: Path, *, also: Path | None = None
) -> ExtractionIdentity | None:
    """How the features of a training table were made, if that is declared and is what the model will make itself.

    Args:
        task: The declared task.
        features: The table; the declaration lies beside it.
        model_directory: The model folder; its ``radiomics/settings.yaml`` is what patients will be measured with.
        also: Another table that has to be made alike, such as that of automatic contours.

    Returns:
        ``None`` where nobody declared it, or where no input is a feature.

    Raises:
        TrainingDataInvalid: A declaration is not understood, or the model's settings are not valid.
        QuantityMismatch: An input does not exist for the declared quantity, or the two tables differ in it.
        SettingsMismatch: The declared settings are not those of the model folder, or the two tables differ in them.
    """
    if not any(entry.source == "features" for entry in task.inputs):
        return None
    declared = read_provenance(features, TrainingDataInvalid)
    found = declared.extraction if declared is not None else None
    if found is None:
        return None
    require_measures_of(task.inputs, found.image_quantity)
    _require_own_extraction(found, model_directory)
    other = read_provenance(also, TrainingDataInvalid) if also is not None else None
    if other is not None and other.extraction is not None:
        require_same_extraction(found, other.extraction)
    return found


def _require_own_extraction(found: ExtractionIdentity, model_directory: Path) -> None:
    """Refuse a table that was made otherwise than the model will make the features of its patients."""
    # Here, since it loads pyradiomics, which a prediction does not need.
    from oncoradiomics.errors import SettingsError
    from oncoradiomics.extraction import ENGINE_NAMES, engine_version
    from oncoradiomics.settings import Settings

    settings = model_directory / "radiomics" / "settings.yaml"
    if not settings.is_file():
        return
    try:
        own = Settings.from_yaml(settings).sha256
    except SettingsError as error:
        raise TrainingDataInvalid(f"radiomics/settings.yaml of the model folder: {error.message}") from error
    if found.settings_sha256 != own:
        raise SettingsMismatch(
            "The table was computed with other settings than radiomics/settings.yaml of the model folder, with which "
            "patients will be measured. Compute it again with that file, or put the right file into the folder.",
            differs="settings_sha256",
        )
    engine = (ENGINE_NAMES["native"], engine_version("native"))
    if (found.engine, found.engine_version) != engine:
        raise SettingsMismatch(
            f"The table was computed by {found.engine} {found.engine_version}, and patients will be measured by "
            f"{' '.join(engine)}. Compute it again with this version.",
            differs="engine",
        )
