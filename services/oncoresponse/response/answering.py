"""From features of a lesion and clinical inputs to the answer, for whoever asks: a plan, or a call without a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oncoradiomics.features import FeatureDocument

from oncoresponse.case.prediction import Prediction
from oncoresponse.errors import InvalidRequest
from oncoresponse.response.input_provenance import InputProvenance, require_same_extraction
from oncoresponse.response.measures_only import MeasuresOnlyModel
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.training_fingerprints import TrainingFingerprints
from oncoresponse.response.whole_tumor import bounds_from_volume, whole_tumor_variants

_VOLUME = "lesion_volume"
_CONTOUR_LIMITS = {
    "AUTOMATIC": "The tumor was measured in an automatic segmentation that came with the study, not in a physician's "
    "contour.",
    "SEMIAUTOMATIC": "The tumor was measured in an AI-assisted (semi-automatic) contour that came with the study.",
}


@dataclass(frozen=True)
class MeasuredLesion:
    """What is known of the lesion that a prediction is made from.

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
    """A response model and what is known of its training patients."""

    model: ResponseModel | MeasuresOnlyModel
    fingerprints: TrainingFingerprints = field(default_factory=TrainingFingerprints)


def answer(
    opened: OpenedModel, lesion: MeasuredLesion, covariates: Mapping[str, float], *, used_in_training: bool
) -> Prediction:
    """Predict.

    Args:
        opened: The model.
        lesion: What it is predicted from.
        covariates: Clinical inputs by name.
        used_in_training: Whether the patient was recognized as one the model was trained on, by images or identity.

    Raises:
        InvalidRequest: The model needs features, and there are none.
        QuantityMismatch, SettingsMismatch: The features were measured otherwise than those of the training patients.
    """
    model, document = opened.model, lesion.features
    provenance = None if document is None else InputProvenance.of(document)
    if isinstance(model, MeasuresOnlyModel):
        return model.predict({}, provenance=provenance, used_in_training=used_in_training)
    if document is None and any(entry.source == "features" for entry in model.inputs):
        raise InvalidRequest("This model needs features of the tumor. Send those of an assessment with it.")
    if document is not None:
        for variant in lesion.variants:
            require_same_extraction(document.identity, variant.identity)
    values = document.values() if document is not None else {}
    bounds = bounds_from_volume(values, model.inputs, values.get(_VOLUME, 0.0), lesion.volume_high_ml)
    known_row = opened.fingerprints.knows_row(model.inputs, {**values, **covariates})
    prediction = model.predict(
        values,
        dict(covariates),
        [variant.values() for variant in lesion.variants],
        whole_tumor=whole_tumor_variants(values, model.inputs, bounds),
        contour_review_reasons=lesion.review_reasons,
        provenance=provenance,
        used_in_training=used_in_training or known_row,
    )
    if limit := _CONTOUR_LIMITS.get(lesion.algorithm_type):
        prediction = prediction.model_copy(update={"limits": (limit, *prediction.limits)})
    return prediction
