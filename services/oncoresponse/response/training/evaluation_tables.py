"""An evaluation as Markdown, written by commands so that it cannot differ from what was found."""

from __future__ import annotations

from oncoresponse.response.figures_of_merit import Estimate, FiguresOfMerit
from oncoresponse.response.model_document import MeasuresOnlyDocument, ResponseDocument
from oncoresponse.response.training.evidence import EvidenceFigures
from oncoresponse.response.training.validation import Evaluation

SHOWN_FIGURES = (
    ("AUC", "auc"),
    ("Brier score", "brier"),
    ("Scaled Brier score", "scaled_brier"),
    ("Calibration slope", "calibration_slope"),
    ("Calibration-in-the-large", "calibration_intercept"),
)
"""Title and field of :class:`FiguresOfMerit` of each figure that every listing shows."""


def summary_tables(evaluation: Evaluation, document: ResponseDocument | MeasuresOnlyDocument) -> str:
    """Who was evaluated and how, the evidence, the figures against the baseline, the calls, the sets, the checks."""
    lines = [
        f"{evaluation.patients} patients, {evaluation.favorable} with the favorable outcome; kept out of everything: "
        f"{', '.join(evaluation.held_out_patients) or 'nobody'}; "
        f"left out by rule: {_excluded(evaluation)}. Nested cross-validation: {evaluation.repeats} repeats of "
        f"{evaluation.folds} folds. 95 % intervals by patient bootstrap. Internal validation only.",
        "",
        *([evaluation.follow_up.sentence, ""] if evaluation.follow_up is not None else []),
        *_evidence_table(evaluation.evidence),
        *_figures_table(evaluation),
        "",
        f"AUC of XGBoost minus AUC of the logistic regression: {evaluation.difference.value:+.3f} "
        f"[{evaluation.difference.low:+.3f}, {evaluation.difference.high:+.3f}]. {baseline_verdict(evaluation)}",
        "",
        *_calls_table(evaluation),
        "",
        *_coverage_table(evaluation),
        "",
        *_checks_table(evaluation, document),
        "",
    ]
    return "\n".join(lines)


def overview_table(evaluation: Evaluation, name: str) -> str:
    """The figures that a first page shows, and what ships."""
    start = ", from which the trees start" if evaluation.starts_from_baseline else ""
    lines = [
        f"| `{name}`, {evaluation.patients} patients, {evaluation.favorable} with the favorable outcome | Nested "
        "cross-validation [95 % interval] |",
        "|---|---|",
        f"| AUC | {evaluation.booster.auc.text} |",
        f"| AUC of the logistic regression{start} | {evaluation.baseline.auc.text} |",
        f"| Calibration slope (ideal 1) | {evaluation.booster.calibration_slope.text} |",
        f"| Calibration-in-the-large (ideal 0) | {evaluation.booster.calibration_intercept.text} |",
    ]
    if evaluation.evidence is not None and (order := evaluation.evidence.candidates[-1].concordance) is not None:
        lines.append(f"| Uno's concordance with the time to failure | {order.text} |")
    if not evaluation.predicts:
        lines.append("| **What ships** | **No evidence for a prediction: measures only** |")
        return "\n".join(lines)
    groups = ", ".join(f"{cell.covered.value:.2f}" for cell in evaluation.coverage_by_group)
    lines.append(
        f"| Prediction sets hold the true outcome (promised {evaluation.conformal.promised:.2f}) | "
        f"{evaluation.conformal.covered:.2f}; by outcome and stratum {groups} |"
    )
    for figures in evaluation.calls:
        kind = "favorable" if figures.favorable else "unfavorable"
        right = "nobody" if figures.right is None else f"{figures.right:.0%} of {figures.patients:.0f}"
        low = "" if figures.right_low is None else f" ({figures.level:.0%} interval from {figures.right_low:.0%})"
        made = "made" if figures.allowed else "**not made**"
        lines.append(f"| Calls of the {kind} outcome that were right | {right}{low}: {made} |")
    return "\n".join(lines)


def baseline_verdict(evaluation: Evaluation) -> str:
    """Whether XGBoost is worth it, in one sentence."""
    if evaluation.beats_baseline:
        return "XGBoost is better."
    worse = " and slightly worse" if evaluation.below_baseline else ""
    start = " from which its trees start" if evaluation.starts_from_baseline else ""
    shown = "; every prediction shows both" if evaluation.predicts else ""
    return f"**XGBoost is not better than the logistic regression{start}{worse}**{shown}."


def detail_tables(evaluation: Evaluation) -> str:
    """Thresholds, decision curve, subgroups, in Markdown."""
    lines = [
        "### At thresholds declared before the fit",
        "",
        "A probability of the favorable outcome of at least the threshold counts as favorable.",
        "",
        "| Threshold | Sensitivity | Specificity | Sensitivity, logistic regression | Specificity, logistic "
        "regression |",
        "|---|---|---|---|---|",
        *(
            f"| {row.threshold:g} | {row.sensitivity.text} | {row.specificity.text} | {row.sensitivity_baseline.text} "
            f"| {row.specificity_baseline.text} |"
            for row in evaluation.thresholds
        ),
        "",
        "### By subgroup",
        "",
        "Predictions of patients kept out, nothing fitted to a subgroup. Coverage: share of patients whose outcome is "
        f"in their prediction set, promised {evaluation.conformal.promised:.0%}.",
        "",
        "| Group | Subgroup | Patients | Favorable | AUC | AUC, logistic regression | Calibration-in-the-large | "
        "Coverage |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row.group} | {row.subgroup} | {row.patients} | {row.favorable} | {_text(row.auc)} | "
            f"{_text(row.auc_baseline)} | {_text(row.calibration_intercept)} | {row.coverage.text} |"
            for row in evaluation.subgroups
        ),
        "",
        *(f"- {row.sentence}" for row in evaluation.subgroups),
        "",
    ]
    return "\n".join(lines)


def _excluded(evaluation: Evaluation) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in evaluation.excluded.items()) or "nobody"


def _text(estimate: Estimate | None) -> str:
    return "not computed" if estimate is None else estimate.text


def _evidence_table(evidence: EvidenceFigures | None) -> list[str]:
    if evidence is None:
        return []
    names = [candidate.name for candidate in evidence.candidates]
    verdict = f"ships: {evidence.chosen}" if evidence.chosen else "**no evidence for a prediction: measures only**"
    lines = [
        "| Requirement, declared in advance | Limit | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for row, criterion in enumerate(evidence.candidates[0].criteria):
        cells = [candidate.criteria[row] for candidate in evidence.candidates]
        shown = [f"{cell.found} {'met' if cell.met else '**not met**'}" for cell in cells]
        lines.append(f"| {criterion.name} | {criterion.required} | " + " | ".join(shown) + " |")
    for candidate in evidence.candidates[1:]:
        if candidate.gain is not None:
            lines += [
                "",
                f"AUC of {candidate.name} minus AUC of {names[0]}: {candidate.gain.value:+.3f} "
                f"[{candidate.gain.low:+.3f}, {candidate.gain.high:+.3f}].",
            ]
    shown_figures = "" if evidence.chosen or len(names) == 1 else f" The figures below are those of {names[-1]}."
    return [*lines, "", f"Decision: {verdict}.{shown_figures}", ""]


def _calls_table(evaluation: Evaluation) -> list[str]:
    first = evaluation.calls[0]
    lines = [
        f"| Kind of call | Patients who were given it | Right | Lower end of the {first.level:.0%} interval | Has to "
        "exceed | Meets the rule |",
        "|---|---|---|---|---|---|",
    ]
    for figures in evaluation.calls:
        right = "" if figures.right is None else f"{figures.right:.1%}"
        low = "" if figures.right_low is None else f"{figures.right_low:.1%}"
        lines.append(
            f"| {'Favorable' if figures.favorable else 'Unfavorable'} | {figures.patients:.1f} of "
            f"{figures.all_patients} | {right} (at least {figures.required:.0%}) | {low} | {figures.reference:.1%} | "
            f"{'yes' if figures.allowed else '**no**'} |"
        )
    return lines


def _coverage_table(evaluation: Evaluation) -> list[str]:
    lines = [
        f"| Prediction sets, promised {evaluation.conformal.promised:.0%} in each group | Patients | Covered |",
        "|---|---|---|",
    ]
    for cell in evaluation.coverage_by_group:
        outcome = "favorable outcome" if cell.favorable else "unfavorable outcome"
        name = f"{cell.stratum}, {outcome}" if cell.stratum else outcome
        small = "; too few: this outcome is never ruled out" if cell.too_small else ""
        lines.append(f"| {name[:1].upper()}{name[1:]} | {cell.patients} | {cell.covered.text}{small} |")
    return lines


def _figures_table(evaluation: Evaluation) -> list[str]:
    columns: list[tuple[str, FiguresOfMerit]] = [
        ("XGBoost", evaluation.booster),
        (f"Logistic regression ({', '.join(evaluation.baseline_inputs)})", evaluation.baseline),
    ]
    if (automatic := evaluation.automatic_contours) is not None:
        columns.append((f"XGBoost, automatic contours ({automatic.patients} patients)", automatic.figures))
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |", "|---|" + "---|" * len(columns)]
    for title, field in SHOWN_FIGURES:
        cells = [getattr(figures, field).text for _, figures in columns]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    if (corrected := evaluation.optimism) is not None:
        more = " |" if evaluation.automatic_contours is None else " | |"
        for title, ours, theirs in (
            ("AUC", corrected.auc, corrected.auc_baseline),
            ("Brier score", corrected.brier, corrected.brier_baseline),
            ("Calibration slope", corrected.calibration_slope, corrected.calibration_slope_baseline),
        ):
            lines.append(f"| {title}, optimism-corrected | {ours.corrected:.2f} | {theirs.corrected:.2f}{more}")
    return lines


def _checks_table(evaluation: Evaluation, document: ResponseDocument | MeasuresOnlyDocument) -> list[str]:
    conformal, permutation = evaluation.conformal, evaluation.permutation
    lines = ["| Check | Result |", "|---|---|"]
    if permutation is not None:
        lines.append(
            f"| Permutation test, {permutation.permutations} permutations of the outcome through the whole pipeline | "
            f"p = {permutation.p_value:.3f}; AUC {permutation.auc_observed:.2f} with the true outcomes, "
            f"{permutation.auc_permuted_mean:.2f} on average and {permutation.auc_permuted_high:.2f} at the 95th "
            "percentile with shuffled ones |"
        )
    lines += [
        f"| Prediction set, promised {conformal.promised:.0%} in each outcome | {conformal.covered:.1%} covered "
        f"({conformal.covered_favorable:.1%} of favorable, {conformal.covered_unfavorable:.1%} of unfavorable "
        "outcomes) |",
        f"| Patients for whom the set leaves one outcome | {conformal.decided:.1%}"
        + (
            " |"
            if conformal.correct_when_decided is None
            else f", the true one for {conformal.correct_when_decided:.1%} of these |"
        ),
    ]
    if (shift := evaluation.shift) is not None:
        inside = "nobody was inside" if shift.covered_inside is None else f"{shift.covered_inside:.1%} of those inside"
        area = "not computed" if shift.auc is None else f"{shift.auc:.2f}"
        lines.append(
            f"| Under shift: trained on {shift.trained_on} patients with {shift.input} up to {shift.limit:g}, tested "
            f"on the {shift.tested_on} others | AUC {area}; {shift.covered:.1%} covered (promised "
            f"{shift.promised:.0%}); {shift.outside:.1%} called out of distribution, {inside} covered |"
        )
    if isinstance(document, ResponseDocument) and document.interval.simulated_coverage is not None:
        lines.append(
            f"| {document.interval.level:.0%} interval of the probability in simulated cohorts of the same size, whose "
            "truth is a logistic regression on the same inputs | "
            f"widened {document.interval.widening:.2f} times, {document.interval.simulated_coverage:.1%} held the "
            "truth |"
        )
    chosen = evaluation.chosen[0]
    lines += [
        f"| Settings chosen most often in the outer folds | depth {chosen.max_depth}, {chosen.rounds} trees, "
        f"calibration {chosen.calibration} ({chosen.times} of {evaluation.repeats * evaluation.folds}) |",
        f"| Boosters that were a constant in {evaluation.repeats * evaluation.folds} outer folds | "
        f"{evaluation.constant_boosters} |",
        f"| Power | {evaluation.power.sentence} |",
    ]
    if isinstance(document, ResponseDocument):
        lines += [
            f"| Shipped booster | depth {document.max_depth}, {document.rounds} trees, calibration "
            f"{document.calibration.chosen}, XGBoost {document.library_versions['xgboost']} |",
            f"| Booster SHA-256 | `{document.booster_sha256}` |",
        ]
    else:
        lines.append("| Shipped booster | none: no evidence for a prediction |")
    lines.append(f"| Training data SHA-256 | `{document.training_data_sha256}` |")
    if isinstance(document, ResponseDocument) and document.dropped_inputs:
        dropped = ", ".join(f"{name} ({icc:.2f})" for name, icc in document.dropped_inputs.items())
        lines.append(f"| Inputs dropped for their intraclass correlation under perturbed contours | {dropped} |")
    return lines
