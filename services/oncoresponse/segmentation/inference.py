"""The built-in networks: PET and CT in, tumor mask and probability on the PET grid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch

from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.file_digest import file_sha256
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import (
    ConfigurationError,
    FieldOfViewTooLarge,
    ModelFolderInvalid,
)
from oncoresponse.model.definition import ImagingResponse, LesionLimits
from oncoresponse.model.folder import ModelFolder
from oncoresponse.segmentation.border_interval import grown
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_candidates import LesionCandidate, rank_candidates
from oncoresponse.segmentation.lesion_prompt import LesionPoint, LesionPrompt
from oncoresponse.segmentation.mask_checks import MaskMeasures, border_warnings, check_mask
from oncoresponse.segmentation.mask_selection import mask_from_probability
from oncoresponse.segmentation.metrics import mean_binary_entropy
from oncoresponse.segmentation.network import (
    INPUT_CHANNELS,
    NETWORK_FILE,
    FieldOfView,
    MaskSettings,
    NetworkDescription,
    load_networks,
    read_network_description,
)
from oncoresponse.segmentation.pet_and_ct import pet_and_ct
from oncoresponse.segmentation.preprocessing import field_of_view_mm, prepare, probability_on_image
from oncoresponse.segmentation.scan_region import (
    ATTEMPTS,
    Region,
    reaches_inner_face,
    region_around,
    region_of_uptake,
)
from oncoresponse.segmentation.uncertainty import (
    UncertaintyMeasures,
    mask_of_volume,
    uncertainty_measures,
    volume_interval_ml,
)
from oncoresponse.segmentation.windowed_prediction import (
    compile_network,
    fast_network,
    place_network,
    predict_probabilities,
    warm_up_shapes,
    with_equal_windows,
)

SEGMENTATION_FOLDER = "segmentation"
_FULL_COVERAGE = 0.9
_POOR_CONTOUR_EXPECTED = (
    "The network is unsure of this contour: in cross-validation, contours with such signs overlapped poorly with those "
    "of the physician."
)
_MEMBER_VARIANTS = 3


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """A lesion that was found, or that a contour of the study shows.

    Attributes:
        mask: ``Quantity.MASK``, uint8 0/1, on the grid of the image that is contoured.
        probability: ``Quantity.PROBABILITY``, float32 0..1, on the same grid; mean of the ensemble. ``None`` for a
            contour of the study.
        summary: Volume, uncertainty and warnings.
        variants: Other masks that are as plausible, by name: ``smaller`` and ``larger`` have the volumes at the ends of
            the interval, ``network_1`` and so on come from single networks of the ensemble. Later stages see by them
            whether a prediction hangs on the contour.
    """

    mask: Volume
    probability: Volume | None
    summary: SegmentationSummary
    variants: dict[str, Volume] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Found:
    """Mean and single probabilities and the mask, all on the grid of ``region``."""

    region: Region
    pet: sitk.Image
    probability: sitk.Image
    members: list[sitk.Image]
    mask: sitk.Image
    ct_coverage: float


class Segmenter:
    """An ensemble of networks in memory, ready for any number of studies.

    Safe to use from one thread at a time. Build it with :meth:`open`.
    """

    def __init__(
        self,
        description: NetworkDescription,
        networks: Sequence[torch.nn.Module],
        limits: LesionLimits,
        network_sha256: str,
        device: torch.device,
        *,
        torch_compile: bool = False,
    ) -> None:
        self.description = description
        self.network_sha256 = network_sha256
        self.device = device
        self._limits = limits
        self._inference = description.inference
        self._compiled = torch_compile
        if torch_compile:
            self._networks = [compile_network(place_network(network, device)) for network in networks]
            self._inference = with_equal_windows(description.inference, description.patch_size)
        else:
            self._networks = [fast_network(network, device, description.network) for network in networks]

    @classmethod
    def open(cls, model: ModelFolder, device: str = "auto", *, torch_compile: bool = False) -> Segmenter:
        """Load the networks of a model folder.

        Args:
            model: An opened, and so verified, model folder.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is CUDA where there is a device, else the CPU.
            torch_compile: Compile the networks, which takes minutes at the first :meth:`warm_up`. All windows then have
                the size of the training patches, so masks differ a little from those without.

        Raises:
            ModelFolderInvalid: The model has no usable segmentation, or other inputs than these networks read.
            ModelHashMismatch: A weights file is not the one ``network.json`` names.
            ConfigurationError: CUDA is asked for and not there.
        """
        _require_inputs(model.imaging)
        directory = model.path / SEGMENTATION_FOLDER
        description = read_network_description(directory)
        networks = load_networks(directory, description)
        digest = file_sha256(directory / NETWORK_FILE)
        limits, chosen = model.imaging.tumor_limits, choose_device(device)
        return cls(description, networks, limits, digest, chosen, torch_compile=torch_compile)

    def warm_up(self) -> None:
        """Run the networks once on empty images, so that no study pays for it.

        On CUDA in one window and in several, and in half precision, as every study is.

        Raises:
            ConfigurationError: The networks are to be compiled, and this machine cannot.
        """
        try:
            for shape in warm_up_shapes(self._inference, self.description.patch_size, self.device):
                self._predict(self._networks, np.zeros((INPUT_CHANNELS, *shape), dtype=np.float32))
        except RuntimeError as error:
            if not self._compiled:
                raise
            raise ConfigurationError(
                "torch_compile is set, and the networks could not be compiled. It needs a C++ compiler (g++) and "
                "Python's header files. Install them, or leave torch_compile off."
            ) from error

    @property
    def is_full_precision(self) -> bool:
        """Whether the networks compute as they were trained: in float32, not compiled."""
        return self.device.type == "cpu" and not self._compiled

    def golden_probabilities(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities of each network, axes (network, k, j, i), of an array as the networks read it.

        Other than a study, the array is not padded to the size of the training patches.
        """
        return predict_probabilities(
            self._networks, array, self.description.network, self._inference, self.device, minimum_size=1
        )

    def needs_prompt(self, images: InputImages) -> bool:
        """Whether the scan shows so much of the body that somebody has to say which lesion is meant."""
        return not _within(field_of_view_mm(images.contoured.image), self.description.field_of_view)

    def segment(self, images: InputImages, prompt: LesionPrompt | None = None) -> SegmentationResult:
        """Find the tumor.

        With a prompt only the surroundings of the prompt are looked at, as far as the training images showed
        surroundings; where the mask reaches their edge they are widened, at most twice. The same volumes and prompt
        give the same bytes on the same kind of device.

        Args:
            images: Contoured is the PET (``Quantity.SUV_BODY_WEIGHT``, g/mL); beside it a CT (``Quantity.HOUNSFIELD``)
                of the same frame of reference, on its own grid, which these networks cannot do without.
            prompt: Where the lesion is (LPS, mm); None on a scan cropped around it.

        Raises:
            SeriesNotFound: There is no CT.
            InvalidRequest: The contoured image is no PET in SUV, or the prompt lies outside it.
            FrameOfReferenceMismatch: PET and CT positions cannot be compared.
            GeometryMismatch: The CT covers too little of the PET.
            FieldOfViewTooLarge: Without a prompt: the scan shows much more of the body than the training images.
            EmptyMask, TumorTooSmall, TumorTooLarge, MaskTouchesBorder: See :func:`check_mask`.
            OutOfMemory: The GPU's memory does not suffice.
        """
        pet, ct = pet_and_ct(images)
        if prompt is None:
            require_field_of_view(pet, self.description.field_of_view)
            found = self._find(pet.image, ct.image, Region((0, 0, 0), pet.image.GetSize()), None)
        else:
            found = self._find_near(pet.image, ct.image, prompt)
        mask = pet.with_image(found.region.put_back(found.mask, pet.image), Quantity.MASK)
        # On the part that was looked at: a mask that ends where the looking ended is cut off as at the image border.
        inner = reaches_inner_face(grown(found.mask), found.region, pet.image)
        edge_of = "part of the scan that was searched" if inner else "images"
        measures = check_mask(pet.with_image(found.mask, Quantity.MASK), self._limits, automatic=True, edge_of=edge_of)
        settings = self.description.masks.of(prompt)
        uncertainty = uncertainty_measures(found.probability, found.mask)
        low, high = _volume_interval(measures.volume_ml, uncertainty, settings)
        level = None if settings.volume_interval is None else settings.volume_interval.level
        limit = settings.review_below_confidence
        review = limit is None or uncertainty.confidence < limit
        chances, inside = (sitk.GetArrayViewFromImage(image) for image in (found.probability, found.mask))
        summary = SegmentationSummary(
            method="automatic",
            volume_ml=measures.volume_ml,
            component_count=measures.component_count,
            touches_border=measures.touches_border,
            border_share=measures.border_share,
            volume_low_ml=low,
            volume_high_ml=_with_missing_part(high, measures),
            volume_level=level,
            needs_review=review,
            review_reasons=(_POOR_CONTOUR_EXPECTED,) if review else (),
            prompt=prompt_kind(prompt),
            mean_uncertainty=mean_binary_entropy(chances, inside),
            device=self.device.type,
            warnings=(*border_warnings(measures, edge_of), *_coverage_warnings(found.ct_coverage)),
            network_sha256=self.network_sha256,
        )
        probability = pet.with_image(found.region.put_back(found.probability, pet.image), Quantity.PROBABILITY)
        return SegmentationResult(mask, probability, summary, self._variants(pet, found, prompt, low, high))

    def find_candidates(self, images: InputImages) -> tuple[LesionCandidate, ...]:
        """Places in a large scan that may be the lesion, the most likely first, for a physician to choose from.

        One network of the ensemble looks at the part of the scan that has uptake.

        Raises:
            As :meth:`segment`, but for those about the mask.
        """
        pet, ct = pet_and_ct(images)
        region = region_of_uptake(pet.image)
        if region is None:
            return ()
        part = region.of(pet.image)
        inputs = prepare(part, ct.image, self.description.preprocessing)
        probability = self._predict(self._networks[:1], inputs.with_prompt(None))[0]
        on_pet = region.put_back(probability_on_image(probability, inputs.grid, part), pet.image)
        settings = self.description.masks.none
        return rank_candidates(on_pet, pet, settings.threshold, self._limits)

    def _find_near(self, pet: sitk.Image, ct: sitk.Image, prompt: LesionPrompt) -> _Found:
        for attempt in range(ATTEMPTS):
            region = region_around(pet, prompt, attempt)
            found = self._find(pet, ct, region, prompt)
            if not reaches_inner_face(grown(found.mask), region, pet):
                break
        return found

    def _find(self, pet: sitk.Image, ct: sitk.Image, region: Region, prompt: LesionPrompt | None) -> _Found:
        part = region.of(pet)
        inputs = prepare(part, ct, self.description.preprocessing)
        members = self._predict(self._networks, inputs.with_prompt(prompt))
        probability = probability_on_image(members.mean(axis=0), inputs.grid, part)
        threshold = self.description.masks.of(prompt).threshold
        mask = mask_from_probability(probability, threshold, prompt)
        on_pet = [probability_on_image(member, inputs.grid, part) for member in members[:_MEMBER_VARIANTS]]
        return _Found(region, part, probability, on_pet, mask, inputs.ct_coverage)

    def _variants(
        self, pet: Volume, found: _Found, prompt: LesionPrompt | None, low: float | None, high: float | None
    ) -> dict[str, Volume]:
        variants = {}
        for name, volume_ml in (("smaller", low), ("larger", high)):
            if volume_ml is not None:
                image = sitk.GetImageFromArray(mask_of_volume(found.probability, found.mask, volume_ml))
                image.CopyInformation(found.mask)
                variants[name] = image
        threshold = self.description.masks.of(prompt).threshold
        if len(self._networks) > 1:
            for number, member in enumerate(found.members, start=1):
                variants[f"network_{number}"] = mask_from_probability(member, threshold, prompt)
        return {
            name: pet.with_image(found.region.put_back(image, pet.image), Quantity.MASK)
            for name, image in variants.items()
            if np.any(sitk.GetArrayViewFromImage(image))
        }

    def _predict(self, networks: Sequence[torch.nn.Module], array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return predict_probabilities(
            networks,
            array,
            self.description.network,
            self._inference,
            self.device,
            self.description.patch_size,
        )


def prompt_kind(prompt: LesionPrompt | None) -> Literal["none", "point", "box"]:
    """The name under which settings for a prompt are kept."""
    if prompt is None:
        return "none"
    return "point" if isinstance(prompt, LesionPoint) else "box"


def require_field_of_view(pet: Volume, field_of_view: FieldOfView) -> None:
    """Refuse a scan that shows much more of the body than the training images did.

    Raises:
        FieldOfViewTooLarge: An extent along L, P or S exceeds the limit of ``network.json``.
    """
    extent = field_of_view_mm(pet.image)
    if not _within(extent, field_of_view):
        raise FieldOfViewTooLarge(
            f"The PET field of view is {readable_extent(extent)}; the network was trained on images cropped around the "
            f"tumor and takes at most {readable_extent(field_of_view.limit_mm)} without a prompt. "
            "Give a point in the lesion, a box around it, or a contour.",
            field_of_view_mm=readable_extent(extent),
            limit_mm=readable_extent(field_of_view.limit_mm),
        )


def _within(extent: tuple[float, float, float], field_of_view: FieldOfView) -> bool:
    return all(found <= limit for found, limit in zip(extent, field_of_view.limit_mm, strict=True))


def _require_inputs(model: ImagingResponse) -> None:
    """Refuse a model whose declared inputs these networks, which read PET and CT, cannot work with."""
    contoured = model.input_of(model.segment_on)
    ct = [item for item in model.inputs if item.quantity == Quantity.HOUNSFIELD]
    if contoured is None or contoured.quantity != Quantity.SUV_BODY_WEIGHT or len(ct) != 1:
        raise ModelFolderInvalid(
            f"The built-in networks ({SEGMENTATION_FOLDER}/{NETWORK_FILE}) contour a PET in body-weight SUV and read "
            "one CT beside it; this model declares other inputs. Give it a network of its own, or none."
        )


def _volume_interval(
    volume_ml: float, uncertainty: UncertaintyMeasures, settings: MaskSettings
) -> tuple[float | None, float | None]:
    if settings.volume_interval is None:
        return None, None
    return volume_interval_ml(volume_ml, uncertainty, settings.volume_interval)


def _with_missing_part(high_ml: float | None, measures: MaskMeasures) -> float | None:
    """Upper end for the whole tumor: the network's own, times what was measured on images that were cut."""
    factor = measures.whole_volume_factor
    return high_ml if high_ml is None or factor is None else high_ml * factor


def readable_extent(extent: tuple[float, float, float]) -> str:
    """Three extents in mm as text."""
    return " x ".join(f"{value:.0f}" for value in extent) + " mm"


def _coverage_warnings(coverage: float) -> tuple[str, ...]:
    if coverage >= _FULL_COVERAGE:
        return ()
    return (
        f"The CT covers {100 * coverage:.0f} % of the PET field of view; outside it the network saw air in place of "
        "tissue.",
    )
