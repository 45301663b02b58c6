"""What nnU-Net v2 does to an image before its network and to the output behind it (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z): transpose, crop to what is not zero, normalize, resample; windows; the way back.

The package nnunetv2 itself is not used: it unpickles checkpoints, and it brings some thirty packages along. That these
functions give what nnunetv2 gives is tested against outputs of nnunetv2 (tests/data/nnunet).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage.transform import resize

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.segmentation.external.nnunet_plans import (
    IntensityProperties,
    Normalization,
    Plans,
    ResamplingArguments,
)

_ANISOTROPY = 3.0
_SMALLEST_DEVIATION = 1e-8
_SIGMA_SHARE = 1 / 8

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PreprocessedImage:
    """An image as the network sees it, and what leads back.

    Attributes:
        array: float32, axes (channel, three of space in the order of ``transpose_forward``).
        box: Where the crop lies in the transposed image.
        shape: Of the transposed image before the crop.
        spacing_mm: Of the transposed image, before resampling.
    """

    array: FloatArray
    box: tuple[slice, slice, slice]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


def preprocess(image: FloatArray, spacing_mm: Sequence[float], plans: Plans) -> PreprocessedImage:
    """Transpose, crop, normalize and resample.

    Args:
        image: float32, axes (channel, k, j, i), in the unit of the training images.
        spacing_mm: Along k, j, i.
        plans: See :func:`~oncoresponse.segmentation.external.nnunet_plans.read_plans`.

    Raises:
        ModelFolderInvalid: A channel lacks the intensity properties that its normalization needs.
    """
    settings = plans.configuration
    forward = plans.transpose_forward
    transposed = image.transpose(0, *(axis + 1 for axis in forward))
    first, second, third = (float(spacing_mm[axis]) for axis in forward)
    spacing = (first, second, third)
    filled = ndimage.binary_fill_holes((transposed != 0).any(axis=0))
    box = _bounding_box(filled)
    cropped, inside = transposed[(slice(None), *box)], filled[box]
    normalized = np.stack(
        [
            normalize(channel, scheme, properties, inside if masked else None)
            for channel, scheme, properties, masked in zip(
                cropped,
                settings.normalization_schemes,
                plans.intensities,
                settings.use_mask_for_norm,
                strict=True,
            )
        ]
    )
    shape = tuple(
        round(old / new * count) for count, old, new in zip(inside.shape, spacing, settings.spacing, strict=True)
    )
    array = resample(normalized, shape, spacing, settings.spacing, settings.resampling_fn_data_kwargs)
    return PreprocessedImage(array, box, (filled.shape[0], filled.shape[1], filled.shape[2]), spacing)


def logits_on_image(logits: FloatArray, image: PreprocessedImage, plans: Plans) -> FloatArray:
    """The network's output, resampled to the voxels of the crop (still transposed and cropped)."""
    shape = tuple(part.stop - part.start for part in image.box)
    settings = plans.configuration
    return resample(logits, shape, settings.spacing, image.spacing_mm, settings.resampling_fn_probabilities_kwargs)


def undo_crop_and_transpose(values: FloatArray, image: PreprocessedImage, plans: Plans) -> FloatArray:
    """Values of the crop in the whole image, axes (k, j, i); 0 where the image was cropped away."""
    whole = np.zeros(image.shape, dtype=np.float32)
    whole[image.box] = values
    return whole.transpose(plans.transpose_backward)


def normalize(
    channel: FloatArray,
    scheme: Normalization,
    properties: IntensityProperties | None,
    inside: npt.NDArray[np.bool_] | None,
) -> FloatArray:
    """One channel by one of nnU-Net's schemes.

    Args:
        channel: Axes of space.
        scheme: Name in ``plans.json``.
        properties: Of this channel in the training images; only ``CTNormalization`` uses them.
        inside: Where the image is not zero, for a z-score of only that part; None for the whole.

    Raises:
        ModelFolderInvalid: ``CTNormalization`` without properties.
    """
    image = channel.astype(np.float32)
    if scheme == "CTNormalization":
        if properties is None:
            raise ModelFolderInvalid("plans.json has no foreground_intensity_properties_per_channel for a CT channel.")
        clipped = np.clip(image, properties.percentile_00_5, properties.percentile_99_5)
        image = (clipped - np.float32(properties.mean)) / np.float32(max(properties.std, _SMALLEST_DEVIATION))
    elif scheme == "RescaleTo01Normalization":
        image = image - image.min()
        image = image / max(image.max(), _SMALLEST_DEVIATION)
    elif scheme == "ZScoreNormalization":
        part = np.ones(image.shape, dtype=bool) if inside is None else inside
        if part.any():
            image[part] = (image[part] - image[part].mean()) / max(image[part].std(), _SMALLEST_DEVIATION)
    return image.astype(np.float32)


def resample(
    array: FloatArray,
    shape: Sequence[int],
    old_spacing: Sequence[float],
    new_spacing: Sequence[float],
    settings: ResamplingArguments,
) -> FloatArray:
    """nnU-Net's ``resample_data_or_seg_to_shape``: splines, and slice by slice where one spacing is by far the largest.

    Args:
        array: Axes (channel, three of space).
        shape: Wanted, of the three axes of space.
        old_spacing, new_spacing: Before and after; decide whether slices are treated by themselves.
        settings: As in ``plans.json``.
    """
    if tuple(array.shape[1:]) == tuple(shape):
        return array
    axis = _separate_axis(old_spacing, new_spacing, settings.force_separate_z)
    resampled = [
        _resize(channel.astype(np.float64), shape, settings.order)
        if axis is None
        else _resize_slices(channel.astype(np.float64), shape, axis, settings)
        for channel in array
    ]
    return np.stack(resampled).astype(np.float32)


def predict_in_windows(
    networks: Sequence[Callable[[torch.Tensor], torch.Tensor]],
    array: FloatArray,
    patch_size: tuple[int, int, int],
    overlap: float,
    mirrored_axes: Sequence[int],
    device: torch.device,
) -> FloatArray:
    """Mean output of several networks, gaussian-weighted over windows that are spread evenly.

    Args:
        networks: One for each fold.
        array: Axes (channel, three of space).
        patch_size: Window.
        overlap: Share by which windows overlap at least.
        mirrored_axes: Axes of space along which mirrored images are averaged as well; empty for none.
        device: Where the networks are.

    Returns:
        float32, axes (output channel, three of space).
    """
    missing = [max(patch - count, 0) for patch, count in zip(patch_size, array.shape[1:], strict=True)]
    padded = np.pad(array, [(0, 0), *((count // 2, count - count // 2) for count in missing)])
    inside = tuple(slice(count // 2, count // 2 + size) for count, size in zip(missing, array.shape[1:], strict=True))
    image = torch.from_numpy(padded)
    weight = _gaussian(patch_size)
    weights = torch.zeros(padded.shape[1:])
    total: torch.Tensor | None = None
    flips = [axes for count in range(len(mirrored_axes) + 1) for axes in combinations(mirrored_axes, count)]
    with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
        for corner in _corners(padded.shape[1:], patch_size, overlap):
            place = tuple(slice(start, start + size) for start, size in zip(corner, patch_size, strict=True))
            window = image[(slice(None), *place)][None].to(device)
            output = _mean_output(networks, window, flips).float().cpu()
            if total is None:
                total = torch.zeros((output.shape[0], *padded.shape[1:]))
            total[(slice(None), *place)] += output * weight
            weights[place] += weight
    assert total is not None  # noqa: S101 (there is always one window)
    array_out: FloatArray = (total / weights).numpy()[(slice(None), *inside)]
    return array_out


def _mean_output(
    networks: Sequence[Callable[[torch.Tensor], torch.Tensor]], window: torch.Tensor, flips: Sequence[tuple[int, ...]]
) -> torch.Tensor:
    outputs = []
    for network in networks:
        for axes in flips:
            # Axes of space come behind those of batch and channel.
            turned = [axis + 2 for axis in axes]
            outputs.append(torch.flip(network(torch.flip(window, turned)), turned) if turned else network(window))
    return torch.stack(outputs).mean(dim=0)[0]


def _corners(shape: Sequence[int], patch: Sequence[int], overlap: float) -> Iterator[tuple[int, ...]]:
    starts = []
    for count, size in zip(shape, patch, strict=True):
        steps = int(np.ceil((count - size) / (size * (1 - overlap)))) + 1
        distance = (count - size) / (steps - 1) if steps > 1 else 0.0
        starts.append([int(np.round(distance * number)) for number in range(steps)])
    return product(*starts)


def _gaussian(patch: tuple[int, int, int]) -> torch.Tensor:
    impulse = np.zeros(patch)
    impulse[tuple(size // 2 for size in patch)] = 1
    weights = ndimage.gaussian_filter(impulse, [size * _SIGMA_SHARE for size in patch], mode="constant")
    weights /= weights.max()
    # A weight of zero would leave a voxel that only one window sees without a value.
    weights[weights == 0] = weights[weights > 0].min()
    return torch.from_numpy(weights.astype(np.float32))


def _bounding_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1]), slice(0, mask.shape[2])
    bounds = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
    first, second, third = (slice(int(low), int(high) + 1) for low, high in bounds)
    return first, second, third


def _separate_axis(old: Sequence[float], new: Sequence[float], force: bool | None) -> int | None:
    """The axis whose slices are resampled by themselves; None for ordinary resampling in three dimensions."""
    if force is False:
        return None
    for spacing in (old,) if force else (old, new):
        if force or max(spacing) / min(spacing) > _ANISOTROPY:
            largest = [axis for axis, value in enumerate(spacing) if value == max(spacing)]
            return largest[0] if len(largest) == 1 else None
    return None


def _resize(image: npt.NDArray[np.float64], shape: Sequence[int], order: int) -> npt.NDArray[np.float64]:
    resized: npt.NDArray[np.float64] = resize(image, tuple(shape), order, mode="edge", anti_aliasing=False)  # type: ignore[no-untyped-call]
    return resized


def _resize_slices(
    image: npt.NDArray[np.float64], shape: Sequence[int], axis: int, settings: ResamplingArguments
) -> npt.NDArray[np.float64]:
    in_plane = [count for number, count in enumerate(shape) if number != axis]
    stacked = np.stack([_resize(part, in_plane, settings.order) for part in np.moveaxis(image, axis, 0)], axis)
    if stacked.shape[axis] == shape[axis]:
        return stacked
    scale = np.array(stacked.shape) / np.array(shape)
    centres = (np.indices(shape) + 0.5) * scale.reshape(3, 1, 1, 1) - 0.5
    sampled: npt.NDArray[np.float64] = ndimage.map_coordinates(stacked, centres, order=settings.order_z, mode="nearest")
    return sampled
