from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from oncoresponse.response.booster import fit_booster, is_constant, margins
from oncoresponse.response.calibration import calibration_slope_and_intercept
from oncoresponse.response.figures_of_merit import area_under_curve
from oncoresponse.response.pipeline import fit_baseline, fit_pipeline, patient_folds
from oncoresponse.response.probability_interval import fit_ensemble, simulate_interval_coverage
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.training import validation
from oncoresponse.response.training.validation import cross_validate, evaluate
from scipy import stats
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

pytestmark = pytest.mark.slow

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]
MakeTask = Callable[..., ResponseTask]

WITH_PERMUTATIONS = {"folds": 4, "repeats": 2, "inner_repeats": 1, "permutations": 9, "bootstrap_samples": 500}


def test_a_signal_is_found(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(80, strength=2.5, seed=1)
    seen: list[float] = []
    evaluation, found = evaluate(
        make_task(validation=WITH_PERMUTATIONS),
        inputs,
        favorable,
        progress=lambda stage, share: seen.append(share) if "nested" in stage else None,
    )
    # The best any model can do is the AUC of the true log-odds.
    ceiling = roc_auc_score(favorable, -inputs[:, 0])
    assert evaluation.booster.auc.low > 0.5
    assert ceiling - 0.12 < evaluation.booster.auc.value < ceiling + 0.03
    assert evaluation.permutation is not None
    assert evaluation.permutation.p_value == pytest.approx(1 / 10)
    assert evaluation.constant_boosters == 0
    assert not evaluation.beats_baseline, "the baseline knows the one true input"
    assert sum(entry.times for entry in evaluation.chosen) == len(seen) == 8
    assert seen[-1] == 1
    assert found.probability.shape == (2, 80)


def test_noise_is_not_found(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(60, strength=0.0, seed=3)
    evaluation, _ = evaluate(make_task(sign=0, validation=WITH_PERMUTATIONS), inputs, favorable)
    assert evaluation.booster.auc.low < 0.5 < evaluation.booster.auc.high or evaluation.booster.auc.high < 0.5
    assert evaluation.permutation is not None
    assert evaluation.permutation.p_value > 0.1


@pytest.mark.slow
def test_selection_among_many_noise_inputs_does_not_reach_the_validation(
    make_task: MakeTask, draw_cohort: Draw
) -> None:
    """150 noise inputs: choosing with the outcome of everybody "finds" a model, the nested validation does not."""
    task = make_task(150, sign=0)
    found, leaked = [], []
    for seed in range(4):
        inputs, favorable = draw_cohort(40, 150, strength=0.0, seed=seed)
        found.append(area_under_curve(cross_validate(task, inputs, favorable, repeats=1).probability, favorable))
        separation = np.abs(inputs[favorable == 1].mean(axis=0) - inputs[favorable == 0].mean(axis=0))
        best = np.argsort(separation)[-3:]
        outside = cross_validate(make_task(3, sign=0), inputs[:, best], favorable, repeats=1)
        leaked.append(area_under_curve(outside.probability, favorable))
    # The standard error of the mean of four such areas is about 0.05.
    assert np.mean(found) == pytest.approx(0.5, abs=0.13)
    assert np.mean(leaked) > np.mean(found) + 0.1, "the check must be able to see a leak"


def test_a_patient_does_not_influence_the_models_it_is_judged_by(
    make_task: MakeTask, draw_cohort: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, favorable = draw_cohort(48, seed=6)
    folds = patient_folds(favorable, np.arange(48), 4, 0)
    # Outer folds are held, because they are drawn evenly by outcome; the inner ones stay free.
    monkeypatch.setattr(validation, "patient_folds", lambda *_: folds)
    task = make_task()
    before = cross_validate(task, inputs, favorable, repeats=1)
    changed, other_outcome = inputs.copy(), favorable.copy()
    other_outcome[folds[0]] = 1 - other_outcome[folds[0]]
    changed[folds[0][0]] += 5.0
    after = cross_validate(task, changed, other_outcome, repeats=1)
    same = folds[0][1:]
    for name in ("probability", "baseline", "sets"):
        assert np.array_equal(getattr(before, name)[0, same], getattr(after, name)[0, same]), name
    assert not np.array_equal(before.probability[0, folds[1]], after.probability[0, folds[1]])


def test_copies_of_a_patient_share_a_fold(draw_cohort: Draw) -> None:
    _, favorable = draw_cohort(60, seed=2)
    groups = np.sort(np.random.default_rng(0).integers(0, 60, 60))
    folds = patient_folds(favorable[groups], groups, 4, 1)
    assert sorted(np.concatenate(folds)) == list(range(60))
    for first in range(4):
        for second in range(first):
            assert not set(groups[folds[first]]) & set(groups[folds[second]])


def test_automatic_contours_are_judged_by_the_same_folds(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(60, seed=1)
    automatic = inputs.copy()
    automatic[4] = np.nan
    task = make_task(validation={"folds": 4, "repeats": 2, "inner_repeats": 1, "permutations": 0})
    evaluation, found = evaluate(task, inputs, favorable, automatic=automatic)
    figures = evaluation.automatic_contours
    assert figures is not None
    assert (figures.patients, figures.patients_without) == (59, 1)
    assert figures.mean_absolute_change == 0
    assert figures.figures == figures.physician_contours
    assert found.automatic is not None
    assert np.isnan(found.automatic[:, 4]).all()


def test_conformal_sets_cover_patients_kept_out(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(400, seed=9)
    found = cross_validate(make_task(), inputs, favorable, repeats=1)
    for outcome, column in ((1, 0), (0, 1)):
        own = found.sets[0, favorable == outcome, column]
        # Cross-conformal sets are a little conservative; the binomial interval bounds the other side.
        low, _ = stats.binom.interval(0.999, len(own), 0.8)
        assert low <= own.sum() <= 0.93 * len(own)


def test_the_pipeline_is_calibrated_on_new_patients(make_task: MakeTask, draw_cohort: Draw) -> None:
    # Long training at a high rate, so that the bare booster is far too sure of itself.
    task = make_task(8, sign=0, booster={"max_depth": [3], "rounds": [150], "learning_rate": 0.3})
    inputs, favorable = draw_cohort(1300, 8, seed=10)
    fitted = fit_pipeline(task, inputs[:300], favorable[:300], seed=0)
    slope, intercept = calibration_slope_and_intercept(fitted.probability(inputs[300:]), favorable[300:])
    bare, _ = calibration_slope_and_intercept(expit(fitted.margin(inputs[300:])), favorable[300:])
    assert bare < 0.75
    # The standard error of the slope on a thousand patients is about 0.08, that of the fitted sigmoid about 0.1.
    assert slope == pytest.approx(1, abs=0.3)
    assert intercept == pytest.approx(0, abs=0.3)


def test_a_degenerate_booster_is_recognized(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(38, seed=0)
    healthy = make_task()
    booster = healthy.booster.model_copy(update={"min_child_weight": 12.0})
    degenerate = healthy.model_copy(update={"booster": booster})
    names = healthy.input_names
    assert is_constant(margins(fit_booster(degenerate, inputs, favorable, max_depth=2, rounds=10), names, inputs))
    assert not is_constant(margins(fit_booster(healthy, inputs, favorable, max_depth=2, rounds=10), names, inputs))


def test_the_baseline_ranks_as_a_single_input_does(make_task: MakeTask, draw_cohort: Draw) -> None:
    inputs, favorable = draw_cohort(60, seed=5)
    baseline = fit_baseline(make_task(), inputs, favorable)
    assert (np.argsort(baseline.probability(inputs)) == np.argsort(-inputs[:, 0])).all()
    tree = DecisionTreeClassifier(max_depth=1).fit(inputs[:, :1], favorable)
    agreement = (tree.predict(inputs[:, :1]) == (baseline.probability(inputs) > 0.5)).mean()
    assert agreement > 0.7


def test_the_interval_is_widened_where_the_bootstrap_is_too_narrow(make_task: MakeTask, draw_cohort: Draw) -> None:
    task = make_task(
        booster={"max_depth": [1], "rounds": [10], "learning_rate": 0.2},
        validation={"folds": 4, "simulated_cohorts": 4, "inner_repeats": 1},
    )
    inputs, favorable = draw_cohort(60, seed=5)
    found = simulate_interval_coverage(task, inputs, favorable)
    assert found.widening >= 1
    assert found.covered >= found.covered_without_widening
    ensemble = fit_ensemble(task, inputs, favorable, members=10, seed=0)
    point = np.full(len(inputs), 0.5)
    narrow, wide = (ensemble.interval(inputs, point, 0.9, factor) for factor in (1.0, 2.0))
    assert (wide[0] <= narrow[0]).all()
    assert (narrow[0] <= point).all()
    assert (point <= narrow[1]).all()
    assert (narrow[1] <= wide[1]).all()
