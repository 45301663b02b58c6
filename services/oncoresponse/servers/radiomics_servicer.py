"""RadiomicsService: image and mask in, features and measures out, computed in child processes."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import grpc
from oncoradiomics.errors import EmptyMaskError, ExtractionError, RadiomicsError
from oncoradiomics.extraction_processes import ExtractionProcesses
from oncoradiomics.settings import Settings

from oncoresponse.case.volume import QUANTITY_OF_MODALITY, Quantity, quantity_of_file
from oncoresponse.errors import InvalidRequest, QuantityMismatch, error_for_reason
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.model.folder import ModelFolder
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import radiomics_pb2, radiomics_pb2_grpc


class RadiomicsServicer(radiomics_pb2_grpc.RadiomicsServiceServicer):
    """See ``protos/oncoresponse/v1/radiomics.proto``."""

    def __init__(self, artifacts: ArtifactStore, models_directory: Path, processes: int) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, _settings_of, needs="radiomics")
        self._processes = ExtractionProcesses(processes)

    async def make_ready(self) -> None:
        """Start the child processes and read the settings of all models."""
        await asyncio.to_thread(self._models.load_all)
        await self._processes.start()

    async def close(self) -> None:
        """End the child processes."""
        await self._processes.close()

    async def ExtractFeatures(
        self, request: radiomics_pb2.ExtractFeaturesRequest, context: grpc.aio.ServicerContext
    ) -> radiomics_pb2.ExtractFeaturesResponse:
        """Compute features and measures. Cancelling the call ends the child that computes them."""
        folder, settings = await asyncio.to_thread(self._models.get, request.model, request.model_sha256)
        with ExitStack() as stack:
            image = stack.enter_context(self._artifacts.local_volume(stored_artifact(request.image)))
            masks = [
                stack.enter_context(self._artifacts.local_volume(stored_artifact(mask), Quantity.MASK))
                for mask in (request.mask, *request.variant_masks)
            ]
            quantity = _measured_quantity(folder.imaging, image)
            document, *variants = await asyncio.gather(
                *(self._processes.extract(image, mask, settings, quantity) for mask in masks), return_exceptions=True
            )
        if isinstance(document, RadiomicsError):
            raise error_for_reason(document.reason, document.message, {}) from document
        if isinstance(document, BaseException):
            raise document
        stored_document = await asyncio.to_thread(self._artifacts.put_document, document)
        stored_variants = []
        for variant in variants:
            if isinstance(variant, (ExtractionError, EmptyMaskError)):
                # A variant that is too small to measure says nothing about the prediction.
                continue
            if isinstance(variant, BaseException):
                raise variant
            stored_variants.append(await asyncio.to_thread(self._artifacts.put_document, variant))
        return radiomics_pb2.ExtractFeaturesResponse(
            features=artifact_message(stored_document),
            measures=[
                radiomics_pb2.Feature(
                    name=measure.name, value=measure.value, unit=measure.unit, ibsi_id=measure.ibsi_id or ""
                )
                for measure in document.measures
            ],
            feature_count=len(document.features),
            variant_features=[artifact_message(stored) for stored in stored_variants],
        )


def _settings_of(folder: ModelFolder) -> Settings:
    return Settings.from_yaml(folder.file("radiomics/settings.yaml"))


def _measured_quantity(definition: ImagingResponse, image: Path) -> str:
    """What the voxels of the image measure, if that is what the model measures."""
    found = quantity_of_file(image)
    if found not in set(QUANTITY_OF_MODALITY.values()):
        raise InvalidRequest("The image to measure is no image of intensities. Check which reference goes where.")
    needed = definition.measured_quantity
    if needed is not None and found != needed:
        raise QuantityMismatch(
            f"The model measures {needed} (on {definition.features_from}), and the image holds {found}. Send the "
            "volume of the model's own series.",
            needed=needed,
            found=found,
        )
    return str(found)
