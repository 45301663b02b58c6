"""Features: each lesion measured in the image that the model names, computed in child processes."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import SimpleITK as sitk
from oncoradiomics.errors import EmptyMaskError, ExtractionError, RadiomicsError
from oncoradiomics.extraction_processes import ExtractionProcesses
from oncoradiomics.features import FeatureDocument
from oncoradiomics.settings import Settings

from oncoresponse.case.artifact_names import lesion_file_name
from oncoresponse.case.case import Case, Lesion, LesionMeasure
from oncoresponse.case.lesion_errors import about_lesion
from oncoresponse.case.quantity import QUANTITY_OF_MODALITY, Quantity
from oncoresponse.case.resampling import mask_on_grid
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.totals import totals_of
from oncoresponse.case.volume import quantity_of_file
from oncoresponse.errors import EmptyMask, GeometryMismatch, InvalidRequest, QuantityMismatch, error_for_reason
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.model.folder import ModelFolder
from oncoresponse.model.golden import golden_vectors
from oncoresponse.servers.golden_features import golden_lesion, golden_quantity, require_golden_features
from oncoresponse.servers.stage_software import stage_software
from oncoresponse.storage.artifact_store import ArtifactStore


class FeaturesStage:
    """Measures every lesion of a case, its variants too.

    Where the model measures in another image than it contours, masks are sampled on the grid of that image.

    Args:
        artifacts: Where volumes are read from and documents written to.
        models_directory: Installed models.
        processes: Child processes; 0 for one a core.
        require_golden_vectors: Refuse a model without.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        models_directory: Path,
        processes: int,
        *,
        require_golden_vectors: bool = False,
    ) -> None:
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, _settings_of, needs="radiomics")
        self._processes = ExtractionProcesses(processes)
        self._require_golden_vectors = require_golden_vectors
        self._checked: set[str] = set()

    async def make_ready(self) -> None:
        """Start the child processes and read the settings of all models."""
        await asyncio.to_thread(self._models.load_all)
        await self._processes.start()
        await asyncio.gather(*(self._check(*opened) for opened in self._models.loaded()))

    async def close(self) -> None:
        """End the child processes."""
        await self._processes.close()

    async def run(self, case: Case, model: str, model_sha256: str) -> Case:
        """Compute features, measures and totals. Cancelling the call ends the children that compute them.

        Raises:
            EmptyMask, GeometryMismatch, FeatureExtractionFailed: A lesion cannot be measured; among several it says its
                number.
            FrameOfReferenceMismatch: The image that is measured and the one that was contoured cannot be compared.
            QuantityMismatch: The image measures another quantity than the model.
        """
        folder, settings = await asyncio.to_thread(self._models.get, model, model_sha256)
        await self._check(folder, settings)
        definition = folder.imaging
        image = case.image(definition.features_from)
        if image is None:
            raise InvalidRequest(f"The case has no image for the input {definition.features_from}.")
        lesions = []
        for lesion in case.lesions:
            with about_lesion(lesion.number, len(case.lesions)):
                lesions.append(await self._measured(lesion, image.volume, definition, settings))
        outputs = {
            lesion_file_name("features.json", lesion.number, len(lesions)): lesion.features
            for lesion in lesions
            if lesion.features is not None
        }
        return case.with_changes(lesions=tuple(lesions), totals=totals_of(lesions), outputs=case.outputs | outputs)

    def software(self) -> StageSoftware:
        """What it runs with."""
        return stage_software("numpy", "scipy", "numba", "SimpleITK", "pyradiomics")

    async def _check(self, folder: ModelFolder, settings: Settings) -> None:
        """Compare the golden vectors of a model once, in a child as every lesion is measured.

        Raises:
            ModelGoldenMismatch: They do not come out here.
        """
        if folder.sha256 in self._checked:
            return
        golden = golden_vectors(folder, required=self._require_golden_vectors).features
        if golden is not None:
            require_golden_features(folder, await measured_golden_lesion(folder, settings, self._processes), golden)
        self._checked.add(folder.sha256)

    async def _measured(
        self, lesion: Lesion, stored_image: StoredArtifact, definition: ImagingResponse, settings: Settings
    ) -> Lesion:
        with ExitStack() as stack:
            image = stack.enter_context(self._artifacts.local_volume(stored_image))
            quantity = _measured_quantity(definition, image)
            masks = [
                stack.enter_context(self._artifacts.local_volume(mask, Quantity.MASK))
                for mask in await asyncio.to_thread(self._masks, lesion, stored_image, definition)
            ]
            document, *variants = await asyncio.gather(
                *(
                    self._processes.extract(image, mask, settings, quantity, also=definition.wanted_measures)
                    for mask in masks
                ),
                return_exceptions=True,
            )
        if isinstance(document, RadiomicsError):
            raise error_for_reason(document.reason, document.message, {}) from document
        if isinstance(document, BaseException):
            raise document
        measured: list[FeatureDocument] = [document]
        for variant in variants:
            if isinstance(variant, (ExtractionError, EmptyMaskError)):
                # A variant that is too small to measure says nothing about the prediction.
                continue
            if isinstance(variant, BaseException):
                raise variant
            measured.append(variant)
        features, *of_variants = [await asyncio.to_thread(self._artifacts.put_document, found) for found in measured]
        return lesion.model_copy(
            update={
                "features": features,
                "variant_features": tuple(of_variants),
                "measures": tuple(
                    LesionMeasure(name=item.name, value=item.value, unit=item.unit, ibsi_id=item.ibsi_id or "")
                    for item in document.measures
                ),
            }
        )

    def _masks(self, lesion: Lesion, stored_image: StoredArtifact, definition: ImagingResponse) -> list[StoredArtifact]:
        """The mask of a lesion and its variants, on the grid of the image that is measured."""
        if lesion.mask is None:
            raise InvalidRequest("The lesion has no mask.")
        drawn = [lesion.mask, *(variant.mask for variant in lesion.variants)]
        if definition.features_from == definition.segment_on:
            return drawn
        image = self._artifacts.read_volume(stored_image)
        first, *variants = (self._artifacts.read_volume(stored) for stored in drawn)
        sampled = [mask_on_grid(first, image)]
        for variant in variants:
            # As above: one that is too small for this image, or reaches out of it, says nothing about the prediction.
            with suppress(EmptyMask, GeometryMismatch):
                sampled.append(mask_on_grid(variant, image))
        return [self._artifacts.put_volume(mask) for mask in sampled]


async def measured_golden_lesion(
    folder: ModelFolder, settings: Settings, processes: ExtractionProcesses
) -> FeatureDocument:
    """Features and measures of the golden lesion, by the settings of a model."""
    quantity = golden_quantity(folder)
    with TemporaryDirectory(prefix="oncoresponse-golden-") as directory:
        paths = [Path(directory) / name for name in ("image.nrrd", "mask.nrrd")]
        for image, path in zip(golden_lesion(quantity), paths, strict=True):
            sitk.WriteImage(image, path)
        return await processes.extract(paths[0], paths[1], settings, quantity)


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
            f"The model measures {needed} (input {definition.features_from}), and the image holds {found}. Send the "
            "volume of the model's own series.",
            needed=needed,
            found=found,
        )
    return str(found)
