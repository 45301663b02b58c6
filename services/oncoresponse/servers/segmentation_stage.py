"""Segmentation: volumes in, a mask with its uncertainty for each lesion out, or candidates to choose from."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from oncoresponse.case.artifact_names import lesion_file_name
from oncoresponse.case.case import BoxMm, Candidate, Case, ContourKind, Lesion, MaskVariant
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.lesion_errors import about_lesion, no_network
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume, require_same_grid
from oncoresponse.errors import Busy, EmptyMask, InvalidRequest, LesionsOverlap
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.definition import ImagingResponse, LesionLimits
from oncoresponse.model.folder import ModelFolder
from oncoresponse.model.golden import golden_vectors
from oncoresponse.segmentation.border_interval import border_calibration
from oncoresponse.segmentation.candidate_picture import draw_candidates
from oncoresponse.segmentation.contour_variants import variants_of_contour
from oncoresponse.segmentation.device import device_in_words
from oncoresponse.segmentation.external.external_segmenter import ExternalSegmenter
from oncoresponse.segmentation.golden import require_golden_networks
from oncoresponse.segmentation.inference import SegmentationResult, Segmenter
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_candidates import LesionCandidates
from oncoresponse.segmentation.lesion_prompt import LesionBox, LesionPoint, LesionPrompt, box_of_mask
from oncoresponse.segmentation.mask_checks import border_warnings, check_mask
from oncoresponse.segmentation.misregistration import with_misregistration
from oncoresponse.segmentation.open_segmenter import open_segmenter
from oncoresponse.servers.stage_software import stage_software
from oncoresponse.storage.artifact_store import ArtifactStore

_METHODS: dict[ContourKind, Literal["supplied_rtstruct", "supplied_segmentation", "corrected"]] = {
    "rtstruct": "supplied_rtstruct",
    "segmentation": "supplied_segmentation",
    "correction": "corrected",
}


class SegmentationStage:
    """One study is at work at a time, because a network uses the whole device; the others wait in order.

    Args:
        artifacts: Where volumes are read from and written to.
        models_directory: Installed models; the networks of each are loaded once.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. A second device needs a second process.
        queue_limit: Studies at work or waiting; one more is refused with BUSY.
        torch_compile: Compile the networks.
        require_golden_vectors: Refuse a model without.

    Attributes:
        device_lock: Held while a network uses the device; whatever else uses it holds it too.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        models_directory: Path,
        device: str,
        *,
        queue_limit: int = 64,
        torch_compile: bool = False,
        require_golden_vectors: bool = False,
    ) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(
            models_directory, lambda folder: _warm(folder, device, torch_compile, require_golden_vectors)
        )
        self._device, self._torch_compile = device, torch_compile
        self._queue_limit = queue_limit
        self.device_lock = asyncio.Lock()
        self._waiting = 0

    async def make_ready(self) -> None:
        """Load the networks of all models and run each once."""
        await asyncio.to_thread(self._models.load_all)

    async def close(self) -> None:
        """Nothing to give back."""

    async def run(self, case: Case, model: str, model_sha256: str) -> Case:
        """Segment, or check supplied contours.

        Raises:
            Busy: Too many studies wait.
        """
        if self._waiting >= self._queue_limit:
            raise Busy(
                f"{self._waiting} studies are waiting for segmentation. Send the request again later.",
                queue_limit=self._queue_limit,
            )
        self._waiting += 1
        try:
            async with self.device_lock:
                return await asyncio.to_thread(self._run, case, model, model_sha256)
        finally:
            self._waiting -= 1

    def software(self) -> StageSoftware:
        """What it runs with."""
        packages = ("torch", "monai", "numpy", "scipy", "scikit-image", "SimpleITK", "safetensors", "onnxruntime")
        return stage_software(
            *packages,
            device=device_in_words(self._device),
            torch_compile="on" if self._torch_compile else "off",
            threads=torch.get_num_threads(),
        )

    def _run(self, case: Case, model: str, model_sha256: str) -> Case:
        folder, segmenter = self._models.get(model, model_sha256)
        return segmented(case, folder.imaging, segmenter, self._artifacts)


def segmented(
    case: Case, model: ImagingResponse, segmenter: Segmenter | ExternalSegmenter | None, artifacts: ArtifactStore
) -> Case:
    """The case with a mask for each lesion; with candidates where nobody said which place of a large scan is meant.

    Args:
        case: With images and lesions.
        model: Says which image is segmented and what a contour must satisfy.
        segmenter: Of the model; ``None`` where it has no network, so that contours have to come with the study.
        artifacts: Where volumes are read from and written to.

    Raises:
        ContourNotFound: A lesion has no contour, and the model no network.
        LesionsOverlap: Two lesions share voxels.
        EmptyMask: No place in a large scan looks like a lesion.
        ContourError, GeometryMismatch, FrameOfReferenceMismatch, InvalidRequest, OutOfMemory: Of the segmentation; of
            one lesion among several with its number.
    """
    images = InputImages(
        {item.input_role: artifacts.read_volume(item.volume) for item in case.images}, model.segment_on
    )
    lesions: list[Lesion] = []
    masks: list[Volume] = []
    for lesion in case.lesions:
        with about_lesion(lesion.number, len(case.lesions)):
            if lesion.supplied_mask is not None and (lesion.request is None or lesion.request.rough_contour is None):
                found = _supplied(lesion, images, model.tumor_limits, artifacts)
            else:
                if segmenter is None:
                    raise no_network()
                prompt = _prompt(lesion, images.contoured, artifacts)
                if prompt is None and segmenter.needs_prompt(images):
                    return _with_candidates(case, segmenter, images, artifacts)
                found = segmenter.segment(images, prompt)
            summary = with_misregistration(
                found.summary, images.contoured, images.beside(Quantity.HOUNSFIELD), found.mask
            )
        masks.append(found.mask)
        lesions.append(_segmented_lesion(lesion, found, summary, artifacts))
    _require_apart(lesions, masks)
    outputs: dict[str, StoredArtifact] = {}
    for lesion in lesions:
        for name, stored in (
            ("segmentation.json", lesion.summary),
            ("mask.nrrd", lesion.mask),
            ("probability.nrrd", lesion.probability),
        ):
            if stored is not None:
                outputs[lesion_file_name(name, lesion.number, len(lesions))] = stored
    return case.with_changes(lesions=tuple(lesions), outputs=case.outputs | outputs)


def _segmented_lesion(
    lesion: Lesion, found: SegmentationResult, summary: SegmentationSummary, artifacts: ArtifactStore
) -> Lesion:
    return lesion.model_copy(
        update={
            "mask": artifacts.put_volume(found.mask),
            "probability": None if found.probability is None else artifacts.put_volume(found.probability),
            "summary": artifacts.put_document(summary),
            "volume_ml": summary.volume_ml,
            "volume_high_ml": summary.whole_volume_high_ml or 0.0,
            "needs_review": summary.asks_for_review,
            "review_reasons": summary.review_reasons,
            "variants": tuple(
                MaskVariant(name=name, mask=artifacts.put_volume(variant)) for name, variant in found.variants.items()
            ),
        }
    )


def _supplied(
    lesion: Lesion, images: InputImages, limits: LesionLimits, artifacts: ArtifactStore
) -> SegmentationResult:
    if lesion.supplied_mask is None or lesion.supplied_kind is None:
        raise InvalidRequest("A supplied contour must say what it was drawn as.")
    mask = _mask_on(images.contoured, lesion.supplied_mask, artifacts)
    measures = check_mask(mask, limits)
    summary = SegmentationSummary(
        method=_METHODS[lesion.supplied_kind],
        supplied_algorithm_type=lesion.supplied_algorithm_type,
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
    return SegmentationResult(mask, None, summary, variants_of_contour(mask))


def _mask_on(image: Volume, stored: StoredArtifact, artifacts: ArtifactStore) -> Volume:
    mask = artifacts.read_volume(stored)
    if mask.quantity is not Quantity.MASK:
        raise InvalidRequest("A supplied contour must be a mask. Pass references on unchanged.")
    require_same_grid(image, mask)
    return mask


def _prompt(lesion: Lesion, image: Volume, artifacts: ArtifactStore) -> LesionPrompt | None:
    request = lesion.request
    if request is None:
        return None
    if request.point is not None:
        return LesionPoint(request.point)
    if request.box is not None:
        return LesionBox(request.box.low, request.box.high)
    if lesion.supplied_mask is None:
        raise InvalidRequest("A rough contour was not converted. Pass the case on unchanged.")
    return box_of_mask(_mask_on(image, lesion.supplied_mask, artifacts).image)


def _with_candidates(
    case: Case,
    segmenter: Segmenter | ExternalSegmenter,
    images: InputImages,
    artifacts: ArtifactStore,
) -> Case:
    found = segmenter.find_candidates(images)
    if not found:
        raise EmptyMask(
            "The scan shows much of the body, and the network found no place in it that looks like the lesion. "
            "Give a point in the lesion, a box around it, or a contour."
        )
    return case.with_changes(
        candidates=tuple(
            Candidate(
                number=item.number,
                box=BoxMm(low=item.low_mm, high=item.high_mm),
                hottest=item.hottest_mm,
                volume_ml=item.volume_ml,
                suv_max=item.suv_max or 0.0,
                confidence=item.confidence,
            )
            for item in found
        ),
        outputs=case.outputs
        | {
            "lesion-candidates.json": artifacts.put_document(LesionCandidates(candidates=found)),
            "lesion-candidates.png": artifacts.put_bytes(draw_candidates(images.contoured, found), "image/png"),
        },
    )


def _require_apart(lesions: Sequence[Lesion], masks: Sequence[Volume]) -> None:
    """Refuse lesions that share voxels: their totals would count them twice."""
    for (first, one), (second, other) in itertools.combinations(zip(lesions, masks, strict=True), 2):
        shared = int(np.count_nonzero(np.logical_and(one.array, other.array)))
        if shared:
            volume_ml = shared * one.geometry.voxel_volume_mm3 / 1000
            raise LesionsOverlap(
                f"Lesions {first.number} and {second.number} share {volume_ml:.1f} ml, which totals would count twice. "
                "Name one lesion for both, or contour them apart.",
                first=first.number,
                second=second.number,
            )


def _warm(
    folder: ModelFolder, device: str, torch_compile: bool, require_golden_vectors: bool = False
) -> Segmenter | ExternalSegmenter | None:
    if not folder.has("segmentation"):
        return None
    segmenter = open_segmenter(folder, device, torch_compile=torch_compile)
    golden = golden_vectors(folder, required=require_golden_vectors).networks
    if golden is None or isinstance(segmenter, ExternalSegmenter):
        segmenter.warm_up()
        return segmenter
    if not segmenter.is_full_precision:
        segmenter.warm_up()
    require_golden_networks(folder, segmenter, golden)
    return segmenter
