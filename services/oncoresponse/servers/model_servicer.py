"""ModelService: what is installed and what it may be used for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc

from oncoresponse.model.control import ModelControl, ModelState
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.model.folder import ModelFolder, find_model, installed_model_names
from oncoresponse.model.versions import find_version
from oncoresponse.rpc.page_tokens import offset_from_token, token_from_offset
from oncoresponse.servers.model_control_servicer import state_number
from oncoresponse.storage.model_control_store import ModelControlStore
from oncoresponse.v1 import model_pb2, model_pb2_grpc


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """See ``protos/oncoresponse/v1/model.proto``.

    Args:
        models_directory: Installed models.
        control: The record of change control; ``None``: the installed version is the active one.
        installed_is_active: The same with a record, which then says whether release is stopped and no more.
    """

    def __init__(
        self, models_directory: Path, control: ModelControlStore | None = None, *, installed_is_active: bool = True
    ) -> None:
        self._models_directory = models_directory
        self._control = control
        self._installed_is_active = installed_is_active

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
        control = ModelControl(name) if self._control is None else self._control.control(name)
        installed = find_model(self._models_directory, name)
        path = installed
        if not self._installed_is_active and control.active:
            path = find_version(self._models_directory, name, control.active)
        folder = ModelFolder.open(path)
        state = ModelState.ACTIVE if self._installed_is_active else control.state_of(folder.sha256)
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
            state=state_number(state),
            installed_sha256="" if path == installed else ModelFolder.open(installed, verify=False).sha256,
            release_stopped=control.stop is not None,
            stop_reason="" if control.stop is None else control.stop.reason,
        )
