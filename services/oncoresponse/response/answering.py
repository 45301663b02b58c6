"""From features of a lesion and clinical inputs to the answer, for whoever asks: a plan, or a call without a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oncoradiomics.features import FeatureDocument

from oncoresponse.case.prediction import Prediction
from oncoresponse.case.totals import TOTAL_NAMES
from oncoresponse.errors import InvalidRequest, ModelFolderInvalid
from oncoresponse.model.definition import ImagingResponse, MeasuredInput
from oncoresponse.response.input_provenance import InputProvenance, require_same_extraction
from oncoresponse.response.input_sources import InputSources, input_sources, needs_lesion
from oncoresponse.response.measured_only import (
    clinical_inputs_missing,
    definition_differs,
    measured_only,
    several_lesions,
)
from oncoresponse.response.measures_only import MeasuresOnlyModel
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.task import with_derived
from oncoresponse.response.training_fingerprints import TrainingFingerprints
from oncoresponse.response.whole_lesion import bounds_from_volume, whole_lesion_variants

_VOLUMES = ("lesion_volume", "total_lesion_volume")
_CONTOUR_LIMITS = {
    "AUTOMATIC": "The tumor was measured in an automatic segmentation that came with the study, not in a physician's "
    "contour.",
    "SEMIAUTOMATIC": "The tumor was measured in an AI-assisted (semi-automatic) contour that came with the study.",
}


@dataclass(frozen=True)
class MeasuredLesion:
    """What is known of the lesion, or of all lesions together, that a prediction is made from.

    Attributes:
        features: ``None`` for a model that is predicted from covariates alone.
        variants: The same of other plausible contours.
        review_reasons: Why the contour must not be believed before a physician has reviewed it.
        volume_high_ml: Upper bound of the whole lesion where the images show a part of it, else 0.
        algorithm_type: How a contour that came with the study was drawn; empty for any other.
    """

    features: FeatureDocument | None = None
    variants: Sequence[FeatureDocument] = ()
    review_reasons: Sequence[str] = ()
    volume_high_ml: float = 0.0
    algorithm_type: str = ""


@dataclass(frozen=True)
class OpenedModel:
    """A response model and what is known of its training patients.

    Raises:
        ModelFolderInvalid: ``measured_inputs`` of the model names no input of it, or the model predicts from all
            lesions and needs what is no total.
    """

    model: ResponseModel | MeasuresOnlyModel
    fingerprints: TrainingFingerprints = field(default_factory=TrainingFingerprints)

    def __post_init__(self) -> None:
        """Check that the declared inputs exist."""
        if isinstance(self.model, MeasuresOnlyModel):
            return
        names = [entry.name for entry in self.model.inputs]
        if unknown := [item.input for item in self.measured_inputs if item.input not in names]:
            raise ModelFolderInvalid(
                f"measured_inputs of the model names '{unknown[0]}', which is no input of its response model. Correct "
                "model.yaml."
            )
        definition = self.model.folder.definition
        if not isinstance(definition, ImagingResponse) or definition.predict_from != "all lesions":
            return
        renamed = {item.input: item.measure for item in self.measured_inputs}
        needed = [renamed.get(entry.name, entry.name) for entry in self.model.inputs if entry.source == "features"]
        if lacking := [name for name in (*needed, *renamed.values()) if name not in TOTAL_NAMES]:
            raise ModelFolderInvalid(
                f"The model predicts from all lesions and needs '{lacking[0]}', which is no total of a patient. Totals "
                f"are {', '.join(TOTAL_NAMES)}."
            )

    @property
    def measured_inputs(self) -> tuple[MeasuredInput, ...]:
        """Inputs that go by another name than the measure that gives them."""
        definition = self.model.folder.definition
        return definition.measured_inputs if isinstance(definition, ImagingResponse) else ()

    def needs_lesion(self, covariates: Mapping[str, float]) -> bool:
        """Whether the answer depends on a lesion; not where the request gives every input."""
        if isinstance(self.model, MeasuresOnlyModel):
            return True
        return needs_lesion(self.model.inputs, self.measured_inputs, covariates)


def answer(
    opened: OpenedModel,
    lesion: MeasuredLesion,
    covariates: Mapping[str, float],
    *,
    used_in_training: bool,
    lesions_left_open: int = 0,
    measures_without_covariates: bool = False,
) -> Prediction:
    """Predict, or say why the images were only measured.

    Args:
        opened: The model.
        lesion: What it is predicted from.
        covariates: Clinical inputs by name. One that is measured in the images, too, goes before what was measured;
            where the covariates give every input, the lesion says nothing.
        used_in_training: Whether the patient was recognized as one the model was trained on, by images or identity.
        lesions_left_open: How many lesions were measured, where the model predicts from a single one; else 0.
        measures_without_covariates: Answer that the images were only measured where clinical inputs lack.

    Raises:
        InvalidRequest: The model needs features, and there are none, or a clinical input lacks.
        QuantityMismatch, SettingsMismatch: The features were measured otherwise than those of the training patients.
    """
    model = opened.model
    if isinstance(model, MeasuresOnlyModel):
        measured = None if lesion.features is None else InputProvenance.of(lesion.features)
        return model.predict({}, provenance=measured, used_in_training=used_in_training)
    covariates = with_derived(model.inputs, covariates)
    if not opened.needs_lesion(covariates):
        lesion, lesions_left_open = MeasuredLesion(), 0
    document = lesion.features
    if document is None and not lesions_left_open and any(entry.source == "features" for entry in model.inputs):
        raise InvalidRequest("This model needs features of the tumor. Send those of an assessment with it.")
    if document is not None:
        for variant in lesion.variants:
            require_same_extraction(document.identity, variant.identity)
    sources = _sources(opened, model, {} if lesions_left_open else document, covariates)
    reasons = [definition_differs(item, model.inputs) for item in sources.differing]
    if lesions_left_open:
        reasons.append(several_lesions(lesions_left_open))
    if sources.missing and measures_without_covariates:
        reasons.append(clinical_inputs_missing(sources.missing))
    provenance = None if document is None else InputProvenance.of(document)
    if reasons:
        found = measured_only(
            model.folder, reasons, model.inputs, sources, provenance=provenance, used_in_training=used_in_training
        )
        return _with_contour_limit(found, lesion)
    values = sources.values
    volume = next((values[name] for name in _VOLUMES if name in values), 0.0)
    bounds = bounds_from_volume(values, model.inputs, volume, lesion.volume_high_ml)
    known_row = opened.fingerprints.knows_row(model.inputs, {**values, **covariates})
    prediction = model.predict(
        values,
        dict(covariates),
        [_sources(opened, model, variant, covariates).values for variant in lesion.variants],
        whole_lesion=whole_lesion_variants(values, model.inputs, bounds),
        contour_review_reasons=lesion.review_reasons,
        provenance=provenance,
        used_in_training=used_in_training or known_row,
    )
    return _with_contour_limit(prediction, lesion)


def _sources(
    opened: OpenedModel,
    model: ResponseModel,
    measured: FeatureDocument | Mapping[str, float] | None,
    covariates: Mapping[str, float],
) -> InputSources:
    values = measured.values() if isinstance(measured, FeatureDocument) else measured
    return input_sources(model.inputs, opened.measured_inputs, values, covariates)


def _with_contour_limit(prediction: Prediction, lesion: MeasuredLesion) -> Prediction:
    if limit := _CONTOUR_LIMITS.get(lesion.algorithm_type):
        return prediction.model_copy(update={"limits": (limit, *prediction.limits)})
    return prediction
