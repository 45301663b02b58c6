from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.response.cohort import FollowUp
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.time_to_failure import (
    concordance,
    fit_time_to_failure,
    median_times,
    validate_time_to_failure,
)

MakeTask = Callable[..., ResponseTask]
DECLARED = {"failure_column": "days_failure", "follow_up_column": "days_follow_up", "unit": "d", "scale": 0.5}

_patient = st.tuples(st.integers(1, 6), st.booleans(), st.integers(1, 5))


@given(st.lists(_patient, min_size=2, max_size=12))
def test_concordance_is_the_share_of_comparable_pairs_in_the_right_order(patients: list[tuple[int, bool, int]]) -> None:
    comparable = right = 0.0
    for first, second in permutations(patients, 2):
        if first[1] and first[0] < second[0]:
            comparable += 1
            right += 1.0 if first[2] < second[2] else 0.5 if first[2] == second[2] else 0.0
    time, failed, predicted = (np.array(column, dtype=float) for column in zip(*patients, strict=True))
    found = concordance(time, failed.astype(np.int64), predicted)
    assert np.isnan(found) if comparable == 0 else found == pytest.approx(right / comparable)


def _follow_up(patients: int = 200, seed: int = 3) -> tuple[np.ndarray, np.ndarray, FollowUp]:
    """Median time falls from 1000 to 100 days with the first input; a third is censored."""
    random = np.random.default_rng(seed)
    inputs = random.uniform(-1, 1, size=(patients, 3))
    time = np.exp(np.log(300) - 1.15 * inputs[:, 0] + 0.5 * random.normal(size=patients))
    censored = random.uniform(100, 2500, size=patients)
    failed = (time <= censored).astype(np.int64)
    return inputs, 1 - failed, FollowUp(np.minimum(time, censored), failed)


def test_the_median_time_is_recovered_and_falls_with_the_input(make_task: MakeTask) -> None:
    task = make_task(time_to_failure=DECLARED | {"rounds": 100})
    inputs, _, follow_up = _follow_up(600)
    booster = fit_time_to_failure(task, inputs, follow_up)
    points = np.zeros((5, 3))
    points[:, 0] = [-0.8, -0.4, 0.0, 0.4, 0.8]
    found = median_times(booster, task.input_names, points)
    assert (np.diff(found) <= 0).all(), "the sign of the task holds"
    assert found == pytest.approx(np.exp(np.log(300) - 1.15 * points[:, 0]), rel=0.3)


def test_the_validation_finds_the_order_and_nothing_in_noise(make_task: MakeTask) -> None:
    task = make_task(time_to_failure=DECLARED)
    inputs, favorable, follow_up = _follow_up()
    found = validate_time_to_failure(task, inputs, favorable, follow_up)
    assert found.failures == follow_up.failed.sum()
    assert found.concordance.low > 0.6
    assert found.concordance.low <= found.concordance.value <= found.concordance.high
    noise = np.random.default_rng(8).normal(size=inputs.shape)
    nothing = validate_time_to_failure(make_task(sign=0, time_to_failure=DECLARED), noise, favorable, follow_up)
    assert nothing.concordance.low < 0.5 < nothing.concordance.high + 0.05
