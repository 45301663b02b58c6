"""Features and measures of one lesion, and the document (``features.json``) that carries them between stages.

The document may come from another release: fields that this one does not know are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, model_validator

SIZE_MEASURE_NAMES = (
    "lesion_volume",
    "longest_axial_diameter",
    "perpendicular_axial_diameter",
    "maximum_3d_diameter",
)
"""Names of the measures that any image has."""

MEASURE_NAMES = (
    *SIZE_MEASURE_NAMES,
    "suv_max",
    "suv_peak",
    "suv_mean",
    "metabolic_tumor_volume",
    "total_lesion_glycolysis",
)
"""Names of the measures of PET in body-weight SUV, in the order of a report. For other quantities see
:func:`oncoradiomics.lesion_measures.measure_names`."""


class Feature(BaseModel):
    """One radiomic feature.

    Attributes:
        name: pyradiomics' name, ``{image type}_{feature class}_{feature}``.
        value: Finite.
        unit: UCUM; ``1`` for a ratio, a count or a texture value.
        ibsi_id: Permanent identifier in the IBSI reference manual where pyradiomics' definition is IBSI's and its value
            lies within tolerance on the IBSI digital phantom; ``None`` otherwise. For a filtered image it identifies
            the feature, not the filter: the image type in ``name`` belongs beside it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1)
    value: float = Field(allow_inf_nan=False)
    unit: str = Field(min_length=1)
    ibsi_id: str | None = Field(default=None, pattern=r"^[0-9A-Z]{4}$")


class Measure(BaseModel):
    """One measure an oncologist knows, such as the tumor volume.

    Attributes:
        name: Stable machine name, one for one quantity; see :data:`MEASURE_NAMES`.
        title: The name in a report.
        value: Finite, in ``unit``.
        unit: UCUM.
        method: How it was measured, in one sentence that a report can print.
        ibsi_id: Permanent identifier in the IBSI reference manual, where the definition is IBSI's.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1)
    title: str = Field(min_length=1)
    value: float = Field(allow_inf_nan=False)
    unit: str = Field(min_length=1)
    method: str = Field(min_length=1)
    ibsi_id: str | None = Field(default=None, pattern=r"^[0-9A-Z]{4}$")


class ExtractionIdentity(BaseModel):
    """How features were made: two sets of features may be compared only if this is the same for both.

    Attributes:
        engine: Which engine computed the features.
        engine_version: Its version, which changes whenever a value may change.
        settings_sha256: :attr:`oncoradiomics.settings.Settings.sha256` of the settings used.
        image_quantity: What a voxel measures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = Field(min_length=1)
    engine_version: str = Field(min_length=1)
    settings_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    image_quantity: str = Field(min_length=1)

    @property
    def sha256(self) -> str:
        """SHA-256 over all four."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


class FeatureDocument(BaseModel):
    """Contents of ``features.json``.

    Attributes:
        engine: Which engine computed the features.
        engine_version: Its version.
        settings_sha256: :attr:`oncoradiomics.settings.Settings.sha256` of the settings used.
        image_quantity: What a voxel measures, such as ``g/mL{SUVbw}`` (:mod:`oncoradiomics.quantities`).
        features: In the engine's order.
        measures: In the order of a report.
        undefined_features: Names of features that have no finite value for this lesion (a texture of a flat region,
            say). They are never replaced by a number.
        computed_by_reference: Names of the features that the reference engine, pyradiomics, computed because ``engine``
            does not support what they need.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    engine: str
    engine_version: str
    settings_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    image_quantity: str
    features: tuple[Feature, ...]
    measures: tuple[Measure, ...]
    undefined_features: tuple[str, ...] = ()
    computed_by_reference: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> FeatureDocument:
        names = [feature.name for feature in self.features]
        names += [measure.name for measure in self.measures]
        names += self.undefined_features
        if len(names) != len(set(names)):
            raise ValueError("A feature or measure name occurs twice; names share one flat name space.")
        return self

    @property
    def identity(self) -> ExtractionIdentity:
        """How the features were made."""
        return ExtractionIdentity(
            engine=self.engine,
            engine_version=self.engine_version,
            settings_sha256=self.settings_sha256,
            image_quantity=self.image_quantity,
        )

    def values(self) -> dict[str, float]:
        """Every feature and measure by name, in one flat name space."""
        return {feature.name: feature.value for feature in self.features} | {
            measure.name: measure.value for measure in self.measures
        }


@dataclass(frozen=True)
class Features(Mapping[str, float]):
    """What an engine computed: a mapping from feature name to value, with the provenance beside it.

    Attributes:
        records: Name, value, unit and IBSI id of each feature.
        engine: Which engine computed the values.
        engine_version: Its version.
        settings_sha256: Hash of the settings used.
        undefined: Names of features without a finite value; not keys of the mapping.
        by_reference: Names of features that pyradiomics computed because ``engine`` does not support what they need.
    """

    records: tuple[Feature, ...]
    engine: str
    engine_version: str
    settings_sha256: str
    undefined: tuple[str, ...] = field(default=())
    by_reference: tuple[str, ...] = field(default=())

    @cached_property
    def _by_name(self) -> dict[str, Feature]:
        return {record.name: record for record in self.records}

    def __getitem__(self, name: str) -> float:
        return self._by_name[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def ibsi_ids(self) -> dict[str, str | None]:
        """IBSI identifier of each feature, ``None`` where there is none."""
        return {record.name: record.ibsi_id for record in self.records}

    @property
    def units(self) -> dict[str, str]:
        """UCUM unit of each feature."""
        return {record.name: record.unit for record in self.records}

    def to_document(self, measures: tuple[Measure, ...], image_quantity: str) -> FeatureDocument:
        """The document that travels to the next stage."""
        return FeatureDocument(
            engine=self.engine,
            engine_version=self.engine_version,
            settings_sha256=self.settings_sha256,
            image_quantity=image_quantity,
            features=self.records,
            measures=measures,
            undefined_features=self.undefined,
            computed_by_reference=self.by_reference,
        )
