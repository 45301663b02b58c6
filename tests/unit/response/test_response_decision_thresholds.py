from __future__ import annotations

import numpy as np
import pytest
from oncoresponse.response.figures_of_merit import bootstrap_weights
from oncoresponse.response.training.decision_thresholds import decision_curve, net_benefit, threshold_figures
from sklearn.metrics import recall_score


def _predictions(seed: int = 0, patients: int = 80) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    probability = random.random((3, patients))
    return probability, (random.random(patients) < probability[0]).astype(np.int64)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_sensitivity_and_specificity_are_those_of_scikit_learn(threshold: float) -> None:
    probability, favorable = _predictions()
    weights = bootstrap_weights(favorable, 500, 1)
    (found,) = threshold_figures(probability, probability[::-1], favorable, (threshold,), weights)
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        expected = np.mean(
            [recall_score(favorable, (row >= threshold).astype(int), pos_label=label) for row in probability]
        )
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(expected, abs=1e-6)
        assert estimate.low <= estimate.value <= estimate.high
        assert getattr(found, f"{name}_baseline").value == estimate.value, "the mean does not depend on the order"


def test_net_benefit_of_a_case_worked_by_hand() -> None:
    # 10 patients, threshold 0.2: 3 true and 2 false positives: 0.3 - 0.2 x 0.25.
    probability = np.array([[0.9, 0.8, 0.3, 0.1, 0.25, 0.2, 0.1, 0.1, 0.1, 0.1]])
    favorable = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert net_benefit(probability, favorable, 0.2) == pytest.approx(0.25)


def test_a_model_that_knows_nothing_is_not_worth_more_than_the_better_of_everybody_and_nobody() -> None:
    probability, _ = _predictions()
    favorable = (np.random.default_rng(5).random(80) < 0.4).astype(np.int64)
    curve = decision_curve(np.full_like(probability, 0.4), probability, favorable)
    share = favorable.mean()
    for threshold, model, everybody in zip(curve.thresholds, curve.booster, curve.everybody, strict=True):
        assert everybody == pytest.approx(share - (1 - share) * threshold / (1 - threshold), abs=1e-6)
        assert model == pytest.approx(everybody if threshold <= 0.4 else 0.0, abs=1e-6)
