"""Trees that start from the logistic regression."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xgboost
from oncoresponse.response.pipeline import fit_baseline, fit_pipeline, fit_start
from oncoresponse.response.probability_interval import Ensemble, fit_ensemble
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.training.validation import cross_validate
from sklearn.metrics import roc_auc_score

pytestmark = pytest.mark.slow

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]
MakeTask = Callable[..., ResponseTask]

LOGISTIC = {"start": "logistic", "max_depth": [1], "rounds": [10], "learning_rate": 0.05, "l2_penalty": 5.0}


def test_the_margin_is_the_regression_plus_the_trees_as_xgboost_adds_them(
    make_task: MakeTask, draw_cohort: Draw
) -> None:
    inputs, favorable = draw_cohort(80, seed=1)
    fitted = fit_pipeline(make_task(booster=LOGISTIC), inputs, favorable, seed=1)
    data = xgboost.DMatrix(inputs, feature_names=["m0", "m1", "m2"])
    data.set_base_margin(fitted.start.margin(inputs))
    assert fitted.margin(inputs) == pytest.approx(fitted.booster.predict(data, output_margin=True), abs=1e-5)


def test_without_a_start_there_is_none(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(60)
    assert fit_start(make_task(), inputs, favorable) is None


def test_a_coefficient_against_physiology_is_left_out_of_the_start(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(200, strength=2.0, seed=5)
    wrong = inputs.copy()
    wrong[:, 1] = -inputs[:, 0] + 0.5 * np.random.default_rng(1).normal(size=200)
    task = make_task(booster=LOGISTIC, baseline_inputs=["m0", "m1"])
    assert fit_baseline(task, wrong[:, [1, 2, 0]], favorable).coefficients[0] > 0
    start = fit_start(task, wrong[:, [1, 2, 0]], favorable)
    assert start is not None
    assert (start.coefficients <= 0).all()
    only = fit_start(make_task(booster=LOGISTIC), -inputs, favorable)
    assert only.coefficients.tolist() == [0.0], "nothing is left: the start is the share of outcomes"
    assert only.probability(inputs)[0] == pytest.approx(favorable.mean())


def test_it_does_not_fall_behind_the_regression_it_starts_from(make_task: MakeTask, draw_cohort: Draw) -> None:
    """Truth is linear: plain trees lose against the regression, trees that start from it hardly do."""
    inputs, favorable = draw_cohort(60, strength=1.5, seed=9)
    started = cross_validate(make_task(booster=LOGISTIC), inputs, favorable, repeats=3)
    plain = cross_validate(make_task(), inputs, favorable, repeats=3)

    def loss(found: object) -> float:
        return roc_auc_score(favorable, found.baseline.mean(axis=0)) - roc_auc_score(
            favorable, found.probability.mean(axis=0)
        )

    assert loss(started) < 0.03
    assert loss(started) <= loss(plain)


def test_an_ensemble_keeps_its_starts_in_its_file(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(60)
    ensemble = fit_ensemble(make_task(booster=LOGISTIC), inputs, favorable, members=3, seed=0)
    read = Ensemble.from_bytes(ensemble.to_bytes(), ("m0", "m1", "m2"))
    assert np.array_equal(read.probabilities(inputs), ensemble.probabilities(inputs))
    assert read.members[0].start is not None
