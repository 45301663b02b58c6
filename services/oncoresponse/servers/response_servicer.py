"""ResponseService: features in, prediction with its uncertainty out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
from oncoradiomics.features import FeatureDocument

from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.prediction import Answer, CallEvidence, Prediction
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.case.volume import Quantity
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.input_provenance import InputProvenance, require_same_extraction
from oncoresponse.response.measures_only import MeasuresOnlyModel, open_response_model
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.training_fingerprints import TrainingFingerprints
from oncoresponse.response.whole_tumor import bounds_from_volume, whole_tumor_variants
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import artifact_pb2, response_pb2, response_pb2_grpc

_ANSWERS = {
    Answer.FAVORABLE: response_pb2.PREDICTION_ANSWER_FAVORABLE,
    Answer.UNFAVORABLE: response_pb2.PREDICTION_ANSWER_UNFAVORABLE,
    Answer.INDETERMINATE: response_pb2.PREDICTION_ANSWER_INDETERMINATE,
    Answer.OUT_OF_DISTRIBUTION: response_pb2.PREDICTION_ANSWER_OUTSIDE_EXPERIENCE,
    Answer.NO_EVIDENCE: response_pb2.PREDICTION_ANSWER_NO_EVIDENCE,
}

_VOLUME = "lesion_volume"
_CONTOUR_LIMITS = {
    "AUTOMATIC": "The tumor was measured in an automatic segmentation that came with the study, not in a physician's "
    "contour.",
    "SEMIAUTOMATIC": "The tumor was measured in an AI-assisted (semi-automatic) contour that came with the study.",
}


class ResponseServicer(response_pb2_grpc.ResponseServiceServicer):
    """See ``protos/oncoresponse/v1/response.proto``."""

    def __init__(self, artifacts: ArtifactStore, models_directory: Path, fingerprint_key: bytes | None = None) -> None:
        self._artifacts = artifacts
        self._fingerprint_key = fingerprint_key
        self._models = ModelCache(models_directory, _opened, needs="response")

    async def make_ready(self) -> None:
        """Load all response models; each checks its golden vectors."""
        await asyncio.to_thread(self._models.load_all)

    async def PredictResponse(
        self, request: response_pb2.PredictResponseRequest, context: grpc.aio.ServicerContext
    ) -> response_pb2.PredictResponseResponse:
        """Predict."""
        return await asyncio.to_thread(self._predict, request)

    def _predict(self, request: response_pb2.PredictResponseRequest) -> response_pb2.PredictResponseResponse:
        _, (model, fingerprints) = self._models.get(request.model, request.model_sha256)
        covariates = {covariate.name: covariate.value for covariate in request.covariates}
        document = self._document(request.features) if request.HasField("features") else None
        provenance = InputProvenance.of(document) if document is not None else None
        used = self._used_in_training(request, fingerprints)
        if isinstance(model, MeasuresOnlyModel):
            return self._answer(model.predict({}, provenance=provenance, used_in_training=used))
        if document is None and any(entry.source == "features" for entry in model.inputs):
            raise InvalidRequest("This model needs features of the tumor. Send those of ExtractFeatures.")
        variants = [self._document(reference) for reference in request.variant_features]
        if document is not None:
            for variant in variants:
                require_same_extraction(document.identity, variant.identity)
        values = document.values() if document is not None else {}
        bounds = bounds_from_volume(values, model.inputs, values.get(_VOLUME, 0.0), request.volume_high_ml)
        prediction = model.predict(
            values,
            covariates,
            [variant.values() for variant in variants],
            whole_tumor=whole_tumor_variants(values, model.inputs, bounds),
            contour_review_reasons=request.contour_review_reasons,
            provenance=provenance,
            used_in_training=used or fingerprints.knows_row(model.inputs, {**values, **covariates}),
        )
        if limit := _CONTOUR_LIMITS.get(request.contour_algorithm_type):
            prediction = prediction.model_copy(update={"limits": (limit, *prediction.limits)})
        return self._answer(prediction)

    def _answer(self, prediction: Prediction) -> response_pb2.PredictResponseResponse:
        stored = self._artifacts.put_document(prediction)
        return response_pb2.PredictResponseResponse(
            prediction_document=artifact_message(stored), prediction=to_message(prediction)
        )

    def _used_in_training(
        self, request: response_pb2.PredictResponseRequest, fingerprints: TrainingFingerprints
    ) -> bool:
        if request.HasField("study_description") and self._fingerprint_key is not None:
            stored = stored_artifact(request.study_description)
            identifier = self._artifacts.read_document(stored, StudyDescription).patient.patient_id
            if fingerprints.knows_identifier(identifier or "", self._fingerprint_key):
                return True
        for reference in request.images:
            volume = self._artifacts.read_volume(stored_artifact(reference))
            if volume.quantity is Quantity.HOUNSFIELD and fingerprints.knows_slices(volume.array):
                return True
        return False

    def _document(self, reference: artifact_pb2.ArtifactReference) -> FeatureDocument:
        return self._artifacts.read_document(stored_artifact(reference), FeatureDocument)


def _opened(folder: ModelFolder) -> tuple[ResponseModel | MeasuresOnlyModel, TrainingFingerprints]:
    return open_response_model(folder), TrainingFingerprints.of_model(folder)


def to_message(prediction: Prediction) -> response_pb2.Prediction:
    """The short form that travels in messages."""
    outside, contours, evidence = prediction.outside, prediction.contour_interval, prediction.call_evidence
    return response_pb2.Prediction(
        answer=_ANSWERS[prediction.answer],
        answer_text=answer_line(prediction),
        probability=prediction.probability,
        interval_low=prediction.interval_low,
        interval_high=prediction.interval_high,
        interval_level=prediction.interval_level or 0,
        contributions=[
            response_pb2.Contribution(
                input=item.input,
                title=item.title,
                value=item.value,
                unit=item.unit,
                log_odds=item.log_odds,
                group=item.group,
                percentile=item.percentile,
            )
            for item in prediction.contributions
        ],
        outside_score=None if outside is None or outside.score is None else outside.score / outside.threshold,
        abstain_reasons=[reason.text for reason in prediction.abstain_reasons],
        sentences=prediction.sentences,
        contour_low=None if contours is None else contours.low,
        contour_high=None if contours is None else contours.high,
        used_in_training=prediction.used_in_training,
        call_evidence=None if evidence is None else _evidence(evidence),
    )


def _evidence(evidence: CallEvidence) -> response_pb2.CallEvidence:
    return response_pb2.CallEvidence(
        call=_ANSWERS[evidence.outcome],
        patients=evidence.patients,
        right=evidence.right,
        right_low=evidence.right_low,
        reference=evidence.reference,
        allowed=evidence.allowed,
        text=evidence.text,
    )
