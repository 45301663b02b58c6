"""Plain sentences about what the evaluation showed, for every report."""

from __future__ import annotations

from oncoresponse.case.readable_numbers import inside_sentence, percent
from oncoresponse.response.probability_interval import IntervalCoverage
from oncoresponse.response.training.validation import Evaluation


def limits_from(
    evaluation: Evaluation, interval: IntervalCoverage | None, *, contoured: bool = True
) -> tuple[str, ...]:
    """The sentences, heaviest first.

    Args:
        evaluation: Of the model.
        interval: ``None`` where nothing is predicted.
        contoured: Whether the measurements come from contours; not where they were typed into a table visit by visit.
    """
    booster, baseline, conformal = evaluation.booster, evaluation.baseline, evaluation.conformal
    sentences = [
        f"Internal validation only: nested cross-validation on {evaluation.patients} patients, {evaluation.favorable} "
        f"of them with the favorable outcome (AUC {booster.auc.text}, 95 % interval). Choices that were made with "
        "knowledge of the same patients flatter this figure; patients of another hospital were not tested.",
    ]
    if evaluation.follow_up is not None:
        sentences.append(evaluation.follow_up.sentence)
    if not evaluation.predicts:
        return tuple(sentences)
    for figures in evaluation.calls:
        if not figures.allowed:
            kind = "favorable" if figures.favorable else "unfavorable"
            sentences.append(f"No call of the {kind} outcome is made. {figures.text}")
    if low := [cell for cell in evaluation.coverage_by_group if cell.covered.high < conformal.promised]:
        named = "; ".join(
            f"{percent(cell.covered.value)} of {cell.patients} patients with the "
            f"{'favorable' if cell.favorable else 'unfavorable'} outcome"
            + (f", {cell.stratum}" if cell.stratum else "")
            for cell in low
        )
        sentences.append(f"The prediction sets hold less than the promised {percent(conformal.promised)}: {named}.")
    audited = evaluation.subgroups
    if poor := [group for group in audited if not group.too_small and group.coverage.high < conformal.promised]:
        named = "; ".join(
            f"{percent(group.coverage.value)} of {group.patients} patients ({inside_sentence(group.group)}: "
            f"{group.subgroup})"
            for group in poor
        )
        sentences.append(
            f"In {len(poor)} of {len(audited)} audited subgroups the prediction sets held the true outcome less often "
            f"than the promised {percent(conformal.promised)}: {named}."
        )
    if not evaluation.beats_baseline:
        sentences.append(
            f"The model is not better than a logistic regression on {len(evaluation.baseline_inputs)} measurements "
            f"(AUC {baseline.auc.text})."
        )
    sentences.append(
        f"Calibration slope {booster.calibration_slope.text} (ideal 1): with {evaluation.patients} patients the "
        "percentages are known to be right only as far as this interval says."
    )
    sentences.append(
        f"In cross-validation the prediction set held the true outcome of {percent(conformal.covered)} of patients "
        f"(promised {percent(conformal.promised)}) and left one outcome for {percent(conformal.decided)}"
        + (
            "."
            if conformal.correct_when_decided is None
            else f", for {percent(conformal.correct_when_decided)} of them the true one."
        )
    )
    if interval is not None:
        sentences.append(
            f"In simulated cohorts of this size the {percent(interval.level)} interval held the true probability of "
            f"{percent(interval.covered)} of patients. The truth there was a logistic regression on the same inputs, "
            "which is also what the trees start from; for a truth of another shape it is not known."
        )
    if evaluation.shift is not None:
        sentences.append(evaluation.shift.sentence)
    if small := [figures for figures in evaluation.subgroups if figures.too_small]:
        sentences.append(
            f"{len(small)} of {len(evaluation.subgroups)} audited subgroups have too few patients to say whether the "
            "model works for them; the model card names them."
        )
    if (automatic := evaluation.automatic_contours) is not None:
        sentences.append(
            f"With automatic instead of physicians' contours the AUC was {automatic.figures.auc.text} in "
            f"{automatic.patients} patients."
        )
    elif contoured:
        sentences.append("Not validated on automatic contours.")
    return tuple(sentences)
