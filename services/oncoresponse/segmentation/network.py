"""The segmentation network: its definition, its weights on disk, and the description that travels with them.

``segmentation/`` of a model folder holds ``network.json`` (:class:`NetworkDescription`) and one safetensors file for
each network of the ensemble. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch
from oncoresponse.segmentation.lesion_prompt import LesionPoint, LesionPrompt
from oncoresponse.segmentation.preprocessing import PreprocessingSettings
from oncoresponse.segmentation.segresnet import SegResNetDS

NETWORK_FILE = "network.json"
Description = TypeVar("Description", bound=BaseModel)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


INPUT_CHANNELS = 4
"""PET, CT, and the lesion prompt as box and as point; see :mod:`oncoresponse.segmentation.preprocessing`."""


class NetworkSettings(_Frozen):
    """Architecture: a residual encoder with a light decoder (SegResNet, Myronenko 2018, arXiv:1810.11654).

    Attributes:
        architecture: Only ``SegResNetDS``, as MONAI calls it, is known.
        initial_filters: Feature maps at full resolution; doubled at each level.
        blocks_down: Residual blocks at each resolution of the encoder; the decoder has one at each.
        normalization: ``instance`` was measured better here (docs/segmentation.md); ``batch`` keeps what a voxel looks
            like independent of the field of view.
        deep_supervision_levels: Resolutions of the decoder, the finest first, that the training loss looks at.
    """

    architecture: Literal["SegResNetDS"] = "SegResNetDS"
    initial_filters: int = Field(default=12, gt=0)
    blocks_down: tuple[int, ...] = Field(default=(1, 2, 2, 4), min_length=2)
    normalization: Literal["batch", "instance"] = "instance"
    deep_supervision_levels: int = Field(default=3, ge=1)

    @property
    def stride(self) -> int:
        """Input sizes must be multiples of this."""
        return int(2 ** (len(self.blocks_down) - 1))


class WeightsFile(_Frozen):
    """One network of the ensemble: its file beside ``network.json`` and the SHA-256 of it."""

    file: str = Field(pattern=r"^[a-z0-9_-]+\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class InferenceSettings(_Frozen):
    """How networks are run over a field of view.

    Attributes:
        largest_window: Voxels along each axis up to which the whole field of view is one window.
        sliding_window: Window along each axis, for larger fields of view.
        sliding_overlap: Share by which neighbouring windows overlap.
    """

    largest_window: int = Field(default=96, gt=0)
    sliding_window: int = Field(default=96, gt=0)
    sliding_overlap: float = Field(default=0.25, ge=0, lt=1)


class FieldOfView(_Frozen):
    """Extents (mm, along L, P, S) of the training images, and the largest the network may be asked about."""

    smallest_mm: tuple[float, float, float]
    largest_mm: tuple[float, float, float]
    limit_mm: tuple[float, float, float]


class VolumeIntervalCalibration(_Frozen):
    """Conformal interval of the volume, scaled by how far the probability is from a step.

    Attributes:
        level: Share of patients whose physician's volume the interval is to hold.
        factor: The interval is volume times ``exp(-factor * spread)`` to ``exp(factor * spread)``; ``spread`` is
            :attr:`~oncoresponse.segmentation.uncertainty.UncertaintyMeasures.volume_spread`.
        patient_count: Patients it was calibrated on.
    """

    level: float = Field(gt=0, lt=1)
    factor: float = Field(ge=0)
    patient_count: int = Field(ge=2)


class MaskSettings(_Frozen):
    """How a probability becomes a mask, and how far the mask may be believed. Chosen on the cross-validation.

    Attributes:
        threshold: A voxel belongs to the tumor where the mean probability is at least this.
        review_below_confidence: Below this soft Dice of mask and probability the mask is marked as needing review; 0
            where the cross-validation has no poor mask to choose it by, None for a network that was not cross-validated
            yet: then every mask is marked.
        volume_interval: None for a network that was not cross-validated yet.
    """

    threshold: float = Field(default=0.5, gt=0, lt=1)
    review_below_confidence: float | None = Field(default=None, ge=0, le=1)
    volume_interval: VolumeIntervalCalibration | None = None


class MaskSettingsByPrompt(_Frozen):
    """One :class:`MaskSettings` for each prompt."""

    none: MaskSettings = MaskSettings()
    point: MaskSettings = MaskSettings()
    box: MaskSettings = MaskSettings()

    def of(self, prompt: LesionPrompt | None) -> MaskSettings:
        """The settings for a prompt."""
        if prompt is None:
            return self.none
        return self.point if isinstance(prompt, LesionPoint) else self.box


class TrainingRecord(_Frozen):
    """Where the weights came from.

    Attributes:
        settings_sha256: SHA-256 of the run's ``config.yaml``.
        cohort_sha256: SHA-256 over each training file's name and SHA-256.
        seed: Seed of the run.
        patient_count: Patients trained on, over all folds.
        held_out_patients: Patients of the cohort that nothing was trained or chosen on.
        versions: Library versions.
    """

    settings_sha256: str
    cohort_sha256: str
    seed: int
    patient_count: int
    held_out_patients: tuple[str, ...]
    versions: dict[str, str]


class NetworkDescription(_Frozen):
    """Contents of ``network.json``. Unknown keys are refused."""

    network: NetworkSettings
    preprocessing: PreprocessingSettings
    inference: InferenceSettings
    patch_size: int
    field_of_view: FieldOfView
    weights: tuple[WeightsFile, ...] = Field(min_length=1)
    training: TrainingRecord
    masks: MaskSettingsByPrompt = MaskSettingsByPrompt()


def build_network(settings: NetworkSettings, in_channels: int = INPUT_CHANNELS) -> torch.nn.Module:
    """A network with fresh weights: input (batch, channel, k, j, i), output one logit a voxel (batch, 1, k, j, i).

    In training mode the output is a list, one for each level of deep supervision, the finest first.
    """
    return SegResNetDS(
        in_channels=in_channels,
        out_channels=1,
        initial_filters=settings.initial_filters,
        blocks_down=settings.blocks_down,
        normalization=settings.normalization,
        deep_supervision_levels=settings.deep_supervision_levels,
    )


def save_weights(network: torch.nn.Module, path: Path) -> WeightsFile:
    """Write the weights as float16 safetensors: half the size, and below the noise of the training."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    path.write_bytes(save_safetensors(tensors))
    return WeightsFile(file=path.name, sha256=file_sha256(path))


def read_description(directory: Path, file: str, schema: type[Description]) -> Description:
    """Read what describes the networks of a folder.

    Raises:
        ModelFolderInvalid: It is missing or does not follow its schema.
    """
    try:
        return schema.model_validate_json((directory / file).read_bytes())
    except OSError as error:
        raise ModelFolderInvalid(
            f"The model has no {directory.name}/{file}. Train the segmentation, or install the model again."
        ) from error
    except ValidationError as error:
        raise ModelFolderInvalid(f"{directory.name}/{file} is not valid: {schema_faults(error)}") from error


def read_network_description(directory: Path) -> NetworkDescription:
    """Read ``network.json``.

    Raises:
        ModelFolderInvalid: It is missing or does not follow its schema.
    """
    return read_description(directory, NETWORK_FILE, NetworkDescription)


def load_networks(directory: Path, description: NetworkDescription) -> list[torch.nn.Module]:
    """The ensemble, float32, in evaluation mode.

    Raises:
        ModelFolderInvalid: A weights file is missing, unreadable, or of another architecture.
        ModelHashMismatch: A weights file is not the one ``network.json`` names.
    """
    return [
        load_weights_into(build_network(description.network), directory, weights) for weights in description.weights
    ]


def _full_precision(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def load_weights_into(
    network: torch.nn.Module, directory: Path, weights: WeightsFile, described_in: str = NETWORK_FILE
) -> torch.nn.Module:
    """A network, float32, in evaluation mode, with the weights of a file.

    Args:
        network: Of the architecture that the description says.
        directory: Where the file is.
        weights: The file, and what it must be.
        described_in: Name of the description, for what is said when something is wrong.

    Raises:
        ModelFolderInvalid: The file is missing, unreadable, or of another architecture.
        ModelHashMismatch: It is not the one the description names.
    """
    try:
        content = (directory / weights.file).read_bytes()
    except OSError as error:
        raise ModelFolderInvalid(f"The model lacks {directory.name}/{weights.file}. Install it again.") from error
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise ModelHashMismatch(
            f"{directory.name}/{weights.file} is not the file that {described_in} names. Install the model again.",
            file=weights.file,
        )
    try:
        network.load_state_dict({name: _full_precision(tensor) for name, tensor in load_safetensors(content).items()})
    except (SafetensorError, RuntimeError) as error:
        raise ModelFolderInvalid(
            f"{directory.name}/{weights.file} does not hold weights of the architecture that {described_in} describes."
        ) from error
    return network.eval()
