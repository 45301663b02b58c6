"""Undecimated separable wavelet images, equal to pyradiomics' by PyWavelets, computed for the lesion's box only.

pyradiomics pads each odd axis by one voxel and lets PyWavelets filter the whole image periodically. Here the same sums,
term by term in the same order and precision, are formed only where the lesion's box needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pywt

from oncoradiomics.native.compiled import compiled
from oncoradiomics.native.region_of_interest import Box


@compiled(
    "void(float32[:,:,::1], float32[:,::1], int64, int64, int64, float32[:,:,::1], float32[:,:,::1])",
    "void(float64[:,:,::1], float64[:,::1], int64, int64, int64, float64[:,:,::1], float64[:,:,::1])",
)
def _filter_axis(
    image: npt.NDArray[Any],
    filters: npt.NDArray[Any],
    first: int,
    period: int,
    step: int,
    low: npt.NDArray[Any],
    high: npt.NDArray[Any],
) -> None:
    """Low-pass and high-pass along one axis.

    Args:
        image: (outer, length + taps - 1, inner); entry ``x + taps - 1 - f`` meets tap ``f`` for output ``x``.
        filters: Rows low and high.
        first: Index of output 0 in the padded image, of which ``period`` is the length.
        period: See ``first``.
        step: 0 to filter along the middle axis, 1 along the last.
        low: Result of the same shape, shorter along the filtered axis.
        high: As ``low``.
    """
    taps = filters.shape[1]
    outputs = low.shape[2] if step else low.shape[1]
    order = np.empty((outputs, taps), np.int64)
    for x in range(outputs):
        # PyWavelets adds what wraps around the far end first, in reverse.
        beyond = (first + x) % period + taps // 2 - period
        for f in range(taps):
            order[x, f] = beyond - f if 0 <= f <= beyond else f
    for o in range(image.shape[0]):
        if step:
            for m in range(image.shape[1]):
                for f in range(taps):
                    a = filters[0, f]
                    b = filters[1, f]
                    for x in range(outputs):
                        value = image[o, m, x + taps - 1 - f]
                        low[o, m, x] = value * a if f == 0 else low[o, m, x] + value * a
                        high[o, m, x] = value * b if f == 0 else high[o, m, x] + value * b
                for x in range(outputs):
                    if order[x, 0] == 0:
                        continue
                    for f in range(taps):
                        tap = order[x, f]
                        value = image[o, m, x + taps - 1 - tap]
                        low[o, m, x] = value * filters[0, tap] if f == 0 else low[o, m, x] + value * filters[0, tap]
                        high[o, m, x] = value * filters[1, tap] if f == 0 else high[o, m, x] + value * filters[1, tap]
        else:
            for x in range(outputs):
                for f in range(taps):
                    tap = order[x, f]
                    row = x + taps - 1 - tap
                    a = filters[0, tap]
                    b = filters[1, tap]
                    for i in range(image.shape[2]):
                        low[o, x, i] = image[o, row, i] * a if f == 0 else low[o, x, i] + image[o, row, i] * a
                        high[o, x, i] = image[o, row, i] * b if f == 0 else high[o, x, i] + image[o, row, i] * b


@cache
def _filters(wavelet: str, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Rows low-pass and high-pass, read off PyWavelets' response to a single one.

    Its filters in single precision are not those in double precision rounded.
    """
    bank = pywt.Wavelet(wavelet)
    taps = bank.dec_len
    impulse = np.zeros(4 * taps, kind)
    impulse[taps] = 1
    start = taps - taps // 2
    return np.array([band[start : start + taps] for band in pywt.swt(impulse, bank, level=1)[0]], kind)


def _both(
    image: npt.NDArray[Any], filters: npt.NDArray[Any], axis: int, first: int, period: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    shape = list(image.shape)
    shape[axis] -= filters.shape[1] - 1
    low, high = np.empty(shape, image.dtype), np.empty(shape, image.dtype)
    if axis == 0:
        _, rows, columns = image.shape
        views = [array.reshape(1, array.shape[0], rows * columns) for array in (image, low, high)]
    else:
        views = [image, low, high]
    _filter_axis(views[0], filters, first, period, int(axis == 2), views[1], views[2])
    return low, high


def wavelet_images(
    image: npt.NDArray[Any], box: Box, wavelet: str, start_level: int, levels: int, plane_axis: int | None
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Name and values in the box of each decomposition, in pyradiomics' order, the approximation last.

    Args:
        image: Whole image, axes (k, j, i).
        box: Where the values are wanted.
        wavelet: PyWavelets' name.
        start_level: Approximations taken before the first decomposition.
        levels: Decompositions.
        plane_axis: Axis (0 for k) that is not filtered, ``None`` for three dimensions.
    """
    kind = np.dtype(np.float32 if image.dtype == np.float32 else np.float64)
    filters = _filters(wavelet, kind)
    taps = filters.shape[1]
    axes = [axis for axis in (2, 1, 0) if axis != plane_axis]
    periods = [size + size % 2 for size in image.shape]
    passes = start_level + levels
    # Output x needs inputs from x + taps / 2 - taps + 1 to x + taps / 2, for each pass anew.
    before, after = taps - 1 - taps // 2, taps // 2
    starts, gathered = [], []
    for axis, part in enumerate(box):
        reach = passes if axis in axes else 0
        places = np.arange(part.start - reach * before, part.stop + reach * after) % periods[axis]
        places[places == image.shape[axis]] = 0
        starts.append(part.start - reach * before)
        gathered.append(places)
    data = np.ascontiguousarray(image[np.ix_(*gathered)], kind)

    for done in range(1, passes + 1):
        bands = {"": data}
        for axis in axes:
            first = starts[axis] + before
            split = {}
            for name, band in bands.items():
                low, high = _both(band, filters, axis, first, periods[axis])
                split[name + "L"] = low
                split[name + "H"] = high
                if done <= start_level:
                    del split[name + "H"]
            bands = split
            starts[axis] = first
        data = bands.pop("L" * len(axes))
        level = done - start_level
        prefix = "wavelet" if level == 1 else f"wavelet{level}"
        if level >= 1:
            for name, band in bands.items():
                yield f"{prefix}-{name}", _cut(band, starts, box)
    prefix = "wavelet" if levels == 1 else f"wavelet{levels}"
    yield f"{prefix}-{'L' * len(axes)}", _cut(data, starts, box)


def _cut(band: npt.NDArray[Any], starts: list[int], box: Box) -> npt.NDArray[Any]:
    return band[tuple(slice(part.start - start, part.stop - start) for part, start in zip(box, starts, strict=True))]
