"""Prompts on oblique, flipped and anisotropic grids."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.errors import InvalidRequest
from oncoresponse.segmentation.lesion_prompt import LesionBox, LesionPoint, box_of_mask, prompt_channels
from oncoresponse.segmentation.scan_region import region_around
from scipy.spatial.transform import Rotation

angles = st.tuples(*[st.integers(-17, 17).map(lambda step: 10 * step)] * 3)
flips = st.tuples(*[st.sampled_from([-1, 1])] * 3)
spacings = st.tuples(*[st.sampled_from([2.0, 3.27, 4.7, 8.0])] * 3)


def grid(angle, flip, spacing, center=(7.0, -20.0, 300.0)):
    matrix = Rotation.from_euler("xyz", angle, degrees=True).as_matrix() @ np.diag(flip)
    image = sitk.Image(30, 26, 34, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetDirection(matrix.ravel().tolist())
    image.SetOrigin((np.array(center) - matrix @ ((np.array(image.GetSize()) - 1) / 2 * np.array(spacing))).tolist())
    return image


def positions(image):
    """LPS position of each voxel centre, axes (k, j, i, 3), by SimpleITK itself."""
    found = [image.TransformIndexToPhysicalPoint([i, j, k]) for k, j, i in np.ndindex(image.GetSize()[::-1])]
    return np.array(found).reshape(*image.GetSize()[::-1], 3)


@settings(max_examples=15, deadline=None)
@given(angles, flips, spacings)
def test_a_box_covers_the_voxels_whose_centres_lie_in_it(angle, flip, spacing):
    image = grid(angle, flip, spacing)
    low, high = (-13.0, -31.0, 280.0), (25.0, 4.0, 309.0)
    where = positions(image)
    inside = np.all((where >= low) & (where <= high), axis=-1)
    box, point = prompt_channels(LesionBox(low, high), image)
    # A centre within rounding of a face may fall on either side.
    near_face = np.any((np.abs(where - low) < 1e-6) | (np.abs(where - high) < 1e-6), axis=-1)
    assert np.array_equal(box[~near_face] > 0, inside[~near_face])
    assert not point.any()


@settings(max_examples=15, deadline=None)
@given(angles, flips, spacings)
def test_a_point_is_a_ball_about_it(angle, flip, spacing):
    image = grid(angle, flip, spacing)
    at = image.TransformContinuousIndexToPhysicalPoint((11.2, 9.1, 20.3))
    box, point = prompt_channels(LesionPoint(at), image)
    k, j, i = np.indices(point.shape)
    assert not box.any()
    assert np.array_equal(point > 0, (i - 11.2) ** 2 + (j - 9.1) ** 2 + (k - 20.3) ** 2 <= 4)


@settings(max_examples=15, deadline=None)
@given(angles, flips, spacings)
def test_the_box_of_a_mask_holds_all_of_it(angle, flip, spacing):
    image = grid(angle, flip, spacing)
    mask = image + 0
    mask[4:9, 10:12, 20:31] = 1
    box = box_of_mask(mask)
    where = positions(mask)[sitk.GetArrayFromImage(mask) > 0]
    assert np.all(where > box.low_mm)
    assert np.all(where < box.high_mm)
    region = region_around(mask, box, 0)
    part = sitk.GetArrayFromImage(region.of(mask))
    assert part.sum() == 5 * 2 * 11
    restored = region.put_back(region.of(mask), mask)
    assert np.array_equal(sitk.GetArrayFromImage(restored), sitk.GetArrayFromImage(mask))


def test_what_cannot_be_a_prompt_is_refused():
    with pytest.raises(InvalidRequest):
        LesionBox((0.0, 0.0, 0.0), (1.0, 1.0, 0.0))
    with pytest.raises(InvalidRequest):
        box_of_mask(grid((0, 0, 0), (1, 1, 1), (4, 4, 4)))
    with pytest.raises(InvalidRequest, match="outside"):
        region_around(grid((0, 0, 0), (1, 1, 1), (4, 4, 4)), LesionPoint((0.0, 0.0, 0.0)), 0)
