"""A network over a large volume by overlapping windows, weighted where they overlap.

Places, weights and sums are those of MONAI's ``sliding_window_inference`` with one window at a time, to the last bit; a
test compares the two. MONAI itself is not used where patients are served, because importing it takes longer than
segmenting a study.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Literal

import torch

Weighting = Literal["constant", "gaussian"]

_SIGMA = 0.125
"""Standard deviation of the Gaussian weights, as a share of the window."""
_SMALLEST_WEIGHT = 1e-3


def sliding_window_logits(
    inputs: torch.Tensor,
    window: Sequence[int],
    predict: Callable[[torch.Tensor], torch.Tensor],
    *,
    overlap: float,
    weighting: Weighting,
    padding: float = 0.0,
) -> torch.Tensor:
    """The weighted mean of what a network gives for the windows that a voxel is in.

    Args:
        inputs: Axes (1, channel, k, j, i), on the device of the network.
        window: Voxels along k, j and i.
        predict: A window to axes (1, channel, k, j, i) of the window's size.
        overlap: Share by which neighbouring windows overlap, 0 to below 1.
        weighting: ``gaussian`` counts the middle of a window more than its borders.
        padding: What is put around inputs that are smaller than a window.

    Returns:
        Axes (1, channel, k, j, i) of the size of the inputs and of their dtype, on the same device.
    """
    shape = inputs.shape[2:]
    missing = [max(size - count, 0) for size, count in zip(window, shape, strict=True)]
    before = [count // 2 for count in missing]
    if any(missing):
        # torch wants the last axis first.
        ends = [
            end for low, count in zip(reversed(before), reversed(missing), strict=True) for end in (low, count - low)
        ]
        inputs = torch.nn.functional.pad(inputs, ends, value=padding)
    weights = _window_weights(window, weighting, inputs.device).to(inputs.dtype)
    total: torch.Tensor | None = None
    counted = torch.zeros((1, 1, *inputs.shape[2:]), dtype=inputs.dtype, device=inputs.device)
    starts = [_starts(count, size, overlap) for count, size in zip(inputs.shape[2:], window, strict=True)]
    for corner in itertools.product(*starts):
        place = _box(corner, window)
        found = predict(inputs[place])
        if total is None:
            total = torch.zeros((1, found.shape[1], *inputs.shape[2:]), dtype=inputs.dtype, device=inputs.device)
        # Half precision stays half precision until it is summed, as in MONAI.
        total[place] += (found * weights).to(found.dtype)
        counted[place] += weights
    assert total is not None  # noqa: S101 (there is always a first window)
    total /= counted
    return total[_box(before, shape)]


def _box(start: Sequence[int], size: Sequence[int]) -> tuple[EllipsisType | slice, ...]:
    """Index of a box in the axes of space."""
    return (..., *(slice(low, low + count) for low, count in zip(start, size, strict=True)))


def _starts(count: int, size: int, overlap: float) -> list[int]:
    """Where windows begin along one axis; the last one ends with the axis."""
    if count == size:
        return [0]
    step = max(int(size * (1 - overlap)), 1)
    return [*range(0, count - size, step), count - size]


def _window_weights(window: Sequence[int], weighting: Weighting, device: torch.device) -> torch.Tensor:
    if weighting == "constant":
        return torch.ones(tuple(window), device=device)
    weights = torch.ones((), device=device)
    for size in window:
        distance = torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2
        weights = weights.unsqueeze(-1) * torch.exp(distance**2 / (-2 * (_SIGMA * size) ** 2))
    return weights.clamp(min=max(float(weights.min()), _SMALLEST_WEIGHT))
