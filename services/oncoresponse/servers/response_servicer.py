"""ResponseService: clinical inputs and features that were measured before in, prediction with its uncertainty out."""

from __future__ import annotations

import asyncio

import grpc
from oncoradiomics.features import FeatureDocument

from oncoresponse.response.answering import MeasuredLesion, answer
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.prediction_message import prediction_message
from oncoresponse.servers.prediction_stage import PredictionStage
from oncoresponse.v1 import artifact_pb2, response_pb2, response_pb2_grpc


class ResponseServicer(response_pb2_grpc.ResponseServiceServicer):
    """See ``protos/oncoresponse/v1/response.proto``; works with the models that the stage keeps open."""

    def __init__(self, stage: PredictionStage) -> None:
        self._artifacts = stage.artifacts
        self._known_patients = stage.known_patients
        self._models = stage.models

    async def PredictResponse(
        self, request: response_pb2.PredictResponseRequest, context: grpc.aio.ServicerContext
    ) -> response_pb2.PredictResponseResponse:
        """Predict."""
        return await asyncio.to_thread(self._predict, request)

    def _predict(self, request: response_pb2.PredictResponseRequest) -> response_pb2.PredictResponseResponse:
        _, opened = self._models.get(request.model, request.model_sha256)
        lesion = MeasuredLesion(
            features=self._document(request.features) if request.HasField("features") else None,
            variants=[self._document(reference) for reference in request.variant_features],
            review_reasons=request.contour_review_reasons,
            volume_high_ml=request.volume_high_ml,
            algorithm_type=request.contour_algorithm_type,
        )
        description = stored_artifact(request.study_description) if request.HasField("study_description") else None
        known = self._known_patients.used_in_training(
            opened.fingerprints, description, [stored_artifact(reference) for reference in request.images]
        )
        covariates = {covariate.name: covariate.value for covariate in request.covariates}
        prediction = answer(opened, lesion, covariates, used_in_training=known)
        return response_pb2.PredictResponseResponse(
            prediction_document=artifact_message(self._artifacts.put_document(prediction)),
            prediction=prediction_message(prediction),
        )

    def _document(self, reference: artifact_pb2.ArtifactReference) -> FeatureDocument:
        return self._artifacts.read_document(stored_artifact(reference), FeatureDocument)
