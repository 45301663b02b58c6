"""A contour that follows a physician's hand: box, clicks, scribbles and outlined slices.

The interactive networks read what :mod:`oncoresponse.segmentation.hand_channels` lists. They contour a PET in
body-weight SUV with a CT beside it, as the automatic ones do, and were trained in fields of view that say nothing about
where the tumor is (docs/segmentation.md). What the hand says of a voxel holds: an outlined slice stays as it was
outlined, and a click's voxel is what the click says.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, require_same_grid
from oncoresponse.errors import InvalidRequest
from oncoresponse.segmentation.hand_channels import (
    BOX,
    CHANNELS,
    EARLIER,
    INSIDE,
    OUTLINED,
    OUTLINES,
    OUTSIDE,
    REACH_VOXELS,
    SIGNED_REACH_VOXELS,
    outline_channels,
)
from oncoresponse.segmentation.input_images import InputImages
from oncoresponse.segmentation.lesion_prompt import Coordinates, LesionBox, bounds_mm, box_of_mask, prompt_channels
from oncoresponse.segmentation.network import (
    InferenceSettings,
    NetworkSettings,
    WeightsFile,
    build_network,
    load_weights_into,
    read_description,
)
from oncoresponse.segmentation.pet_and_ct import pet_and_ct
from oncoresponse.segmentation.preprocessing import PreprocessingSettings, prepare, probability_on_image
from oncoresponse.segmentation.scan_region import Region, region_around
from oncoresponse.segmentation.windowed_prediction import (
    fast_network,
    inside_padding,
    padding_of,
    predict_probabilities,
)

DESCRIPTION_FILE = "refinement.json"
MAXIMUM_PLACES = 10_000
_ONE_WINDOW = InferenceSettings(largest_window=2**31)
_LOGIT_OF_REACH = 12.0
"""How sure shape-based interpolation is at ``SIGNED_REACH_VOXELS`` from its surface, as a logit."""
_LARGEST_LOGIT = 9.2


class RefinementDescription(BaseModel):
    """Contents of ``refinement.json``. Unknown keys are refused.

    Attributes:
        network: Architecture; its weights read eight channels.
        preprocessing: Common grid and CT window.
        smallest_size: Smaller fields of view are padded to this many voxels along each axis.
        threshold: A voxel belongs to the tumor where the mean probability is at least this.
        outline_weight: Weight of shape-based interpolation against the networks where slices are outlined.
        weights: One network for each fold of the cross-validation.
        training_settings_sha256: SHA-256 of ``settings.json``, the settings of the run.
        cohort_sha256: SHA-256 over each training file's name and SHA-256.
        held_out_patients: Patients of the cohort that nothing was trained or chosen on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkSettings
    preprocessing: PreprocessingSettings
    smallest_size: int = Field(gt=0)
    threshold: float = Field(gt=0, lt=1)
    outline_weight: float = Field(ge=0, le=1)
    weights: tuple[WeightsFile, ...] = Field(min_length=1)
    training_settings_sha256: str
    cohort_sha256: str
    held_out_patients: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OutlinedSlice:
    """One slice of the contoured image, outlined by hand.

    Attributes:
        index: Along the image's third axis, from 0.
        inside: What is tumor, axes (j, i); none of it where the physician says that the tumor does not reach the slice.
    """

    index: int
    inside: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class HandInput:
    """Everything that was said about one lesion so far; positions LPS, mm.

    Attributes:
        inside_mm: Places marked as tumor, by click or along a scribble.
        outside_mm: Places marked as no tumor.
        box: Around the lesion.
        outlines: Slices outlined by hand.
        earlier: The contour that is corrected (``Quantity.MASK`` or ``PROBABILITY``) on the grid of the contoured
            image.
    """

    inside_mm: tuple[Coordinates, ...] = ()
    outside_mm: tuple[Coordinates, ...] = ()
    box: LesionBox | None = None
    outlines: tuple[OutlinedSlice, ...] = ()
    earlier: Volume | None = None


@dataclass(frozen=True, eq=False)
class RefinedContour:
    """A contour, and the probability it comes from, on the grid of the contoured image."""

    mask: Volume
    probability: Volume


class Refiner:
    """The interactive networks in memory. Safe to use from one thread at a time."""

    def __init__(
        self, description: RefinementDescription, networks: Sequence[torch.nn.Module], device: torch.device
    ) -> None:
        self.description = description
        self._device = device
        self._networks = [fast_network(network, device, description.network) for network in networks]

    @classmethod
    def open(cls, directory: Path, device: torch.device) -> Refiner:
        """Load the networks of a folder.

        Raises:
            ModelFolderInvalid: A file is missing or does not follow its schema.
            ModelHashMismatch: A weights file is not the one ``refinement.json`` names.
        """
        description = read_refinement_description(directory)
        return cls(description, load_refinement_networks(directory, description), device)

    def with_outline_weight(self, weight: float) -> Refiner:
        """The same networks with another weight of shape-based interpolation."""
        other = copy.copy(self)
        other.description = self.description.model_copy(update={"outline_weight": weight})
        return other

    def refine(self, images: InputImages, hand: HandInput) -> RefinedContour:
        """Contour a lesion as the hand says.

        With a box, a click, an outline or an earlier contour only the surroundings of what was said are looked at. The
        same images and hand give the same bytes on the same kind of device.

        Args:
            images: Contoured is the PET (``Quantity.SUV_BODY_WEIGHT``); beside it a CT of the same frame of reference.
            hand: What was said.

        Raises:
            SeriesNotFound: There is no CT.
            InvalidRequest: A place or an outline lies outside the image, or too many places are marked.
            FrameOfReferenceMismatch, GeometryMismatch: Positions cannot be compared, the CT covers too little, or the
                earlier contour is on another grid.
        """
        pet, ct = pet_and_ct(images)
        require_hand_input(hand, pet)
        region = _region(hand, pet.image)
        part = region.of(pet.image)
        inputs = prepare(part, ct.image, self.description.preprocessing)
        interpolated = _interpolated(hand, pet.image, region, self.description.preprocessing.spacing_mm)
        channels = hand_input_channels(hand, inputs.array, inputs.grid, pet.image, region, interpolated)
        chance = self._probability(channels)
        on_part = sitk.GetArrayFromImage(probability_on_image(chance, inputs.grid, part))
        on_part = _obeying(on_part, hand, part, region, interpolated, self.description)
        mask = _meant(on_part >= self.description.threshold, hand, part, region)

        def whole(values: npt.NDArray[np.generic], quantity: Quantity) -> Volume:
            image = sitk.GetImageFromArray(values)
            image.CopyInformation(part)
            return pet.with_image(region.put_back(image, pet.image), quantity)

        return RefinedContour(
            whole(mask.astype(np.uint8), Quantity.MASK), whole(on_part.astype(np.float32), Quantity.PROBABILITY)
        )

    def _probability(self, channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Mean over the networks, axes (k, j, i)."""
        shape = channels.shape[1:]
        padding = padding_of(shape, self.description.network.stride, self.description.smallest_size)
        padded = np.pad(channels, [(0, 0), *padding])
        if channels[OUTLINED].any():
            # Beyond the images there is no tumor, and a slice is outlined to its ends.
            padded[OUTLINES] = np.pad(channels[OUTLINES], padding, constant_values=-1)
            padded[OUTLINED] = padded[OUTLINED].max(axis=(1, 2), keepdims=True)
        found = predict_probabilities(
            self._networks, padded, self.description.network, _ONE_WINDOW, self._device, minimum_size=1
        )
        return np.asarray(found.mean(axis=0)[inside_padding(padding, shape)])


def read_refinement_description(directory: Path) -> RefinementDescription:
    """Read ``refinement.json``.

    Raises:
        ModelFolderInvalid: It is missing or does not follow its schema.
    """
    return read_description(directory, DESCRIPTION_FILE, RefinementDescription)


def load_refinement_networks(directory: Path, description: RefinementDescription) -> list[torch.nn.Module]:
    """The networks of all folds, float32, in evaluation mode.

    Raises:
        ModelFolderInvalid: A weights file is missing, unreadable, or of another architecture.
        ModelHashMismatch: A weights file is not the one ``refinement.json`` names.
    """
    return [
        load_weights_into(build_network(description.network, CHANNELS), directory, weights, DESCRIPTION_FILE)
        for weights in description.weights
    ]


def require_hand_input(hand: HandInput, pet: Volume) -> None:
    """Refuse what cannot be meant.

    Raises:
        InvalidRequest: A place or an outline lies outside the image, a slice is outlined twice, or there are too many
            places.
        FrameOfReferenceMismatch, GeometryMismatch: The earlier contour is on another grid.
    """
    places = (*hand.inside_mm, *hand.outside_mm)
    if len(places) > MAXIMUM_PLACES:
        raise InvalidRequest(f"{len(places)} places are marked; at most {MAXIMUM_PLACES} are taken.")
    size = np.array(pet.image.GetSize())
    for place in places:
        index = np.array(pet.image.TransformPhysicalPointToContinuousIndex(place))
        if (index < -0.5).any() or (index > size - 0.5).any():
            raise InvalidRequest("A marked place lies outside the image. Mark places inside it (LPS, mm).")
    seen: set[int] = set()
    for outline in hand.outlines:
        if not 0 <= outline.index < size[2] or outline.inside.shape != (size[1], size[0]):
            raise InvalidRequest(
                f"An outlined slice has index {outline.index} and {outline.inside.shape[0]} x "
                f"{outline.inside.shape[1]} voxels; the image has slices 0 to {size[2] - 1} of {size[1]} x {size[0]}."
            )
        if outline.index in seen:
            raise InvalidRequest(f"Slice {outline.index} is outlined twice. Send it once.")
        seen.add(outline.index)
    if hand.earlier is not None:
        require_same_grid(pet, hand.earlier)


def hand_input_channels(
    hand: HandInput,
    images: npt.NDArray[np.float32],
    grid: sitk.Image,
    pet: sitk.Image,
    region: Region,
    interpolated: npt.NDArray[np.float32] | None,
) -> npt.NDArray[np.float32]:
    """The eight channels of the networks.

    Args:
        hand: What was said.
        images: PET and CT on the common grid, axes (2, k, j, i).
        grid: The common grid.
        pet: The contoured image.
        region: The part of it that the grid covers.
        interpolated: ``OUTLINES`` and ``OUTLINED`` on the grid of that part, axes (2, k, j, i); None without outlines.

    Returns:
        float32, axes (8, k, j, i).
    """
    channels = np.zeros((CHANNELS, *images.shape[1:]), dtype=np.float32)
    channels[:BOX] = images
    channels[BOX] = prompt_channels(hand.box or _box_of_outlines(hand.outlines, pet), grid)[0]
    channels[INSIDE] = _nearness(hand.inside_mm, grid)
    channels[OUTSIDE] = _nearness(hand.outside_mm, grid)
    if hand.earlier is not None:
        channels[EARLIER] = _sampled(sitk.Cast(hand.earlier.image, sitk.sitkFloat32), grid, 0.0)
    if interpolated is not None:
        part = region.of(pet)
        for channel, values, outside in ((OUTLINES, interpolated[0], -1.0), (OUTLINED, interpolated[1], 0.0)):
            image = sitk.GetImageFromArray(np.ascontiguousarray(values))
            image.CopyInformation(part)
            channels[channel] = _sampled(image, grid, outside)
    return channels


def shape_based_interpolation(
    outlines: Sequence[OutlinedSlice], shape: tuple[int, int, int], spacing: tuple[float, float, float], unit_mm: float
) -> npt.NDArray[np.float32]:
    """``OUTLINES`` and ``OUTLINED`` on the grid of the contoured image.

    Args:
        outlines: At least one.
        shape: Voxels along k, j and i.
        spacing: Of them, along k, j and i (mm).
        unit_mm: Distances are given in multiples of this.

    Returns:
        float32, axes (2, k, j, i).
    """
    ordered = sorted(outlines, key=lambda outline: outline.index)
    signed = np.stack([_signed_distance_mm(outline.inside, spacing[1:]) for outline in ordered]) / unit_mm
    planes = torch.tensor([outline.index * spacing[0] / unit_mm for outline in ordered])
    axis = torch.arange(shape[0], dtype=torch.float32) * (spacing[0] / unit_mm)
    return outline_channels(torch.from_numpy(signed.astype(np.float32)), planes, axis).numpy()


def _signed_distance_mm(inside: npt.NDArray[np.bool_], spacing: Sequence[float]) -> npt.NDArray[np.float64]:
    far = 2 * SIGNED_REACH_VOXELS * max(spacing)
    if inside.all() or not inside.any():
        return np.full(inside.shape, far if inside.any() else -far)
    half = min(spacing) / 2
    within: npt.NDArray[np.float64] = ndimage.distance_transform_edt(inside, spacing) - half
    beyond = ndimage.distance_transform_edt(~inside, spacing) - half
    return np.asarray(np.where(inside, within, -beyond))


def _interpolated(hand: HandInput, pet: sitk.Image, region: Region, unit_mm: float) -> npt.NDArray[np.float32] | None:
    if not hand.outlines:
        return None
    size, spacing = pet.GetSize(), pet.GetSpacing()
    whole = shape_based_interpolation(
        hand.outlines, (size[2], size[1], size[0]), (spacing[2], spacing[1], spacing[0]), unit_mm
    )
    return np.ascontiguousarray(whole[(slice(None), *region.slices)])


def _region(hand: HandInput, pet: sitk.Image) -> Region:
    """What was said with the surroundings the training images show; everything where nothing was said."""
    low, high = [], []
    boxes = [box for box in (hand.box, _box_of_outlines(hand.outlines, pet)) if box is not None]
    if hand.earlier is not None:
        inside = sitk.BinaryThreshold(sitk.Cast(hand.earlier.image, sitk.sitkFloat32), 0.5, 1e9, 1, 0)
        if np.any(sitk.GetArrayViewFromImage(inside)):
            boxes.append(box_of_mask(inside))
    for box in boxes:
        first, last = bounds_mm(box)
        low.append(first)
        high.append(last)
    places = [np.array(place) for place in (*hand.inside_mm, *(hand.outside_mm if boxes else ()))]
    low.extend(places)
    high.extend(places)
    if not low or (not boxes and not hand.inside_mm):
        return Region((0, 0, 0), pet.GetSize())
    corner, opposite = np.min(low, axis=0), np.max(high, axis=0)
    # Clicks alone say nothing about the size: as much is added as around a single point.
    margin = 0.5 if boxes else 50.0
    x, y, z = (corner - margin).tolist()
    far_x, far_y, far_z = (opposite + margin).tolist()
    return region_around(pet, LesionBox((x, y, z), (far_x, far_y, far_z)), 0)


def _box_of_outlines(outlines: Sequence[OutlinedSlice], pet: sitk.Image) -> LesionBox | None:
    """The box around what is outlined; None where that is nothing."""
    if not any(outline.inside.any() for outline in outlines):
        return None
    size = pet.GetSize()
    drawn = np.zeros((size[2], size[1], size[0]), dtype=np.uint8)
    for outline in outlines:
        drawn[outline.index] = outline.inside
    image = sitk.GetImageFromArray(drawn)
    image.CopyInformation(pet)
    return box_of_mask(image)


def _nearness(places: Sequence[Coordinates], grid: sitk.Image) -> npt.NDArray[np.float32]:
    shape = grid.GetSize()[::-1]
    marked = np.zeros(shape, dtype=bool)
    for place in places:
        index = np.rint(grid.TransformPhysicalPointToContinuousIndex(place)).astype(int)[::-1]
        if ((index >= 0) & (index < np.array(shape))).all():
            marked[tuple(index)] = True
    if not marked.any():
        return np.zeros(shape, dtype=np.float32)
    distance = ndimage.distance_transform_edt(~marked)
    return np.asarray(np.clip(1 - distance / REACH_VOXELS, 0, 1), dtype=np.float32)


def _sampled(image: sitk.Image, grid: sitk.Image, outside: float) -> npt.NDArray[np.float32]:
    sampled: sitk.Image = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, outside, sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(sampled), dtype=np.float32)


def _outlines_in(region: Region, hand: HandInput) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Of each outlined slice that a region shows: its index there, and what of the region is inside, axes (j, i)."""
    k, j, i = region.slices
    for outline in hand.outlines:
        if k.start <= outline.index < k.stop:
            yield outline.index - k.start, outline.inside[j, i]


def _voxels_of(places: Sequence[Coordinates], part: sitk.Image) -> Iterator[tuple[int, int, int]]:
    """Voxels (k, j, i) of the places that an image shows."""
    for place in places:
        i, j, k = part.TransformPhysicalPointToIndex(place)
        if all(0 <= position < count for position, count in zip((i, j, k), part.GetSize(), strict=True)):
            yield k, j, i


def _obeying(
    chance: npt.NDArray[np.float32],
    hand: HandInput,
    part: sitk.Image,
    region: Region,
    interpolated: npt.NDArray[np.float32] | None,
    description: RefinementDescription,
) -> npt.NDArray[np.float32]:
    """The probability on the grid of ``part`` where every outlined slice and clicked voxel is what the hand says."""
    if interpolated is not None:
        weight = description.outline_weight
        logits = np.clip(
            np.log(np.clip(chance, 1e-7, 1 - 1e-7) / np.clip(1 - chance, 1e-7, 1)), -_LARGEST_LOGIT, _LARGEST_LOGIT
        )
        middle = np.log(description.threshold / (1 - description.threshold))
        together = (1 - weight) * (logits - middle) + weight * _LOGIT_OF_REACH * interpolated[0]
        chance = 1 / (1 + np.exp(-(together + middle)))
    for index, inside in _outlines_in(region, hand):
        chance[index] = inside
    for places, value in ((hand.inside_mm, 1.0), (hand.outside_mm, 0.0)):
        for voxel in _voxels_of(places, part):
            chance[voxel] = value
    return np.asarray(chance, dtype=np.float32)


def _meant(mask: npt.NDArray[np.bool_], hand: HandInput, part: sitk.Image, region: Region) -> npt.NDArray[np.bool_]:
    """The parts that the hand points at: with a marked place, on an outline; else the one with most inside the box."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    kept = {int(labels[voxel]) for voxel in _voxels_of(hand.inside_mm, part)}
    for index, inside in _outlines_in(region, hand):
        kept.update(int(label) for label in np.unique(labels[index][inside]))
    counted = labels
    if hand.box is not None:
        counted = np.where(prompt_channels(hand.box, part)[0] > 0, labels, 0)
    elif hand.earlier is not None:
        earlier = sitk.GetArrayFromImage(region.of(hand.earlier.image)) >= 0.5
        counted = np.where(earlier, labels, 0)
    sizes = np.bincount(counted.ravel(), minlength=count + 1)[1:]
    if sizes.any() or not kept:
        kept.add(int((sizes if sizes.any() else np.bincount(labels.ravel())[1:]).argmax()) + 1)
    kept.discard(0)
    return np.asarray(np.isin(labels, sorted(kept)))
