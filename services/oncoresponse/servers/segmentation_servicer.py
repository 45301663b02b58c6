"""SegmentationService: volumes in, mask with its doubt out."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Literal, cast

import grpc

from oncoresponse.errors import Busy, ContourNotFound, InvalidRequest, SeriesNotFound
from oncoresponse.model_folder import ModelFolder
from oncoresponse.segmentation.inference import Segmenter
from oncoresponse.segmentation.mask_checks import check_mask
from oncoresponse.segmentation.summary import SegmentationSummary
from oncoresponse.servers.model_cache import ModelCache
from oncoresponse.storage.artifact_store import ArtifactStore, StoredArtifact
from oncoresponse.v1 import artifact_pb2, segmentation_pb2, segmentation_pb2_grpc
from oncoresponse.volume import Quantity, Volume, require_same_grid

# A study takes seconds; a caller beyond this many would wait minutes and is better told so at once.
_WAITING_LIMIT = 64

_METHODS: dict[str, Literal["supplied_rtstruct", "supplied_segmentation"]] = {
    "rtstruct": "supplied_rtstruct",
    "segmentation": "supplied_segmentation",
}


class SegmentationServicer(segmentation_pb2_grpc.SegmentationServiceServicer):
    """See ``protos/oncoresponse/v1/segmentation.proto``.

    One study is at work at a time, because a network uses the whole device; the others wait in order.
    """

    def __init__(self, artifacts: ArtifactStore, models_directory: Path, device: str) -> None:
        self._artifacts = artifacts
        chosen = cast(Literal["auto", "cpu", "cuda"], device)
        self._models = ModelCache(models_directory, lambda folder: _warm(folder, chosen))
        self._device_lock = asyncio.Lock()
        self._waiting = 0

    async def make_ready(self) -> None:
        """Load the networks of all models and run each once."""
        await asyncio.to_thread(self._models.load_all)

    async def Segment(
        self, request: segmentation_pb2.SegmentRequest, context: grpc.aio.ServicerContext
    ) -> segmentation_pb2.SegmentResponse:
        """Segment, or check a supplied mask."""
        if self._waiting >= _WAITING_LIMIT:
            raise Busy("Too many studies are waiting for segmentation. Send the request again later.")
        self._waiting += 1
        try:
            async with self._device_lock:
                return await asyncio.to_thread(self._segment, request)
        finally:
            self._waiting -= 1

    def _segment(self, request: segmentation_pb2.SegmentRequest) -> segmentation_pb2.SegmentResponse:
        folder, segmenter = self._models.get(request.model)
        pet = self._volume(request.pet)
        if request.HasField("supplied_mask"):
            mask = self._volume(request.supplied_mask)
            return self._answer(mask, _check_supplied(folder, pet, mask, request.supplied_mask_kind), None)
        if segmenter is None:
            raise ContourNotFound("This model has no segmentation network. Supply a contour with the study.")
        if not request.HasField("ct"):
            raise SeriesNotFound(
                "The network of this model needs the CT as well. Send it, or supply a contour.", modality="CT"
            )
        found = segmenter.segment(pet, self._volume(request.ct))
        return self._answer(found.mask, found.summary, found.probability)

    def _answer(
        self, mask: Volume, summary: SegmentationSummary, probability: Volume | None
    ) -> segmentation_pb2.SegmentResponse:
        response = segmentation_pb2.SegmentResponse(
            mask=self._artifacts.put_volume(mask).to_message(),
            summary=self._artifacts.put_document(summary).to_message(),
            volume_ml=summary.volume_ml,
        )
        if probability is not None:
            response.probability.CopyFrom(self._artifacts.put_volume(probability).to_message())
        return response

    def _volume(self, reference: artifact_pb2.ArtifactReference) -> Volume:
        return self._artifacts.read_volume(StoredArtifact.from_message(reference))


def _warm(folder: ModelFolder, device: Literal["auto", "cpu", "cuda"]) -> Segmenter | None:
    if not folder.has("segmentation"):
        return None
    segmenter = Segmenter.open(folder, device)
    segmenter.warm_up()
    return segmenter


def _check_supplied(folder: ModelFolder, pet: Volume, mask: Volume, kind: str) -> SegmentationSummary:
    started = time.monotonic()
    if mask.quantity is not Quantity.MASK or kind not in _METHODS:
        raise InvalidRequest("supplied_mask must be a mask, and supplied_mask_kind must say what it was drawn as.")
    require_same_grid(pet, mask)
    measures = check_mask(mask, folder.definition.tumor_limits)
    return SegmentationSummary(
        method=_METHODS[kind],
        volume_ml=measures.volume_ml,
        component_count=measures.component_count,
        touches_border=measures.touches_border,
        device="none",
        seconds=time.monotonic() - started,
    )
