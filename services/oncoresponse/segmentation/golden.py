"""Golden vectors of the networks: a small input by formula, and some of the probabilities that each network gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.model.folder import ModelFolder
from oncoresponse.model.golden import GoldenNetworks, golden_mismatch, require_made_for
from oncoresponse.segmentation.inference import SEGMENTATION_FOLDER, Segmenter
from oncoresponse.segmentation.network import INPUT_CHANNELS, NETWORK_FILE

CPU_TOLERANCE = 1e-3
"""Of a probability in float32: CPUs of different makes sum in different orders, which was seen to move it by 1e-5."""
CUDA_TOLERANCE = 0.03
"""Of a probability in half precision, or compiled."""

NETWORK_PATH = f"{SEGMENTATION_FOLDER}/{NETWORK_FILE}"
"""The file of a model folder that names the weights, for which golden vectors are made."""
_STEP = 5


def golden_input(size: int) -> npt.NDArray[np.float32]:
    """Axes (channel, k, j, i), ``size`` voxels along each: a warm ball on a wavy ground in both images, no prompt."""
    k, j, i = np.meshgrid(*[np.arange(size, dtype=np.float64)] * 3, indexing="ij")
    middle = (size - 1) / 2
    ball = np.exp(-((k - middle) ** 2 + (j - middle) ** 2 + (i - middle) ** 2) / (2 * (size / 8) ** 2))
    waves = 0.1 * np.sin(0.37 * k) * np.cos(0.23 * j + 0.11 * i)
    array = np.zeros((INPUT_CHANNELS, size, size, size), dtype=np.float32)
    array[0] = 2.0 * ball + waves
    array[1] = 0.5 * ball - waves
    return array


def made_networks(folder: ModelFolder, segmenter: Segmenter) -> GoldenNetworks:
    """What the networks of a folder give here; to be kept with the folder."""
    found = _sampled(segmenter.golden_probabilities(golden_input(segmenter.description.patch_size)))
    return GoldenNetworks(
        made_for=folder.manifest.files[NETWORK_PATH],
        probabilities=tuple(tuple(round(float(value), 7) for value in member) for member in found),
    )


def require_golden_networks(folder: ModelFolder, segmenter: Segmenter, golden: GoldenNetworks) -> None:
    """Compare; it takes the place of a run on empty images that would load the same kernels.

    Raises:
        ModelGoldenMismatch: A probability is another one, or the vectors are of other networks.
        ModelFolderInvalid: The vectors have another shape than what the networks give.
    """
    require_made_for(folder, golden.made_for, NETWORK_PATH)
    found = _sampled(segmenter.golden_probabilities(golden_input(segmenter.description.patch_size)))
    expected = np.array(golden.probabilities)
    if found.shape != expected.shape:
        raise ModelFolderInvalid(
            f"The golden vectors of model '{folder.definition.name}' are not of these networks. Make them anew: "
            "'oncoresponse models golden'."
        )
    difference = float(np.abs(found - expected).max())
    if not difference <= (CPU_TOLERANCE if segmenter.is_full_precision else CUDA_TOLERANCE):
        raise golden_mismatch(folder, "The networks", difference)


def _sampled(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Through the middle along each axis, where the values lie between 0 and 1."""
    middle = probabilities.shape[-1] // 2
    lines = [
        probabilities[:, ::_STEP, middle, middle],
        probabilities[:, middle, ::_STEP, middle],
        probabilities[:, middle, middle, ::_STEP],
    ]
    return np.concatenate(lines, axis=1)
