from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.response.task import FollowUpTask
from oncoresponse.response.training.cohort import FollowUp
from oncoresponse.response.training.survival import concordance, concordance_estimate, describe_follow_up

# 30 simulated patients, judged by scikit-survival 0.28.0 (concordance_index_censored, concordance_index_ipcw).
# fmt: off
TIME = [
    1157, 504, 757, 47, 176, 195, 145, 24, 443, 71, 361, 549, 154, 322, 123, 102, 14, 124, 779, 47, 386, 139, 198, 735,
    235, 130, 636, 42, 26, 861,
]
FAILED = [0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0]
RISK = [
    -0.37, -0.26, 0.94, 1.39, -1.42, 0.07, 1.88, 0.88, -1.71, 1.11, -0.62, -0.94, 0.4, 0.09, -0.34, 1.4, 0.66, -0.21,
    0.19, -0.93, -0.24, 0.67, 0.72, 0.67, 1.2, -0.1, -1.15, 1.53, 1.62, -1.52,
]
# fmt: on
PATIENTS = FollowUp(np.array(TIME, dtype=float), np.array(FAILED))

_patient = st.tuples(st.integers(1, 6), st.booleans(), st.integers(1, 5))


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [
        (None, 0.6759708737864077),
        (300.0, 0.7042319816286069),
        (600.0, 0.6713693861541477),
        (1e9, 0.6763941229785811),
    ],
)
def test_concordance_is_that_of_scikit_survival(horizon: float | None, expected: float) -> None:
    assert concordance(PATIENTS, np.array(RISK), horizon) == pytest.approx(expected, abs=1e-12)


@given(st.lists(_patient, min_size=2, max_size=12))
def test_harrells_concordance_is_the_share_of_comparable_pairs_in_the_right_order(
    patients: list[tuple[int, bool, int]],
) -> None:
    comparable = right = 0.0
    for first, second in permutations(patients, 2):
        if first[1] and first[0] < second[0]:
            comparable += 1
            right += 1.0 if first[2] > second[2] else 0.5 if first[2] == second[2] else 0.0
    time, failed, risk = (np.array(column, dtype=float) for column in zip(*patients, strict=True))
    found = concordance(FollowUp(time, failed.astype(np.int64)), risk)
    assert np.isnan(found) if comparable == 0 else found == pytest.approx(right / comparable)


def test_counting_a_patient_twice_is_having_two_such_patients() -> None:
    counts = np.ones(30)
    counts[3] = 2
    doubled = FollowUp(np.append(PATIENTS.time, TIME[3]), np.append(PATIENTS.failed, FAILED[3]))
    risk = np.array(RISK)
    assert concordance(PATIENTS, risk, 600.0, counts) == pytest.approx(
        concordance(doubled, np.append(risk, RISK[3]), 600)
    )


def test_the_interval_holds_the_figure_and_noise_is_chance() -> None:
    random = np.random.default_rng(1)
    weights = random.multinomial(30, np.full(30, 1 / 30), size=300).astype(float)
    found = concordance_estimate(-np.array([RISK, RISK]), PATIENTS, 600.0, weights)
    assert found.value == pytest.approx(0.671369, abs=1e-6)
    assert found.low < found.value < found.high
    noise = concordance_estimate(random.random((2, 30)), PATIENTS, 600.0, weights)
    assert noise.low < 0.5 < noise.high


def test_patients_who_were_followed_for_less_than_the_horizon_are_counted() -> None:
    declared = FollowUpTask(failure_column="a", follow_up_column="b", unit="d", horizon=800)
    found = describe_follow_up(declared, PATIENTS)
    assert (found.patients, found.failures) == (30, 25)
    assert (found.short_of_horizon, found.shortest_without_failure) == (3, 195)
    assert "3 were followed for less than" in found.sentence
