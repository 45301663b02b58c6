"""Plots of an evaluation, drawn from the curves in ``evaluation.json``."""

from __future__ import annotations

from pathlib import Path

import matplotlib.axes
import matplotlib.figure

from oncoresponse.response.training.evaluation_curves import ModelCurves
from oncoresponse.response.training.validation import Evaluation

ROC_IMAGE = "roc.png"
CALIBRATION_IMAGE = "calibration.png"
DECISION_CURVE_IMAGE = "decision-curve.png"

_BLUE, _ORANGE, _GRAY = "#1f5a8a", "#c8641b", "#8a8a8a"


def write_figures(evaluation: Evaluation, directory: Path) -> None:
    """ROC, calibration plot and decision curve as PNG."""
    directory.mkdir(parents=True, exist_ok=True)
    plot_roc(evaluation, directory / ROC_IMAGE)
    plot_calibration(evaluation, directory / CALIBRATION_IMAGE)
    plot_decision_curve(evaluation, directory / DECISION_CURVE_IMAGE)


def plot_roc(evaluation: Evaluation, path: Path) -> matplotlib.figure.Figure:
    """ROC curves of probabilities averaged over repeats."""
    figure, axes = _square_axes()
    for curves, color, name in _models(evaluation):
        auc = (evaluation.booster if name == "XGBoost" else evaluation.baseline).auc.text
        axes.step(
            curves.roc.false_positive,
            curves.roc.true_positive,
            where="post",
            color=color,
            linewidth=2,
            label=f"{name}: AUC {auc}",
        )
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("Sensitivity for the favorable outcome")
    axes.set_title(f"Cross-validated, {evaluation.patients} patients", loc="left", fontsize=11)
    _legend_below(axes, columns=1)
    figure.savefig(path, metadata={"Software": None})
    return figure


def plot_calibration(evaluation: Evaluation, path: Path) -> matplotlib.figure.Figure:
    """Observed against predicted share of favorable outcomes; bars are 95 % Wilson intervals."""
    figure, axes = _square_axes()
    for (curves, color, name), shift in zip(_models(evaluation), (-0.004, 0.004), strict=True):
        points = curves.calibration
        axes.errorbar(
            [point.predicted + shift for point in points],
            [point.observed for point in points],
            yerr=[
                [max(point.observed - point.low, 0) for point in points],
                [max(point.high - point.observed, 0) for point in points],
            ],
            color=color,
            # No line: nothing was measured between the groups.
            fmt="o",
            linewidth=1.5,
            capsize=3,
            label=name,
        )
    groups = len(evaluation.booster_curves.calibration)
    slope = evaluation.booster.calibration_slope.text
    axes.set_xlabel("Predicted probability of the favorable outcome")
    axes.set_ylabel("Observed share")
    axes.set_title(f"{evaluation.patients} patients in {groups} groups; slope {slope}", loc="left", fontsize=11)
    _legend_below(axes)
    figure.savefig(path, metadata={"Software": None})
    return figure


def plot_decision_curve(evaluation: Evaluation, path: Path) -> matplotlib.figure.Figure:
    """Net benefit by threshold: the model, the logistic regression, everybody, nobody."""
    figure = matplotlib.figure.Figure(figsize=(5.8, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    curve = evaluation.decision_curve
    axes.axhline(0, color=_GRAY, linewidth=1, label="Nobody")
    axes.plot(curve.thresholds, curve.everybody, color=_GRAY, linestyle=":", label="Everybody")
    axes.plot(curve.thresholds, curve.baseline, color=_ORANGE, linewidth=1.5, label="Logistic regression")
    axes.plot(curve.thresholds, curve.booster, color=_BLUE, linewidth=2, label="XGBoost")
    best = max(*curve.booster, *curve.baseline, *curve.everybody, 0.1)
    # Counting everybody falls without end toward a threshold of 1; the two models are shown whole.
    lowest = min(*curve.booster, *curve.baseline, -0.1 * best)
    axes.set_ylim(1.1 * lowest, 1.1 * best)
    axes.set_xlim(0, 1)
    axes.set_xlabel("Threshold on the probability of the favorable outcome")
    axes.set_ylabel("Net benefit")
    axes.set_title("Decision curve, cross-validated", loc="left", fontsize=11)
    _without_frame(axes)
    _legend_below(axes)
    figure.savefig(path, metadata={"Software": None})
    return figure


def _models(evaluation: Evaluation) -> tuple[tuple[ModelCurves, str, str], tuple[ModelCurves, str, str]]:
    return (
        (evaluation.booster_curves, _BLUE, "XGBoost"),
        (evaluation.baseline_curves, _ORANGE, "Logistic regression"),
    )


def _square_axes() -> tuple[matplotlib.figure.Figure, matplotlib.axes.Axes]:
    figure = matplotlib.figure.Figure(figsize=(5.2, 5.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle=":", linewidth=1)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    _without_frame(axes)
    return figure, axes


def _legend_below(axes: matplotlib.axes.Axes, columns: int = 2) -> None:
    """Where it can lie on no point; long labels below each other, as the figure is no wider for them."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize=9, ncols=columns)


def _without_frame(axes: matplotlib.axes.Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
