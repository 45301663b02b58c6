"""Fits the interval of the forecast and validates it by trial.

Each trial is forecast by constants that saw only the others; their conformal margins come from a second round within
those others, so that neither quantiles nor margins have seen the trial. The constants that ship are fitted in the same
way to all trials. Every visit
weighs the same, because the promise is about visits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import QuantileRegressor

from oncoresponse.case.file_digest import file_sha256
from oncoresponse.comparison.forecast import (
    Figures,
    ForecastConstants,
    Interval,
    Known,
    around_last,
    features,
    history_of,
    interval_mm,
    scale_mm,
)
from oncoresponse.comparison.forecast_table import VisitTable, read_visits
from oncoresponse.comparison.recist import TOO_SMALL_MM
from oncoresponse.errors import TrainingDataInvalid

LEVEL = 0.8
ELAPSED_DAYS = (35.0, 50.0, 75.0)
"""Declared in advance: shorter than the usual six weeks, about six, about nine, longer."""
FEWEST_TRIALS = 3
FEWEST_IN_RANGE = 30
"""Patients in a range of elapsed time below which its margin is that of all ranges together."""
BOOTSTRAPS = 2000
_SHARES = np.linspace(0.0, 1.0, 41)


@dataclass(frozen=True)
class Visits:
    """Every visit of a table that has an earlier one.

    Attributes:
        history: Rows of :func:`.forecast.history_of`.
        size: What was measured (mm); 5 where too small to measure.
        censored: Where it was too small to measure.
        patient: Index of the patient.
        trial: Index of the trial.
    """

    history: NDArray[np.float64]
    size: NDArray[np.float64]
    censored: NDArray[np.bool_]
    patient: NDArray[np.int64]
    trial: NDArray[np.int64]

    def part(self, rows: NDArray[np.bool_]) -> Visits:
        """The rows asked for."""
        return Visits(self.history[rows], self.size[rows], self.censored[rows], self.patient[rows], self.trial[rows])

    def error(self, estimate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Absolute error; of a lesion too small to measure, what exceeds 5 mm."""
        difference = estimate - self.size
        return np.where(self.censored, np.maximum(difference, 0.0), np.abs(difference))

    def covered(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether an interval holds the value; of a lesion too small to measure, whether it reaches below 5 mm."""
        return np.where(self.censored, low <= TOO_SMALL_MM, (low <= self.size) & (self.size <= high))


def train_forecast(
    table: Path, *, cohort: str, seed: int = 20261126, progress: Callable[[float], None] | None = None
) -> ForecastConstants:
    """Validate by trial, fit to all trials, and seal.

    Args:
        table: CSV as of ``oncoresponse forecast``, with a column ``study`` that names the trial.
        cohort: The data in words, with licence, for the file.
        seed: Of the bootstrap.
        progress: Called with the share done.

    Raises:
        PredictionTableInvalid: See :func:`.forecast_table.read_visits`.
        TrainingDataInvalid: Fewer than three trials, or too few visits.
    """
    read = read_visits(table)
    visits, names = _visits_of(read)
    if len(names) < FEWEST_TRIALS:
        raise TrainingDataInvalid(
            f"The table has {len(names)} trials in its column 'study'; validation by trial needs {FEWEST_TRIALS}."
        )
    trials = range(len(names))
    low, high = np.empty(len(visits.size)), np.empty(len(visits.size))
    plain, damped = np.empty(len(visits.size)), np.empty(len(visits.size))
    for trial in trials:
        left_out = visits.trial == trial
        others = visits.part(~left_out)
        intervals = _intervals(others)
        low[left_out], high[left_out] = interval_mm(visits.history[left_out], _constants(intervals))
        plain[left_out] = _plain_share(others) * visits.history[left_out, 0]
        damped[left_out] = _damped(visits.history[left_out], _trend_share(others))
        if progress is not None:
            progress((trial + 1) / (len(names) + 1))
    difference = visits.error(damped) - visits.error(visits.history[:, 0])
    several = visits.history[:, 3] > 1
    bounds = _bootstrap(difference[several], visits.patient[several], seed)
    better = bounds[1] < 0
    rows = {"all": np.ones(len(visits.size), bool)} | {names[trial]: visits.trial == trial for trial in trials}
    figures = {name: _figures(visits, part, low, high, plain, damped) for name, part in rows.items()}
    constants = _constants(_intervals(visits)).model_copy(
        update={
            "point": "damped trend" if better else "last value",
            "trend_share": _trend_share(visits) if better else 0.0,
            "longest_days": float(np.quantile(visits.history[:, 1], 0.995)),
            "usual_days": float(np.median(visits.history[:, 1])),
            "figures": figures,
            "damped_minus_last_mm": bounds,
            "cohort": cohort,
            "table_sha256": file_sha256(table),
            "patients": len(read.patients),
            "command": "oncoresponse train forecast",
        }
    )
    if progress is not None:
        progress(1.0)
    return constants.sealed()


def _visits_of(table: VisitTable) -> tuple[Visits, list[str]]:
    names = sorted({entry.study for entry in table.patients})
    rows = [
        (history_of(entry.visits[:index], visit.day), visit.diameter_mm, patient, names.index(entry.study))
        for patient, entry in enumerate(table.patients)
        for index, visit in enumerate(entry.visits)
        if index > 0
    ]
    if len(rows) < 10 * FEWEST_IN_RANGE:
        raise TrainingDataInvalid(
            f"The table has {len(rows)} visits with an earlier one; {10 * FEWEST_IN_RANGE} needed."
        )
    return Visits(
        history=np.array([row[0] for row in rows]),
        size=np.array([TOO_SMALL_MM if row[1] is None else row[1] for row in rows]),
        censored=np.array([row[1] is None for row in rows]),
        patient=np.array([row[2] for row in rows]),
        trial=np.array([row[3] for row in rows]),
    ), names


def _constants(intervals: dict[Known, Interval]) -> ForecastConstants:
    return ForecastConstants(
        level=LEVEL,
        point="last value",
        trend_share=0.0,
        elapsed_days=ELAPSED_DAYS,
        longest_days=0.0,
        usual_days=0.0,
        intervals=intervals,
        figures={},
        damped_minus_last_mm=(0.0, 0.0),
        cohort="",
        table_sha256="",
        patients=0,
        command="",
    )


def _intervals(visits: Visits) -> dict[Known, Interval]:
    several = visits.history[:, 3] > 1
    return {"one": _interval(visits.part(~several)), "several": _interval(visits.part(several))}


def _interval(visits: Visits) -> Interval:
    """Quantiles of all; margins from quantiles that did not see the trial."""
    scores = np.empty(len(visits.size))
    for trial in np.unique(visits.trial):
        left_out = visits.trial == trial
        rest, tested = visits.part(~left_out), visits.part(left_out)
        low = tested.history[:, 0] + features(tested.history) @ _quantile(rest, (1 - LEVEL) / 2)
        high = tested.history[:, 0] + features(tested.history) @ _quantile(rest, (1 + LEVEL) / 2)
        scores[left_out] = _scores(tested, low, high)
    ranges = np.searchsorted(ELAPSED_DAYS, visits.history[:, 1], side="right")
    margins = []
    for number in range(len(ELAPSED_DAYS) + 1):
        rows = ranges == number
        if len(np.unique(visits.patient[rows])) < FEWEST_IN_RANGE:
            rows = np.ones(len(scores), bool)
        margins.append(_conformal(scores[rows]))
    return Interval(
        lower=tuple(_quantile(visits, (1 - LEVEL) / 2).tolist()),
        upper=tuple(_quantile(visits, (1 + LEVEL) / 2).tolist()),
        margins=tuple(margins),
    )


def _scores(visits: Visits, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much an interval has to widen on both sides to hold the value, in units of the scale; below 0 where less."""
    low, high = around_last(low, high, visits.history)
    below = np.where(visits.censored, low - TOO_SMALL_MM, low - visits.size)
    above = np.where(visits.censored, -np.inf, visits.size - high)
    return np.maximum(below, above) / scale_mm(visits.history)


def _quantile(visits: Visits, quantile: float) -> NDArray[np.float64]:
    """Coefficients of a quantile of the difference from the last value, by Powell's rule for left-censored values.

    A value too small to measure whose fitted quantile is below 5 mm costs nothing, so it leaves the fit.
    """
    used, last = features(visits.history), visits.history[:, 0]
    counted = np.ones(len(last), bool)
    coefficients = np.zeros(used.shape[1])
    varying = used.any(axis=0)
    for _ in range(3):
        model = QuantileRegressor(quantile=quantile, alpha=0.0, fit_intercept=False)
        model.fit(used[counted][:, varying], (visits.size - last)[counted])
        coefficients[varying] = model.coef_
        again = ~visits.censored | (last + used @ coefficients > TOO_SMALL_MM)
        if (again == counted).all():
            break
        counted = again
    return coefficients


def _conformal(scores: NDArray[np.float64]) -> float:
    """The score that one more visit stays below with a probability of at least the level (split conformal)."""
    rank = min(math.ceil(LEVEL * (len(scores) + 1)), len(scores))
    return float(np.sort(scores)[rank - 1])


def _damped(history: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    return np.asarray(history[:, 0] + share * np.maximum(history[:, 2], 0.0))


def _trend_share(visits: Visits) -> float:
    several = visits.part(visits.history[:, 3] > 1)
    return float(min(_SHARES, key=lambda share: float(several.error(_damped(several.history, share)).mean())))


def _plain_share(visits: Visits) -> float:
    """Share of the last value that, added and taken away, holds the level of the visits."""
    several = visits.part(visits.history[:, 3] > 1)
    last = np.maximum(several.history[:, 0], 1e-6)
    return _conformal(several.error(several.history[:, 0]) / last)


def _bootstrap(difference: NDArray[np.float64], patient: NDArray[np.int64], seed: int) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    _, place = np.unique(patient, return_inverse=True)
    sums, counts = np.bincount(place, difference), np.bincount(place)
    drawn = random.integers(0, len(sums), (BOOTSTRAPS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


def _figures(
    visits: Visits,
    rows: NDArray[np.bool_],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    plain: NDArray[np.float64],
    damped: NDArray[np.float64],
) -> Figures:
    several = rows & (visits.history[:, 3] > 1)
    first = rows & (visits.history[:, 3] == 1)
    straight = np.maximum(visits.history[:, 0] + visits.history[:, 2], 0.0)

    def mean(values: NDArray[np.float64] | NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float:
        return round(float(values[chosen].mean()), 3)

    width, covered = high - low, visits.covered(low, high)
    last = visits.history[:, 0]
    return Figures(
        visits=int(several.sum()),
        last_value_mm=mean(visits.error(visits.history[:, 0]), several),
        straight_line_mm=mean(visits.error(straight), several),
        damped_trend_mm=mean(visits.error(damped), several),
        coverage=mean(covered, several),
        width_mm=mean(width, several),
        median_width_mm=round(float(np.median(width[several])), 3),
        plain_coverage=mean(visits.covered(last - plain, last + plain), several),
        plain_width_mm=mean(2 * plain, several),
        first_visits=int(first.sum()),
        first_coverage=mean(covered, first),
        first_width_mm=mean(width, first),
    )


def figures_table(figures: Sequence[tuple[str, Figures]]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| trial left out | visits | last value | straight line | damped trend | within 80 % interval | its width | "
        "plain interval: within | width | first visits | within | width |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in figures:
        lines.append(
            f"| {name} | {found.visits} | {found.last_value_mm:.2f} | {found.straight_line_mm:.2f} | "
            f"{found.damped_trend_mm:.2f} | {found.coverage:.1%} | {found.width_mm:.1f} | "
            f"{found.plain_coverage:.1%} | {found.plain_width_mm:.1f} | "
            f"{found.first_visits} | {found.first_coverage:.1%} | {found.first_width_mm:.1f} |"
        )
    return "\n".join(lines)
