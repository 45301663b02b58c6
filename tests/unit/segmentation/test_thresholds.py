"""Thresholds against values worked out by hand."""

import numpy as np
from oncoresponse.segmentation.thresholds import box_around, fixed_suv, share_of_maximum

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


def test_box_widens_and_stops_at_the_image():
    mask = np.zeros((6, 8, 9), bool)
    mask[1, 3:5, 7] = True
    box = box_around(mask, (2, 1, 3))
    assert np.argwhere(box).min(axis=0).tolist() == [0, 2, 4]
    assert np.argwhere(box).max(axis=0).tolist() == [3, 5, 8]
