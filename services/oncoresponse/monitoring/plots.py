"""The report as one page of plots (PDF), drawn from the report alone."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from oncoresponse.monitoring.drift import DriftOfInput, DriftVerdict
from oncoresponse.monitoring.performance import CalibrationBin, Performance
from oncoresponse.monitoring.report import MonitoringReport, short_number

_PAGE_INCHES = (11.69, 8.27)  # A4, landscape
_COLUMNS = 5
_TRAINING, _MONITORED, _ALARM = "#9aa5b1", "#1f6f8b", "#b3392f"
_STYLE: dict[Any, Any] = {"font.size": 7, "axes.titlesize": 7.5, "axes.spines.top": False, "axes.spines.right": False}
_MOST_SUBGROUPS = 14
_MOST_MONTHS = 24
_MOST_LEVEL_LABELS = 5
_LONGEST_LABEL = 44
_FINDINGS_WIDTH = 235
_MOST_FINDING_LINES = 9


def write_plots(report: MonitoringReport, path: Path) -> None:
    """Write the page.

    Args:
        report: What to draw.
        path: ``.pdf`` (no creation date inside, so the same report gives the same bytes) or ``.png``.
    """
    with rc_context(_STYLE):
        figure = _page(report)
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
        figure.savefig(path, metadata=metadata, dpi=150)


def _page(report: MonitoringReport) -> Figure:
    figure = Figure(figsize=_PAGE_INCHES)
    period = f"{report.since_month} to {report.until_month}" if report.since_month else "no predictions yet"
    figure.text(
        0.04,
        0.965,
        f"Monitoring of {report.model_name} {report.model_version}: {report.predictions} predictions, {period}",
        fontsize=12,
        fontweight="bold",
    )
    figure.text(0.04, 0.945, report.research_use_statement, fontsize=8, color=_ALARM)
    lines = [line for sentence in report.findings for line in textwrap.wrap(f"- {sentence}", _FINDINGS_WIDTH)]
    if len(lines) > _MOST_FINDING_LINES:
        lines = [*lines[: _MOST_FINDING_LINES - 1], "- More in monitoring.json."]
    figure.text(0.04, 0.93, "\n".join(lines), va="top", linespacing=1.35)
    # A model without evidence predicts nothing, so it has nothing that could drift.
    drift_rows = max(1, -(-len(report.drift) // _COLUMNS))
    top = 0.87 - 0.017 * len(lines)
    sides = {"left": 0.05, "right": 0.98}
    drift = figure.add_gridspec(drift_rows, _COLUMNS, **sides, bottom=0.44, top=top, hspace=0.9, wspace=0.35)
    for number, entry in enumerate(report.drift):
        _draw_drift(figure.add_subplot(drift[divmod(number, _COLUMNS)]), entry)
    figure.legend(
        handles=[
            Patch(color=_TRAINING, label="training patients"),
            Patch(color=_MONITORED, label="monitored patients"),
        ],
        loc="upper right",
        bbox_to_anchor=(0.98, 0.985),
        frameon=False,
    )
    # The empty column holds the names of the subgroups.
    below = figure.add_gridspec(1, 4, **sides, bottom=0.08, top=0.32, wspace=0.2, width_ratios=[1, 1, 0.7, 1.2])
    _draw_calibration(figure.add_subplot(below[0]), report.outcomes.performance)
    _draw_months(figure.add_subplot(below[1]), report)
    _draw_subgroups(figure.add_subplot(below[3]), report)
    return figure


def _draw_drift(axes: Any, entry: DriftOfInput) -> None:
    color = _ALARM if entry.verdict in (DriftVerdict.MODERATE, DriftVerdict.LARGE) else "black"
    axes.set_title(f"{_short(entry.title)}\n{entry.verdict}", color=color, loc="left")
    if not entry.bins:
        _say(axes, f"Patients with a value: {entry.patients}")
        return
    places = np.arange(len(entry.bins))
    axes.bar(places - 0.2, [part.training_share for part in entry.bins], 0.4, color=_TRAINING)
    axes.bar(places + 0.2, [part.monitored_share for part in entry.bins], 0.4, color=_MONITORED)
    crowded = len(entry.bins) > _MOST_LEVEL_LABELS
    labels = [_range(entry, number) for number in range(len(entry.bins))]
    axes.set_xticks(places, labels, fontsize=5.5, rotation=60 if crowded else 0)
    axes.set_xlabel(
        f"{'' if entry.unit == '1' else entry.unit + '; '}PSI {entry.population_stability_index:.2f} "
        f"(chance {entry.index_by_chance:.2f}), KS {entry.ks_statistic:.2f}, "
        f"p {entry.ks_p_value:.2g}",
        fontsize=6,
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _range(entry: DriftOfInput, number: int) -> str:
    upper = entry.bins[number].upper
    if upper is not None:
        return f"\u2264 {short_number(upper)}"
    lower = entry.bins[number - 1].upper if number else None
    return "all" if lower is None else f"> {short_number(lower)}"


def _draw_calibration(axes: Any, found: Performance) -> None:
    axes.set_title("Calibration on recorded outcomes", loc="left")
    if found.figures is None:
        _say(axes, found.too_few or "")
        return
    axes.plot([0, 1], [0, 1], color=_TRAINING, linewidth=0.8)
    predicted = [part.predicted for part in found.calibration]
    observed = [part.observed.value or 0.0 for part in found.calibration]
    spread = np.array([_spread(part) for part in found.calibration]).T
    axes.errorbar(predicted, observed, yerr=spread, fmt="o", color=_MONITORED, markersize=4, linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="share with favorable outcome")
    figures = found.figures
    axes.text(
        0.03,
        0.97,
        f"{found.patients} patients\nAUC {figures.auc.text}\nslope {figures.calibration_slope.text}",
        va="top",
        transform=axes.transAxes,
        fontsize=6,
    )


def _spread(part: CalibrationBin) -> tuple[float, float]:
    """Distances from the observed share to the ends of its interval."""
    value, low, high = (
        0.0 if end is None else end for end in (part.observed.value, part.observed.low, part.observed.high)
    )
    return max(value - low, 0.0), max(high - value, 0.0)


def _draw_months(axes: Any, report: MonitoringReport) -> None:
    axes.set_title("Predictions by month, and those without a call", loc="left")
    months = report.months[-_MOST_MONTHS:]
    if not months:
        _say(axes, "No predictions are recorded.")
        return
    places = np.arange(len(months))
    axes.bar(places, [entry.predictions for entry in months], color=_TRAINING, label="all")
    axes.bar(places, [entry.abstained for entry in months], color=_MONITORED, label="no call")
    step = -(-len(months) // 8)
    axes.set_xticks(places[::step], [entry.month for entry in months][::step], rotation=45)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, 1.35 * max(entry.predictions for entry in months))
    axes.legend(frameon=False, fontsize=6, ncols=2, loc="upper left")


def _draw_subgroups(axes: Any, report: MonitoringReport) -> None:
    axes.set_title("AUC by subgroup, 95 % interval", loc="left")
    shown = [entry for entry in report.subgroups if entry.performance.figures is not None]
    overall = report.outcomes.performance.figures
    if overall is None or not shown:
        _say(axes, "No subgroup has enough recorded outcomes.")
        return
    shown = shown[:_MOST_SUBGROUPS]
    rows = [("all", overall.auc, report.outcomes.performance.patients)]
    rows += [
        (f"{entry.group}: {entry.value}", entry.performance.figures.auc, entry.performance.patients)
        for entry in shown
        if entry.performance.figures is not None
    ]
    places = np.arange(len(rows))[::-1]
    values = np.array([estimate.value for _, estimate, _ in rows])
    spread = np.array([[e.value - e.low, e.high - e.value] for _, e, _ in rows]).T.clip(min=0)
    axes.errorbar(values, places, xerr=spread, fmt="o", color=_MONITORED, markersize=4, linewidth=1)
    axes.axvline(overall.auc.value, color=_TRAINING, linewidth=0.8)
    axes.set_yticks(places, [f"{_short(label)} (n = {count})" for label, _, count in rows], fontsize=6)
    axes.set_xlim(0, 1)


def _say(axes: Any, text: str) -> None:
    axes.text(0.0, 0.6, textwrap.fill(text, 42), transform=axes.transAxes, fontsize=7, va="top")
    axes.set_axis_off()


def _short(text: str) -> str:
    return textwrap.shorten(text, _LONGEST_LABEL, placeholder=" \u2026")
