"""The ellipsoid inside the borders of an image, against the volume formula."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.segmentation.training.image_free_baseline import ellipsoid_within_borders


def test_the_ellipsoid_has_its_volume_and_lies_the_margin_inside():
    image = sitk.Image([120, 100, 80], sitk.sitkFloat32)
    image.SetSpacing([1.0, 1.5, 2.0])
    mask = ellipsoid_within_borders(image, 20.0)
    volume = np.count_nonzero(mask) * 3.0
    assert volume == pytest.approx(4 / 3 * math.pi * 40 * 55 * 60, rel=0.005)
    marked = np.argwhere(mask)
    assert marked.min(axis=0).tolist() == [10, 13, 20]
    assert (np.array(mask.shape) - 1 - marked.max(axis=0)).tolist() == [10, 13, 20]


@pytest.mark.parametrize(("size", "middle"), [(5, 7), (6, 8)])
def test_a_margin_that_leaves_nothing_leaves_the_middle(size, middle):
    mask = ellipsoid_within_borders(sitk.Image([size] * 3, sitk.sitkFloat32), 50.0)
    assert np.count_nonzero(mask) == middle
    assert mask[size // 2, size // 2, size // 2]


def test_what_the_image_holds_does_not_matter():
    empty = sitk.Image([20, 20, 20], sitk.sitkFloat32)
    full = sitk.GetImageFromArray(np.random.default_rng(0).random((20, 20, 20)))
    np.testing.assert_array_equal(ellipsoid_within_borders(empty, 3), ellipsoid_within_borders(full, 3))
