"""What is refused before features are computed."""

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.errors import EmptyMask, MaskTouchesBorder, TumorTooLarge, TumorTooSmall
from oncoresponse.model_folder import TumorLimits
from oncoresponse.segmentation.mask_checks import check_mask, measure_mask, touches_border
from oncoresponse.volume import Quantity

LIMITS = TumorLimits(minimum_volume_ml=0.5, maximum_volume_ml=5.0)


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
    assert touches_border(mask_image(tuple(at_border)))
    assert not touches_border(mask_image(tuple(one_before)))


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
