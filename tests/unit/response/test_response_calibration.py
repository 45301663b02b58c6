from __future__ import annotations

import numpy as np
import pytest
from oncoresponse.response.calibration import (
    calibration_slope_and_intercept,
    choose_calibration,
    fit_calibration,
    fit_logistic_line,
    fit_platt,
)
from scipy.special import expit
from sklearn.linear_model import LogisticRegression


def _scores(seed: int, patients: int = 200, slope: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    score = random.normal(size=patients)
    return score, (random.random(patients) < expit(slope * score - 0.4)).astype(np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_the_line_is_that_of_scikit_learn(seed: int) -> None:
    score, outcome = _scores(seed)
    slope, intercept = fit_logistic_line(score, outcome.astype(float))
    other = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(score[:, None], outcome)
    assert slope == pytest.approx(other.coef_[0, 0], rel=1e-4)
    assert intercept == pytest.approx(other.intercept_[0], rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_platt_is_a_logistic_regression_on_smoothed_targets(seed: int) -> None:
    score, outcome = _scores(seed, patients=40)
    high = (outcome.sum() + 1) / (outcome.sum() + 2)
    low = 1 / ((1 - outcome).sum() + 2)
    target = np.where(outcome == 1, high, low)
    # A soft target is a patient counted as favorable with that weight and as unfavorable with the rest.
    other = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(
        np.concatenate([score, score])[:, None],
        np.repeat([1, 0], len(score)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    found = fit_platt(score, outcome)
    assert found.slope == pytest.approx(other.coef_[0, 0], rel=1e-3)
    assert found.intercept == pytest.approx(other.intercept_[0], rel=1e-3, abs=1e-4)


def test_a_score_that_points_the_wrong_way_is_not_turned_round() -> None:
    score, outcome = _scores(1)
    found = fit_platt(-score, outcome)
    assert found.slope == 0
    assert found.probability(np.array([-3.0, 3.0])) == pytest.approx(outcome.mean(), abs=0.01)


def test_separable_scores_give_finite_numbers() -> None:
    outcome = np.repeat([0, 1], 10)
    found = fit_platt(np.linspace(-1, 1, 20), outcome)
    assert np.isfinite([found.slope, found.intercept]).all()
    slope, intercept = calibration_slope_and_intercept(np.where(outcome == 1, 0.9, 0.1), outcome)
    assert np.isfinite([slope, intercept]).all()


def test_true_probabilities_have_slope_one_and_intercept_zero() -> None:
    score, outcome = _scores(3, patients=40_000)
    truth = expit(1.5 * score - 0.4)
    slope, intercept = calibration_slope_and_intercept(truth, outcome)
    assert slope == pytest.approx(1, abs=0.05)
    assert intercept == pytest.approx(0, abs=0.05)


def test_probabilities_twice_too_extreme_have_slope_one_half() -> None:
    score, outcome = _scores(3, patients=40_000)
    slope, _ = calibration_slope_and_intercept(expit(2 * (1.5 * score - 0.4)), outcome)
    assert slope == pytest.approx(0.5, abs=0.03)


def test_calibration_in_the_large_is_the_shift_that_matches_the_mean() -> None:
    score, outcome = _scores(5, patients=500)
    log_odds = 1.5 * score + 1.0
    _, intercept = calibration_slope_and_intercept(expit(log_odds), outcome)
    assert expit(log_odds + intercept).mean() == pytest.approx(outcome.mean(), abs=1e-8)


@pytest.mark.parametrize(
    ("slope", "shift", "expected"), [(1.0, 0.0, "none"), (1.0, 1.5, "intercept"), (0.3, 0.0, "platt")]
)
def test_the_method_that_the_margins_need_is_chosen(slope: float, shift: float, expected: str) -> None:
    """Margins that are right, moved, or too extreme."""
    random = np.random.default_rng(12)
    margin = random.normal(scale=2.0, size=800)
    outcome = (random.random(800) < expit(slope * margin + shift)).astype(np.int64)
    chosen, fitted = choose_calibration(("none", "intercept", "platt"), margin[None], outcome, np.arange(800), seed=1)
    assert chosen == expected
    assert fitted.slope == pytest.approx(slope, abs=0.1)
    assert fitted.intercept == pytest.approx(shift, abs=0.25)


def test_an_intercept_makes_the_mean_prediction_the_share_of_outcomes() -> None:
    score, outcome = _scores(3)
    fitted = fit_calibration("intercept", score + 2.0, outcome)
    assert fitted.slope == 1.0
    assert fitted.probability(score + 2.0).mean() == pytest.approx(outcome.mean(), abs=1e-6)


def test_patients_of_one_group_are_never_on_both_sides_of_the_choice() -> None:
    """Copies of the same patients must not make a flexible method look good: the choice is that without them."""
    random = np.random.default_rng(3)
    margin, outcome = random.normal(size=30), random.integers(0, 2, 30)
    copies = np.repeat(np.arange(30), 5)
    single, _ = choose_calibration(("none", "platt"), margin[None], outcome, np.arange(30), seed=2)
    copied, _ = choose_calibration(("none", "platt"), margin[copies][None], outcome[copies], copies, seed=2)
    assert copied == single
