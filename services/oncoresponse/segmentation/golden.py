"""Golden vectors of the networks: inputs by formula, and some of the probabilities that each network gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.folder import ModelFolder
from oncoresponse.model.golden import GoldenNetworks, golden_mismatch, require_made_for
from oncoresponse.segmentation.inference import SEGMENTATION_FOLDER, Segmenter
from oncoresponse.segmentation.network import INPUT_CHANNELS, NETWORK_FILE, NetworkDescription

CPU_TOLERANCE = 1e-3
"""Of a probability in float32: CPUs of different makes sum in different orders, which was seen to move it by 1e-5."""
CUDA_TOLERANCE = 0.03
"""Of a probability in half precision, or compiled."""

NETWORK_PATH = f"{SEGMENTATION_FOLDER}/{NETWORK_FILE}"
"""The file of a model folder that names the weights, for which golden vectors are made."""
_STEP = 5
_COARSEST_VOXELS = 3
_SMALL_STEP = 2
_SMALL_UPTAKE = 3.0
"""With less, one of the shipped networks sees next to nothing in a small ball, and a fault in it would not show."""


def golden_input(size: int, uptake: float = 1.0) -> npt.NDArray[np.float32]:
    """Axes (channel, k, j, i), ``size`` voxels along each: a warm ball on a wavy ground in both images, no prompt.

    ``uptake`` multiplies the first image.
    """
    k, j, i = np.meshgrid(*[np.arange(size, dtype=np.float64)] * 3, indexing="ij")
    middle = (size - 1) / 2
    ball = np.exp(-((k - middle) ** 2 + (j - middle) ** 2 + (i - middle) ** 2) / (2 * (size / 8) ** 2))
    waves = 0.1 * np.sin(0.37 * k) * np.cos(0.23 * j + 0.11 * i)
    array = np.zeros((INPUT_CHANNELS, size, size, size), dtype=np.float32)
    array[0] = uptake * (2.0 * ball + waves)
    array[1] = 0.5 * ball - waves
    return array


def small_size(description: NetworkDescription) -> int:
    """Voxels along each axis of the small input: three at the coarsest resolution, enough to normalize."""
    return min(_COARSEST_VOXELS * description.network.stride, description.patch_size)


def made_networks(folder: ModelFolder, segmenter: Segmenter) -> GoldenNetworks:
    """What the networks of a folder give here; to be kept with the folder."""
    large, small = (
        tuple(tuple(round(float(value), 7) for value in member) for member in _found(segmenter, size))
        for size in (segmenter.description.patch_size, small_size(segmenter.description))
    )
    return GoldenNetworks(made_for=folder.manifest.files[NETWORK_PATH], probabilities=large, small=small)


def require_golden_networks(folder: ModelFolder, segmenter: Segmenter, golden: GoldenNetworks) -> None:
    """Compare; it takes the place of a run on empty images that would load the same kernels.

    In float32 on a CPU the small input is enough: the same kernels run for each size, and it takes a fifth of the time.

    Raises:
        ModelGoldenMismatch: A probability is another one, or the vectors are of other networks.
        ModelFolderInvalid: The vectors have another shape than what the networks give.
    """
    require_made_for(folder, golden.made_for, NETWORK_PATH)
    if segmenter.is_full_precision and golden.small is not None:
        size, probabilities = small_size(segmenter.description), golden.small
    else:
        size, probabilities = segmenter.description.patch_size, golden.probabilities
    found, expected = _found(segmenter, size), np.array(probabilities)
    if found.shape != expected.shape:
        raise ModelFolderInvalid(
            f"The golden vectors of model '{folder.definition.name}' are not of these networks. Make them anew: "
            "'oncoresponse models golden'."
        )
    difference = float(np.abs(found - expected).max())
    if not difference <= (CPU_TOLERANCE if segmenter.is_full_precision else CUDA_TOLERANCE):
        raise golden_mismatch(folder, "The networks", difference)


def _found(segmenter: Segmenter, size: int) -> npt.NDArray[np.float32]:
    is_small = size < segmenter.description.patch_size
    array = golden_input(size, _SMALL_UPTAKE if is_small else 1.0)
    return _sampled(segmenter.golden_probabilities(array), _SMALL_STEP if is_small else _STEP)


def _sampled(probabilities: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    """Through the middle along each axis, where the values lie between 0 and 1."""
    middle = probabilities.shape[-1] // 2
    lines = [
        probabilities[:, ::step, middle, middle],
        probabilities[:, middle, ::step, middle],
        probabilities[:, middle, middle, ::step],
    ]
    return np.concatenate(lines, axis=1)
