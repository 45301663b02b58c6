"""Which calls are made: judged by the very rule that makes them, patient by patient."""

from __future__ import annotations

import numpy as np
import pytest
from oncoresponse.response.call_rule import (
    CALL_FAVORABLE,
    CALL_UNFAVORABLE,
    NO_CALL,
    calls_of_sets,
    judge_calls,
    lower_bound,
)
from oncoresponse.response.task import CallRule
from scipy.stats import binomtest


@pytest.mark.parametrize(("right", "cases"), [(20, 37), (9, 10), (0, 5), (14, 14)])
def test_the_lower_bound_is_that_of_clopper_and_pearson(right: int, cases: int) -> None:
    expected = binomtest(right, cases).proportion_ci(0.8, method="exact").low
    assert lower_bound(right, cases, 0.8) == pytest.approx(expected)


def test_a_call_needs_one_outcome_the_probability_on_its_side_and_a_patient_inside() -> None:
    sets = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [1, 0]])
    probability = np.array([0.7, 0.3, 0.7, 0.3, 0.4, 0.6, 0.9])
    outside = np.array([0, 0, 0, 0, 0, 0, 1])
    expected = [CALL_FAVORABLE, CALL_UNFAVORABLE, *[NO_CALL] * 5]
    assert calls_of_sets(sets, probability, outside).tolist() == expected


def test_a_rare_outcome_whose_calls_are_mostly_wrong_is_not_called() -> None:
    """As "complete response likely" was right in 54 % of 37 patients: the sets kept their promise all the same."""
    favorable = np.array([1] * 20 + [0] * 17 + [0] * 60 + [1] * 3)
    calls = np.array([[CALL_FAVORABLE] * 37 + [CALL_UNFAVORABLE] * 63])
    rare, common = judge_calls(calls, favorable, CallRule())
    assert rare.right == pytest.approx(20 / 37)
    assert not rare.allowed
    assert "54 %" in rare.text
    assert "made only if" in rare.text
    assert common.right == pytest.approx(60 / 63)
    assert common.allowed
    assert common.reference == pytest.approx(0.77), "the share of patients with that outcome, which beats chance"
    assert "made only if" not in common.text


def test_enough_right_calls_of_too_few_patients_are_not_made() -> None:
    calls, favorable = np.full((1, 8), NO_CALL), np.array([1, 1, 1, 1, 0, 0, 0, 0])
    calls[0, :3] = CALL_FAVORABLE
    first, second = judge_calls(calls, favorable, CallRule())
    assert first.right == 1.0
    assert first.right_low == pytest.approx(binomtest(3, 3).proportion_ci(0.8, method="exact").low)
    assert not first.allowed, "the interval of three patients reaches down to chance"
    assert second.right is None
    assert not second.allowed


def test_repeats_do_not_pretend_to_be_patients() -> None:
    favorable = np.array([1] * 10 + [0] * 10)
    once = np.array([[CALL_FAVORABLE] * 8 + [NO_CALL] * 10 + [CALL_FAVORABLE] * 2])
    many = np.repeat(once, 50, axis=0)
    assert judge_calls(many, favorable, CallRule())[0] == judge_calls(once, favorable, CallRule())[0]
    half = np.vstack([once, np.full_like(once, NO_CALL)])
    assert judge_calls(half, favorable, CallRule())[0].patients == 5.0
