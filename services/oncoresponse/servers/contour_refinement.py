"""The interactive networks with the store and the models: a case and a hand in, a mask out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncoresponse.case.case import Case
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.volume import Volume
from oncoresponse.errors import ArtifactNotFound, EmptyMask, InvalidRequest, RefinementUnavailable
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.folder import ModelFolder
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_prompt import Coordinates, LesionBox
from oncoresponse.segmentation.refinement import HandInput, Refiner
from oncoresponse.segmentation.slice_outlines import outlined_slice
from oncoresponse.storage.artifact_store import ArtifactStore

FOLDER = "refinement"
"""Part of a model with interactive networks."""


@dataclass(frozen=True)
class SaidByHand:
    """What a person said; positions LPS, mm.

    Attributes:
        inside, outside: Marked places.
        box: Around the lesion.
        outlines: Of each outlined slice a place in it, and its polygons.
    """

    inside: tuple[Coordinates, ...] = ()
    outside: tuple[Coordinates, ...] = ()
    box: LesionBox | None = None
    outlines: tuple[tuple[Coordinates, tuple[tuple[Coordinates, ...], ...]], ...] = ()


@dataclass(frozen=True)
class Refined:
    """A mask that was stored, its volume, and that of the contour it went on from (0 without one)."""

    mask: StoredArtifact
    volume_ml: float
    volume_before_ml: float


class ContourRefinement:
    """One contour is at work at a time; the images of the last case stay in memory, because clicks come one by one.

    Args:
        artifacts: Where cases, images and masks are.
        models_directory: Installed models; interactive networks are loaded at the first use of each.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        device_lock: Held while networks work.
    """

    def __init__(
        self, artifacts: ArtifactStore, models_directory: Path, device: str, device_lock: asyncio.Lock
    ) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, lambda folder: _refiner(folder, device), needs=FOLDER)
        self._device_lock = device_lock
        self._last: tuple[str, InputImages] | None = None

    async def refine(
        self, model: str, model_sha256: str, case: StoredArtifact, earlier: StoredArtifact | None, said: SaidByHand
    ) -> Refined:
        """Refine one contour.

        Args:
            model: ``models/{model}``.
            model_sha256: The model that the assessment is pinned to.
            case: With its images.
            earlier: The mask to go on from; ``None`` for none.
            said: What the person says.

        Raises:
            RefinementUnavailable: The model has no interactive networks, or the case no images.
            EmptyMask: Nothing is left of the contour.
            InvalidRequest: A place or an outline lies outside the image.
            OncoResponseError: Of the model, the store and the images.
        """
        async with self._device_lock:
            return await asyncio.to_thread(self._refine, model, model_sha256, case, earlier, said)

    def _refine(
        self, model: str, model_sha256: str, case: StoredArtifact, earlier: StoredArtifact | None, said: SaidByHand
    ) -> Refined:
        folder, refiner = self._models.get(model, model_sha256)
        if refiner is None:
            raise RefinementUnavailable(
                "This model has no networks that follow a hand (refinement/). Contour in the archive's viewer, and "
                "send the contour with the study.",
                model=folder.definition.name,
            )
        images = self._images(case, folder)
        image = images.contoured.image
        before = None if earlier is None else self._mask(earlier)
        outlines = tuple(outlined_slice(place, polygons, image) for place, polygons in said.outlines)
        hand = HandInput(said.inside, said.outside, said.box, outlines, before)
        mask = refiner.refine(images, hand).mask
        volume = _volume_ml(mask)
        if not volume:
            raise EmptyMask("Nothing is left of the contour. Mark a place inside the lesion, or outline a slice.")
        return Refined(self._artifacts.put_volume(mask), volume, 0.0 if before is None else _volume_ml(before))

    def _mask(self, stored: StoredArtifact) -> Volume:
        mask = self._artifacts.read_volume(stored)
        if mask.quantity is not Quantity.MASK:
            raise InvalidRequest("The contour to go on from must be a mask. Pass references on unchanged.")
        return mask

    def _images(self, case: StoredArtifact, folder: ModelFolder) -> InputImages:
        if self._last is None or self._last[0] != case.sha256:
            found = self._artifacts.read_document(case, Case)
            try:
                volumes = {item.input_role: self._artifacts.read_volume(item.volume) for item in found.images}
            except ArtifactNotFound:
                raise ArtifactNotFound(
                    "The images of the assessment are not kept any more (retention_days.volumes). Assess the study "
                    "again, then correct."
                ) from None
            self._last = (case.sha256, InputImages(volumes, folder.imaging.segment_on))
        return self._last[1]


def _volume_ml(mask: Volume) -> float:
    return float(np.count_nonzero(mask.array)) * mask.geometry.voxel_volume_mm3 / 1000


def _refiner(folder: ModelFolder, device: str) -> Refiner | None:
    return Refiner.open(folder.path / FOLDER, choose_device(device)) if folder.has(FOLDER) else None
