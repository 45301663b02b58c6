"""A mask on the grid of another image, against analytic bodies."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.resampling import mask_on_grid
from oncoresponse.case.volume import Volume
from oncoresponse.errors import EmptyMask, FrameOfReferenceMismatch, GeometryMismatch
from scipy.spatial.transform import Rotation

OBLIQUE = Rotation.from_euler("xyz", (17, -23, 31), degrees=True).as_matrix()


def grid(spacing, size, direction=None, center=(10.0, -20.0, 30.0), frame: str = "1.2.3") -> Volume:
    """An empty image whose middle lies at ``center`` (LPS, mm)."""
    direction = np.eye(3) if direction is None else direction
    image = sitk.Image([int(count) for count in size], sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((np.array(center) - direction @ (np.array(spacing) * (np.array(size) - 1) / 2)).tolist())
    return Volume(image, Quantity.MASK, frame, "1.2.4")


def sphere(on: Volume, radius_mm: float, center=(10.0, -20.0, 30.0)) -> Volume:
    """Voxels whose centers lie in a sphere, by the definition of the grid."""
    spacing, direction = on.image.GetSpacing(), np.reshape(on.image.GetDirection(), (3, 3))
    k, j, i = np.indices(on.array.shape)
    points = np.stack([i, j, k], axis=-1) * spacing @ direction.T + on.image.GetOrigin()
    image = sitk.GetImageFromArray((np.linalg.norm(points - center, axis=-1) <= radius_mm).astype(np.uint8))
    image.CopyInformation(on.image)
    return on.with_image(image, Quantity.MASK)


def milliliters(mask: Volume) -> float:
    return float(mask.array.sum()) * mask.geometry.voxel_volume_mm3 / 1000


@pytest.mark.parametrize(
    ("drawn_on", "target"),
    [
        (grid((1.2, 1.2, 4.0), (60, 60, 20)), grid((2.5, 2.5, 2.5), (40, 40, 40), OBLIQUE)),
        (grid((4.0, 4.0, 4.0), (24, 24, 24), OBLIQUE), grid((0.9, 0.9, 3.0), (100, 100, 32))),
        (grid((2.0, 2.0, 2.0), (40, 40, 40)), grid((1.0, 1.0, 1.0), (80, 80, 80), center=(10.5, -20.5, 30.5))),
    ],
)
def test_a_sphere_keeps_its_volume_and_its_place(drawn_on, target):
    mask = sphere(drawn_on, 25.0)
    found = mask_on_grid(mask, target)
    expected = 4 / 3 * math.pi * 2.5**3
    assert milliliters(found) == pytest.approx(milliliters(mask), rel=0.02)
    assert milliliters(found) == pytest.approx(expected, rel=0.05)
    # All that differs from the sphere drawn on the target itself lies within a voxel of its surface.
    truth = sphere(target, 25.0)
    margin = float(max(*drawn_on.image.GetSpacing(), *target.image.GetSpacing()))
    assert not (found.array & ~sphere(target, 25.0 + margin).array & 1).any()
    assert not (sphere(target, 25.0 - margin).array & ~found.array & 1).any()
    assert 2 * (found.array & truth.array).sum() / (found.array.sum() + truth.array.sum()) > 0.95
    assert found.geometry == target.geometry
    assert (found.image.GetPixelID(), found.quantity) == (sitk.sitkUInt8, Quantity.MASK)


@pytest.mark.parametrize("shift", list(itertools.product((0.0, 1.0), repeat=3)))
def test_a_box_on_a_grid_of_halved_voxels_keeps_its_volume(shift):
    """Centers that lie just between two voxels neither swell nor shrink a lesion."""
    drawn_on = grid((2.0, 2.0, 2.0), (12, 12, 12))
    array = np.zeros((12, 12, 12), np.uint8)
    array[3:8, 4:9, 2:8] = 1
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(drawn_on.image)
    target = grid((1.0, 1.0, 1.0), (25, 25, 25), center=(10.0 + shift[0], -20.0 + shift[1], 30.0 + shift[2]))
    found = mask_on_grid(drawn_on.with_image(image, Quantity.MASK), target)
    # The 0.5 level of a linear interpolation rounds the edges of a box.
    assert milliliters(found) == pytest.approx(5 * 5 * 6 * 8e-3, rel=0.03)


def test_a_mask_on_the_grid_itself_is_not_touched():
    mask = sphere(grid((1.2, 1.2, 4.0), (60, 60, 20), OBLIQUE), 20.0)
    target = grid((1.2, 1.2, 4.0), (60, 60, 20), OBLIQUE)
    np.testing.assert_array_equal(mask_on_grid(mask, target).array, mask.array)


def test_what_cannot_be_measured_is_refused():
    mask = sphere(grid((2.0, 2.0, 2.0), (40, 40, 40)), 25.0)
    with pytest.raises(FrameOfReferenceMismatch):
        mask_on_grid(mask, grid((1.0, 1.0, 1.0), (80, 80, 80), frame="1.2.9"))
    with pytest.raises(GeometryMismatch, match="% of the contour lies outside"):
        mask_on_grid(mask, grid((2.0, 2.0, 2.0), (40, 40, 20)))
    coarse = grid((30.0, 30.0, 30.0), (4, 4, 4))
    with pytest.raises(EmptyMask):
        mask_on_grid(sphere(grid((2.0, 2.0, 2.0), (40, 40, 40)), 4.0), coarse)
