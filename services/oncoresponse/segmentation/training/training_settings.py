"""One YAML file defines a training run of the segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncoresponse.case.schema_faults import schema_faults
from oncoresponse.errors import ConfigurationError
from oncoresponse.segmentation.network import InferenceSettings, NetworkSettings
from oncoresponse.segmentation.preprocessing import PreprocessingSettings
from oncoresponse.segmentation.training.fingerprint import Fingerprint


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AugmentationSettings(_Frozen):
    """How far a training patch may differ from the scan. Probabilities are per patch.

    Attributes:
        tumor_center_probability: The patch is centered on a random tumor voxel, else on any voxel.
        trim_probability: For each face of the image: part of the field of view is cut away.
        trim_largest_mm: At most this much. The cohort's images end about 5 cm from the contour, and a network could
            learn that distance instead of the tumor; cutting at random takes the hint away.
        rotation_degrees: Largest rotation about each axis.
        scale: Largest relative change of size along each axis.
        elastic_limit: Largest shift of a distortion grid of four cells an axis, as a share of a cell.
        intensity_scale: Largest relative change of the scaled PET and of the scaled CT.
        noise_sigma: Largest standard deviation of added noise, in scaled intensity.
        physiological_uptake_probability: A hot ellipsoid of water density is pasted beside the tumor. The cohort's
            images hold little of the body, so bladders and the like are rare in them.
        without_ct_probability: The CT is left out.
        box_probability: The network gets a box around the tumor, each face wrong by up to ``box_error_mm``.
        point_probability: The network gets a point in the tumor. What is left is without prompt.
    """

    tumor_center_probability: float = Field(default=0.6, ge=0, le=1)
    trim_probability: float = Field(default=0.5, ge=0, le=1)
    trim_largest_mm: float = Field(default=48.0, ge=0)
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    affine_probability: float = Field(default=0.6, ge=0, le=1)
    rotation_degrees: float = Field(default=20.0, ge=0, le=180)
    scale: float = Field(default=0.2, ge=0, lt=1)
    elastic_probability: float = Field(default=0.2, ge=0, le=1)
    elastic_limit: float = Field(default=0.2, ge=0, lt=1)
    intensity_probability: float = Field(default=0.4, ge=0, le=1)
    intensity_scale: float = Field(default=0.2, ge=0, lt=1)
    noise_probability: float = Field(default=0.2, ge=0, le=1)
    noise_sigma: float = Field(default=0.05, ge=0)
    contrast_probability: float = Field(default=0.15, ge=0, le=1)
    smooth_probability: float = Field(default=0.15, ge=0, le=1)
    low_resolution_probability: float = Field(default=0.15, ge=0, le=1)
    physiological_uptake_probability: float = Field(default=0.15, ge=0, le=1)
    without_ct_probability: float = Field(default=0.1, ge=0, le=1)
    box_probability: float = Field(default=0.3, ge=0, le=1)
    point_probability: float = Field(default=0.2, ge=0, le=1)
    box_error_mm: float = Field(default=10.0, ge=0)

    @model_validator(mode="after")
    def _prompts_leave_room(self) -> AugmentationSettings:
        if self.box_probability + self.point_probability > 1:
            raise ValueError("box_probability and point_probability must not exceed 1 together")
        return self


class SegmentationTrainingSettings(_Frozen):
    """Everything that decides the weights, except the data.

    Attributes:
        held_out_patients: Never trained, tuned or evaluated on.
        folds: Cross-validation folds by patient; their networks are the shipped ensemble.
        seed: Seed of fold assignment, initial weights and augmentation.
        preprocessing: Common grid and CT window; decided from the data when left out.
        patch_size: Voxels along each axis of a training patch; decided from the data when left out.
        patch_voxels: What a patch decided from the data may have at most; more where memory and time allow.
        iterations: Optimizer steps for each fold.
        warmup_iterations: Steps over which the learning rate rises linearly; afterwards it falls as a cosine.
        weight_average_decay: Decay of the exponential moving average of the weights; the average is shipped.
        gradient_norm: Gradients are scaled down to this norm.
        precision: ``auto`` is bfloat16 on CUDA and on CPUs with AVX-512 BF16 (measured 3 to 5 times faster there),
            float32 elsewhere.
        threads: CPU threads of torch; two give little at this patch size, so train several folds at once instead.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between looks at the fold's own validation patients; only drawn, never used to choose.
        field_of_view_margin: Field-of-view limit at inference, as a multiple of the largest training extent.
    """

    held_out_patients: tuple[str, ...] = ("STS_019", "STS_032")
    folds: int = Field(default=5, ge=2)
    seed: int = 20150629
    network: NetworkSettings = NetworkSettings()
    preprocessing: PreprocessingSettings | None = None
    inference: InferenceSettings = InferenceSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    patch_size: int | None = Field(default=None, gt=0)
    patch_voxels: int = Field(default=48**3, ge=16**3)
    batch_size: int = Field(default=2, gt=0)
    iterations: int = Field(default=2000, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_iterations: int = Field(default=50, ge=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    weight_average_decay: float = Field(default=0.99, ge=0, lt=1)
    gradient_norm: float = Field(default=1.0, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, gt=0)
    checkpoint_every: int = Field(default=100, gt=0)
    validate_every: int = Field(default=500, gt=0)
    field_of_view_margin: float = Field(default=1.25, ge=1)

    @model_validator(mode="after")
    def _patch_fits_network(self) -> SegmentationTrainingSettings:
        if self.patch_size is not None and self.patch_size % self.network.stride:
            raise ValueError(f"patch_size must be a multiple of {self.network.stride} for this network")
        return self

    def decided(self, fingerprint: Fingerprint) -> DecidedSettings:
        """The settings with everything that was left to the data filled in."""
        preprocessing = self.preprocessing or PreprocessingSettings(
            spacing_mm=fingerprint.spacing_mm, ct_low_hu=fingerprint.ct_low_hu, ct_high_hu=fingerprint.ct_high_hu
        )
        found = {"preprocessing": preprocessing, "patch_size": self.patch_size or fingerprint.patch_size}
        return DecidedSettings.model_validate(dict(self) | found)


class DecidedSettings(SegmentationTrainingSettings):
    """Settings of a run in which nothing is left to the data any more."""

    preprocessing: PreprocessingSettings
    patch_size: int = Field(gt=0)


def read_training_settings(path: Path) -> SegmentationTrainingSettings:
    """Read a run's YAML file; what it leaves out keeps its default.

    Raises:
        ConfigurationError: The file is unreadable, or has an unknown key or an impossible value.
    """
    try:
        return SegmentationTrainingSettings.model_validate(yaml.safe_load(path.read_bytes()) or {})
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(
            f"The segmentation training settings cannot be used: {schema_faults(error)}"
        ) from error


def write_training_settings(settings: SegmentationTrainingSettings, path: Path) -> None:
    """Write every setting, defaults included, as YAML."""
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
