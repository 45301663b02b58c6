"""Drift of one quantity against the training patients: population stability index and Kolmogorov-Smirnov distance.

With 38 training patients chance alone gives a population stability index above the customary alarm of 0.25, so each
index is shown beside the value that chance exceeds once in twenty times, and no alarm is raised below it (Yurdakul and
Naranjo 2020, doi:10.21314/JRMV.2020.227: without drift the index times nm/(n+m) is chi-squared, bins minus 1 degrees).
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import chi2, ks_2samp, kstwobign

from oncoresponse.monitoring.training_reference import TrainingReference

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MODERATE_INDEX, LARGE_INDEX = 0.1, 0.25
"""Customary limits of the population stability index."""

FEWEST_SHOWN = 5
"""Figures of fewer patients are not given: they could give one of them away."""

FEWEST_PATIENTS = 20
"""Below this many patients no drift is judged."""

_BINS, _BINS_OF_SMALL_COHORT, _SMALL_COHORT = 10, 5, 100
_CHANCE_LEVEL = 0.95
_KS_SIGNIFICANCE = 0.01
_EMPTY_BIN_PATIENTS = 0.5
_ROUNDING = 1e-9
_ONE_PERCENTILE = 0.01


class DriftVerdict(StrEnum):
    """What the figures say together."""

    NONE = "no drift seen"
    MODERATE = "moderate drift"
    LARGE = "large drift"
    TOO_FEW = "too few patients to say"
    NOT_COMPARABLE = "not comparable"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DriftBin(_Document):
    """One bin: shares of training and of monitored patients above the bin before and up to ``upper``.

    Attributes:
        upper: Upper edge, included; ``None`` for the last bin, which has none.
    """

    upper: float | None
    training_share: float
    monitored_share: float


class DriftOfInput(_Document):
    """Drift of one input, or of the predicted probability.

    Attributes:
        name: Name of the input, or ``probability``.
        title: In clinical words.
        unit: UCUM.
        patients: Monitored patients with a value.
        missing: Monitored patients without.
        median: Of the monitored patients; this and all that follows is ``None`` of fewer than five.
        training_median: Of the training patients.
        outside_training_range: Share of the monitored patients beyond the smallest or largest training value.
        population_stability_index: Sum over bins of (q - p) ln(q / p); a bin without a patient counts half a patient.
        index_by_chance: Value that the index exceeds in 5 % of cohorts of this size without any drift.
        ks_statistic: Largest difference of the two cumulative distributions.
        ks_p_value: Of the two-sample test without drift.
        ks_from_quantiles: The model keeps quantiles of its training patients and not each value, and the distributions
            were compared at those: between them they may differ by more.
        bins: For the plot.
        verdict: What it comes to.
    """

    name: str
    title: str
    unit: str
    patients: int
    missing: int
    median: float | None
    training_median: float
    outside_training_range: float | None
    population_stability_index: float | None
    index_by_chance: float | None
    ks_statistic: float | None
    ks_p_value: float | None
    ks_from_quantiles: bool
    bins: tuple[DriftBin, ...]
    verdict: DriftVerdict


def population_stability_index(expected: FloatArray, observed: FloatArray) -> float:
    """Sum of (q - p) ln(q / p) over bins; ``expected`` p and ``observed`` q are positive shares (bins,)."""
    return float(np.sum((observed - expected) * np.log(observed / expected)))


def index_by_chance(bins: int, training_patients: int, patients: int) -> float:
    """95 % quantile of the index when both cohorts come from one distribution."""
    return float(chi2.ppf(_CHANCE_LEVEL, bins - 1)) * (1 / training_patients + 1 / patients)


def bin_edges(reference: TrainingReference) -> FloatArray:
    """Inner edges of the bins: deciles of the training patients, fifths below 100 patients, or what is stored.

    Every edge is one of the reference's values, so the training share up to it is known and equal values stay together.
    """
    bins = _BINS if reference.patients >= _SMALL_COHORT else _BINS_OF_SMALL_COHORT
    inner = np.arange(1, bins) / bins
    smallest = 0.0
    if not reference.complete:
        # Between 0 and 1 of a yes-or-no input, interpolated percentiles show a value that no patient has.
        smallest = _ONE_PERCENTILE
        if len(reference.values) <= bins:
            inner = reference.shares
    # A hair below, so that a share of 0.3 is found where rounding made it 0.30000000000000004 or the other way round.
    places = np.searchsorted(reference.shares, inner - _ROUNDING)
    edges: list[float] = []
    below = 0.0
    for place in np.unique(places):
        share = float(reference.shares[place])
        if share - below > _ROUNDING + smallest and 1 - share > _ROUNDING + smallest:
            edges.append(float(reference.values[place]))
            below = share
    return np.array(edges)


def training_shares(reference: TrainingReference, edges: FloatArray) -> FloatArray:
    """Share of the training patients in each bin (len(edges) + 1,); the edges are values of the reference."""
    up_to = reference.shares[np.searchsorted(reference.values, edges)]
    return np.diff(np.concatenate([[0.0], up_to, [1.0]]))


def kolmogorov_smirnov(reference: TrainingReference, values: FloatArray) -> tuple[float, float]:
    """Distance and p-value of the two-sample test; at the quantiles and asymptotic when the reference keeps no more."""
    if reference.complete:
        counts = np.rint(np.diff(reference.shares, prepend=0.0) * reference.patients).astype(np.int64)
        found = ks_2samp(np.repeat(reference.values, counts), values, method="auto")
        return float(found.statistic), float(found.pvalue)
    ordered = np.sort(values)
    up_to = np.searchsorted(ordered, reference.values, side="right") / len(values)
    # Just below the smallest training value there is no training patient yet.
    below = float(np.searchsorted(ordered, reference.values[0], side="left")) / len(values)
    known = reference.shares > 0
    distance = max(float(np.abs(up_to - reference.shares)[known].max()), below)
    effective = reference.patients * len(values) / (reference.patients + len(values))
    return distance, float(kstwobign.sf(np.sqrt(effective) * distance))


def drift_of_input(reference: TrainingReference, values: FloatArray, missing: int, comparisons: int) -> DriftOfInput:
    """Compare monitored with training patients.

    Args:
        reference: Of the training patients.
        values: Float (patients,), finite.
        missing: Patients without a value.
        comparisons: Number of quantities that are compared; the significance of the Kolmogorov-Smirnov test is shared
            among them (Bonferroni).
    """
    comparable = reference.resolved
    index = by_chance = statistic = p_value = None
    bins: tuple[DriftBin, ...] = ()
    shown = len(values) >= FEWEST_SHOWN
    if shown and comparable:
        edges = bin_edges(reference)
        expected = training_shares(reference, edges)
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
        observed = counts / len(values)
        index = population_stability_index(
            np.maximum(expected, _EMPTY_BIN_PATIENTS / reference.patients),
            np.maximum(observed, _EMPTY_BIN_PATIENTS / len(values)),
        )
        by_chance = index_by_chance(len(expected), reference.patients, len(values)) if len(expected) > 1 else 0.0
        statistic, p_value = kolmogorov_smirnov(reference, values)
        uppers = (*map(float, edges), None)
        bins = tuple(
            DriftBin(upper=upper, training_share=float(p), monitored_share=float(q))
            for upper, p, q in zip(uppers, expected, observed, strict=True)
        )
    beyond = (values < reference.values[0]) | (values > reference.values[-1])
    return DriftOfInput(
        name=reference.name,
        title=reference.title,
        unit=reference.unit,
        patients=len(values),
        missing=missing,
        median=float(np.median(values)) if shown else None,
        training_median=reference.median,
        outside_training_range=float(beyond.mean()) if shown else None,
        population_stability_index=index,
        index_by_chance=by_chance,
        ks_statistic=statistic,
        ks_p_value=p_value,
        ks_from_quantiles=not reference.complete,
        bins=bins,
        verdict=_verdict(len(values), comparable, index, by_chance, p_value, comparisons),
    )


def _verdict(
    patients: int,
    comparable: bool,
    index: float | None,
    by_chance: float | None,
    p_value: float | None,
    comparisons: int,
) -> DriftVerdict:
    if not comparable:
        return DriftVerdict.NOT_COMPARABLE
    if patients < FEWEST_PATIENTS or index is None or by_chance is None or p_value is None:
        return DriftVerdict.TOO_FEW
    if index > max(LARGE_INDEX, by_chance):
        return DriftVerdict.LARGE
    if index > max(MODERATE_INDEX, by_chance) or p_value < _KS_SIGNIFICANCE / comparisons:
        return DriftVerdict.MODERATE
    return DriftVerdict.NONE
