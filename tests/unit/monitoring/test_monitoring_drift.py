"""Drift figures against hand computation, scipy on the raw values, and simulation without drift."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.monitoring.drift import (
    DriftVerdict,
    bin_edges,
    drift_of_input,
    index_by_chance,
    kolmogorov_smirnov,
    population_stability_index,
    training_shares,
)
from oncoresponse.monitoring.training_reference import TrainingReference
from scipy.stats import ks_2samp

PERCENT = np.linspace(0, 1, 101)


def complete(values) -> TrainingReference:
    return TrainingReference.of_values("size", "Tumor size", "ml", np.asarray(values, dtype=float))


def percentiles(values) -> TrainingReference:
    steps = np.quantile(values, PERCENT)
    return TrainingReference.of_quantiles("size", "Tumor size", "ml", len(values), steps, PERCENT)


def five_quantiles(values) -> TrainingReference:
    shares = np.array([0, 0.05, 0.5, 0.95, 1])
    return TrainingReference.of_quantiles("size", "Tumor size", "ml", len(values), np.quantile(values, shares), shares)


def test_index_computed_by_hand():
    # (0.5-0.25) ln 2 + (0.25-0.25) ln 1 + (0.25-0.5) ln 0.5 = 0.5 ln 2
    index = population_stability_index(np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.25, 0.25]))
    assert index == pytest.approx(0.5 * math.log(2))


def test_index_of_a_table_computed_by_hand():
    """Training 1 to 10 in fifths of two; monitored patients lie 4, 1, 1, 1, 1 of eight in these."""
    found = drift_of_input(complete(range(1, 11)), np.array([1, 1.5, 2, 0.2, 3, 5, 7, 99.0]), 3, 1)
    assert [part.upper for part in found.bins] == [2, 4, 6, 8, None]
    assert [part.training_share for part in found.bins] == pytest.approx([0.2] * 5)
    assert [part.monitored_share for part in found.bins] == pytest.approx([0.5, 0.125, 0.125, 0.125, 0.125])
    expected = 0.3 * math.log(2.5) + 4 * (0.125 - 0.2) * math.log(0.125 / 0.2)
    assert found.population_stability_index == pytest.approx(expected)
    assert (found.patients, found.missing, found.verdict) == (8, 3, DriftVerdict.TOO_FEW)
    assert found.outside_training_range == pytest.approx(2 / 8)


def test_bin_without_a_patient_counts_half_a_patient():
    found = drift_of_input(complete(range(1, 11)), np.full(10, 1.0), 0, 1)
    expected = 0.8 * math.log(5) + 4 * (0.05 - 0.2) * math.log(0.05 / 0.2)
    assert found.population_stability_index == pytest.approx(expected)


def test_kolmogorov_smirnov_of_all_training_values_is_that_of_scipy():
    random = np.random.default_rng(0)
    training, new = random.normal(0, 1, 38).round(1), random.normal(0.5, 1, 61).round(1)  # with ties
    expected = ks_2samp(training, new)
    assert kolmogorov_smirnov(complete(training), new) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize("patients", [200, 781])
def test_kolmogorov_smirnov_of_percentiles_is_close_to_that_of_scipy(patients):
    random = np.random.default_rng(patients)
    for shift in (0.0, 0.2, 1.0):
        training, new = random.normal(0, 1, patients), random.normal(shift, 1, 300)
        statistic, p_value = kolmogorov_smirnov(percentiles(training), new)
        expected = ks_2samp(training, new)
        assert statistic == pytest.approx(expected.statistic, abs=0.02)
        assert (p_value < 0.001) == (expected.pvalue < 0.001)


def test_yes_or_no_input_is_compared_by_its_shares():
    """A receptor status: 300 of 500 training patients, 90 of 100 monitored ones are positive."""
    receptors = [0.0] * 200 + [1.0] * 300
    # Percentiles know a share to one hundredth, which moves this index by a twentieth.
    for reference, share_error, index_error in (
        (complete(receptors), 1e-9, 1e-9),
        (percentiles(receptors), 0.011, 0.1),
    ):
        found = drift_of_input(reference, np.array([0.0] * 10 + [1.0] * 90), 0, 1)
        assert [part.training_share for part in found.bins] == pytest.approx([0.4, 0.6], abs=share_error)
        assert found.population_stability_index == pytest.approx(
            (0.1 - 0.4) * math.log(0.1 / 0.4) + (0.9 - 0.6) * math.log(0.9 / 0.6), rel=index_error
        )
        assert found.ks_statistic == pytest.approx(0.3, abs=share_error)
        assert found.verdict is DriftVerdict.LARGE
        assert reference.discrete_values == (0.0, 1.0)


def test_few_quantiles_with_equal_values_are_not_compared():
    found = drift_of_input(five_quantiles([0.0] * 200 + [1.0] * 300), np.ones(100), 0, 1)
    assert found.verdict is DriftVerdict.NOT_COMPARABLE
    assert found.population_stability_index is found.ks_statistic is None


def test_figures_of_fewer_than_five_patients_are_withheld():
    found = drift_of_input(complete(range(50)), np.array([3.14159, 2.0]), 0, 1)
    assert found.verdict is DriftVerdict.TOO_FEW
    assert found.median is found.population_stability_index is found.outside_training_range is None
    assert "3.14" not in found.model_dump_json()


@pytest.mark.parametrize("reference_of", [complete, percentiles, five_quantiles])
@pytest.mark.parametrize(("training_patients", "patients"), [(38, 40), (781, 300)])
def test_without_drift_an_alarm_is_rare_and_with_drift_it_comes(reference_of, training_patients, patients):
    """The 95 % quantile of chance, found by drawing both cohorts from one distribution."""
    random = np.random.default_rng(5)
    above, alarms, draws = 0, 0, 300
    for _ in range(draws):
        reference = reference_of(random.lognormal(5, 1, training_patients))
        found = drift_of_input(reference, random.lognormal(5, 1, patients), 0, 1)
        above += found.population_stability_index > found.index_by_chance
        alarms += found.verdict is not DriftVerdict.NONE
    assert above / draws < 0.10
    assert alarms / draws < 0.11
    reference = reference_of(random.lognormal(5, 1, training_patients))
    moved = drift_of_input(reference, random.lognormal(6.5, 1, patients), 0, 1)
    assert moved.verdict is DriftVerdict.LARGE


def test_index_by_chance_is_the_quantile_of_the_scaled_chi_squared():
    assert index_by_chance(5, 38, 40) == pytest.approx(9.487729 * (1 / 38 + 1 / 40), rel=1e-6)  # table of chi-squared


@given(st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 1)), min_size=5, max_size=150))
def test_training_patients_lie_in_the_bins_as_their_shares_say(values):
    reference = complete(values)
    edges = bin_edges(reference)
    shares = training_shares(reference, edges)
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    assert shares == pytest.approx(counts / len(values))
    assert (shares > 0).all()
    assert drift_of_input(reference, np.array(values), 0, 1).population_stability_index == pytest.approx(0, abs=1e-12)
