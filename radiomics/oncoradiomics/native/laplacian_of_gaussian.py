"""Laplacian of Gaussian, equal to ITK's LaplacianRecursiveGaussianImageFilter, computed for the lesion's box only.

ITK approximates Gaussian and second derivative by the recursive filters of Farneback and Westin (J Math Imaging Vision
26, 2006), forth and back along each axis in double precision, and stores each intermediate image in
single precision. Here the same recursions run in the same order over the lesion's box and a margin, as long as the
recursion remembers, and every intermediate image is cut to what the next axis needs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from oncoradiomics.native.compiled import compiled
from oncoradiomics.native.region_of_interest import Box

MARGIN_SIGMAS = 16
"""The slowest part of the recursion decays by exp(-1.3732) a sigma: what begins 16 sigma away is below 3e-10."""

_LINES = 128
"""Enough to fill the registers, few enough for the cache; 16 to 64 were slower."""
MINIMUM_SIZE = 4

# Farneback and Westin's fit: a * cos(w x) + b * sin(w x), damped by l, for the Gaussian and its second derivative.
_FREQUENCIES = (0.6681, 2.0787)
_DAMPINGS = (-1.3932, -1.3732)
_GAUSSIAN = ((1.3530, 1.8151), (-0.3531, 0.0902))
_SECOND_DERIVATIVE = ((-1.3563, 5.2318), (0.3446, -2.2355))


class _Recursion:
    """Coefficients: ``n`` forward, ``m`` backward, ``d`` feedback, with sums as the normalization needs them."""

    def __init__(self, sigma_voxels: float) -> None:
        self.cosines = [math.cos(w / sigma_voxels) for w in _FREQUENCIES]
        self.sines = [math.sin(w / sigma_voxels) for w in _FREQUENCIES]
        self.decays = [math.exp(damping / sigma_voxels) for damping in _DAMPINGS]
        (cos1, cos2), (exp1, exp2) = self.cosines, self.decays
        d1 = -2 * (exp2 * cos2 + exp1 * cos1)
        d2 = 4 * cos2 * cos1 * exp1 * exp2
        d2 += exp1 * exp1 + exp2 * exp2
        d3 = -2 * cos1 * exp1 * exp2 * exp2
        d3 += -2 * cos2 * exp2 * exp1 * exp1
        self.d = (d1, d2, d3, exp1 * exp1 * exp2 * exp2)
        self.d_sum, self.d_first, self.d_second = _moments((1.0, *self.d))

    def numerator(self, fit: tuple[tuple[float, float], tuple[float, float]]) -> tuple[float, float, float, float]:
        (a1, b1), (a2, b2) = fit
        (cos1, cos2), (sin1, sin2), (exp1, exp2) = self.cosines, self.sines, self.decays
        n1 = exp2 * (b2 * sin2 - (a2 + 2 * a1) * cos2)
        n1 += exp1 * (b1 * sin1 - (a1 + 2 * a2) * cos1)
        n2 = (a1 + a2) * cos2 * cos1
        n2 -= b1 * cos2 * sin1 + b2 * cos1 * sin2
        n2 *= 2 * exp1 * exp2
        n2 += a2 * exp1 * exp1 + a1 * exp2 * exp2
        n3 = exp2 * exp1 * exp1 * (b2 * sin2 - a2 * cos2)
        n3 += exp1 * exp2 * exp2 * (b1 * sin1 - a1 * cos1)
        return a1 + a2, n1, n2, n3

    def complete(self, n: tuple[float, ...]) -> npt.NDArray[np.float64]:
        """Rows n, m, d, boundary values of the forward and of the backward pass."""
        d = self.d
        m = (n[1] - d[0] * n[0], n[2] - d[1] * n[0], n[3] - d[2] * n[0], -d[3] * n[0])
        n_sum, m_sum, d_sum = n[0] + n[1] + n[2] + n[3], m[0] + m[1] + m[2] + m[3], 1 + d[0] + d[1] + d[2] + d[3]
        forward = [value * n_sum / d_sum for value in d]
        backward = [value * m_sum / d_sum for value in d]
        return np.array([n, m, d, forward, backward])


def _moments(values: tuple[float, ...]) -> tuple[float, float, float]:
    """Sum of the values, and of the values times their place and its square."""
    total = first = second = 0.0
    for place, value in enumerate(values):
        total += value
        first += place * value
        second += place * place * value
    return total, first, second


def gaussian_coefficients(sigma_voxels: float) -> npt.NDArray[np.float64]:
    """Coefficients of the smoothing recursion, shape (5, 4)."""
    recursion = _Recursion(sigma_voxels)
    n = recursion.numerator(_GAUSSIAN)
    scale = 2 * _moments(n)[0] / recursion.d_sum - n[0]
    return recursion.complete(tuple(value * (1.0 / scale) for value in n))


def second_derivative_coefficients(sigma_voxels: float, sigma_mm: float) -> npt.NDArray[np.float64]:
    """Coefficients of the second derivative times sigma squared (normalized across scale), shape (5, 4)."""
    recursion = _Recursion(sigma_voxels)
    smooth, second = recursion.numerator(_GAUSSIAN), recursion.numerator(_SECOND_DERIVATIVE)
    smooth_moments, second_moments = _moments(smooth), _moments(second)
    d_sum, d_first, d_second = recursion.d_sum, recursion.d_first, recursion.d_second
    beta = -(2 * second_moments[0] - d_sum * second[0]) / (2 * smooth_moments[0] - d_sum * smooth[0])
    n = [a + beta * b for a, b in zip(second, smooth, strict=True)]
    total, first, square = (a + beta * b for a, b in zip(second_moments, smooth_moments, strict=True))
    scale = square * d_sum * d_sum - d_second * total * d_sum - 2 * first * d_first * d_sum
    scale += 2 * d_first * d_first * total
    scale /= d_sum * d_sum * d_sum
    return recursion.complete(tuple(value * (sigma_mm * sigma_mm / scale) for value in n))


@compiled(
    "void(float32[:,:,:], float64[:,::1], int64, float32[:,:,:])",
    "void(float64[:,:,:], float64[:,::1], int64, float32[:,:,:])",
)
def _filter_lines(
    image: npt.NDArray[Any], coefficients: npt.NDArray[np.float64], first: int, out: npt.NDArray[np.float32]
) -> None:
    """Filter along the middle axis; ``out`` gets the part that begins at ``first``.

    Neighboring lines go side by side through the recursion, so that the processor's wide registers are used.
    """
    n0, n1, n2, n3 = coefficients[0]
    m1, m2, m3, m4 = coefficients[1]
    d1, d2, d3, d4 = coefficients[2]
    bn1, bn2, bn3, bn4 = coefficients[3]
    bm1, bm2, bm3, bm4 = coefficients[4]
    outer, length, lines = image.shape
    last = first + out.shape[1]
    data = np.empty((length, _LINES))
    forth = np.empty((length, _LINES))
    back = np.empty((length, _LINES))
    for o in range(outer):
        for start in range(0, lines, _LINES):
            width = min(_LINES, lines - start)
            for x in range(length):
                for b in range(width):
                    data[x, b] = image[o, x, start + b]
            # Beyond the ends the image goes on with its first and last value.
            for b in range(width):
                edge = data[0, b]
                f0 = edge * n0 + edge * n1 + edge * n2 + edge * n3
                f0 -= edge * bn1 + edge * bn2 + edge * bn3 + edge * bn4
                f1 = data[1, b] * n0 + edge * n1 + edge * n2 + edge * n3
                f1 -= f0 * d1 + edge * bn2 + edge * bn3 + edge * bn4
                f2 = data[2, b] * n0 + data[1, b] * n1 + edge * n2 + edge * n3
                f2 -= f1 * d1 + f0 * d2 + edge * bn3 + edge * bn4
                f3 = data[3, b] * n0 + data[2, b] * n1 + data[1, b] * n2 + edge * n3
                f3 -= f2 * d1 + f1 * d2 + f0 * d3 + edge * bn4
                forth[0, b], forth[1, b], forth[2, b], forth[3, b] = f0, f1, f2, f3
            for x in range(4, last):
                for b in range(width):
                    value = data[x, b] * n0 + data[x - 1, b] * n1 + data[x - 2, b] * n2 + data[x - 3, b] * n3
                    forth[x, b] = value - (
                        forth[x - 1, b] * d1 + forth[x - 2, b] * d2 + forth[x - 3, b] * d3 + forth[x - 4, b] * d4
                    )
            e = length - 1
            for b in range(width):
                edge = data[e, b]
                r0 = edge * m1 + edge * m2 + edge * m3 + edge * m4
                r0 -= edge * bm1 + edge * bm2 + edge * bm3 + edge * bm4
                r1 = data[e, b] * m1 + edge * m2 + edge * m3 + edge * m4
                r1 -= r0 * d1 + edge * bm2 + edge * bm3 + edge * bm4
                r2 = data[e - 1, b] * m1 + data[e, b] * m2 + edge * m3 + edge * m4
                r2 -= r1 * d1 + r0 * d2 + edge * bm3 + edge * bm4
                r3 = data[e - 2, b] * m1 + data[e - 1, b] * m2 + data[e, b] * m3 + edge * m4
                r3 -= r2 * d1 + r1 * d2 + r0 * d3 + edge * bm4
                back[e, b], back[e - 1, b], back[e - 2, b], back[e - 3, b] = r0, r1, r2, r3
            for x in range(length - 5, first - 1, -1):
                for b in range(width):
                    value = data[x + 1, b] * m1 + data[x + 2, b] * m2 + data[x + 3, b] * m3 + data[x + 4, b] * m4
                    back[x, b] = value - (
                        back[x + 1, b] * d1 + back[x + 2, b] * d2 + back[x + 3, b] * d3 + back[x + 4, b] * d4
                    )
            for x in range(first, last):
                for b in range(width):
                    out[o, x - first, start + b] = forth[x, b] + back[x, b]


# Views with the filtered axis in the middle; the last axis is the one whose lines go side by side.
_VIEWS = {0: (1, 0, 2), 1: (0, 1, 2), 2: (0, 2, 1)}


def _along(
    image: npt.NDArray[Any], axis: int, part: slice, coefficients: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    shape = list(image.shape)
    shape[axis] = part.stop - part.start
    out = np.empty(shape, np.float32)
    view = _VIEWS[axis]
    _filter_lines(image.transpose(view), coefficients, part.start, out.transpose(view))
    return out


def is_large_enough(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], sigma_mm: float) -> bool:
    """Whether pyradiomics would apply the filter to an image of this shape (k, j, i)."""
    return min(shape) >= MINIMUM_SIZE and all(
        size >= math.ceil(sigma_mm / spacing) + 1 for size, spacing in zip(shape, spacing_mm, strict=True)
    )


def laplacian_of_gaussian(
    image: npt.NDArray[Any], box: Box, spacing_mm: tuple[float, float, float], sigma_mm: float
) -> npt.NDArray[np.float32]:
    """The filtered image within a box, normalized across scale; the unit of the image.

    Args:
        image: Whole image, axes (k, j, i), large enough for the filter.
        box: Where the values are wanted.
        spacing_mm: (k, j, i).
        sigma_mm: Standard deviation of the Gaussian.
    """
    around, inner = [], []
    for part, size, spacing in zip(box, image.shape, spacing_mm, strict=True):
        margin = math.ceil(MARGIN_SIGMAS * sigma_mm / spacing) + MINIMUM_SIZE
        start, stop = max(part.start - margin, 0), min(part.stop + margin, size)
        around.append(slice(start, stop))
        inner.append(slice(part.start - start, part.stop - start))
    exact_in_single = image.dtype == np.float32 or image.dtype.itemsize <= 2
    cut = image[tuple(around)].astype(np.float32 if exact_in_single else np.float64)
    smooth = [gaussian_coefficients(sigma_mm / spacing) for spacing in spacing_mm]
    total: npt.NDArray[np.float32] | None = None
    # ITK counts axes from i: second derivative along one, smoothing along the other two in that order.
    for axis in (2, 1, 0):
        spacing = spacing_mm[axis]
        image_part = _along(cut, axis, inner[axis], second_derivative_coefficients(sigma_mm / spacing, sigma_mm))
        for other in (2, 1, 0):
            if other != axis:
                image_part = _along(image_part, other, inner[other], smooth[other])
        scaled = image_part * np.float64(1.0 / (spacing * spacing))
        total = (scaled if total is None else total + scaled).astype(np.float32)
    assert total is not None  # noqa: S101
    return total
