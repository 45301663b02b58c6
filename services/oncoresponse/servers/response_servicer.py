"""ResponseService: features in, prediction with its doubt out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import grpc
from oncoradiomics.features import FeatureDocument

from oncoresponse.errors import InvalidRequest
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.prediction import Answer, Prediction
from oncoresponse.servers.model_cache import ModelCache
from oncoresponse.storage.artifact_store import ArtifactStore, StoredArtifact
from oncoresponse.v1 import artifact_pb2, response_pb2, response_pb2_grpc

_ANSWERS = {
    Answer.FAVORABLE: response_pb2.PREDICTION_ANSWER_FAVORABLE,
    Answer.UNFAVORABLE: response_pb2.PREDICTION_ANSWER_UNFAVORABLE,
    Answer.INDETERMINATE: response_pb2.PREDICTION_ANSWER_INDETERMINATE,
    Answer.OUTSIDE_EXPERIENCE: response_pb2.PREDICTION_ANSWER_OUTSIDE_EXPERIENCE,
}

_CONTOUR_LIMITS = {
    "AUTOMATIC": "The tumor was measured in an automatic segmentation that came with the study, not in a physician's "
    "contour.",
    "SEMIAUTOMATIC": "The tumor was measured in an AI-assisted (semi-automatic) contour that came with the study.",
}


class ResponseServicer(response_pb2_grpc.ResponseServiceServicer):
    """See ``protos/oncoresponse/v1/response.proto``."""

    def __init__(self, artifacts: ArtifactStore, models_directory: Path) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, ResponseModel.open, needs="response")

    async def make_ready(self) -> None:
        """Load all response models; each checks its golden vectors."""
        await asyncio.to_thread(self._models.load_all)

    async def PredictResponse(
        self, request: response_pb2.PredictResponseRequest, context: grpc.aio.ServicerContext
    ) -> response_pb2.PredictResponseResponse:
        """Predict."""
        return await asyncio.to_thread(self._predict, request)

    def _predict(self, request: response_pb2.PredictResponseRequest) -> response_pb2.PredictResponseResponse:
        _, model = self._models.get(request.model)
        covariates = {covariate.name: covariate.value for covariate in request.covariates}
        values = self._values(request.features) if request.HasField("features") else {}
        if not values and any(entry.source == "features" for entry in model.document.inputs):
            raise InvalidRequest("This model needs features of the tumor. Send those of ExtractFeatures.")
        variants = [self._values(reference) for reference in request.variant_features]
        prediction = model.predict(values, covariates, variants)
        if limit := _CONTOUR_LIMITS.get(request.contour_algorithm_type):
            prediction = prediction.model_copy(update={"limits": (limit, *prediction.limits)})
        stored = self._artifacts.put_document(prediction)
        return response_pb2.PredictResponseResponse(
            prediction_document=stored.to_message(), prediction=to_message(prediction)
        )

    def _values(self, reference: artifact_pb2.ArtifactReference) -> Mapping[str, float]:
        return self._artifacts.read_document(StoredArtifact.from_message(reference), FeatureDocument).values()


def to_message(prediction: Prediction) -> response_pb2.Prediction:
    """The short form that travels in messages."""
    outside, contours = prediction.outside, prediction.contour_interval
    return response_pb2.Prediction(
        answer=_ANSWERS[prediction.answer],
        answer_text=prediction.answer_text,
        probability=prediction.probability,
        interval_low=prediction.interval_low,
        interval_high=prediction.interval_high,
        interval_level=prediction.interval_level,
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
        outside_score=None if outside.score is None else outside.score / outside.threshold,
        abstain_reasons=[reason.text for reason in prediction.abstain_reasons],
        sentences=prediction.sentences,
        contour_low=None if contours is None else contours.low,
        contour_high=None if contours is None else contours.high,
    )
