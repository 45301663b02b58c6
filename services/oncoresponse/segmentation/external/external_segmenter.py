"""A network from elsewhere in the place of the built-in ensemble: same call, same checks, same summary."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
import torch

from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_frame_of_reference
from oncoresponse.errors import FieldOfViewTooLarge
from oncoresponse.model.definition import TumorLimits
from oncoresponse.model.folder import ModelFolder
from oncoresponse.segmentation.contour_variants import variants_of_contour
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
from oncoresponse.segmentation.inference import (
    SEGMENTATION_FOLDER,
    SegmentationResult,
    prompt_kind,
    readable_extent,
    require_quantity,
)
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
        return cls(declaration, network, model.imaging.tumor_limits, digest)

    def warm_up(self) -> None:
        """Run the network once, so that the first study does not pay for it."""
        self._network.warm_up()

    def needs_prompt(self, pet: Volume) -> bool:
        """Whether the scan shows so much of the body that somebody has to say which lesion is meant."""
        limit = self.declaration.field_of_view_limit_mm
        extent = field_of_view_mm(pet.image)
        return limit is not None and any(found > most for found, most in zip(extent, limit, strict=True))

    def segment(self, pet: Volume, ct: Volume | None, prompt: LesionPrompt | None = None) -> SegmentationResult:
        """Find the tumor.

        The network sees the whole scan, with or without a prompt. The prompt says which part of what it found is meant.

        Args:
            pet: ``Quantity.SUV_BODY_WEIGHT``, g/mL.
            ct: ``Quantity.HOUNSFIELD``, same frame of reference, its own grid; None only where ``needs_ct`` is false.
            prompt: Where the lesion is (LPS, mm); None for the largest part.

        Raises:
            InvalidRequest: A volume holds another quantity.
            SeriesNotFound: The network needs the CT and there is none.
            FrameOfReferenceMismatch: PET and CT positions cannot be compared.
            GeometryMismatch: The CT covers too little of the PET.
            FieldOfViewTooLarge: Without a prompt: the scan shows more of the body than the declaration allows.
            EmptyMask, TumorTooSmall, TumorTooLarge, MaskTouchesBorder: See
                :func:`~oncoresponse.segmentation.mask_checks.check_mask`.
            ModelFolderInvalid: The network's output is not what the declaration says.
            OutOfMemory: The device's memory does not suffice.
        """
        if prompt is None and self.needs_prompt(pet):
            raise FieldOfViewTooLarge(
                "The PET field of view is larger than this model takes without a prompt. Give a "
                "point in the lesion, a box around it, or a contour.",
                field_of_view_mm=readable_extent(field_of_view_mm(pet.image)),
                limit_mm=readable_extent(self.declaration.field_of_view_limit_mm or (0, 0, 0)),
            )
        probability, coverage = self._probability(pet, ct)
        mask_image = mask_from_probability(probability, self.declaration.mask.threshold, prompt)
        mask = pet.with_image(mask_image, Quantity.MASK)
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
            warnings=(*border_warnings(measures), *self._warnings(coverage)),
            network_sha256=self.network_sha256,
        )
        result = pet.with_image(probability, Quantity.PROBABILITY)
        return SegmentationResult(mask, result, summary, variants_of_contour(mask))

    def find_candidates(self, pet: Volume, ct: Volume | None) -> tuple[LesionCandidate, ...]:
        """Places in a large scan that may be the lesion, the most likely first, for a physician to choose from.

        Raises:
            As :meth:`segment`, but for those about the mask.
        """
        probability, _ = self._probability(pet, ct)
        return rank_candidates(probability, pet.image, self.declaration.mask.threshold, self._limits)

    def _probability(self, pet: Volume, ct: Volume | None) -> tuple[sitk.Image, float]:
        """Probability on the PET grid, and the share of the PET that the CT covers (1 where no CT is needed)."""
        require_quantity(pet, Quantity.SUV_BODY_WEIGHT)
        coverage = 1.0
        if ct is not None and self.needs_ct:
            require_quantity(ct, Quantity.HOUNSFIELD)
            require_same_frame_of_reference(pet, ct)
            coverage = ct_coverage(pet, ct, self.declaration.minimum_ct_coverage)
        return self._network.probability(pet, ct if self.needs_ct else None), coverage

    def _warnings(self, coverage: float) -> tuple[str, ...]:
        if coverage >= _FULL_COVERAGE:
            return ()
        return (f"The CT covers {100 * coverage:.0f} % of the PET field of view.",)

    @property
    def _unmeasured(self) -> str:
        return (
            f"The contour is of a network from elsewhere ({self.declaration.name}), whose agreement with a physician's "
            "contour was not measured here. So no expected agreement and no range of volumes are given."
        )


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
