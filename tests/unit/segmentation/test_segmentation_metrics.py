"""Agreement measures against SimpleITK's and SciPy's own."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.segmentation.metrics import (
    dice,
    mean_binary_entropy,
    soft_dice_confidence,
    volume_error_percent,
)
from oncoresponse.segmentation.training.surface_distance import hausdorff_95_mm
from scipy import ndimage
from scipy.spatial import cKDTree

SPACING = (2.0, 3.0, 5.0)


def blob(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return ndimage.gaussian_filter(random.normal(size=(14, 16, 18)), 2) > 0.03


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_dice_is_that_of_simpleitk(one, two):
    first, second = blob(one), blob(two)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)))
    assert dice(first, second) == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-12)


def test_dice_of_two_empty_masks_is_one_and_of_one_empty_mask_zero():
    empty = np.zeros((3, 3, 3), bool)
    assert dice(empty, empty) == 1.0
    assert dice(empty, ~empty) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_hausdorff_is_the_larger_directed_95th_percentile_of_surface_distances(seed):
    first, second = blob(seed), blob(seed + 50)

    def surface(mask):
        inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1), border_value=0)
        return np.argwhere(mask & ~inner) * np.array(SPACING[::-1])

    there = cKDTree(surface(second)).query(surface(first))[0]
    back = cKDTree(surface(first)).query(surface(second))[0]
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert hausdorff_95_mm(first, second, SPACING) == pytest.approx(expected, rel=1e-4)


def test_hausdorff_uses_the_spacing_of_the_axis_that_differs():
    first = np.zeros((10, 10, 10), bool)
    first[2, 3:5, 3:5] = True
    assert hausdorff_95_mm(first, np.roll(first, 1, axis=0), SPACING) == pytest.approx(5.0)
    assert hausdorff_95_mm(first, np.roll(first, 1, axis=2), SPACING) == pytest.approx(2.0)


def test_hausdorff_of_an_empty_mask_is_not_a_number():
    assert np.isnan(hausdorff_95_mm(np.zeros((4, 4, 4)), np.ones((4, 4, 4)), SPACING))


def test_volume_error_is_signed():
    reference = np.zeros(100)
    reference[:50] = 1
    predicted = np.zeros(100)
    predicted[:40] = 1
    assert volume_error_percent(predicted, reference) == pytest.approx(-20.0)


def test_soft_dice_confidence_is_the_mean_dice_over_masks_drawn_from_certain_probabilities():
    mask = blob(3)
    assert soft_dice_confidence(mask.astype(float), mask) == pytest.approx(1.0)
    assert soft_dice_confidence(np.full(mask.shape, 0.5), np.ones(mask.shape)) == pytest.approx(2 / 3)
    assert soft_dice_confidence(np.zeros(mask.shape), np.zeros(mask.shape)) == 0.0


def test_entropy_is_one_bit_at_one_half_and_ignores_what_lies_outside():
    mask = np.array([1, 1, 0])
    assert mean_binary_entropy(np.array([0.5, 0.5, 0.0]), mask) == pytest.approx(1.0)
    assert mean_binary_entropy(np.array([1.0, 0.0, 0.5]), mask) == pytest.approx(0.0, abs=1e-5)
    assert mean_binary_entropy(np.array([0.5]), np.array([0])) == 0.0
