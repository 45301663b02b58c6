"""Subgroups, optimism, power, shift: what an evaluation says beside its main figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from oncoresponse.response.figures_of_merit import Estimate
from oncoresponse.response.pipeline import fit_pipeline
from oncoresponse.response.probability_interval import fit_ensemble
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.training.distribution_shift import judge_under_shift
from oncoresponse.response.training.optimism import correct_optimism
from oncoresponse.response.training.statistical_power import auc_interval_width, state_power
from oncoresponse.response.training.subgroup_audit import SubgroupFigures, audit_subgroups
from sklearn.metrics import roc_auc_score

pytestmark = pytest.mark.slow

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]
MakeTask = Callable[..., ResponseTask]


def _audit(seed: int = 1) -> dict[str, SubgroupFigures]:
    """60 women the model knows, 60 men it guesses at, 4 others."""
    random = np.random.default_rng(seed)
    group = np.array(["F"] * 60 + ["M"] * 60 + ["X"] * 4)
    favorable = (random.random(124) < 0.5).astype(np.int64)
    known = np.where(favorable == 1, 0.8, 0.2) + random.uniform(-0.15, 0.15, 124)
    probability = np.where(group == "F", known, random.random(124))[None]
    sets = np.stack([probability >= 0.3, probability <= 0.7], axis=2).astype(np.int64)
    found = audit_subgroups({"Sex": tuple(group)}, probability, 1 - probability, sets, favorable, promised=0.8, seed=3)
    assert [figures.subgroup for figures in found] == ["F", "M", "X"]
    chosen = group == "M"
    assert found[1].auc.value == pytest.approx(roc_auc_score(favorable[chosen], probability[0, chosen]), abs=1e-6)
    return {figures.subgroup: figures for figures in found}


def test_a_subgroup_in_which_the_model_fails_is_said_to_fail() -> None:
    found = _audit()
    women, men = found["F"], found["M"]
    assert women.patients == men.patients == 60
    assert women.auc.value == 1.0
    assert women.auc_baseline.value == 0.0
    assert women.coverage.value == 1.0
    assert "ranks better than chance" in women.sentence
    assert men.auc.low < 0.5
    assert "does not rank better than chance" in men.sentence
    assert men.coverage.high < 0.8
    assert "less often than promised" in men.sentence


def test_a_subgroup_that_is_too_small_says_so() -> None:
    small = _audit()["X"]
    assert small.too_small
    assert small.patients == 4
    assert "too few to say" in small.sentence


def test_optimism_takes_away_what_noise_gave(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, noise = draw_cohort(60, 3, strength=0.0, seed=2)
    task = make_task(3, sign=0, uncertainty={"ensemble_members": 30, "calibration": ["none"]})
    fitted = fit_pipeline(task, inputs, noise, seed=1)
    ensemble = fit_ensemble(task, inputs, noise, members=30, seed=9)
    found = correct_optimism(task, inputs, noise, fitted, ensemble, seed=9)
    assert found.bootstraps == 30
    assert found.auc.optimism > 0.05
    assert found.auc.corrected == pytest.approx(found.auc.apparent - found.auc.optimism, abs=1e-6)
    assert found.auc.corrected < found.auc.apparent
    # On new patients of the same kind the model is worth nothing; the correction comes close, the appearance does not.
    fresh, outcome = draw_cohort(4000, 3, strength=0.0, seed=77)
    truth = roc_auc_score(outcome, fitted.probability(fresh))
    assert abs(found.auc.corrected - truth) < abs(found.auc.apparent - truth)
    assert found.brier.optimism < 0


@pytest.mark.slow
@pytest.mark.parametrize(("patients", "share", "separation"), [(60, 0.5, 1.5), (200, 0.3, 0.9)])
def test_the_expected_width_is_that_of_simulated_cohorts(patients: int, share: float, separation: float) -> None:
    random = np.random.default_rng(4)
    favorable = (np.arange(patients) < patients * share).astype(np.int64)
    areas = [roc_auc_score(favorable, random.normal(size=patients) + separation * favorable) for _ in range(1500)]
    found = auc_interval_width(float(np.mean(areas)), patients, share)
    assert found == pytest.approx(2 * 1.96 * np.std(areas), rel=0.12)


def test_the_power_statement_halves_the_width() -> None:
    found = state_power(Estimate(value=0.84, low=0.71, high=0.95), 38, 18)
    assert found.interval_width == pytest.approx(0.24)
    share = 18 / 38
    half = auc_interval_width(0.84, found.patients_to_halve, share)
    assert half <= found.expected_width / 2 < auc_interval_width(0.84, found.patients_to_halve - 1, share)
    assert 3.5 * 38 < found.patients_to_halve < 4.5 * 38
    assert str(found.patients_to_halve) in found.sentence


def test_a_perfect_ranking_still_has_a_width() -> None:
    assert state_power(Estimate(value=1.0, low=1.0, high=1.0), 20, 10).expected_width > 0


def test_patients_of_another_kind_are_seen_as_such(make_task: MakeTask, draw_cohort: Draw) -> None:
    values, favorable = draw_cohort(120, strength=1.0, seed=6)
    task = make_task(shift={"input": "m1"})
    found = judge_under_shift(task, np.exp(values), values, favorable)
    assert found.trained_on == found.tested_on == 60
    assert found.limit == pytest.approx(np.exp(np.median(values[:, 1])), rel=1e-3)
    assert found.outside > 0.1, "the larger half is out of distribution of the smaller"
    assert f"{100 * found.covered:.0f} % (promised 80 %)" in found.sentence
    assert judge_under_shift(make_task(), np.exp(values), values, favorable) is None
