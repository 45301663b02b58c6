"""Figures and tables of an evaluation, written by the training command so that they cannot differ from it."""

from __future__ import annotations

from pathlib import Path

import matplotlib.axes
import matplotlib.figure
import numpy as np
from sklearn.metrics import roc_curve

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.cohort import FloatArray, IntArray, read_table
from oncoresponse.response.figures_of_merit import FiguresOfMerit
from oncoresponse.response.training import PREDICTIONS_FILE, TrainedResponse
from oncoresponse.response.validation import Evaluation

BEGIN = "<!-- written by oncoresponse train response: begin -->"
END = "<!-- written by oncoresponse train response: end -->"
ROC_IMAGE = "response-roc.png"
CALIBRATION_IMAGE = "response-calibration.png"

_BLUE, _ORANGE, _GRAY = "#1f5a8a", "#c8641b", "#8a8a8a"
_CALIBRATION_GROUPS = 4


def write_documentation(trained: TrainedResponse, docs_directory: Path) -> None:
    """Write the plots to ``images/`` and the tables between the marks of ``response.md``.

    Raises:
        TrainingDataInvalid: ``response.md`` lacks the marks.
    """
    page = docs_directory / "response.md"
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise TrainingDataInvalid("response.md lacks the marks between which the evaluation is written. Restore them.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{evaluation_tables(trained)}\n{END}{after}", encoding="utf-8")
    images = docs_directory / "images"
    images.mkdir(parents=True, exist_ok=True)
    favourable, booster, baseline = _read_predictions(trained.run_directory / PREDICTIONS_FILE)
    plot_roc(trained.evaluation, favourable, booster, baseline, images / ROC_IMAGE)
    plot_calibration(trained.evaluation, favourable, booster, baseline, images / CALIBRATION_IMAGE)


def evaluation_tables(trained: TrainedResponse) -> str:
    """The evaluation as Markdown."""
    evaluation, document = trained.evaluation, trained.document
    conformal, permutation = evaluation.conformal, evaluation.permutation
    lines = [
        f"{evaluation.patients} patients, {evaluation.favourable} with the favourable outcome; kept out of everything: "
        f"{', '.join(evaluation.held_out_patients) or 'nobody'}. Nested cross-validation: {evaluation.repeats} repeats "
        f"of {evaluation.folds} folds. 95 % intervals by patient bootstrap.",
        "",
        *_figures_table(evaluation),
        "",
        f"AUC of XGBoost minus AUC of the logistic regression: {evaluation.difference.text}. "
        + (
            "XGBoost is better."
            if evaluation.beats_baseline
            else "**XGBoost is not better than the logistic regression**; every prediction shows both."
        ),
        "",
        "| Check | Result |",
        "|---|---|",
    ]
    if permutation is not None:
        lines.append(
            f"| Permutation test, {permutation.permutations} permutations of the outcome through the whole pipeline | "
            f"p = {permutation.p_value:.3f}; AUC {permutation.auc_observed:.2f} with the true outcomes, "
            f"{permutation.auc_permuted_mean:.2f} on average and {permutation.auc_permuted_high:.2f} at the 95th "
            "percentile with shuffled ones |"
        )
    lines += [
        f"| Conformal set, promised {conformal.promised:.0%} in each outcome | {conformal.covered:.1%} covered "
        f"({conformal.covered_favourable:.1%} of favourable, {conformal.covered_unfavourable:.1%} of unfavourable "
        "outcomes) |",
        f"| Patients for whom the set allows a call | {conformal.decided:.1%}"
        + (
            " |"
            if conformal.correct_when_decided is None
            else f", of these {conformal.correct_when_decided:.1%} correct |"
        ),
    ]
    if (interval := trained.interval) is not None:
        lines.append(
            f"| {interval.level:.0%} interval of the probability, {interval.simulated_cohorts} simulated cohorts of "
            f"the same size | plain bootstrap {interval.covered_without_widening:.1%}, widened {interval.widening:.2f} "
            f"times {interval.covered:.1%} |"
        )
    lines += [
        f"| Boosters that were a constant in {evaluation.repeats * evaluation.folds} outer folds | "
        f"{evaluation.constant_boosters} |",
        f"| Patients needed for half the width of the AUC interval | about {evaluation.patients_to_halve_interval} |",
        f"| Shipped booster | depth {document.max_depth}, {document.rounds} trees, XGBoost "
        f"{document.library_versions['xgboost']} |",
        f"| Booster SHA-256 | `{document.booster_sha256}` |",
        f"| Training data SHA-256 | `{document.training_data_sha256}` |",
        "",
    ]
    return "\n".join(lines)


def plot_roc(
    evaluation: Evaluation, favourable: IntArray, booster: FloatArray, baseline: FloatArray, path: Path
) -> None:
    """ROC curves of probabilities averaged over repeats, as PNG."""
    figure, axes = _square_axes()
    for probability, color, name, figures in (
        (booster, _BLUE, "XGBoost", evaluation.booster),
        (baseline, _ORANGE, "Logistic regression", evaluation.baseline),
    ):
        false_positive, true_positive, _ = roc_curve(favourable, probability)
        axes.step(
            false_positive,
            true_positive,
            where="post",
            color=color,
            linewidth=2,
            label=f"{name}: AUC {figures.auc.text}",
        )
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("Sensitivity for the favourable outcome")
    axes.set_title(f"Cross-validated, {evaluation.patients} patients", loc="left", fontsize=11)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def plot_calibration(
    evaluation: Evaluation, favourable: IntArray, booster: FloatArray, baseline: FloatArray, path: Path
) -> None:
    """Observed against predicted share of favourable outcomes in quarters of the cohort, as PNG.

    Bars are 95 % Wilson intervals of the observed share.
    """
    figure, axes = _square_axes()
    for probability, color, name, shift in (
        (booster, _BLUE, "XGBoost", -0.004),
        (baseline, _ORANGE, "Logistic regression", 0.004),
    ):
        groups = np.array_split(np.argsort(probability, kind="stable"), _CALIBRATION_GROUPS)
        predicted = np.array([probability[group].mean() for group in groups])
        observed = np.array([favourable[group].mean() for group in groups])
        ends = np.array([_wilson(float(favourable[group].mean()), len(group)) for group in groups])
        bars = np.clip(np.stack([observed - ends[:, 0], ends[:, 1] - observed]), 0, None)
        axes.errorbar(
            predicted + shift, observed, yerr=bars, color=color, marker="o", linewidth=1.5, capsize=3, label=name
        )
    slope = evaluation.booster.calibration_slope.text
    axes.set_xlabel("Predicted probability of the favourable outcome")
    axes.set_ylabel("Observed share")
    axes.set_title(f"Quarters of {evaluation.patients} patients; slope {slope}", loc="left", fontsize=11)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def _square_axes() -> tuple[matplotlib.figure.Figure, matplotlib.axes.Axes]:
    figure = matplotlib.figure.Figure(figsize=(5.2, 5.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle=":", linewidth=1)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _wilson(share: float, cases: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    quantile = 1.959964
    center = (share + quantile**2 / (2 * cases)) / (1 + quantile**2 / cases)
    half = quantile / (1 + quantile**2 / cases) * np.sqrt(share * (1 - share) / cases + quantile**2 / (4 * cases**2))
    return center - float(half), center + float(half)


def _figures_table(evaluation: Evaluation) -> list[str]:
    columns: list[tuple[str, FiguresOfMerit]] = [
        ("XGBoost", evaluation.booster),
        (f"Logistic regression ({', '.join(evaluation.baseline_inputs)})", evaluation.baseline),
    ]
    if (automatic := evaluation.automatic_contours) is not None:
        columns.append((f"XGBoost, automatic contours ({automatic.patients} patients)", automatic.figures))
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |", "|---|" + "---|" * len(columns)]
    for title, field in (
        ("AUC", "auc"),
        ("Brier score", "brier"),
        ("Scaled Brier score", "scaled_brier"),
        ("Calibration slope", "calibration_slope"),
        ("Calibration-in-the-large", "calibration_intercept"),
    ):
        cells = [getattr(figures, field).text for _, figures in columns]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def _read_predictions(path: Path) -> tuple[IntArray, FloatArray, FloatArray]:
    rows = read_table(path, "patient_id").values()
    return (
        np.array([int(row["favourable"]) for row in rows], dtype=np.int64),
        np.array([float(row["probability"]) for row in rows]),
        np.array([float(row["probability_baseline"]) for row in rows]),
    )
