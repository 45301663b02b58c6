"""What was said by hand as input channels, against scipy and against shapes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oncoresponse.segmentation.hand_channels import REACH_VOXELS, SIGNED_REACH_VOXELS, box_inside, nearness
from oncoresponse.segmentation.refinement import OutlinedSlice, shape_based_interpolation
from oncoresponse.segmentation.training.simulated_user import signed_distance
from scipy import ndimage


def test_nearness_is_scipys_distance():
    random = np.random.default_rng(5)
    shape = (14, 9, 17)
    places = random.integers(0, shape, (2, 4, 3))
    marked = np.array([[True, False, True, True], [False, False, False, False]])
    found = nearness(torch.from_numpy(places).float(), torch.from_numpy(marked), shape).numpy()
    free = np.ones(shape, dtype=bool)
    free[tuple(places[0][marked[0]].T)] = False
    expected = np.clip(1 - ndimage.distance_transform_edt(free) / REACH_VOXELS, 0, 1)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert not found[1].any(), "nothing was marked"


def test_a_box_holds_the_voxels_whose_centres_lie_in_it():
    inside = box_inside(torch.tensor([[1.2, 0.0, 3.0]]), torch.tensor([[3.9, 1.0, 3.4]]), (6, 4, 8))[0]
    assert sorted(map(tuple, np.argwhere(inside.numpy()).tolist())) == [(k, j, 3) for k in (2, 3) for j in (0, 1)]


def disk(radius: float, size: int = 41) -> np.ndarray:
    j, i = np.ogrid[:size, :size]
    return (j - size // 2) ** 2 + (i - size // 2) ** 2 <= radius**2


@pytest.mark.parametrize("spacing", [(3.0, 1.0, 1.0), (1.0, 2.0, 2.0)])
def test_between_two_disks_the_radius_is_interpolated(spacing):
    """A cone: half way between radii of 6 and 14 mm it is 10 mm, whatever the distance of the slices."""
    in_plane = spacing[1]
    outlines = [OutlinedSlice(9, disk(14 / in_plane)), OutlinedSlice(1, disk(6 / in_plane))]
    surface = shape_based_interpolation(outlines, (12, 41, 41), spacing, unit_mm=1.0)[0] > 0
    area_mm2 = surface.sum(axis=(1, 2)) * in_plane**2
    assert area_mm2[5] == pytest.approx(np.pi * 10**2, rel=0.08)
    assert (np.diff(area_mm2[1:10]) >= 0).all()
    np.testing.assert_array_equal(surface[1], disk(6 / in_plane))
    np.testing.assert_array_equal(surface[9], disk(14 / in_plane))


def test_beyond_the_last_outline_a_tumor_ends_like_a_ball():
    surface = shape_based_interpolation([OutlinedSlice(5, disk(4))], (20, 41, 41), (1.0, 1.0, 1.0), unit_mm=1.0)[0] > 0
    shown = np.flatnonzero(surface.any(axis=(1, 2)))
    assert (shown[0], shown[-1]) == (2, 8), "half a voxel short of 4 mm on each side"


def test_an_outline_of_nothing_ends_the_tumor():
    nothing = np.zeros((41, 41), dtype=bool)
    outlines = [OutlinedSlice(4, disk(12)), OutlinedSlice(6, nothing)]
    channels = shape_based_interpolation(outlines, (10, 41, 41), (1.0, 1.0, 1.0), unit_mm=1.0)
    assert not (channels[0][6:] > 0).any()
    assert channels[1][4].min() == channels[1][6].min() == 1


@pytest.mark.parametrize("radius", [3, 7.5])
def test_distances_in_training_are_those_of_inference(radius):
    """Training computes them on the GPU, every pixel against every pixel; inference by scipy."""
    outline = disk(radius, 25)
    trained = signed_distance(torch.from_numpy(outline)).numpy()
    served = shape_based_interpolation([OutlinedSlice(0, outline)], (1, 25, 25), (1.0, 1.0, 1.0), unit_mm=1.0)[0][0]
    np.testing.assert_allclose(np.clip(trained / SIGNED_REACH_VOXELS, -1, 1), served, atol=1e-5)
