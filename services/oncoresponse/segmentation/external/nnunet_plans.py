"""What ``plans.json`` and ``dataset.json`` of nnU-Net v2 say, as checked plain data.

Both forms of plans are read: those with an ``architecture`` (nnU-Net 2.2 and later) and those before it, which
TotalSegmentator's published weights have.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ConfigurationError, ModelFolderInvalid

Normalization = Literal["CTNormalization", "ZScoreNormalization", "RescaleTo01Normalization", "NoNormalization"]
_RESAMPLING: Literal["resample_data_or_seg_to_shape"] = "resample_data_or_seg_to_shape"
_ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")
# The names that plans use, and nothing else, can be looked up.
_CLASSES: dict[str, type[torch.nn.Module]] = {
    "Conv3d": torch.nn.Conv3d,
    "InstanceNorm3d": torch.nn.InstanceNorm3d,
    "BatchNorm3d": torch.nn.BatchNorm3d,
    "Dropout3d": torch.nn.Dropout3d,
    "LeakyReLU": torch.nn.LeakyReLU,
    "ReLU": torch.nn.ReLU,
    "GELU": torch.nn.GELU,
}
_BY_NAME = ("conv_op", "norm_op", "dropout_op", "nonlin")
_DEEPEST = 20


class _Read(BaseModel):
    # Plans hold much that only training needs; what is not named here is not used.
    model_config = ConfigDict(frozen=True, extra="ignore")


class IntensityProperties(_Read):
    """Of one channel, inside the foreground of the training images."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float


class Architecture(_Read):
    """Class name and arguments of the network."""

    network_class_name: str
    arch_kwargs: dict[str, Any]


class ResamplingArguments(_Read):
    """Of nnU-Net's default resampling function."""

    is_seg: Literal[False] = False
    order: int = Field(ge=0, le=5)
    order_z: int = Field(default=0, ge=0, le=5)
    force_separate_z: bool | None = None


class Configuration(_Read):
    """One configuration of the plans, for example ``3d_fullres``. Axes are those after ``transpose_forward``."""

    preprocessor_name: Literal["DefaultPreprocessor"]
    patch_size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    normalization_schemes: tuple[Normalization, ...]
    use_mask_for_norm: tuple[bool, ...]
    resampling_fn_data: Literal["resample_data_or_seg_to_shape"] = _RESAMPLING
    resampling_fn_data_kwargs: ResamplingArguments
    resampling_fn_probabilities: Literal["resample_data_or_seg_to_shape"] = _RESAMPLING
    resampling_fn_probabilities_kwargs: ResamplingArguments
    architecture: Architecture


class Plans(_Read):
    """What inference needs of both files.

    Attributes:
        configuration: The one that the declaration names.
        transpose_forward: Order of the image axes (z, y, x) that the network sees.
        transpose_backward: The way back.
        intensities: Of each channel.
        labels: Name to label, or to the labels that make up a region; background is 0.
        region_based: Labels are regions that may overlap (sigmoid), not classes that exclude each other (softmax).
        channel_count: Input channels.
    """

    configuration: Configuration
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]
    intensities: tuple[IntensityProperties | None, ...]
    labels: dict[str, int | tuple[int, ...]]
    region_based: bool
    channel_count: int

    @property
    def output_count(self) -> int:
        """Output channels of the network."""
        if self.region_based:
            return len(self._regions)
        return len(self._classes)

    @property
    def _classes(self) -> list[int]:
        return sorted({value for name, value in self.labels.items() if name != "ignore" and isinstance(value, int)})

    @property
    def _regions(self) -> list[str]:
        return [name for name, value in self.labels.items() if name != "ignore" and _without_background(value)]

    def output_channels(self, names: tuple[str, ...]) -> list[int]:
        """Output channels of labels or regions.

        Raises:
            ModelFolderInvalid: ``dataset.json`` has no such label, or it is the background.
        """
        known = (
            self._regions
            if self.region_based
            else [name for name, value in self.labels.items() if name != "ignore" and value != 0]
        )
        if unknown := [name for name in names if name not in known]:
            raise ModelFolderInvalid(f"dataset.json has no label {', '.join(unknown)}. It has {', '.join(known)}.")
        if self.region_based:
            return [self._regions.index(name) for name in names]
        return [self._classes.index(int(value)) for name in names if isinstance(value := self.labels[name], int)]


def read_plans(plans: bytes, dataset: bytes, configuration: str) -> Plans:
    """Check both files and resolve the configuration.

    Raises:
        ModelFolderInvalid: A file is malformed, or asks for something that is not read (a two-dimensional
            configuration, a cascade, another preprocessor or resampling function).
    """
    try:
        plan, data = json.loads(plans), json.loads(dataset)
        settings = _with_architecture(_resolved(plan["configurations"], configuration))
        if settings.get("previous_stage"):
            raise ModelFolderInvalid(f"Configuration {configuration} is a cascade. Only single networks are read.")
        channels = data.get("channel_names") or data["modality"]
        intensities = plan.get("foreground_intensity_properties_per_channel") or plan.get(
            "foreground_intensity_properties_by_modality", {}
        )
        labels = {
            str(name): (tuple(value) if len(value) > 1 else value[0]) if isinstance(value, list) else value
            for name, value in data["labels"].items()
        }
        return Plans(
            configuration=Configuration.model_validate(settings),
            transpose_forward=plan["transpose_forward"],
            transpose_backward=plan["transpose_backward"],
            intensities=tuple(intensities.get(str(number)) for number in range(len(channels))),
            labels=labels,
            region_based=any(isinstance(value, tuple) for value in labels.values()),
            channel_count=len(channels),
        )
    except ValidationError as error:
        raise ModelFolderInvalid(f"plans.json or dataset.json cannot be used: {schema_faults(error)}") from error
    except KeyError as error:
        raise ModelFolderInvalid(f"plans.json or dataset.json has no {error.args[0]}.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFolderInvalid("plans.json or dataset.json is not a file of nnU-Net v2.") from error


def build_nnunet(plans: Plans) -> torch.nn.Module:
    """The network of the plans, without weights and without deep supervision.

    Raises:
        ConfigurationError: The package ``dynamic_network_architectures`` is not installed.
        ModelFolderInvalid: The plans ask for another class, or arguments do not fit.
    """
    try:
        from dynamic_network_architectures.architectures import unet
    except ImportError as error:
        raise ConfigurationError(
            "This model's network is of nnU-Net, which needs dynamic-network-architectures. Install it: "
            "pip install 'oncoresponse[nnunet]'."
        ) from error
    architecture = plans.configuration.architecture
    package, _, name = architecture.network_class_name.rpartition(".")
    if name not in _ARCHITECTURES or not package.startswith("dynamic_network_architectures."):
        raise ModelFolderInvalid(
            f"plans.json names the network {architecture.network_class_name[:80]!r}. Known are "
            f"{' and '.join(_ARCHITECTURES)}. Save another network as TorchScript or ONNX."
        )
    arguments = {
        key: _class_named(value) if key in _BY_NAME and value is not None else value
        for key, value in architecture.arch_kwargs.items()
    }
    arguments["deep_supervision"] = False
    kind = getattr(unet, name)
    try:
        network: torch.nn.Module = kind(input_channels=plans.channel_count, num_classes=plans.output_count, **arguments)
    except (TypeError, ValueError, KeyError, IndexError, AssertionError, RuntimeError) as error:
        raise ModelFolderInvalid(f"plans.json does not fit the arguments of {name}.") from error
    return network


def _class_named(name: object) -> type[torch.nn.Module]:
    short = str(name).rsplit(".", 1)[-1]
    if short not in _CLASSES or not str(name).startswith("torch.nn."):
        raise ModelFolderInvalid(f"plans.json names {str(name)[:80]!r}. Known are {', '.join(_CLASSES)} of torch.nn.")
    return _CLASSES[short]


def _resolved(configurations: dict[str, Any], name: str, depth: int = 0) -> dict[str, Any]:
    """A configuration with what it inherits."""
    if name not in configurations:
        raise ModelFolderInvalid(f"plans.json has no configuration {name}. It has {', '.join(configurations)}.")
    if depth > _DEEPEST:
        raise ModelFolderInvalid("Configurations in plans.json inherit from each other in a circle.")
    own = dict(configurations[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_resolved(configurations, parent, depth + 1), **own}


def _with_architecture(settings: dict[str, Any]) -> dict[str, Any]:
    """Plans of before nnU-Net 2.2 spell the architecture out in the configuration."""
    if "architecture" in settings or "UNet_class_name" not in settings:
        return settings
    name = settings["UNet_class_name"]
    stages = len(settings["n_conv_per_stage_encoder"])
    per_stage = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
    features = [
        min(settings["UNet_base_num_features"] * 2**stage, settings["unet_max_num_features"]) for stage in range(stages)
    ]
    arguments = {
        "n_stages": stages,
        "features_per_stage": features,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": settings["conv_kernel_sizes"],
        "strides": settings["pool_op_kernel_sizes"],
        per_stage: settings["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    package = "dynamic_network_architectures.architectures.unet"
    return {**settings, "architecture": {"network_class_name": f"{package}.{name}", "arch_kwargs": arguments}}


def _without_background(value: int | tuple[int, ...]) -> bool:
    return value != 0 if isinstance(value, int) else set(value) != {0}
