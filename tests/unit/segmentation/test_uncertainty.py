"""Expected Dice and volume interval: against scikit-learn's ridge regression and against their own promise."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.segmentation.uncertainty import (
    EXPECTED_DICE_INPUTS,
    UncertaintyMeasures,
    uncertainty_measures,
    expected_dice,
    expected_dice_left_out,
    fit_expected_dice,
    fit_volume_interval,
    mask_of_volume,
    review_limit,
    volume_interval_ml,
)
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def measured():
    random = np.random.default_rng(5)
    items = [UncertaintyMeasures(*random.random(3), volume_spread=random.uniform(0.1, 1.0)) for _ in range(30)]
    real = [min(0.3 + 0.5 * item.confidence + 0.05 * random.normal(), 1.0) for item in items]
    return items, real


def test_expected_dice_is_ridge_regression(measured):
    items, real = measured
    inputs = np.array([[getattr(item, name) for name in EXPECTED_DICE_INPUTS] for item in items])
    scaler = StandardScaler().fit(inputs)
    reference = Ridge(alpha=1.0).fit(scaler.transform(inputs), real).predict(scaler.transform(inputs))
    model = fit_expected_dice(items, real)
    np.testing.assert_allclose([expected_dice(item, model) for item in items], reference, atol=1e-5)


def test_a_patient_left_out_does_not_see_itself(measured):
    items, real = measured
    changed = [0.0, *real[1:]]
    assert expected_dice_left_out(items, real)[0] == expected_dice_left_out(items, changed)[0]


def test_the_review_limit_flags_each_poor_mask():
    expected, real = [0.62, 0.9, 0.71, 0.8], [0.4, 0.9, 0.49, 0.5]
    limit = review_limit(expected, real, 0.5, 0.6)
    assert limit == pytest.approx(0.72)
    assert all(guess < limit for guess, dice in zip(expected, real, strict=True) if dice < 0.5)
    assert review_limit(expected, [0.9] * 4, 0.5, 0.6) == 0.6


def test_the_volume_interval_keeps_its_promise():
    random = np.random.default_rng(0)
    held = []
    for _ in range(200):
        items = [UncertaintyMeasures(1, 1, 1, random.uniform(0.1, 1.0)) for _ in range(39)]
        predicted = random.uniform(10, 500, 39)
        real = predicted * np.exp([random.normal() * item.volume_spread for item in items])
        calibration = fit_volume_interval(items[:-1], predicted[:-1], real[:-1], 0.8)
        low, high = volume_interval_ml(predicted[-1], items[-1], calibration)
        held.append(low <= real[-1] <= high)
    # Split conformal: at least 80 % and at most 80 % + 1 / 39 on average; five standard errors below and above.
    assert 0.66 < np.mean(held) < 0.97


def sphere(spacing=(4.0, 5.0, 3.0)):
    image = sitk.Image(30, 28, 34, sitk.sitkFloat32)
    image.SetSpacing(spacing)
    index = np.indices(image.GetSize()[::-1]) - np.array([17.0, 14.0, 15.0])[:, None, None, None]
    distance = np.sqrt(((index * np.array(spacing[::-1])[:, None, None, None]) ** 2).sum(axis=0))
    probability = sitk.GetImageFromArray((1 / (1 + np.exp((distance - 25) / 3))).astype(np.float32))
    probability.CopyInformation(image)
    return probability, sitk.BinaryThreshold(probability, 0.5, 2.0, 1, 0)


@given(st.floats(5.0, 150.0))
def test_a_mask_of_a_volume_has_it_and_nests(volume_ml):
    probability, mask = sphere()
    changed = mask_of_volume(probability, mask, volume_ml) > 0
    original = sitk.GetArrayFromImage(mask) > 0
    assert changed.sum() * 0.06 == pytest.approx(volume_ml, abs=0.031)
    assert (changed <= original).all() or (changed >= original).all()


def test_measures_of_a_sphere():
    probability, mask = sphere()
    suv = sitk.Cast(mask, sitk.sitkFloat32) * 3.0 + 1.0
    measures = uncertainty_measures(probability, mask, suv, 0.5)
    assert measures.component_share == 1.0
    assert measures.rim_contrast == pytest.approx(np.log(4.0))
    chances = sitk.GetArrayFromImage(probability)
    assert measures.volume_spread == pytest.approx(np.log((chances >= 0.2).sum() / (chances >= 0.8).sum()))
    inside = sitk.GetArrayFromImage(mask) > 0
    assert measures.confidence == pytest.approx(2 * chances[inside].sum() / (chances.sum() + inside.sum()), rel=1e-6)
