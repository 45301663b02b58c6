"""A network from elsewhere in the place of the built-in ensemble: same call, same checks, same summary."""

from __future__ import annotations

import time
from pathlib import Path

import SimpleITK as sitk
import torch

from oncoresponse.errors import FieldOfViewTooLarge, InvalidRequest
from oncoresponse.model_folder import ModelFolder, TumorLimits
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.external.channel_sampling import ct_coverage
from oncoresponse.segmentation.external.declaration import (
    EXTERNAL_NETWORK_FILE,
    ExternalNetworkDeclaration,
    MonaiBundleDeclaration,
    NnunetDeclaration,
    OnnxDeclaration,
    read_declaration,
)
from oncoresponse.segmentation.external.tumor_network import TumorNetwork
from oncoresponse.segmentation.inference import SEGMENTATION_FOLDER, SegmentationResult, prompt_kind
from oncoresponse.segmentation.lesion_prompt import LesionPrompt
from oncoresponse.segmentation.mask_checks import check_mask
from oncoresponse.segmentation.mask_selection import mask_from_probability
from oncoresponse.segmentation.metrics import mean_binary_entropy
from oncoresponse.segmentation.preprocessing import field_of_view_mm
from oncoresponse.segmentation.scan_region import ATTEMPTS, reaches_inner_face, region_around
from oncoresponse.segmentation.summary import SegmentationSummary
from oncoresponse.volume import Quantity, Volume, file_sha256, require_same_frame_of_reference

_FULL_COVERAGE = 0.9


class ExternalSegmenter:
    """One network from elsewhere in memory, ready for any number of studies.

    Safe to use from one thread at a time. Build it with :meth:`open`.
    """

    def __init__(
        self, declaration: ExternalNetworkDeclaration, network: TumorNetwork, limits: TumorLimits, network_sha256: str
    ) -> None:
        self.declaration = declaration
        self.network_sha256 = network_sha256
        self.needs_ct = network.needs_ct
        self._network = network
        self._limits = limits

    @classmethod
    def open(cls, model: ModelFolder, device: str = "auto") -> ExternalSegmenter:
        """Load the network that ``segmentation/external_network.json`` of a model folder declares.

        Raises:
            ModelFolderInvalid: The declaration or a file is missing or malformed, or asks for code to be run.
            ModelHashMismatch: A file is not the one that was declared.
            ConfigurationError: CUDA is asked for and not there, or an optional package is not installed.
        """
        directory = model.path / SEGMENTATION_FOLDER
        declaration = read_declaration(directory)
        network = open_tumor_network(directory, declaration, device)
        digest = file_sha256(directory / EXTERNAL_NETWORK_FILE)
        return cls(declaration, network, model.definition.tumor_limits, digest)

    def warm_up(self) -> None:
        """Run the network once, so that the first study does not pay for it."""
        self._network.warm_up()

    def segment(self, pet: Volume, ct: Volume | None, prompt: LesionPrompt | None = None) -> SegmentationResult:
        """Find the tumor. A prompt confines the search to its surroundings; the network itself is not told of it.

        Args:
            pet: ``Quantity.SUV_BODY_WEIGHT``, g/mL.
            ct: ``Quantity.HOUNSFIELD``, same frame of reference, its own grid; None only where ``needs_ct`` is false.
            prompt: Where the lesion is (LPS, mm).

        Raises:
            InvalidRequest: A volume holds another quantity, or the prompt lies outside the PET.
            SeriesNotFound: The network needs the CT and there is none.
            FrameOfReferenceMismatch: PET and CT positions cannot be compared.
            GeometryMismatch: The CT covers too little of the PET.
            FieldOfViewTooLarge: Without a prompt: the scan shows more of the body than the declaration allows.
            EmptyMask, TumorTooSmall, TumorTooLarge, MaskTouchesBorder: See
                :func:`~oncoresponse.segmentation.mask_checks.check_mask`.
            ModelFolderInvalid: The network's output is not what the declaration says.
            OutOfMemory: The device's memory does not suffice.
        """
        started = time.monotonic()
        declared = self.declaration
        _require_quantity(pet, Quantity.SUV_BODY_WEIGHT)
        if prompt is None:
            _require_field_of_view(pet, declared)
        warnings = [
            f"The mask is of a network from elsewhere ({declared.name}). How well it agrees with a physician's contour "
            "was not measured here, so no expected agreement and no range of volumes are given. Review the mask."
        ]
        if ct is not None and self.needs_ct:
            _require_quantity(ct, Quantity.HOUNSFIELD)
            require_same_frame_of_reference(pet, ct)
            coverage = ct_coverage(pet, ct, declared.minimum_ct_coverage)
            if coverage < _FULL_COVERAGE:
                warnings.append(f"The CT covers {100 * coverage:.0f} % of the PET field of view.")
        probability, mask_image = self._find(pet, ct if self.needs_ct else None, prompt)
        mask = pet.with_image(mask_image, Quantity.MASK)
        measures = check_mask(mask, self._limits)
        summary = SegmentationSummary(
            method="automatic",
            volume_ml=measures.volume_ml,
            component_count=measures.component_count,
            touches_border=measures.touches_border,
            needs_review=True,
            prompt=prompt_kind(prompt),
            mean_uncertainty=mean_binary_entropy(
                sitk.GetArrayViewFromImage(probability), sitk.GetArrayViewFromImage(mask_image)
            ),
            device=self._network.device_type,
            seconds=time.monotonic() - started,
            warnings=tuple(warnings),
            network_sha256=self.network_sha256,
        )
        return SegmentationResult(mask, pet.with_image(probability, Quantity.PROBABILITY), summary)

    def _find(self, pet: Volume, ct: Volume | None, prompt: LesionPrompt | None) -> tuple[sitk.Image, sitk.Image]:
        threshold = self.declaration.mask.threshold
        if prompt is None:
            probability = self._network.probability(pet, ct)
            return probability, mask_from_probability(probability, threshold)
        for attempt in range(ATTEMPTS):
            region = region_around(pet.image, prompt, attempt)
            part = pet.with_image(region.of(pet.image), pet.quantity)
            probability = self._network.probability(part, ct)
            mask = mask_from_probability(probability, threshold, prompt)
            if not reaches_inner_face(mask, region, pet.image):
                break
        return region.put_back(probability, pet.image), region.put_back(mask, pet.image)


def open_tumor_network(directory: Path, declaration: ExternalNetworkDeclaration, device: str) -> TumorNetwork:
    """The adapter of the declared kind. Libraries of other kinds are not loaded.

    Raises:
        ModelFolderInvalid, ModelHashMismatch, ConfigurationError: See :meth:`ExternalSegmenter.open`.
    """
    chosen: torch.device = choose_device(device)
    if isinstance(declaration, NnunetDeclaration):
        from oncoresponse.segmentation.external.nnunet_network import open_nnunet

        return open_nnunet(directory, declaration, chosen)
    if isinstance(declaration, MonaiBundleDeclaration):
        from oncoresponse.segmentation.external.monai_bundle import open_monai_bundle

        return open_monai_bundle(directory, declaration, chosen)
    if isinstance(declaration, OnnxDeclaration):
        from oncoresponse.segmentation.external.onnx_network import open_onnx

        return open_onnx(directory, declaration, chosen, device_is_a_must=device != "auto")
    from oncoresponse.segmentation.external.torchscript_network import open_torchscript

    return open_torchscript(directory, declaration, chosen)


def _require_quantity(volume: Volume, quantity: Quantity) -> None:
    if volume.quantity is not quantity:
        raise InvalidRequest(
            f"Segmentation needs a volume in {quantity.value} and got one in {volume.quantity.value}. "
            "Send the PET in body-weight SUV and the CT in HU."
        )


def _require_field_of_view(pet: Volume, declared: ExternalNetworkDeclaration) -> None:
    limit = declared.field_of_view_limit_mm
    extent = field_of_view_mm(pet.image)
    if limit is not None and any(found > most for found, most in zip(extent, limit, strict=True)):
        raise FieldOfViewTooLarge(
            f"The PET field of view is {_millimetres(extent)}; this model's network takes at most "
            f"{_millimetres(limit)} without being told where the lesion is. Give a point, a box, or a contour.",
            field_of_view_mm=_millimetres(extent),
            limit_mm=_millimetres(limit),
        )


def _millimetres(extent: tuple[float, float, float]) -> str:
    return " x ".join(f"{value:.0f}" for value in extent) + " mm"
