"""What ``model.yaml`` declares: purpose, input images, covariates, limits, outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oncoresponse.case.volume import QUANTITY_OF_MODALITY
from oncoresponse.model.series_rules import SeriesRule


class Strict(BaseModel):
    """A frozen document in which unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IntendedUse(Strict):
    """Who may use the model, on whom, for what, and when not (HTI-1 source attributes 5 to 10)."""

    purpose: str
    population: str
    user: str
    role: str
    contraindications: tuple[str, ...]
    device_status: str


class RequiredSeries(Strict):
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


class Covariate(Strict):
    """A clinical input the model accepts beside the images."""

    name: str
    title: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False


class TumorLimits(Strict):
    """What a contour must satisfy before its features are believed."""

    minimum_volume_ml: float = Field(gt=0)
    maximum_volume_ml: float = Field(gt=0)


class Outcome(Strict):
    """What the response model predicts."""

    code: str
    title: str
    definition: str
    favorable_answer: str
    unfavorable_answer: str


class OutsideCheck(Strict):
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


class ModelDefinition(Strict):
    """Contents of ``model.yaml``. Unknown keys are refused.

    ``limitations`` come heaviest first. ``source_attributes`` states, for the model card, what no training run can know
    (see :mod:`oncoresponse.response.training.source_attributes`).
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
