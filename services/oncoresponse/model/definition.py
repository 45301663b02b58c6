"""What ``model.yaml`` declares: purpose, input images, covariates, limits, outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oncoresponse.case.quantity import QUANTITY_OF_MODALITY
from oncoresponse.model.series_rules import SeriesRule

Modality = Literal["CT", "PT", "MR"]
"""DICOM modality of an image that is converted to a quantity."""


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


class ImageInput(Strict):
    """One image series the model reads, by its input role.

    Attributes:
        role: Input role: the name by which everything else (requests, ``segment_on``, a case) speaks of this input.
            Several inputs may be of one modality.
        modality: DICOM modality.
        quantity: What a voxel measures: that to which the intake converts the modality.
        purpose: What the model does with it.
        match: Rules on attributes that a series must fulfil to be used for this input, all of them; empty: any series
            of the modality may be.
        prefer: Which of several series that fit is used, by rules in order; empty: several are ambiguous.
        required: Whether the model cannot do without.
    """

    role: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")
    modality: Modality
    quantity: str = Field(min_length=1)
    purpose: str
    match: tuple[SeriesRule, ...] = ()
    prefer: tuple[SeriesRule, ...] = ()
    required: bool = True

    @model_validator(mode="after")
    def _intake_gives_the_quantity(self) -> Self:
        given = QUANTITY_OF_MODALITY.get(self.modality)
        if given is not None and self.quantity != given.value:
            raise ValueError(f"{self.modality} is converted to {given.value}; {self.quantity} is not available.")
        return self

    @model_validator(mode="after")
    def _requirements_are_yes_or_no(self) -> Self:
        if any(rule.is_comparison for rule in self.match):
            raise ValueError("A rule under match says yes or no: equals, contains, lacks, matches or absent.")
        return self

    @classmethod
    def any_of(cls, *modalities: Modality) -> tuple[Self, ...]:
        """Inputs for which any series of a modality fits, one for each; the input role is the modality."""
        return tuple(
            cls(role=modality, modality=modality, quantity=QUANTITY_OF_MODALITY[modality].value, purpose="The image")
            for modality in modalities
        )


class MeasuredInput(Strict):
    """An input of the response model that is measured in the images of the study, and under what name.

    A value that a request gives for the input goes before what is measured.

    Attributes:
        input: Name in ``response/task.yaml``.
        measure: Name of the measure, feature or (``predict_from: all lesions``) total that gives it.
        same_definition: Whether the measure was shown to be the same quantity as the input in the training data. Where
            not, the images are measured, and no prediction is made from them.
        definition: How the training data define the quantity, and what is known about the difference; one sentence.
    """

    input: str
    measure: str
    same_definition: bool
    definition: str = Field(min_length=1)


class Covariate(Strict):
    """A clinical input the model accepts beside the images.

    Attributes:
        required: A prediction needs it. A study is measured without it, and the answer then names what lacks.
    """

    name: str
    title: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False


class LesionLimits(Strict):
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


Stage = Literal["conversion", "segmentation", "features", "prediction", "report"]
"""A stage that a plan may name; see :mod:`oncoresponse.model.plan`."""

LesionChoice = Literal["the only lesion", "the largest lesion", "the lesion with the highest uptake", "all lesions"]
"""Which lesion of several a prediction is made from; ``all lesions`` takes the totals of the patient."""


class ModelDefinition(Strict):
    """What every ``model.yaml`` declares. Unknown keys are refused.

    ``limitations`` come heaviest first. ``source_attributes`` states, for the model card, what no training run can know
    (see :mod:`oncoresponse.response.training.source_attributes`).
    """

    kind: str
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    title: str
    manufacturer: str
    intended_use: IntendedUse
    inputs: tuple[ImageInput, ...] = ()
    covariates: tuple[Covariate, ...] = ()
    outcome: Outcome
    limitations: tuple[str, ...]
    training_data: str
    source_attributes: dict[str, str] = {}
    outside_checks: tuple[OutsideCheck, ...] = ()

    def outside_checks_of(self, boosters: Sequence[str]) -> tuple[str, ...]:
        """What was found outside about any of the boosters (SHA-256), in words."""
        return tuple(check.text for check in self.outside_checks if check.booster_sha256 in boosters)

    def input_of(self, role: str) -> ImageInput | None:
        """The input of that role."""
        return next((item for item in self.inputs if item.role == role), None)

    @property
    def measured_quantity(self) -> str | None:
        """What a voxel of the series measures on which the features are; ``None`` where no image is read."""
        return None


class TableResponse(ModelDefinition):
    """A model that predicts a response from a table and reads no image."""

    kind: Literal["table response"] = "table response"

    @model_validator(mode="after")
    def _reads_no_image(self) -> Self:
        if self.inputs:
            raise ValueError("A table response has no image inputs; kind: imaging response has.")
        return self


class ImagingResponse(ModelDefinition):
    """A model that measures lesions in images and, where it has a response model, predicts from them.

    Attributes:
        segment_on: Input role on whose grid lesions are contoured.
        features_from: Input role in which they are measured.
        show: Input roles that the key image shows, the first as the image, the second below it.
        stages: The plan: which stages run, in this order.
        predict_from: Which lesion of several the prediction is made from.
        measured_inputs: Inputs of the response model that go by another name than the measure that gives them.
        tumor_limits: What a contour must satisfy.
    """

    kind: Literal["imaging response"] = "imaging response"
    inputs: tuple[ImageInput, ...] = Field(min_length=1)
    segment_on: str
    features_from: str
    show: tuple[str, ...] = Field(min_length=1)
    stages: tuple[Stage, ...] = ("conversion", "segmentation", "features", "prediction", "report")
    predict_from: LesionChoice = "the only lesion"
    measured_inputs: tuple[MeasuredInput, ...] = ()
    tumor_limits: LesionLimits

    @property
    def measured_quantity(self) -> str | None:
        """See :attr:`ModelDefinition.measured_quantity`."""
        measured = self.input_of(self.features_from)
        return None if measured is None else measured.quantity

    @property
    def measured_modality(self) -> str:
        """DICOM modality in which lesions are measured."""
        return next(item.modality for item in self.inputs if item.role == self.features_from)

    @property
    def wanted_measures(self) -> tuple[str, ...]:
        """Names of the measures that inputs of the response model are taken from."""
        return tuple(item.measure for item in self.measured_inputs)

    @model_validator(mode="after")
    def _inputs_are_measured_once(self) -> Self:
        names = [item.input for item in self.measured_inputs]
        if len(set(names)) < len(names):
            raise ValueError("measured_inputs names an input twice.")
        return self

    @model_validator(mode="after")
    def _roles_are_declared(self) -> Self:
        roles = [item.role for item in self.inputs]
        if len(set(roles)) < len(roles):
            raise ValueError("An input role is declared twice.")
        for field, used in (
            ("segment_on", (self.segment_on,)),
            ("features_from", (self.features_from,)),
            ("show", self.show),
        ):
            if unknown := [role for role in used if role not in roles]:
                raise ValueError(f"{field} names {unknown[0]}, which is not among the inputs.")
        needed = {self.segment_on, self.features_from}
        if optional := [item.role for item in self.inputs if item.role in needed and not item.required]:
            raise ValueError(f"Input {optional[0]} is contoured or measured on, so it has to be required.")
        return self

    @model_validator(mode="after")
    def _uptake_is_of_pet(self) -> Self:
        if self.predict_from == "the lesion with the highest uptake" and self.measured_modality != "PT":
            raise ValueError("predict_from names the highest uptake, which only an input of modality PT has.")
        return self


_KINDS: dict[str, type[ModelDefinition]] = {
    "imaging response": ImagingResponse,
    "table response": TableResponse,
}


def parse_definition(content: object) -> ModelDefinition:
    """The definition that the contents of a ``model.yaml`` declare, also in the form of releases before 0.3.

    Raises:
        ValueError: The contents follow no known kind, or (:class:`pydantic.ValidationError`) not their own.
    """
    if not isinstance(content, dict):
        raise ValueError("model.yaml must be a mapping.")
    stated = _without_earlier_form(content)
    kind = stated.get("kind")
    if kind not in _KINDS:
        raise ValueError(f"kind is one of: {', '.join(_KINDS)}.")
    return _KINDS[kind].model_validate(stated)


def _without_earlier_form(content: Mapping[str, Any]) -> dict[str, Any]:
    """``required_series`` and ``contour_modality``, where one series of each modality was read, as inputs by role."""
    stated = dict(content)
    if "required_series" not in stated:
        return stated
    series = stated.pop("required_series") or []
    modality = stated.pop("contour_modality", None)
    if not series:
        stated.pop("tumor_limits", None)
        return {"kind": "table response", **stated}
    roles = [item.get("modality") for item in series]
    return {
        "kind": "imaging response",
        **stated,
        "inputs": [{"role": item.get("modality"), **item} for item in series],
        "segment_on": modality,
        "features_from": modality,
        "show": sorted(roles, key=lambda role: role != modality),
    }
