"""A network from elsewhere in the place of the built-in ensemble: same call, same checks, same summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from weakref import WeakKeyDictionary

import SimpleITK as sitk
import torch

from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import require_same_frame_of_reference
from oncoresponse.errors import FieldOfViewTooLarge, InvalidRequest, ModelFolderInvalid
from oncoresponse.model.definition import LesionLimits
from oncoresponse.model.folder import ModelFolder
from oncoresponse.segmentation.contour_variants import variants_of_contour
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.external.channel_sampling import coverage_of, image_of_role
from oncoresponse.segmentation.external.declaration import (
    EXTERNAL_NETWORK_FILE,
    ExternalNetworkDeclaration,
    MonaiBundleDeclaration,
    NnunetDeclaration,
    OnnxDeclaration,
    read_declaration,
)
from oncoresponse.segmentation.external.lesion_network import LesionNetwork
from oncoresponse.segmentation.inference import (
    SEGMENTATION_FOLDER,
    SegmentationResult,
    prompt_kind,
    readable_extent,
)
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_candidates import LesionCandidate, rank_candidates
from oncoresponse.segmentation.lesion_prompt import LesionPrompt
from oncoresponse.segmentation.mask_checks import border_warnings, check_mask
from oncoresponse.segmentation.mask_selection import mask_from_probability
from oncoresponse.segmentation.metrics import mean_binary_entropy
from oncoresponse.segmentation.preprocessing import field_of_view_mm

_FULL_COVERAGE = 0.9


class ExternalSegmenter:
    """One network from elsewhere in memory, ready for any number of studies.

    Safe to use from one thread at a time. Build it with :meth:`open`.
    """

    def __init__(
        self,
        declaration: ExternalNetworkDeclaration,
        network: LesionNetwork,
        limits: LesionLimits,
        network_sha256: str,
        quantities: Mapping[str, str],
    ) -> None:
        self.declaration = declaration
        self.network_sha256 = network_sha256
        self._network = network
        self._limits = limits
        self._quantities = quantities
        # The network looks at a study once, however many lesions are asked for; gone with the images.
        self._seen: WeakKeyDictionary[InputImages, tuple[sitk.Image, dict[str, float]]] = WeakKeyDictionary()

    @classmethod
    def open(cls, model: ModelFolder, device: str = "auto") -> ExternalSegmenter:
        """Load the network that ``segmentation/external_network.json`` of a model folder declares.

        Raises:
            ModelFolderInvalid: The declaration or a file is missing or malformed, names an input that the model does
                not declare, or asks for code to be run.
            ModelHashMismatch: A file is not the one that was declared.
            ConfigurationError: CUDA is asked for and not there, or an optional package is not installed.
        """
        directory = model.path / SEGMENTATION_FOLDER
        declaration = read_declaration(directory)
        quantities = {item.role: item.quantity for item in model.imaging.inputs}
        if unknown := [role for role in declaration.input_roles if role not in quantities]:
            raise ModelFolderInvalid(
                f"{SEGMENTATION_FOLDER}/{EXTERNAL_NETWORK_FILE} reads the input {unknown[0]}, which the model does "
                "not declare."
            )
        network = open_lesion_network(directory, declaration, device)
        digest = file_sha256(directory / EXTERNAL_NETWORK_FILE)
        return cls(declaration, network, model.imaging.tumor_limits, digest, quantities)

    def warm_up(self) -> None:
        """Run the network once, so that the first study does not pay for it."""
        self._network.warm_up()

    def needs_prompt(self, images: InputImages) -> bool:
        """Whether the scan shows so much of the body that somebody has to say which lesion is meant."""
        limit = self.declaration.field_of_view_limit_mm
        extent = field_of_view_mm(images.contoured.image)
        return limit is not None and any(found > most for found, most in zip(extent, limit, strict=True))

    def segment(self, images: InputImages, prompt: LesionPrompt | None = None) -> SegmentationResult:
        """Find the tumor.

        The network sees the whole scan, with or without a prompt. The prompt says which part of what it found is meant.

        Args:
            images: With every input that the declaration names, in one frame of reference, each on its own grid.
            prompt: Where the lesion is (LPS, mm); None for the largest part.

        Raises:
            InvalidRequest: An image measures another quantity than the model declares for its input.
            SeriesNotFound: The network needs an image that is not there.
            FrameOfReferenceMismatch: Positions in two of the images cannot be compared.
            GeometryMismatch: An image covers too little of the one that is contoured.
            FieldOfViewTooLarge: Without a prompt: the scan shows more of the body than the declaration allows.
            EmptyMask, TumorTooSmall, TumorTooLarge, MaskTouchesBorder: See
                :func:`~oncoresponse.segmentation.mask_checks.check_mask`.
            ModelFolderInvalid: The network's output is not what the declaration says.
            OutOfMemory: The device's memory does not suffice.
        """
        contoured = images.contoured
        if prompt is None and self.needs_prompt(images):
            raise FieldOfViewTooLarge(
                "The field of view is larger than this model takes without a prompt. Give a point in the lesion, a box "
                "around it, or a contour.",
                field_of_view_mm=readable_extent(field_of_view_mm(contoured.image)),
                limit_mm=readable_extent(self.declaration.field_of_view_limit_mm or (0, 0, 0)),
            )
        probability, coverage = self._probability(images)
        mask_image = mask_from_probability(probability, self.declaration.mask.threshold, prompt)
        mask = contoured.with_image(mask_image, Quantity.MASK)
        measures = check_mask(mask, self._limits, automatic=True)
        summary = SegmentationSummary(
            method="automatic",
            volume_ml=measures.volume_ml,
            component_count=measures.component_count,
            touches_border=measures.touches_border,
            border_share=measures.border_share,
            volume_high_ml=measures.volume_high_ml,
            needs_review=True,
            review_reasons=(self._unmeasured,),
            prompt=prompt_kind(prompt),
            mean_uncertainty=mean_binary_entropy(
                sitk.GetArrayViewFromImage(probability), sitk.GetArrayViewFromImage(mask_image)
            ),
            device=self._network.device_type,
            warnings=(*border_warnings(measures), *_coverage_warnings(images, coverage)),
            network_sha256=self.network_sha256,
        )
        result = contoured.with_image(probability, Quantity.PROBABILITY)
        return SegmentationResult(mask, result, summary, variants_of_contour(mask))

    def find_candidates(self, images: InputImages) -> tuple[LesionCandidate, ...]:
        """Places in a large scan that may be the lesion, the most likely first, for a physician to choose from.

        Raises:
            As :meth:`segment`, but for those about the mask.
        """
        probability, _ = self._probability(images)
        return rank_candidates(probability, images.contoured, self.declaration.mask.threshold, self._limits)

    def _probability(self, images: InputImages) -> tuple[sitk.Image, dict[str, float]]:
        """Probability on the grid of the contoured image, and the share of it that each other input covers."""
        if (seen := self._seen.get(images)) is not None:
            return seen
        coverage = {}
        for role in self.declaration.input_roles:
            if (found_quantity := image_of_role(images, role).quantity) != self._quantities[role]:
                raise InvalidRequest(
                    f"The network reads {self._quantities[role]} for the input {role}, and the image holds "
                    f"{found_quantity.value}. Send the volume of that input."
                )
            if role != images.segment_on:
                require_same_frame_of_reference(images.contoured, image_of_role(images, role))
                coverage[role] = coverage_of(images, role, self.declaration.minimum_coverage)
        found = self._network.probability(images), coverage
        self._seen[images] = found
        return found

    @property
    def _unmeasured(self) -> str:
        return (
            f"The contour is of a network from elsewhere ({self.declaration.name}), whose agreement with a physician's "
            "contour was not measured here. So no expected agreement and no range of volumes are given."
        )


def _coverage_warnings(images: InputImages, coverage: dict[str, float]) -> tuple[str, ...]:
    return tuple(
        f"The {role} image covers {100 * share:.0f} % of the field of view of the {images.segment_on} image."
        for role, share in coverage.items()
        if share < _FULL_COVERAGE
    )


def open_lesion_network(directory: Path, declaration: ExternalNetworkDeclaration, device: str) -> LesionNetwork:
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
