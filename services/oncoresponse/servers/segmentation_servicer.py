"""SegmentationService: volumes in, mask with its uncertainty out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import grpc

from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.volume import Quantity, Volume, require_same_grid
from oncoresponse.errors import Busy, ContourNotFound, EmptyMask, InvalidRequest
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.segmentation.border_interval import border_calibration
from oncoresponse.segmentation.candidate_picture import draw_candidates
from oncoresponse.segmentation.contour_variants import variants_of_contour
from oncoresponse.segmentation.external.external_segmenter import ExternalSegmenter
from oncoresponse.segmentation.inference import Segmenter
from oncoresponse.segmentation.lesion_candidates import LesionCandidate, LesionCandidates
from oncoresponse.segmentation.lesion_prompt import LesionBox, LesionPoint, LesionPrompt, box_of_mask
from oncoresponse.segmentation.mask_checks import border_warnings, check_mask
from oncoresponse.segmentation.misregistration import with_misregistration
from oncoresponse.segmentation.open_segmenter import open_segmenter
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import artifact_pb2, lesion_pb2, segmentation_pb2, segmentation_pb2_grpc

_METHODS: dict[str, Literal["supplied_rtstruct", "supplied_segmentation"]] = {
    "rtstruct": "supplied_rtstruct",
    "segmentation": "supplied_segmentation",
}

_ALGORITHM_TYPES: dict[str, Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]] = {
    "MANUAL": "MANUAL",
    "SEMIAUTOMATIC": "SEMIAUTOMATIC",
    "AUTOMATIC": "AUTOMATIC",
}


class SegmentationServicer(segmentation_pb2_grpc.SegmentationServiceServicer):
    """See ``protos/oncoresponse/v1/segmentation.proto``.

    One study is at work at a time, because a network uses the whole device; the others wait in order.

    Args:
        artifacts: Where volumes are read from and written to.
        models_directory: Installed models; the networks of each are loaded once.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. A second device needs a second process.
        queue_limit: Studies at work or waiting; one more is refused with BUSY.
        torch_compile: Compile the networks.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        models_directory: Path,
        device: str,
        *,
        queue_limit: int = 64,
        torch_compile: bool = False,
    ) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, lambda folder: _warm(folder, device, torch_compile))
        self._queue_limit = queue_limit
        self._device_lock = asyncio.Lock()
        self._waiting = 0

    async def make_ready(self) -> None:
        """Load the networks of all models and run each once."""
        await asyncio.to_thread(self._models.load_all)

    async def Segment(
        self, request: segmentation_pb2.SegmentRequest, context: grpc.aio.ServicerContext
    ) -> segmentation_pb2.SegmentResponse:
        """Segment, or check a supplied mask."""
        if self._waiting >= self._queue_limit:
            raise Busy(
                f"{self._waiting} studies are waiting for segmentation. Send the request again later.",
                queue_limit=self._queue_limit,
            )
        self._waiting += 1
        try:
            async with self._device_lock:
                return await asyncio.to_thread(self._segment, request)
        finally:
            self._waiting -= 1

    def _segment(self, request: segmentation_pb2.SegmentRequest) -> segmentation_pb2.SegmentResponse:
        folder, segmenter = self._models.get(request.model, request.model_sha256)
        pet = self._volume(request.pet)
        if request.HasField("supplied_mask"):
            mask = self._volume(request.supplied_mask)
            summary = _check_supplied(folder, pet, mask, request)
            return self._answer(
                mask, with_misregistration(summary, pet, self._ct(request), mask), variants_of_contour(mask)
            )
        if segmenter is None:
            raise ContourNotFound("This model has no segmentation network. Supply a contour with the study.")
        ct = self._ct(request)
        prompt = self._prompt(request, pet)
        if prompt is None and segmenter.needs_prompt(pet):
            return self._candidates(segmenter, pet, ct)
        found = segmenter.segment(pet, ct, prompt)
        summary = with_misregistration(found.summary, pet, ct, found.mask)
        response = self._answer(found.mask, summary, found.variants)
        response.probability.CopyFrom(artifact_message(self._artifacts.put_volume(found.probability)))
        return response

    def _answer(
        self, mask: Volume, summary: SegmentationSummary, variants: Mapping[str, Volume]
    ) -> segmentation_pb2.SegmentResponse:
        return segmentation_pb2.SegmentResponse(
            mask=artifact_message(self._artifacts.put_volume(mask)),
            summary=artifact_message(self._artifacts.put_document(summary)),
            volume_ml=summary.volume_ml,
            volume_high_ml=summary.whole_volume_high_ml or 0.0,
            needs_review=summary.asks_for_review,
            review_reasons=summary.review_reasons,
            variants=[
                segmentation_pb2.MaskVariant(name=name, mask=artifact_message(self._artifacts.put_volume(variant)))
                for name, variant in variants.items()
            ],
        )

    def _candidates(
        self, segmenter: Segmenter | ExternalSegmenter, pet: Volume, ct: Volume | None
    ) -> segmentation_pb2.SegmentResponse:
        found = segmenter.find_candidates(pet, ct)
        if not found:
            raise EmptyMask(
                "The scan shows much of the body, and the network found no place in it that looks like the lesion. "
                "Give a point in the lesion, a box around it, or a contour."
            )
        document = self._artifacts.put_document(LesionCandidates(candidates=found))
        picture = self._artifacts.put_bytes(draw_candidates(pet.image, found), "image/png")
        return segmentation_pb2.SegmentResponse(
            candidates=[_candidate(item) for item in found],
            candidates_document=artifact_message(document),
            candidates_picture=artifact_message(picture),
        )

    def _prompt(self, request: segmentation_pb2.SegmentRequest, pet: Volume) -> LesionPrompt | None:
        kind = request.WhichOneof("lesion")
        if kind is None:
            return None
        if kind == "lesion_point":
            return LesionPoint(_position(request.lesion_point))
        if kind == "lesion_box":
            return LesionBox(_position(request.lesion_box.low), _position(request.lesion_box.high))
        mask = self._volume(request.lesion_mask)
        if mask.quantity is not Quantity.MASK:
            raise InvalidRequest("lesion_mask must be a mask.")
        require_same_grid(pet, mask)
        return box_of_mask(mask.image)

    def _ct(self, request: segmentation_pb2.SegmentRequest) -> Volume | None:
        return self._volume(request.ct) if request.HasField("ct") else None

    def _volume(self, reference: artifact_pb2.ArtifactReference) -> Volume:
        return self._artifacts.read_volume(stored_artifact(reference))


def _position(position: lesion_pb2.PatientPosition) -> tuple[float, float, float]:
    return position.x_mm, position.y_mm, position.z_mm


def _candidate(item: LesionCandidate) -> lesion_pb2.LesionCandidate:
    low, high, hottest = (
        lesion_pb2.PatientPosition(x_mm=x, y_mm=y, z_mm=z) for x, y, z in (item.low_mm, item.high_mm, item.hottest_mm)
    )
    return lesion_pb2.LesionCandidate(
        number=item.number,
        box=lesion_pb2.LesionBox(low=low, high=high),
        hottest=hottest,
        volume_ml=item.volume_ml,
        suv_max=item.suv_max,
        confidence=item.confidence,
    )


def _warm(folder: ModelFolder, device: str, torch_compile: bool) -> Segmenter | ExternalSegmenter | None:
    if not folder.has("segmentation"):
        return None
    segmenter = open_segmenter(folder, device, torch_compile=torch_compile)
    segmenter.warm_up()
    return segmenter


def _check_supplied(
    folder: ModelFolder, pet: Volume, mask: Volume, request: segmentation_pb2.SegmentRequest
) -> SegmentationSummary:
    kind = request.supplied_mask_kind
    if mask.quantity is not Quantity.MASK or kind not in _METHODS:
        raise InvalidRequest("supplied_mask must be a mask, and supplied_mask_kind must say what it was drawn as.")
    require_same_grid(pet, mask)
    measures = check_mask(mask, folder.imaging.tumor_limits)
    return SegmentationSummary(
        method=_METHODS[kind],
        supplied_algorithm_type=_ALGORITHM_TYPES.get(request.supplied_mask_algorithm_type),
        volume_ml=measures.volume_ml,
        component_count=measures.component_count,
        touches_border=measures.touches_border,
        border_share=measures.border_share,
        volume_low_ml=measures.volume_ml if measures.touches_border else None,
        volume_high_ml=measures.volume_high_ml,
        volume_level=border_calibration().level if measures.touches_border else None,
        warnings=border_warnings(measures),
        device="none",
    )
