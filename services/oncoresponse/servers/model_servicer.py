"""ModelService: what is installed and what it may be used for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc

from oncoresponse.model.definition import ImagingResponse
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names
from oncoresponse.rpc.page_tokens import offset_from_token, token_from_offset
from oncoresponse.v1 import model_pb2, model_pb2_grpc


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """See ``protos/oncoresponse/v1/model.proto``."""

    def __init__(self, models_directory: Path) -> None:
        self._models_directory = models_directory

    async def ListModels(
        self, request: model_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> model_pb2.ListModelsResponse:
        """List installed models by name."""
        names = installed_model_names(self._models_directory)
        offset, size = offset_from_token(request.page_token), request.page_size or 50
        models = [await asyncio.to_thread(self._describe, name) for name in names[offset : offset + size]]
        following = offset + size if offset + size < len(names) else None
        return model_pb2.ListModelsResponse(models=models, next_page_token=token_from_offset(following))

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> model_pb2.GetModelResponse:
        """Describe one model."""
        name = request.name.removeprefix("models/")
        return model_pb2.GetModelResponse(model=await asyncio.to_thread(self._describe, name))

    def _describe(self, name: str) -> model_pb2.Model:
        folder = ModelFolder.open(find_model(self._models_directory, name))
        definition = folder.definition
        use = definition.intended_use
        return model_pb2.Model(
            name=f"models/{definition.name}",
            version=definition.version,
            sha256=folder.sha256,
            title=definition.title,
            intended_use=model_pb2.IntendedUse(
                purpose=use.purpose,
                population=use.population,
                user=use.user,
                role=use.role,
                contraindications=use.contraindications,
                device_status=use.device_status,
            ),
            required_modalities=[series.modality for series in definition.inputs],
            covariates=[
                model_pb2.CovariateDefinition(
                    name=item.name, title=item.title, unit=item.unit or "", required=item.required
                )
                for item in definition.covariates
            ],
            outcome=f"{definition.outcome.title}: {definition.outcome.definition}",
            limitations=definition.limitations,
            training_data=definition.training_data,
            files=folder.manifest.files,
            inputs=[
                model_pb2.ImageInput(
                    role=item.role,
                    modality=item.modality,
                    quantity=item.quantity,
                    purpose=item.purpose,
                    required=item.required,
                )
                for item in definition.inputs
            ],
            stages=definition.stages if isinstance(definition, ImagingResponse) else (),
        )
