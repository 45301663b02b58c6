"""ResponseService: clinical inputs and features that were measured before in, prediction with its uncertainty out."""

from __future__ import annotations

import asyncio

import grpc
from oncoradiomics.features import FeatureDocument

from oncoresponse.errors import JudgementNeeded, ModelNotActive, ModelReleaseStopped
from oncoresponse.response.answering import MeasuredLesion, answer
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.prediction_message import prediction_message
from oncoresponse.rpc.settings import Service
from oncoresponse.servers.prediction_stage import PredictionStage
from oncoresponse.v1 import artifact_pb2, model_pb2, model_pb2_grpc, response_pb2, response_pb2_grpc

_LOOKUP_SECONDS = 10.0


class ResponseServicer(response_pb2_grpc.ResponseServiceServicer):
    """See ``protos/oncoresponse/v1/response.proto``; works with the models that the stage keeps open."""

    def __init__(self, stage: PredictionStage, peers: Peers | None = None, *, judgement_first: bool = False) -> None:
        self._peers = peers
        self._judgement_first = judgement_first
        self._artifacts = stage.artifacts
        self._known_patients = stage.known_patients
        self._models = stage.models

    async def PredictResponse(
        self, request: response_pb2.PredictResponseRequest, context: grpc.aio.ServicerContext
    ) -> response_pb2.PredictResponseResponse:
        """Predict."""
        if self._judgement_first:
            # There is no assessment that somebody could judge first.
            raise JudgementNeeded(
                "This installation shows what a model says after a physician has judged without it (judgement_first). "
                "Create an assessment instead; its prediction is handed out then."
            )
        if self._peers is not None:
            await self._require_released(request, self._peers)
        return await asyncio.to_thread(self._predict, request)

    async def _require_released(self, request: response_pb2.PredictResponseRequest, peers: Peers) -> None:
        """Refuse a version that is not active, or whose release is stopped: what is asked here is answered at once."""
        answer = await peers.call(
            Service.MODEL,
            model_pb2_grpc.ModelServiceStub,
            "GetModel",
            model_pb2.GetModelRequest(name=request.model),
            model_pb2.GetModelResponse,
            timeout_seconds=_LOOKUP_SECONDS,
        )
        model = answer.model
        if model.state != model_pb2.MODEL_STATE_ACTIVE or request.model_sha256 not in ("", model.sha256):
            raise ModelNotActive("This version of the model is not active. Two people make one active.")
        if model.release_stopped:
            raise ModelReleaseStopped("Release of results of this model is stopped. Ask again when it goes on.")
        request.model_sha256 = model.sha256

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
