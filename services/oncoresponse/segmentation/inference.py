"""PET and CT in, tumor mask and probability on the PET grid out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch

from oncoresponse.errors import FieldOfViewTooLarge, InvalidRequest
from oncoresponse.model_folder import ModelFolder, TumorLimits
from oncoresponse.segmentation.device import choose_device
from oncoresponse.segmentation.mask_checks import check_mask
from oncoresponse.segmentation.metrics import mean_binary_entropy, soft_dice_confidence
from oncoresponse.segmentation.network import (
    NETWORK_FILE,
    FieldOfView,
    InferenceSettings,
    NetworkDescription,
    load_networks,
    read_network_description,
)
from oncoresponse.segmentation.preprocessing import field_of_view_mm, prepare, probability_on_image
from oncoresponse.segmentation.summary import SegmentationSummary
from oncoresponse.segmentation.windowed_prediction import place_network, predict_probabilities, warm_up_shapes
from oncoresponse.volume import Quantity, Volume, file_sha256, require_same_frame_of_reference

SEGMENTATION_FOLDER = "segmentation"
_FULL_COVERAGE = 0.9


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """What :meth:`Segmenter.segment` returns.

    Attributes:
        mask: ``Quantity.MASK``, uint8 0/1, on the PET grid.
        probability: ``Quantity.PROBABILITY``, float32 0..1, on the PET grid; mean of the ensemble.
        summary: Volume, doubt and warnings.
    """

    mask: Volume
    probability: Volume
    summary: SegmentationSummary


class Segmenter:
    """An ensemble of networks in memory, ready for any number of studies.

    Safe to use from one thread at a time. Build it with :meth:`open`.
    """

    def __init__(
        self,
        description: NetworkDescription,
        networks: Sequence[torch.nn.Module],
        limits: TumorLimits,
        network_sha256: str,
        device: torch.device,
        *,
        torch_compile: bool = False,
    ) -> None:
        self.description = description
        self.network_sha256 = network_sha256
        self.device = device
        self._limits = limits
        self._networks = [place_network(network, device, torch_compile=torch_compile) for network in networks]

    @classmethod
    def open(cls, model: ModelFolder, device: str = "auto", *, torch_compile: bool = False) -> Segmenter:
        """Load the networks of a model folder.

        Args:
            model: An opened, and so verified, model folder.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is CUDA where there is a device, else the CPU.
            torch_compile: Compile the networks for speed; :meth:`warm_up` then takes a minute or more.

        Raises:
            ModelFolderInvalid: The model has no usable segmentation.
            ModelHashMismatch: A weights file is not the one ``network.json`` names.
            ConfigurationError: CUDA is asked for and not there.
        """
        directory = model.path / SEGMENTATION_FOLDER
        description = read_network_description(directory)
        networks = load_networks(directory, description)
        digest = file_sha256(directory / NETWORK_FILE)
        limits, chosen = model.definition.tumor_limits, choose_device(device)
        return cls(description, networks, limits, digest, chosen, torch_compile=torch_compile)

    def warm_up(self) -> None:
        """Run the networks once on empty images, in one window and in several, so that no study pays for it.

        On CUDA this is in half precision, as every study is.
        """
        for shape in warm_up_shapes(self.description.inference, self.description.patch_size):
            self._predict(np.zeros((2, *shape), dtype=np.float32))

    def segment(self, pet: Volume, ct: Volume) -> SegmentationResult:
        """Find the tumor.

        The same volumes give the same bytes on the same kind of device; only ``summary.seconds`` differs.

        Args:
            pet: ``Quantity.SUV_BODY_WEIGHT``, g/mL.
            ct: ``Quantity.HOUNSFIELD``, same frame of reference, its own grid.

        Raises:
            InvalidRequest: A volume holds another quantity.
            FrameOfReferenceMismatch: PET and CT positions cannot be compared.
            GeometryMismatch: The CT covers too little of the PET.
            FieldOfViewTooLarge: The scan shows much more of the body than the training images.
            EmptyMask, TumorTooSmall, TumorTooLarge, MaskTouchesBorder: See :func:`check_mask`.
            OutOfMemory: The GPU's memory does not suffice.
        """
        started = time.monotonic()
        _require_quantity(pet, Quantity.SUV_BODY_WEIGHT)
        _require_quantity(ct, Quantity.HOUNSFIELD)
        require_same_frame_of_reference(pet, ct)
        require_field_of_view(pet, self.description.field_of_view)
        inputs = prepare(pet.image, ct.image, self.description.preprocessing)
        members = self._predict(inputs.array)
        on_pet = [probability_on_image(member, inputs.grid, pet.image) for member in members]
        settings = self.description.inference
        probability = probability_on_image(members.mean(axis=0), inputs.grid, pet.image)
        mask_image = mask_from_probability(probability, settings)
        mask = pet.with_image(mask_image, Quantity.MASK)
        measures = check_mask(mask, self._limits)

        volumes = [_volume_ml(mask_from_probability(member, settings)) for member in on_pet]
        probability_array = sitk.GetArrayViewFromImage(probability)
        mask_array = sitk.GetArrayViewFromImage(mask_image)
        expected = self.description.expected_dice_of(soft_dice_confidence(probability_array, mask_array))
        summary = SegmentationSummary(
            method="automatic",
            volume_ml=measures.volume_ml,
            component_count=measures.component_count,
            touches_border=measures.touches_border,
            volume_low_ml=min(*volumes, measures.volume_ml),
            volume_high_ml=max(*volumes, measures.volume_ml),
            expected_dice=expected,
            mean_uncertainty=mean_binary_entropy(probability_array, mask_array),
            device=self.device.type,
            seconds=time.monotonic() - started,
            warnings=tuple(chain(_review_warnings(expected, settings), _coverage_warnings(inputs.ct_coverage))),
            network_sha256=self.network_sha256,
        )
        return SegmentationResult(mask, pet.with_image(probability, Quantity.PROBABILITY), summary)

    def _predict(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return predict_probabilities(
            self._networks,
            array,
            self.description.network,
            self.description.inference,
            self.device,
            self.description.patch_size,
        )


def mask_from_probability(probability: sitk.Image, settings: InferenceSettings) -> sitk.Image:
    """Threshold, then keep the parts that are not much smaller than the largest (uint8 0/1, same grid)."""
    mask: sitk.Image = sitk.BinaryThreshold(probability, settings.threshold, 2.0, 1, 0)
    components = sitk.ConnectedComponent(mask, False)
    labels = sitk.GetArrayViewFromImage(components)
    sizes = np.bincount(labels.ravel())[1:]
    if sizes.size <= 1:
        return mask
    # argmax takes the first of equals: a fixed choice, so that equal input gives equal bytes.
    keep = sizes >= settings.minimum_component_share * sizes.max()
    if settings.minimum_component_share == 1.0:
        keep = np.arange(sizes.size) == sizes.argmax()
    kept = np.concatenate([[False], keep])[labels]
    image = sitk.GetImageFromArray(kept.astype(np.uint8))
    image.CopyInformation(mask)
    return image


def require_field_of_view(pet: Volume, field_of_view: FieldOfView) -> None:
    """Refuse a scan that shows much more of the body than the training images did.

    Raises:
        FieldOfViewTooLarge: An extent along L, P or S exceeds the limit of ``network.json``.
    """
    extent = field_of_view_mm(pet.image)
    if any(found > limit for found, limit in zip(extent, field_of_view.limit_mm, strict=True)):
        raise FieldOfViewTooLarge(
            f"The PET field of view is {_millimetres(extent)}; the network was trained on images cropped around the "
            f"tumor and takes at most {_millimetres(field_of_view.limit_mm)}. Supply a tumor contour (RTSTRUCT or "
            "DICOM SEG) with the study.",
            field_of_view_mm=_millimetres(extent),
            limit_mm=_millimetres(field_of_view.limit_mm),
        )


def _require_quantity(volume: Volume, quantity: Quantity) -> None:
    if volume.quantity is not quantity:
        raise InvalidRequest(
            f"Segmentation needs a volume in {quantity.value} and got one in {volume.quantity.value}. "
            "Send the PET in body-weight SUV and the CT in HU."
        )


def _volume_ml(mask: sitk.Image) -> float:
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000)


def _millimetres(extent: tuple[float, float, float]) -> str:
    return " x ".join(f"{value:.0f}" for value in extent) + " mm"


def _review_warnings(expected_dice: float | None, settings: InferenceSettings) -> list[str]:
    if expected_dice is None or expected_dice >= settings.review_below_expected_dice:
        return []
    return [
        f"Mask needs review: the expected agreement with a physician's contour (Dice) is {expected_dice:.2f}, below "
        f"{settings.review_below_expected_dice:.2f}."
    ]


def _coverage_warnings(coverage: float) -> list[str]:
    if coverage >= _FULL_COVERAGE:
        return []
    return [
        f"The CT covers {100 * coverage:.0f} % of the PET field of view; outside it the network saw air in place of "
        "tissue."
    ]
