"""Polygons in patient coordinates on oblique, flipped and anisotropic images, against SimpleITK's index positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.errors import InvalidRequest
from oncoresponse.segmentation.slice_outlines import outlined_slice

OBLIQUE = (math.cos(0.4), -math.sin(0.4), 0, math.sin(0.4), math.cos(0.4), 0, 0, 0, 1)
FLIPPED = (-1, 0, 0, 0, 1, 0, 0, 0, -1)
TILTED = (1, 0, 0, 0, math.cos(0.3), -math.sin(0.3), 0, math.sin(0.3), math.cos(0.3))


@pytest.fixture(params=[OBLIQUE, FLIPPED, TILTED], ids=["oblique", "flipped", "tilted"])
def image(request):
    made = sitk.Image([30, 20, 8], sitk.sitkUInt8)
    made.SetSpacing([1.5, 2.0, 4.0])
    made.SetOrigin([-40.0, 12.0, 5.0])
    made.SetDirection(request.param)
    return made


def polygon(image, corners, k):
    return tuple(image.TransformContinuousIndexToPhysicalPoint([i, j, k]) for i, j in corners)


def test_a_rectangle_takes_the_voxels_whose_centres_it_holds(image):
    corners = [(3.5, 4.5), (10.5, 4.5), (10.5, 8.5), (3.5, 8.5)]
    found = outlined_slice(image.TransformIndexToPhysicalPoint([0, 0, 5]), [polygon(image, corners, 5)], image)
    expected = np.zeros((20, 30), dtype=bool)
    expected[5:9, 4:11] = True
    assert found.index == 5
    np.testing.assert_array_equal(found.inside, expected)


def test_a_polygon_in_another_is_a_hole_and_none_is_an_empty_slice(image):
    outer = polygon(image, [(2.5, 2.5), (20.5, 2.5), (20.5, 15.5), (2.5, 15.5)], 2)
    inner = polygon(image, [(5.5, 5.5), (9.5, 5.5), (9.5, 9.5), (5.5, 9.5)], 2)
    place = image.TransformIndexToPhysicalPoint([0, 0, 2])
    found = outlined_slice(place, [outer, inner], image).inside
    assert found[3, 3] and not found[7, 7] and found.sum() == 18 * 13 - 16
    assert not outlined_slice(place, [], image).inside.any()


def test_what_is_in_no_slice_or_across_slices_is_refused(image):
    with pytest.raises(InvalidRequest, match="outside the contoured image"):
        outlined_slice(image.TransformContinuousIndexToPhysicalPoint([0, 0, 9]), [], image)
    across = polygon(image, [(3, 3), (9, 3), (9, 9)], 2)[:2] + polygon(image, [(9, 9)], 4)
    with pytest.raises(InvalidRequest, match="outside its slice"):
        outlined_slice(image.TransformIndexToPhysicalPoint([0, 0, 2]), [across], image)
