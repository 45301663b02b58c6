"""What is refused before features are computed."""

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.quantity import Quantity
from oncoresponse.errors import EmptyMask, MaskTouchesBorder, TumorTooLarge, TumorTooSmall
from oncoresponse.model.definition import LesionLimits
from oncoresponse.segmentation.mask_checks import border_warnings, check_mask, measure_mask

LIMITS = LesionLimits(minimum_volume_ml=0.5, maximum_volume_ml=5.0)


def mask_image(*slices, spacing=(5.0, 4.0, 2.0), size=(12, 11, 10)):
    array = np.zeros(size[::-1], np.uint8)
    for part in slices:
        array[part] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    return image


def test_measures_count_face_connected_parts_and_volume():
    image = mask_image(np.s_[2:4, 2:4, 2:4], np.s_[4:6, 4:6, 4:6], np.s_[8, 8, 8])
    measures = measure_mask(image)
    assert measures.component_count == 3
    assert measures.volume_ml == pytest.approx(17 * 40 / 1000)
    assert not measures.touches_border


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [0, -1])
def test_the_outermost_layer_of_each_face_is_the_border(axis, end):
    inside = [slice(4, 6)] * 3
    at_border = list(inside)
    at_border[axis] = slice(end, None) if end else slice(0, 1)
    one_before = list(inside)
    one_before[axis] = slice(-2, -1) if end else slice(1, 2)
    assert measure_mask(mask_image(tuple(at_border))).touches_border
    assert not measure_mask(mask_image(tuple(one_before))).touches_border


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (np.s_[0:0], EmptyMask),
        (np.s_[4:6, 4:6, 4:6], TumorTooSmall),
        (np.s_[1:9, 1:10, 1:10], TumorTooLarge),
        (np.s_[0:4, 2:6, 2:6], MaskTouchesBorder),
    ],
)
def test_unusable_masks_are_refused(part, error, volume):
    with pytest.raises(error) as caught:
        check_mask(volume(mask_image(part), Quantity.MASK), LIMITS)
    assert caught.value.message.count(".") >= 2


def test_a_usable_mask_gives_its_measures(volume):
    measures = check_mask(volume(mask_image(np.s_[2:6, 2:6, 2:6]), Quantity.MASK), LIMITS)
    assert measures.volume_ml == pytest.approx(64 * 40 / 1000)


def test_the_share_on_the_border_is_one_of_areas():
    # 4 x 4 x 8 voxels of 5 x 4 x 2 mm: 16 faces of 20 mm2 on the first slice and 16 at the other end, 32 faces a side.
    measures = measure_mask(mask_image(np.s_[0:8, 2:6, 2:6]))
    assert measures.border_share == pytest.approx(16 * 20 / (2 * 16 * 20 + 2 * 32 * 8 + 2 * 32 * 10))
    assert measures.border_contact == "slice_ends"
    assert measure_mask(mask_image(np.s_[2:6, 0:4, 2:6])).border_contact == "slice_sides"
    assert measure_mask(mask_image(np.s_[0:4, 0:4, 2:6])).border_contact == "both"
    assert measure_mask(mask_image(np.s_[1:9, 2:6, 2:6])).border_share == 0


def test_a_contour_that_reaches_the_border_is_answered_as_a_lower_bound(volume):
    limits = LesionLimits(minimum_volume_ml=0.5, maximum_volume_ml=10.0)
    measures = check_mask(volume(mask_image(np.s_[0:8, 2:6, 2:6]), Quantity.MASK), limits)
    assert measures.touches_border
    assert measures.volume_ml == pytest.approx(128 * 40 / 1000)
    assert measures.volume_high_ml > measures.volume_ml
    (said,) = border_warnings(measures)
    assert "18 % of its surface" in said
    assert "at least" in said


def test_a_mask_with_too_much_surface_on_the_border_is_refused_with_the_limit(volume):
    with pytest.raises(MaskTouchesBorder, match="up to 20 % is answered") as caught:
        check_mask(volume(mask_image(np.s_[0:4, 2:6, 2:6]), Quantity.MASK), LIMITS)
    assert caught.value.metadata["border_share"] == "0.263"


def test_a_network_mask_one_voxel_from_the_border_counts_as_reaching_it():
    near = mask_image(np.s_[1:9, 2:6, 3:7])
    assert not measure_mask(near).touches_border
    drawn_by_network = measure_mask(near, automatic=True)
    assert drawn_by_network.touches_border
    assert drawn_by_network.volume_ml == measure_mask(near).volume_ml
    assert not measure_mask(mask_image(np.s_[3:7, 3:7, 3:7]), automatic=True).touches_border
