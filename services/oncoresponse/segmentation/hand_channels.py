"""What a physician's hand said about a lesion, as input channels of the interactive networks.

Beside PET and CT (:mod:`oncoresponse.segmentation.preprocessing`) the interactive networks read six channels, in this
order and all zero where nothing was said:

- ``BOX``: 1 inside a box around the lesion;
- ``INSIDE``, ``OUTSIDE``: nearness to the nearest place that was marked as tumor, and as no tumor: 1 there, falling
  linearly to 0 at ``REACH_VOXELS``. Distances told networks more than Gaussians did (arXiv:2508.21680);
- ``EARLIER``: the contour that is corrected, 0 to 1;
- ``OUTLINES``: signed distance to the surface that shape-based interpolation (Raya and Udupa 1990,
  doi:10.1109/42.52980) lays through the outlined slices, positive inside, in units of ``SIGNED_REACH_VOXELS`` and
  clipped to -1 to 1;
- ``OUTLINED``: 1 on an outlined slice, falling linearly to 0 at ``SLICE_REACH_VOXELS``.

Training simulates the same channels on a GPU, so everything here is in torch and in voxels of the network's grid.
"""

from __future__ import annotations

import torch

PET, CT, BOX, INSIDE, OUTSIDE, EARLIER, OUTLINES, OUTLINED = range(8)
CHANNELS = 8

REACH_VOXELS = 10.0
SIGNED_REACH_VOXELS = 6.0
SLICE_REACH_VOXELS = 1.5

_FAR = 1e4


def nearness(places: torch.Tensor, marked: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Nearness to the nearest of several places.

    Args:
        places: Voxel coordinates (k, j, i), axes (batch, place, 3).
        marked: Whether a place counts, axes (batch, place).
        shape: Voxels along k, j and i.

    Returns:
        Axes (batch, k, j, i), 0 to 1.
    """
    nearest = torch.full((places.shape[0], *shape), REACH_VOXELS**2, device=places.device)
    axes = [torch.arange(count, device=places.device, dtype=torch.float32) for count in shape]
    for number in range(places.shape[1]):
        k, j, i = (
            ((axis[None] - places[:, number, position, None]) ** 2).reshape(
                -1, *(count if other == position else 1 for other, count in enumerate(shape))
            )
            for position, axis in enumerate(axes)
        )
        away = torch.where(marked[:, number].reshape(-1, 1, 1, 1), torch.zeros((), device=places.device), _FAR)
        nearest = torch.minimum(nearest, k + j + i + away)
    return 1 - nearest.sqrt() / REACH_VOXELS


def box_inside(low: torch.Tensor, high: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """1 in voxels whose centres lie in a box; corners axes (batch, 3) in voxels (k, j, i); axes (batch, k, j, i)."""
    inside = torch.ones((low.shape[0], *shape), device=low.device)
    for position, count in enumerate(shape):
        axis = torch.arange(count, device=low.device, dtype=torch.float32)[None]
        within = (axis >= low[:, position, None]) & (axis <= high[:, position, None])
        inside = inside * within.reshape(-1, *(count if other == position else 1 for other in range(3)))
    return inside


def outline_channels(signed: torch.Tensor, planes: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
    """Shape-based interpolation between outlined slices along k, and how near an outlined slice is.

    Between two outlined slices the signed distances are interpolated linearly, beyond the first and the last the
    distance along k is taken away.

    Args:
        signed: In-plane signed distance of each outline in voxels, positive inside; axes (slice, j, i).
        planes: Position of each outlined slice along k in voxels, ascending, at least one.
        axis: Positions along k at which the channels are wanted, in voxels.

    Returns:
        ``OUTLINES`` and ``OUTLINED``, axes (2, k, j, i).
    """
    after = torch.searchsorted(planes.contiguous(), axis.contiguous()).clamp(0, len(planes) - 1)
    before = (after - 1).clamp(0)
    first, last = planes[before], planes[after]
    span = (last - first).clamp(min=1e-6)
    share = torch.where(last > first, ((axis - first) / span).clamp(0, 1), torch.ones_like(axis))
    between = signed[before] * (1 - share)[:, None, None] + signed[after] * share[:, None, None]
    beyond = torch.clamp(planes[0] - axis, min=0) + torch.clamp(axis - planes[-1], min=0)
    between = torch.clamp((between - beyond[:, None, None]) / SIGNED_REACH_VOXELS, -1, 1)
    away = (axis[:, None] - planes[None]).abs().min(dim=1).values
    near = torch.clamp(1 - away / SLICE_REACH_VOXELS, min=0)
    return torch.stack([between, near[:, None, None].expand_as(between)])
