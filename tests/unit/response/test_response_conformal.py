from __future__ import annotations

import numpy as np
import pytest
from crepes import ConformalClassifier
from oncoresponse.response.conformal import conformal_p_values, conformal_sets
from scipy import stats


def test_p_values_of_a_case_worked_by_hand() -> None:
    margins = np.array([[2.0, 1.0, 0.5, -0.5, -1.0, -2.0]])
    favorable = np.array([1, 1, 1, 0, 0, 0])
    p_favorable, p_unfavorable = conformal_p_values(margins, favorable, np.array([0.7, -3.0]), smallest_group=3)
    # 0.7 is as low as 1 of 3 favorable margins and lower than no unfavorable one.
    assert p_favorable == pytest.approx([(1 + 1) / 4, (0 + 1) / 4])
    assert p_unfavorable == pytest.approx([(0 + 1) / 4, (3 + 1) / 4])


@pytest.mark.parametrize("seed", range(3))
def test_p_values_are_those_of_crepes(seed: int) -> None:
    """crepes, class-conditional and not smoothed: the nonconformity of an outcome is how far the margin points away."""
    random = np.random.default_rng(seed)
    margins, favorable, new = random.normal(size=40), random.integers(0, 2, 40), random.normal(size=25)
    classifier = ConformalClassifier()
    classifier.fit(np.where(favorable == 1, -margins, margins), bins=favorable)
    for outcome, found in zip((1, 0), conformal_p_values(margins[None], favorable, new), strict=True):
        strangeness = np.stack([-new if outcome else new], axis=1)
        expected = classifier.predict_p(strangeness, bins=np.full(25, outcome), smoothing=False)
        assert found == pytest.approx(expected[:, 0])


def test_a_p_value_equal_to_the_error_rules_out() -> None:
    sets = conformal_sets(np.array([1 / 5, 0.21]), np.array([0.3, 0.1]), 0.8)
    assert sets.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_each_class_is_covered_as_promised(coverage: float) -> None:
    """Over many calibration sets the coverage of a new patient is at least the promise and at most 1/(n+1) above it."""
    random = np.random.default_rng(5)
    trials, each = 4000, 19
    covered = np.zeros((trials, 2))
    outcome = np.repeat([1, 0], each)
    for trial in range(trials):
        calibration = random.normal(np.where(outcome == 1, 0.5, -0.5), 1.0)[None, :]
        new = np.array([random.normal(0.5), random.normal(-0.5)])
        sets = conformal_sets(*conformal_p_values(calibration, outcome, new), coverage)
        covered[trial] = sets[0, 0], sets[1, 1]
    expected = 1 - np.floor((1 - coverage) * (each + 1) + 1e-9) / (each + 1)
    low, high = stats.binom.interval(0.9999, trials, expected)
    for hits in covered.sum(axis=0):
        assert low <= hits <= high


def test_a_higher_coverage_never_removes_an_outcome() -> None:
    random = np.random.default_rng(0)
    p = random.random((2, 200))
    assert (conformal_sets(p[0], p[1], 0.95) >= conformal_sets(p[0], p[1], 0.8)).all()
