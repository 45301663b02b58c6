"""Positions survive the way to the common grid and back, whatever the orientation of PET and CT."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.errors import GeometryMismatch
from oncoresponse.segmentation.metrics import dice
from oncoresponse.segmentation.preprocessing import (
    PreprocessingSettings,
    common_grid,
    field_of_view_mm,
    mask_on_grid,
    prepare,
    probability_on_image,
)
from scipy.spatial.transform import Rotation

SETTINGS = PreprocessingSettings()
angles = st.tuples(*[st.floats(-40, 40)] * 3)
flips = st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)
orders = st.permutations(range(3))


def direction(angle, flip, order):
    return Rotation.from_euler("xyz", angle, degrees=True).as_matrix() @ np.diag(flip)[:, list(order)]


def centroid(array, grid):
    """LPS position (mm) of the weighted mean of an array with axes (k, j, i)."""
    weight = array / array.sum()
    index = [float((weight * axis).sum()) for axis in reversed(np.indices(array.shape))]
    return np.array(grid.TransformContinuousIndexToPhysicalPoint(index))


@settings(max_examples=12, deadline=None)
@given(angles, flips, orders, angles, flips)
def test_a_sphere_keeps_its_position_in_both_channels_and_comes_back(
    grid_image, draw_sphere, pet_angle, pet_flip, order, ct_angle, ct_flip
):
    center = (31.0, -12.0, 407.0)
    pet_grid = grid_image((30, 26, 34), (3.9, 5.5, 3.27), direction(pet_angle, pet_flip, order), (25, -10, 400))
    ct_grid = grid_image((95, 95, 70), (2.1, 2.1, 3.0), direction(ct_angle, ct_flip, range(3)), (25, -10, 400))
    pet = draw_sphere(pet_grid, center, 20, 7.0, 0.0)
    ct = draw_sphere(ct_grid, center, 20, 300, -1000)
    inputs = prepare(pet, ct, SETTINGS)
    assert inputs.ct_coverage > 0.95
    # Sampling a sharp sphere moves its centroid by a small part of a voxel; an axis mix-up moves it by centimetres.
    for channel in inputs.array:
        assert np.linalg.norm(centroid(channel, inputs.grid) - center) < 0.8
    tumor = sitk.Cast(draw_sphere(pet_grid, center, 20, 1, 0), sitk.sitkUInt8)
    there = mask_on_grid(tumor, inputs.grid)
    back = probability_on_image(there.astype(np.float32), inputs.grid, pet)
    assert dice(sitk.GetArrayViewFromImage(back) >= 0.5, sitk.GetArrayViewFromImage(tumor)) > 0.9


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flip", [(1, 1, -1), (-1, 1, 1)])
def test_a_scan_stored_in_another_orientation_gives_the_same_network_input(grid_image, draw_sphere, order, flip):
    pet = draw_sphere(grid_image((20, 22, 24), (4.0, 5.0, 3.0)), (3, 4, 5), 20, 6.0, 0.3)
    ct = draw_sphere(grid_image((80, 80, 30), (1.3, 1.3, 3.0)), (0, 0, 0), 40, 60, -700)
    stored = sitk.Flip(sitk.PermuteAxes(pet, order), [sign < 0 for sign in flip])
    first, second = prepare(pet, ct, SETTINGS), prepare(stored, ct, SETTINGS)
    np.testing.assert_allclose(second.grid.GetOrigin(), first.grid.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(second.array, first.array, atol=1e-4)


def test_the_common_grid_covers_the_field_of_view_and_is_concentric(grid_image):
    matrix = Rotation.from_euler("xyz", (10, 20, 5), degrees=True).as_matrix()
    image = grid_image((41, 30, 27), (4.7, 3.9, 3.27), matrix, (100, -50, -900))
    grid = common_grid(image, SETTINGS)
    extent = np.array(image.GetSize()) * image.GetSpacing()
    covered = np.array(grid.GetSize()) * grid.GetSpacing()
    assert np.all(covered >= extent - 1e-6)
    assert np.all(covered < extent + SETTINGS.spacing_mm)
    middle = grid.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in grid.GetSize()])
    np.testing.assert_allclose(middle, (100, -50, -900), atol=1e-9)
    assert field_of_view_mm(image) == pytest.approx(tuple(extent))


def test_values_are_scaled_by_constants(grid_image):
    pet = grid_image((20, 20, 20), (4.0, 4.0, 4.0)) + 6.0
    ct = grid_image((80, 80, 30), (1.0, 1.0, 3.0)) + 40.0
    inputs = prepare(pet, ct, SETTINGS)
    np.testing.assert_allclose(inputs.array[0], np.log(7.0), rtol=1e-6)
    np.testing.assert_allclose(inputs.array[1], 0.5, rtol=1e-6)


def test_what_lies_outside_the_ct_is_air(grid_image):
    pet = grid_image((20, 20, 20), (4.0, 4.0, 4.0))
    ct = grid_image((80, 80, 20), (1.0, 1.0, 3.0), center=(0, 0, 10)) + 40.0
    inputs = prepare(pet, ct, SETTINGS)
    assert inputs.ct_coverage == pytest.approx(0.75)
    assert np.all(inputs.array[1, :5] == 0)
    assert np.all(inputs.array[1, 5:] == 0.5)


@pytest.mark.parametrize("offset_mm", [60.0, 500.0])
def test_a_ct_of_another_part_of_the_body_is_refused(grid_image, offset_mm):
    pet = grid_image((20, 20, 20), (4.0, 4.0, 4.0))
    ct = grid_image((80, 80, 27), (1.0, 1.0, 3.0), center=(0, 0, offset_mm))
    with pytest.raises(GeometryMismatch, match="covers"):
        prepare(pet, ct, SETTINGS)


def test_fine_ct_noise_is_averaged_not_sampled(grid_image):
    pet = grid_image((20, 20, 20), (4.0, 4.0, 4.0))
    ct = grid_image((80, 80, 40), (1.0, 1.0, 2.0))
    noise = np.random.default_rng(0).normal(40, 50, size=(40, 80, 80)).astype(np.float32)
    noisy = sitk.GetImageFromArray(noise)
    noisy.CopyInformation(ct)
    # Blocks of 4 x 4 x 2 voxels: the standard deviation falls to at most 50 / sqrt(32) HU, of a window of 400 HU.
    assert prepare(pet, noisy, SETTINGS).array[1].std() < 1.1 * 50 / np.sqrt(32) / 400
