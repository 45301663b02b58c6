"""Settings of a feature extraction, read from pyradiomics' own parameter file.

Fields carry pyradiomics' names as aliases; the documentation of each is pyradiomics' "Customizing the Extraction".
"""

from __future__ import annotations

import difflib
import importlib.util
import types
import typing
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from oncoradiomics.errors import SettingsError
from oncoradiomics.settings_identity import settings_sha256

_ALL_FEATURES: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"), ()
)
_SUPPORTED_SECTIONS = ("imageType", "featureClass", "setting")
_REFUSED_KEYS = types.MappingProxyType(
    {
        "voxelSetting": "feature maps are not supported; features are computed for the whole mask",
        "correctMask": "a mask on another grid is an error here; resample it beforehand",
        "geometryTolerance": "image and mask must share one grid, whatever the tolerance",
        "label_channel": "the mask must be a label map, not a vector image",
        "additionalInfo": "diagnostics are not features; engine, version and settings hash are always reported",
    }
)

Interpolator = Literal[
    "sitkNearestNeighbor",
    "sitkLinear",
    "sitkBSpline",
    "sitkGaussian",
    "sitkLabelGaussian",
    "sitkHammingWindowedSinc",
    "sitkCosineWindowedSinc",
    "sitkWelchWindowedSinc",
    "sitkLanczosWindowedSinc",
    "sitkBlackmanWindowedSinc",
]
PositiveInteger = Annotated[int, Field(gt=0)]
PositiveNumber = Annotated[float, Field(gt=0)]


class ExtractionSetting(BaseModel):
    """The section ``setting``, and the overrides below an image type.

    A default equals pyradiomics 3.0.1's, so a file that spells a default out has the same hash as one that does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Region of interest
    label: PositiveInteger = 1
    minimum_roi_dimensions: Annotated[int, Field(ge=1, le=3)] = Field(default=2, alias="minimumROIDimensions")
    minimum_roi_size_voxels: PositiveInteger | None = Field(default=None, alias="minimumROISize")
    resegment_range: tuple[float, ...] | None = Field(
        default=None, alias="resegmentRange", min_length=1, max_length=2, strict=False
    )
    resegment_mode: Literal["absolute", "relative", "sigma"] = Field(default="absolute", alias="resegmentMode")
    resegment_shape: bool = Field(default=False, alias="resegmentShape")
    # Intensities
    normalize: bool = False
    normalize_scale: PositiveNumber = Field(default=1, alias="normalizeScale")
    remove_outliers: PositiveNumber | None = Field(default=None, alias="removeOutliers")
    voxel_array_shift: int = Field(default=0, alias="voxelArrayShift")
    # Resampling
    resampled_pixel_spacing_mm: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(
        default=None, alias="resampledPixelSpacing", min_length=3, max_length=3, strict=False
    )
    interpolator: Interpolator | Annotated[int, Field(ge=1, le=10)] | None = "sitkBSpline"
    pre_crop: bool = Field(default=False, alias="preCrop")
    pad_distance_voxels: Annotated[int, Field(ge=0)] = Field(default=5, alias="padDistance")
    # Discretization
    bin_width: PositiveNumber = Field(default=25, alias="binWidth")
    bin_count: PositiveInteger | None = Field(default=None, alias="binCount")
    # Texture matrices
    distances_voxels: tuple[PositiveInteger, ...] = Field(default=(1,), alias="distances", min_length=1, strict=False)
    force_2d: bool = Field(default=False, alias="force2D")
    force_2d_dimension: Annotated[int, Field(ge=0, le=2)] = Field(default=0, alias="force2Ddimension")
    symmetrical_glcm: bool = Field(default=True, alias="symmetricalGLCM")
    weighting_norm: Literal["euclidean", "manhattan", "infinity", "no_weighting"] | None = Field(
        default=None, alias="weightingNorm"
    )
    gldm_alpha: Annotated[int, Field(ge=0)] = Field(default=0, alias="gldm_a")
    # Filters
    sigma_mm: tuple[PositiveNumber, ...] = Field(default=(), alias="sigma", strict=False)
    wavelet: str = "coif1"
    wavelet_start_level: Annotated[int, Field(ge=0)] = Field(default=0, alias="start_level")
    wavelet_level: PositiveInteger = Field(default=1, alias="level")
    gradient_use_spacing: bool = Field(default=True, alias="gradientUseSpacing")
    lbp_2d_radius: PositiveNumber = Field(default=1, alias="lbp2DRadius")
    lbp_2d_samples: PositiveInteger = Field(default=9, alias="lbp2DSamples")
    lbp_2d_method: Literal["default", "ror", "uniform", "var"] = Field(default="uniform", alias="lbp2DMethod")
    lbp_3d_levels: PositiveInteger = Field(default=2, alias="lbp3DLevels")
    lbp_3d_icosphere_radius: PositiveNumber = Field(default=1, alias="lbp3DIcosphereRadius")
    lbp_3d_icosphere_subdivision: Annotated[int, Field(ge=0)] = Field(default=1, alias="lbp3DIcosphereSubdivision")
    # Not pyradiomics': definitions and image processing of the Image Biomarker Standardisation Initiative
    ibsi: bool = False

    @model_validator(mode="after")
    def _one_discretization(self) -> ExtractionSetting:
        if self.bin_count is not None and "bin_width" in self.model_fields_set:
            raise ValueError("binCount and binWidth exclude each other; keep one")
        return self

    @model_validator(mode="after")
    def _wavelet_exists(self) -> ExtractionSetting:
        if "wavelet" in self.model_fields_set:
            import pywt

            if self.wavelet not in pywt.wavelist(kind="discrete"):
                raise ValueError(f"'{self.wavelet}' is not a discrete wavelet of PyWavelets")
        return self


def _empty_list_for_none(value: object) -> object:
    return [] if value is None else value


class Settings(BaseModel):
    """What to compute and how. Frozen; unknown keys are refused.

    Attributes:
        image_types: pyradiomics image type (``Original``, ``LoG``, ``Wavelet``, ...) to its overrides of ``setting``.
        feature_classes: pyradiomics feature class to the features wanted; empty for all but the deprecated ones.
        setting: Applies to every image type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_types: dict[str, ExtractionSetting] = Field(
        default_factory=lambda: {"Original": ExtractionSetting()}, alias="imageType", min_length=1
    )
    feature_classes: dict[str, Annotated[tuple[str, ...], BeforeValidator(_empty_list_for_none)]] = Field(
        default_factory=lambda: dict(_ALL_FEATURES),
        alias="featureClass",
        min_length=1,
    )
    setting: ExtractionSetting = Field(default_factory=ExtractionSetting)

    @classmethod
    def from_yaml(cls, path: Path) -> Settings:
        """Read pyradiomics' parameter file.

        Raises:
            SettingsError: The file cannot be read, is not YAML, or a key or value is wrong; each is named, unknown keys
                with the known key most like it.
        """
        try:
            content = yaml.safe_load(path.read_bytes())
        except OSError as error:
            raise SettingsError("The settings file cannot be read. Check that it exists and is readable.") from error
        except yaml.YAMLError as error:
            raise SettingsError(f"The settings file is not valid YAML: {error}") from error
        return cls.from_mapping(content)

    @classmethod
    def from_mapping(cls, content: object) -> Settings:
        """Settings from the content of pyradiomics' parameter file (a mapping with up to three sections).

        Raises:
            SettingsError: As :meth:`from_yaml`.
        """
        if not isinstance(content, dict):
            raise SettingsError(f"The settings must be a mapping with the sections {', '.join(_SUPPORTED_SECTIONS)}.")
        content = {key: value for key, value in content.items() if not (key in _SUPPORTED_SECTIONS and value is None)}
        if problems := list(_key_problems(content)):
            raise SettingsError("The settings are not valid: " + "; ".join(problems) + ".")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            details = "; ".join(
                f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)
            )
            raise SettingsError(f"The settings are not valid: {details}.") from None

    @model_validator(mode="after")
    def _filters_are_complete(self) -> Settings:
        # pyradiomics would leave these images out and only write a line to its log.
        if "LoG" in self.image_types and not (self.image_types["LoG"].sigma_mm or self.setting.sigma_mm):
            raise ValueError("imageType LoG needs 'sigma', a list of widths in mm")
        if "LBP3D" in self.image_types and importlib.util.find_spec("trimesh") is None:
            raise ValueError("imageType LBP3D needs the package trimesh, which is not installed")
        return self

    @model_validator(mode="after")
    def _overrides_take_effect(self) -> Settings:
        # In pyradiomics binCount wins over binWidth, so the override would have no effect.
        for name, overrides in self.image_types.items():
            inherits_bin_count = "bin_count" not in overrides.model_fields_set and self.setting.bin_count is not None
            if inherits_bin_count and "bin_width" in overrides.model_fields_set:
                raise ValueError(f"binWidth of imageType {name} is overruled by binCount; add 'binCount: null' there")
        return self

    @model_validator(mode="after")
    def _ibsi_is_defined(self) -> Settings:
        if any("ibsi" in overrides.model_fields_set for overrides in self.image_types.values()):
            raise ValueError("'ibsi' belongs in the section 'setting', for all images alike")
        if self.setting.ibsi and (set(self.image_types) != {"Original"} or self.setting.normalize):
            raise ValueError("'ibsi' computes features of the original image only, without normalization")
        if self.setting.ibsi and "shape2D" in self.feature_classes:
            raise ValueError("'ibsi' has no shape2D; its shape features are those of three dimensions")
        return self

    @cached_property
    def sha256(self) -> str:
        """Identity of the settings; see :func:`~oncoradiomics.settings_identity.settings_sha256`."""
        return settings_sha256(self)

    def pyradiomics_settings(self) -> dict[str, Any]:
        """The section ``setting`` as pyradiomics' keyword arguments."""
        return _plain(self.setting.model_dump(by_alias=True, exclude={"ibsi"})) | {"additionalInfo": False}

    def pyradiomics_image_types(self) -> dict[str, dict[str, Any]]:
        """The section ``imageType`` as pyradiomics takes it: only the overrides that were stated."""
        return {
            name: _plain(setting.model_dump(by_alias=True, exclude_unset=True))
            for name, setting in self.image_types.items()
        }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    # pyradiomics asks for lists in places.
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _key_problems(content: dict[Any, Any]) -> Iterator[str]:
    """One sentence for each key that is not known, before any value is looked at."""
    from radiomics.featureextractor import getFeatureClasses, getImageTypes

    keys = {info.alias or name for name, info in ExtractionSetting.model_fields.items()}
    yield from _unknown(content, set(_SUPPORTED_SECTIONS), "section")
    if isinstance(setting := content.get("setting"), dict):
        yield from _unknown(setting, keys, "setting")
    if isinstance(image_types := content.get("imageType"), dict):
        yield from _unknown(image_types, set(getImageTypes()), "imageType")
        for name, overrides in image_types.items():
            if isinstance(overrides, dict):
                yield from _unknown(overrides, keys, f"setting of {name}")
    if isinstance(feature_classes := content.get("featureClass"), dict):
        known = getFeatureClasses()
        yield from _unknown(feature_classes, set(known), "featureClass")
        for name, features in feature_classes.items():
            if name in known and isinstance(features, list):
                yield from _unknown(features, set(known[name].getFeatureNames()), f"feature of {name}")


def _unknown(keys: typing.Iterable[object], known: set[str], kind: str) -> Iterator[str]:
    for key in keys:
        if key in known:
            continue
        if isinstance(key, str) and key in _REFUSED_KEYS:
            yield f"remove '{key}': {_REFUSED_KEYS[key]}"
            continue
        close = difflib.get_close_matches(str(key), sorted(known), n=1)
        hint = f", did you mean '{close[0]}'?" if close else f", known are {', '.join(sorted(known))}"
        yield f"unknown {kind} '{key}'{hint}"
