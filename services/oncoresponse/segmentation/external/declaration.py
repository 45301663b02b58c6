"""``segmentation/external_network.json``: what a network from elsewhere is, and what it expects to see.

The file stands in a model folder in place of ``network.json``. Unknown keys are refused. It names every file of the
network together with its SHA-256; nothing else is read, and nothing is downloaded. docs/bring-your-own-network.md shows
one declaration of each kind.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch

EXTERNAL_NETWORK_FILE = "external_network.json"

InputRole = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
"""Input role of an image, as ``model.yaml`` declares it."""
_Positive = Annotated[float, Field(gt=0)]
_Voxels = Annotated[int, Field(gt=0)]
_AXES = ("LR", "PA", "SI")


def _is_orientation(value: str) -> str:
    if len(value) != 3 or any(sum(letter in pair for letter in value) != 1 for pair in _AXES):
        raise ValueError("three letters are needed, one each of L or R, P or A, S or I")
    return value


_Orientation = Annotated[str, AfterValidator(_is_orientation)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Clip(_Strict):
    """Values below ``low`` become ``low``, values above ``high`` become ``high``."""

    step: Literal["clip"]
    low: float
    high: float


class Rescale(_Strict):
    """A straight line that takes ``from_low`` to ``to_low`` and ``from_high`` to ``to_high``."""

    step: Literal["rescale"]
    from_low: float
    from_high: float
    to_low: float = 0.0
    to_high: float = 1.0

    @model_validator(mode="after")
    def _not_empty(self) -> Rescale:
        if self.from_low == self.from_high:
            raise ValueError("from_low and from_high must differ")
        return self


class Standardize(_Strict):
    """Subtract a mean and divide by a standard deviation; without numbers, those of this very image."""

    step: Literal["standardize"]
    mean: float | None = None
    standard_deviation: _Positive | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Standardize:
        if (self.mean is None) != (self.standard_deviation is None):
            raise ValueError("give both mean and standard_deviation, or neither")
        return self


class LogarithmOfOnePlus(_Strict):
    """ln(1 + value); negative values count as 0."""

    step: Literal["log1p"]


IntensityStep = Annotated[Clip | Rescale | Standardize | LogarithmOfOnePlus, Field(discriminator="step")]


class Channel(_Strict):
    """One input channel of the network.

    Attributes:
        input_role: An input of ``model.yaml``. PET comes in body-weight SUV (g/mL), CT in HU, MR as its signal. Called
            ``modality`` before 0.3.
        outside: Value, in that unit, of what lies outside the image.
        intensity: Steps from that unit to what the network sees, in order.
    """

    input_role: InputRole = Field(validation_alias=AliasChoices("input_role", "modality"))
    outside: float
    intensity: tuple[IntensityStep, ...] = ()


class Preprocessing(_Strict):
    """From the images to the network's input.

    Attributes:
        reference: Input role of the image whose field of view the network sees; the others are resampled to its grid
            (linear).
        orientation: Where the x, y and z axes of the input point to, as letters of the patient axes: ``LPS`` is
            DICOM's order, ``RAS`` that of NIfTI and of most MONAI bundles.
        axis_order: Order of the array axes behind the channel axis. SimpleITK and nnU-Net: ``zyx``. MONAI: ``xyz``.
        spacing_mm: Voxel spacing along x, y, z; null keeps that of the reference.
        channels: In the order of the input.
    """

    reference: InputRole
    orientation: _Orientation
    axis_order: Literal["xyz", "zyx"]
    spacing_mm: tuple[_Positive, _Positive, _Positive] | None = None
    channels: tuple[Channel, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _reference_is_a_channel(self) -> Preprocessing:
        if self.reference not in {channel.input_role for channel in self.channels}:
            raise ValueError(f"reference {self.reference} is not among the channels")
        return self


class Windows(_Strict):
    """How a network goes over a whole image.

    Attributes:
        size: Window in voxels along the array axes, in their order; null takes the whole image at once.
        overlap: Share by which neighbouring windows overlap.
        weighting: How overlapping windows are averaged: ``gaussian`` counts their middle more, ``constant`` does not.
        multiple_of: For whole images: sizes are padded to multiples of this.
        padding: Value, after all intensity steps, of what pads an image smaller than a window.
    """

    size: tuple[_Voxels, _Voxels, _Voxels] | None = None
    overlap: float = Field(default=0.5, ge=0, lt=1)
    weighting: Literal["gaussian", "constant"] = "gaussian"
    multiple_of: _Voxels = 1
    padding: float = 0.0


class Output(_Strict):
    """What comes out of the network: axes (1, channel, three of space).

    Attributes:
        activation: What turns the output into probabilities; ``none`` where the network has done it itself.
        tumor_channels: Output channels that mean tumor. Their probabilities are added where the channels exclude each
            other (``softmax``), else the largest counts.
    """

    activation: Literal["sigmoid", "softmax", "none"]
    tumor_channels: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class MaskSettings(_Strict):
    """From probability to mask.

    Attributes:
        threshold: A voxel belongs to the tumor where its probability is at least this.
    """

    threshold: float = Field(default=0.5, gt=0, lt=1)


class _ExternalNetwork(_Strict):
    """What all kinds declare.

    Attributes:
        name: For reports and warnings.
        source: Where the weights come from, what they were trained on and under which licence.
        files: Each file of the network, relative to ``segmentation/``, with its SHA-256.
        mask: From probability to mask.
        minimum_coverage: Smallest share of the field of view of the contoured image that each other input must cover.
            Called ``minimum_ct_coverage`` before 0.3.
        field_of_view_limit_mm: Largest field of view of the contoured image (along L, P, S) in which the largest part
            found is taken for the lesion. Beyond it the request has to say which lesion is meant, or candidates are
            offered. Null where the largest part always counts: right for a scan cropped around one lesion, a guess for
            a whole body.
    """

    name: str = Field(min_length=1, max_length=100)
    source: str = Field(min_length=1)
    files: dict[str, _Sha256] = Field(min_length=1)
    mask: MaskSettings = MaskSettings()
    minimum_coverage: float = Field(
        default=0.5, ge=0, le=1, validation_alias=AliasChoices("minimum_coverage", "minimum_ct_coverage")
    )
    field_of_view_limit_mm: tuple[_Positive, _Positive, _Positive] | None = None

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            parts = Path(name).parts
            if Path(name).is_absolute() or ".." in parts or "\\" in name or not parts:
                raise ValueError(f"{name} does not lie in the folder of the declaration")
        return files


class _WithPreprocessing(_ExternalNetwork):
    preprocessing: Preprocessing
    windows: Windows = Windows()
    output: Output

    @property
    def input_roles(self) -> tuple[str, ...]:
        """What the network looks at, in the order of its channels."""
        return tuple(channel.input_role for channel in self.preprocessing.channels)


class TorchScriptDeclaration(_WithPreprocessing):
    """One TorchScript file (``torch.jit.save``)."""

    kind: Literal["torchscript"]


class OnnxDeclaration(_WithPreprocessing):
    """One ONNX file with its weights inside, one input and one output (the first counts)."""

    kind: Literal["onnx"]


class MonaiBundleDeclaration(_WithPreprocessing):
    """A MONAI bundle.

    Attributes:
        config: The bundle's configuration that holds ``network_def`` (``configs/inference.json`` or ``.yaml``).
        weights: State dictionary: safetensors, or a file of ``torch.save``.
    """

    kind: Literal["monai_bundle"]
    config: str
    weights: str

    @model_validator(mode="after")
    def _files_are_named(self) -> MonaiBundleDeclaration:
        _require_named(self.files, self.config, self.weights)
        return self


class NnunetDeclaration(_ExternalNetwork):
    """A trained folder of nnU-Net v2; its ``plans.json`` declares the preprocessing.

    Attributes:
        folder: ``Dataset.../nnUNetTrainer__nnUNetPlans__3d_fullres``; the folds used are those named in ``files``.
        configuration: Name in ``plans.json``; a three-dimensional one without a previous stage.
        checkpoint: File name in each fold.
        channels: Input role of each input channel, in the order of ``dataset.json``.
        reference: Input role of the image on whose grid the training images were; the others are resampled to it
            (linear).
        orientation: Where the x, y, z axes of the training images pointed to. TotalSegmentator: ``RAS``.
        spacing_mm: To resample to before nnU-Net sees the image (x, y, z; linear), as TotalSegmentator does to 1.5 mm;
            null leaves it to nnU-Net, which returns to the reference's own voxels with all its output channels.
        outside_ct_hu: Value of what lies outside a CT, where another image is the reference; 0 for other quantities.
        tumor_labels: Names in ``dataset.json`` of the labels or regions that mean tumor.
        overlap: Share by which neighbouring windows overlap (nnU-Net's ``tile_step_size`` is one minus this).
        mirroring: Average over the mirrored images that the training allowed: up to eight times the time.
    """

    kind: Literal["nnunet"]
    folder: str
    configuration: str = "3d_fullres"
    checkpoint: str = "checkpoint_final.pth"
    channels: tuple[InputRole, ...] = Field(min_length=1)
    reference: InputRole
    orientation: _Orientation = "LPS"
    spacing_mm: tuple[_Positive, _Positive, _Positive] | None = None
    outside_ct_hu: float = -1024.0
    tumor_labels: tuple[str, ...] = Field(min_length=1)
    overlap: float = Field(default=0.5, ge=0, lt=1)
    mirroring: bool = False

    @model_validator(mode="after")
    def _complete(self) -> NnunetDeclaration:
        _require_named(self.files, f"{self.folder}/plans.json", f"{self.folder}/dataset.json")
        if not self.checkpoints:
            raise ValueError(f"files names no {self.folder}/fold_*/{self.checkpoint}")
        if self.reference not in self.channels:
            raise ValueError(f"reference {self.reference} is not among the channels")
        return self

    @property
    def checkpoints(self) -> list[str]:
        """Checkpoint of each fold, in the order of their names."""
        start, end = f"{self.folder}/fold_", f"/{self.checkpoint}"
        return sorted(name for name in self.files if name.startswith(start) and name.endswith(end))

    @property
    def input_roles(self) -> tuple[str, ...]:
        """What the network looks at, in the order of its channels."""
        return self.channels


ExternalNetworkDeclaration = Annotated[
    TorchScriptDeclaration | OnnxDeclaration | MonaiBundleDeclaration | NnunetDeclaration,
    Field(discriminator="kind"),
]
_SCHEMA: TypeAdapter[ExternalNetworkDeclaration] = TypeAdapter(ExternalNetworkDeclaration)


def read_declaration(directory: Path) -> ExternalNetworkDeclaration:
    """Read ``external_network.json``.

    Args:
        directory: ``segmentation/`` of a model folder.

    Raises:
        ModelFolderInvalid: It is missing or does not follow its schema.
    """
    try:
        return _SCHEMA.validate_json((directory / EXTERNAL_NETWORK_FILE).read_bytes())
    except OSError as error:
        raise ModelFolderInvalid(f"The model has no readable {directory.name}/{EXTERNAL_NETWORK_FILE}.") from error
    except ValidationError as error:
        raise ModelFolderInvalid(
            f"{directory.name}/{EXTERNAL_NETWORK_FILE} is not valid: {schema_faults(error)}"
        ) from error


def read_declared_file(directory: Path, files: dict[str, str], name: str) -> bytes:
    """Content of a file that the declaration names.

    The bytes that are hashed are the bytes that are used: the file is read once.

    Raises:
        ModelFolderInvalid: It is missing.
        ModelHashMismatch: It is not the file that was declared.
    """
    path = directory / name
    try:
        inside = path.resolve(strict=True).is_relative_to(directory.resolve())
        content = path.read_bytes() if inside else b""
    except OSError as error:
        raise ModelFolderInvalid(f"The model lacks {directory.name}/{name}. Install it again.") from error
    if not inside:
        raise ModelFolderInvalid(f"{directory.name}/{name} is a link out of the model folder. Copy the file itself.")
    if hashlib.sha256(content).hexdigest() != files[name]:
        raise ModelHashMismatch(
            f"{directory.name}/{name} is not the file that {EXTERNAL_NETWORK_FILE} names. Install the model again; for "
            "a network that was changed on purpose write its new SHA-256 there and seal the model.",
            file=name,
        )
    return content


def require_single_file(declaration: TorchScriptDeclaration | OnnxDeclaration) -> str:
    """The one file of a TorchScript or ONNX network.

    Raises:
        ModelFolderInvalid: There are several.
    """
    if len(declaration.files) != 1:
        raise ModelFolderInvalid(
            f"A network of kind {declaration.kind} is one file; {len(declaration.files)} are named."
        )
    return next(iter(declaration.files))


def _require_named(files: dict[str, str], *names: str) -> None:
    if missing := [name for name in names if name not in files]:
        raise ValueError(f"files does not name {', '.join(missing)}")
