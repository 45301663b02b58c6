"""Gray levels of one image inside the lesion: fixed bin size and fixed bin number (IBSI 2.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oncoradiomics.native.compiled import compiled


class NoGrayLevelsError(ValueError):
    """A filtered image has no finite values, or rounding put the lowest below the first bin.

    The reference engine decides what happens then.
    """


@dataclass(frozen=True)
class GrayLevels:
    """The discretized image.

    Attributes:
        index: Of each voxel, in raster order: its place in ``levels``, from 1.
        levels: The gray levels that occur, ascending, with a 0 in front so that ``levels[index]`` is the gray level.
        counts: Number of voxels of each occurring level.
        highest: The highest gray level.
    """

    index: npt.NDArray[np.int32]
    levels: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    highest: int


def bin_edges(values: npt.NDArray[Any], bin_width: float, bin_count: int | None) -> npt.NDArray[np.float64]:
    """Edges of the bins as pyradiomics places them: multiples of the width, or equal parts of the range.

    The arithmetic stays in the type of ``values``, since an edge that is rounded otherwise moves voxels that lie on it.
    """
    lowest, highest = values.min(), values.max()
    if bin_count is not None:
        edges = np.histogram(np.array([lowest, highest]), bin_count)[1]
        edges[-1] += 1
        return edges.astype(np.float64)
    start = lowest - (lowest % bin_width)
    return np.arange(start, highest + 2 * bin_width, bin_width).astype(np.float64)


@compiled("int32[:](float64[:], float64[:])")
def _bins(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    last = edges.size - 1
    scale = last / (edges[last] - edges[0])
    bins = np.empty(values.size, np.int32)
    for v in range(values.size):
        value = values[v]
        # A guess by division, made exact by comparison with the edges themselves.
        guess = int((value - edges[0]) * scale)
        guess = min(max(guess, 0), last)
        while guess < last and edges[guess + 1] <= value:
            guess += 1
        while guess >= 0 and edges[guess] > value:
            guess -= 1
        bins[v] = guess + 1
    return bins


def discretize(values: npt.NDArray[Any], bin_width: float, bin_count: int | None) -> GrayLevels:
    """Gray levels of the lesion's voxels, as pyradiomics numbers them.

    Args:
        values: Intensities of the voxels in raster order, in the type of the image.
        bin_width: In the unit of the image; ignored where ``bin_count`` is given.
        bin_count: Number of bins.

    Raises:
        NoGrayLevelsError: See there.
    """
    if not np.isfinite(values).all():
        raise NoGrayLevelsError
    edges = bin_edges(values, bin_width, bin_count)
    return gray_levels(_bins(np.ascontiguousarray(values, np.float64), edges))


def gray_levels(bins: npt.NDArray[np.int32]) -> GrayLevels:
    """The levels that occur, from bin numbers that start at 1.

    Raises:
        NoGrayLevelsError: There is a bin number below 1.
    """
    if bins.min() < 1:
        raise NoGrayLevelsError
    counts = np.bincount(bins)
    present = np.flatnonzero(counts)
    places = np.zeros(counts.size, np.int32)
    places[present] = np.arange(1, present.size + 1, dtype=np.int32)
    levels = np.concatenate([np.zeros(1, np.int64), present.astype(np.int64)])
    return GrayLevels(places[bins], levels, counts[present].astype(np.int64), int(present[-1]))
