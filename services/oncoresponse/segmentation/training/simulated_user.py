"""A user who corrects contours, simulated on whole batches for training: boxes, clicks and outlined slices.

Robot users flatter: their clicks are the best there are. So some clicks are put anywhere in the error, boxes are off,
and slices are outlined at uneven distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import max_pool3d

from oncoresponse.segmentation.hand_channels import (
    BOX,
    CHANNELS,
    EARLIER,
    INSIDE,
    OUTLINED,
    OUTLINES,
    OUTSIDE,
    box_inside,
    nearness,
    outline_channels,
)

_DEEPEST_VOXELS = 12


@dataclass(frozen=True)
class UserSettings:
    """What the user says; probabilities are per patch.

    Attributes:
        box_probability: A box around the tumor, each face off by up to ``box_error_voxels``.
        point_probability: A first click in the tumor. What is left begins with nothing.
        outline_probability: Besides, some slices are outlined.
        earlier_probability: The user begins with a contour that is off, such as that of another program.
        rounds: Chance of 0, 1, ... clicks on the errors of the network itself.
        careless_probability: A click is anywhere in the error, not at its deepest place.
    """

    box_probability: float = 0.4
    point_probability: float = 0.2
    outline_probability: float = 0.25
    earlier_probability: float = 0.1
    box_error_voxels: float = 2.2
    rounds: tuple[float, ...] = (0.5, 0.18, 0.12, 0.1, 0.06, 0.04)
    careless_probability: float = 0.3


class SimulatedUser:
    """One batch of patches and what was said about each.

    Args:
        image: PET and CT, axes (batch, 2, k, j, i).
        tumor: Share of tumor, axes (batch, 1, k, j, i).
        inside: Whether a voxel lies in the field of view, same axes.
        settings: What is said.
        random: Draws it.
    """

    def __init__(
        self,
        image: torch.Tensor,
        tumor: torch.Tensor,
        inside: torch.Tensor,
        settings: UserSettings,
        random: np.random.Generator,
    ) -> None:
        self._tumor = tumor[:, 0] >= 0.5
        self._inside = inside[:, 0]
        self._settings = settings
        self._random = random
        self._device = image.device
        count = len(image)
        k, j, i = image.shape[2:]
        self._shape = (int(k), int(j), int(i))
        self._places = torch.zeros((count, 0, 3), device=self._device)
        self._signs = torch.zeros((count, 0), device=self._device)
        self.channels = torch.zeros((count, CHANNELS, *self._shape), device=self._device)
        self.channels[:, :2] = image
        self._has_tumor = self._tumor.flatten(1).any(dim=1)
        kind = torch.from_numpy(random.random(count)).to(self._device)
        with_box = (kind < settings.box_probability) & self._has_tumor
        with_point = (kind >= settings.box_probability) & self._has_tumor
        with_point &= kind < settings.box_probability + settings.point_probability
        self._say_box(with_box)
        self._say_point(image[:, 0], with_point)
        self._outline(torch.from_numpy(random.random(count) < settings.outline_probability).to(self._device))
        self._begin(torch.from_numpy(random.random(count) < settings.earlier_probability).to(self._device))

    def click(self, probability: torch.Tensor) -> None:
        """Correct what the network gave: one more click for each patch with an error, and its mask as earlier contour.

        Args:
            probability: Axes (batch, 1, k, j, i).
        """
        given = probability[:, 0]
        wrong = ((given >= 0.5) != self._tumor) & self._inside
        depth = self._depth(wrong)
        careless = torch.from_numpy(self._random.random(len(given)) < self._settings.careless_probability)
        wanted = torch.where(careless.to(self._device)[:, None, None, None], wrong.float(), depth)
        place = self._argmax(wanted + self._noise(wanted.shape) * (wrong > 0))
        found = wrong.flatten(1).any(dim=1)
        sign = torch.where(self._at(self._tumor, place), 1.0, -1.0) * found
        self._add(place, sign)
        self.channels[:, EARLIER] = given

    def _say_box(self, wanted: torch.Tensor) -> None:
        corners = []
        for axis in range(3):
            first_other, last_other = (position for position in (1, 2, 3) if position != axis + 1)
            shown = self._tumor.any(dim=last_other).any(dim=first_other)
            count = self._shape[axis]
            first = shown.float().argmax(dim=1).float()
            last = count - 1 - shown.flip(1).float().argmax(dim=1).float()
            corners.append(torch.stack([first, last]))
        low, high = torch.stack(corners, dim=2)
        error = torch.from_numpy(self._random.uniform(-1, 1, (2, *low.shape)).astype(np.float32)).to(self._device)
        error = error * self._settings.box_error_voxels
        middle = (low + high) / 2
        box = box_inside(
            torch.minimum(low - 0.5 + error[0], middle - 0.5),
            torch.maximum(high + 0.5 + error[1], middle + 0.5),
            self._shape,
        )
        self.channels[:, BOX] = box * wanted[:, None, None, None]

    def _say_point(self, pet: torch.Tensor, wanted: torch.Tensor) -> None:
        hottest = torch.from_numpy(self._random.random(len(pet)) < 0.5).to(self._device)[:, None, None, None]
        value = torch.where(hottest, pet.clamp(min=0) + 1, self._noise(pet.shape) + 1) * self._tumor
        self._add(self._argmax(value), wanted.float())

    def _outline(self, wanted: torch.Tensor) -> None:
        for row in torch.nonzero(wanted & self._has_tumor).flatten().tolist():
            shown = torch.nonzero(self._tumor[row].flatten(1).any(dim=1)).flatten().cpu().numpy()
            first, last = int(shown[0]), int(shown[-1])
            count = int(self._random.integers(2, 8))
            planes = np.linspace(first, last, count)
            if self._random.random() < 0.4:
                planes = self._random.uniform(first, last, int(self._random.integers(1, 6)))
            planes = planes + self._random.uniform(-1, 1, len(planes)) * (self._random.random() < 0.5)
            chosen = np.unique(np.clip(np.rint(planes), first, last).astype(np.int64))
            chosen = chosen[np.isin(chosen, shown)]
            if chosen.size == 0:
                continue
            positions = torch.from_numpy(chosen).to(self._device)
            signed = torch.stack([signed_distance(self._tumor[row, position]) for position in positions])
            axis = torch.arange(self._shape[0], device=self._device, dtype=torch.float32)
            self.channels[row, OUTLINES : OUTLINED + 1] = outline_channels(signed, positions.float(), axis)

    def _begin(self, wanted: torch.Tensor) -> None:
        shift = [int(value) for value in self._random.integers(-2, 3, 3)]
        moved = torch.roll(self._tumor.float(), shift, dims=(1, 2, 3))[:, None]
        moved = max_pool3d(moved, 3, 1, 1) if self._random.random() < 0.5 else -max_pool3d(-moved, 3, 1, 1)
        self.channels[:, EARLIER] = moved[:, 0] * self._inside * wanted[:, None, None, None]

    def _depth(self, region: torch.Tensor) -> torch.Tensor:
        """Voxels from the surface of a region, by erosion; the surface itself has 1."""
        left = region[:, None].float()
        depth = left.clone()
        for _ in range(_DEEPEST_VOXELS):
            left = -max_pool3d(-torch.nn.functional.pad(left, [1] * 6), 3, 1)
            depth += left
        return depth[:, 0]

    def _add(self, place: torch.Tensor, sign: torch.Tensor) -> None:
        self._places = torch.cat([self._places, place[:, None]], dim=1)
        self._signs = torch.cat([self._signs, sign[:, None]], dim=1)
        self.channels[:, INSIDE] = nearness(self._places, self._signs > 0, self._shape)
        self.channels[:, OUTSIDE] = nearness(self._places, self._signs < 0, self._shape)

    def _argmax(self, values: torch.Tensor) -> torch.Tensor:
        flat = values.flatten(1).argmax(dim=1)
        _, j, i = self._shape
        return torch.stack([flat // (j * i), flat // i % j, flat % i], dim=1).float()

    def _at(self, values: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        k, j, i = place.long().unbind(1)
        return values[torch.arange(len(values), device=self._device), k, j, i]

    def _noise(self, shape: torch.Size) -> torch.Tensor:
        generator = torch.Generator(device=self._device).manual_seed(int(self._random.integers(2**31)))
        return torch.rand(shape, generator=generator, device=self._device)


def signed_distance(mask: torch.Tensor) -> torch.Tensor:
    """Distance to the outline of a small 2-D mask in pixels, positive inside; every pixel against every pixel."""
    positions = torch.stack(
        torch.meshgrid(*(torch.arange(count, device=mask.device) for count in mask.shape), indexing="ij"), dim=-1
    ).reshape(-1, 2)
    flat = mask.flatten()
    places = positions.float()
    inner, outer = places[flat], places[~flat]
    if len(inner) == 0 or len(outer) == 0:
        return torch.full(mask.shape, 1e3 if len(outer) == 0 else -1e3, device=mask.device)
    signed = torch.empty(len(places), device=mask.device)
    signed[flat] = torch.cdist(inner, outer).min(dim=1).values - 0.5
    signed[~flat] = 0.5 - torch.cdist(outer, inner).min(dim=1).values
    return signed.reshape(mask.shape)
