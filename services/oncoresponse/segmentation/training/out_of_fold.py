"""Each patient of the cohort, segmented by the one network that was not trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
from rich.progress import Progress

from oncoresponse.segmentation.lesion_prompt import LesionBox, LesionPoint, LesionPrompt, bounds_mm, box_of_mask
from oncoresponse.segmentation.network import NetworkDescription, load_networks
from oncoresponse.segmentation.preprocessing import NetworkInput, prepare, probability_on_image
from oncoresponse.segmentation.training.cohort import CohortImages, assign_folds, read_patient
from oncoresponse.segmentation.windowed_prediction import fast_network, predict_probabilities

BOX_ERROR_MM = 10.0
"""Each face of the box a physician might draw is off by up to this, in either direction."""
_CPU = torch.device("cpu")
_TRIM_LARGEST_MM = 40.0
_TRIM_KEPT_MARGIN_MM = 10.0


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Tumor probabilities of one patient on the PET grid (trimmed: on a part of it) by the network of their fold.

    Attributes:
        images: PET, CT and physician's contour.
        fold: Whose network it was.
        prompts: The prompts, by the name of the prompt.
        probabilities: By the name of the prompt.
        trimmed: Without prompt, on a field of view cut unevenly.
        trimmed_lesion: Physician's contour on that part.
        without_ct: Without prompt, without the CT.
    """

    images: CohortImages
    fold: int
    prompts: dict[str, LesionPrompt | None]
    probabilities: dict[str, sitk.Image]
    trimmed: sitk.Image
    trimmed_lesion: sitk.Image
    without_ct: sitk.Image


def segment_out_of_fold(
    data: Path,
    patients: Sequence[str],
    description: NetworkDescription,
    segmentation_directory: Path,
    progress: Progress | None = None,
) -> Iterator[OutOfFold]:
    """Segment patient after patient.

    Args:
        data: The cohort the networks were trained on.
        patients: Its patients, as they were when it was split into folds.
        description: Contents of ``network.json``.
        segmentation_directory: Where the weights are.
        progress: Shows a bar.
    """
    networks = [
        fast_network(network, _CPU, description.network)
        for network in load_networks(segmentation_directory, description)
    ]
    folds = assign_folds(patients, len(networks), description.training.seed)
    random = np.random.default_rng(description.training.seed)
    task = progress.add_task("out-of-fold evaluation", total=len(patients)) if progress is not None else None
    for patient in patients:
        images = read_patient(data, patient)
        network = networks[folds[patient]]
        low, high = _random_trim(images, random)
        prompts: dict[str, LesionPrompt | None] = {
            "none": None,
            "point": hottest_point(images),
            "box": rough_box(images, random),
        }
        inputs = prepare(images.pet, images.ct, description.preprocessing)
        trimmed_pet = sitk.RegionOfInterest(images.pet, (high - low).tolist(), low.tolist())
        trimmed = prepare(trimmed_pet, images.ct, description.preprocessing)
        blind = NetworkInput(inputs.array * np.array([1, 0], dtype=np.float32)[:, None, None, None], inputs.grid, 0.0)
        yield OutOfFold(
            images,
            folds[patient],
            prompts,
            {
                name: network_probability(network, inputs, prompt, images.pet, description)
                for name, prompt in prompts.items()
            },
            network_probability(network, trimmed, None, trimmed_pet, description),
            sitk.RegionOfInterest(images.tumor, (high - low).tolist(), low.tolist()),
            network_probability(network, blind, None, images.pet, description),
        )
        if progress is not None and task is not None:
            progress.advance(task)


def hottest_point(images: CohortImages) -> LesionPoint:
    """Where a physician would click: the centre of the voxel with the highest SUV in the contour."""
    inside = sitk.GetArrayFromImage(images.tumor) > 0
    uptake = np.where(inside, sitk.GetArrayFromImage(images.pet), -np.inf)
    index = np.unravel_index(int(uptake.argmax()), uptake.shape)
    x, y, z = images.pet.TransformIndexToPhysicalPoint([int(value) for value in index[::-1]])
    return LesionPoint((x, y, z))


def rough_box(images: CohortImages, random: np.random.Generator) -> LesionBox:
    """The box around the contour with each face moved at random by up to ``BOX_ERROR_MM`` in or out."""
    exact_low, exact_high = bounds_mm(box_of_mask(images.tumor))
    low = exact_low + random.uniform(-BOX_ERROR_MM, BOX_ERROR_MM, 3)
    high = exact_high + random.uniform(-BOX_ERROR_MM, BOX_ERROR_MM, 3)
    middle = (low + high) / 2
    low, high = np.minimum(low, middle - 2), np.maximum(high, middle + 2)
    x, y, z = low.tolist()
    far_x, far_y, far_z = high.tolist()
    return LesionBox((x, y, z), (far_x, far_y, far_z))


def network_probability(
    network: torch.nn.Module,
    inputs: NetworkInput,
    prompt: LesionPrompt | None,
    pet: sitk.Image,
    description: NetworkDescription,
) -> sitk.Image:
    """Tumor probability by one network on the grid of ``pet``."""
    probability = predict_probabilities(
        [network],
        inputs.with_prompt(prompt),
        description.network,
        description.inference,
        _CPU,
        description.patch_size,
    )[0]
    return probability_on_image(probability, inputs.grid, pet)


def _random_trim(
    images: CohortImages, random: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Bounds (i, j, k) of a field of view cut unevenly, at least 1 cm away from the contour.

    The cohort's images end at nearly the same distance from the contour on every side. A network that had learned
    that distance would do worse here.
    """
    spacing = np.array(images.pet.GetSpacing())
    size = np.array(images.pet.GetSize())
    tumor = np.argwhere(sitk.GetArrayFromImage(images.tumor))[:, ::-1]
    largest = np.floor(_TRIM_LARGEST_MM / spacing)
    kept = np.ceil(_TRIM_KEPT_MARGIN_MM / spacing)
    room_low = np.clip(np.minimum(tumor.min(axis=0) - kept, largest), 0, None)
    room_high = np.clip(np.minimum(size - 1 - tumor.max(axis=0) - kept, largest), 0, None)
    low = np.floor(random.random(3) * (room_low + 1)).astype(np.int64)
    high = size - np.floor(random.random(3) * (room_high + 1)).astype(np.int64)
    return low, high
