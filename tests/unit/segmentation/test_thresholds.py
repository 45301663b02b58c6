"""Thresholds against values worked out by hand."""

import numpy as np
from oncoresponse.segmentation.training.thresholds import fixed_suv, share_of_maximum

SUV = np.array([[[0.3, 2.0, 2.4], [2.5, 10.0, 4.1], [4.09, 30.0, 0.0]]])


def test_fixed_suv_includes_the_threshold_itself():
    assert fixed_suv(SUV, 2.5).sum() == 5
    assert fixed_suv(SUV, 2.0).sum() == 7


def test_share_of_maximum_follows_the_hottest_voxel_of_the_image():
    assert share_of_maximum(SUV, 0.41).sum() == 1


def test_share_of_maximum_in_a_region_ignores_hotter_voxels_outside_it():
    region = np.ones(SUV.shape, bool)
    region[0, 2] = False
    found = share_of_maximum(SUV, 0.41, region)
    assert np.argwhere(found).tolist() == [[0, 1, 1], [0, 1, 2]]
