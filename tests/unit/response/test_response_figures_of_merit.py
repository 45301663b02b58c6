from __future__ import annotations

import numpy as np
import pytest
from oncoresponse.response.figures_of_merit import (
    area_under_curve,
    auc_difference,
    bootstrap_auc,
    bootstrap_weights,
    figures_of_merit,
)
from sklearn.metrics import brier_score_loss, roc_auc_score


def _predictions(seed: int, repeats: int = 3, patients: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    outcome = (np.arange(patients) % 3 == 0).astype(np.int64)
    # Rounded, so that there are ties.
    score = np.clip(random.normal(0.4 + 0.2 * outcome, 0.2, (repeats, patients)), 0.01, 0.99).round(1)
    return np.clip(score, 0.05, 0.95), outcome


@pytest.mark.parametrize("seed", range(4))
def test_auc_and_brier_are_those_of_scikit_learn(seed: int) -> None:
    probability, outcome = _predictions(seed)
    found = figures_of_merit(probability, outcome, bootstrap_weights(outcome, 500, 0))
    expected = np.mean([roc_auc_score(outcome, row) for row in probability])
    assert area_under_curve(probability, outcome) == pytest.approx(expected)
    assert found.auc.value == pytest.approx(expected, abs=1e-6)
    brier = np.mean([brier_score_loss(outcome, row) for row in probability])
    assert found.brier.value == pytest.approx(brier, abs=1e-6)
    reference = brier_score_loss(outcome, np.full(len(outcome), outcome.mean()))
    assert found.scaled_brier.value == pytest.approx(1 - brier / reference, abs=1e-5)


def test_a_bootstrap_sample_has_the_auc_of_its_patients() -> None:
    probability, outcome = _predictions(1, repeats=1)
    weights = bootstrap_weights(outcome, 20, 3)
    assert (weights.sum(axis=1) == len(outcome)).all()
    for counts, found in zip(weights, bootstrap_auc(probability, outcome, weights), strict=True):
        drawn = np.repeat(np.arange(len(outcome)), counts.astype(int))
        assert found == pytest.approx(roc_auc_score(outcome[drawn], probability[0, drawn]))


def test_the_interval_of_the_auc_has_about_its_level() -> None:
    """Share of intervals that hold the known AUC of two normal groups one standard deviation apart (0.760)."""
    random = np.random.default_rng(2)
    outcome = np.repeat([0, 1], 40)
    held = 0
    for trial in range(200):
        score = random.normal(outcome, 1.0)[None, :]
        samples = bootstrap_auc(score, outcome, bootstrap_weights(outcome, 500, trial))
        low, high = np.percentile(samples, [2.5, 97.5])
        held += low <= 0.760 <= high
    # Binomial(200, 0.95) falls below 178 once in about 5000.
    assert held >= 178


def test_a_set_of_predictions_does_not_differ_from_itself() -> None:
    probability, outcome = _predictions(2)
    difference = auc_difference(probability, probability, outcome, bootstrap_weights(outcome, 500, 0))
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
