"""Why the model answers as it does, in things a physician knows. Associations in the training patients, not causes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from oncoresponse.case.prediction import (
    AbstainReason,
    Answer,
    AnswerChange,
    Contribution,
    GroupedContribution,
    NearestCase,
)
from oncoresponse.case.readable_numbers import inside_sentence, spoken_value
from oncoresponse.response.answer_rule import answers
from oncoresponse.response.arrays import FloatArray
from oncoresponse.response.booster import contributions as tree_contributions
from oncoresponse.response.model_document import ResponseDocument
from oncoresponse.response.pipeline import ScoringModel
from oncoresponse.response.task import ResponseInput

NEAREST_CASES = 3


def calibrated_contributions(scoring: ScoringModel, transformed: FloatArray) -> tuple[float, FloatArray, float]:
    """Base, Shapley values (inputs,) and their sum, all in calibrated log-odds, of one patient (1, inputs).

    The start is linear and the trees are explained by TreeSHAP, so the values of their sum are the sums of their
    values; the calibration is linear in the log-odds and scales them. TreeSHAP is computed in single precision; what
    that leaves over (below 1e-5) is part of the base, so that base and contributions add up to the prediction.
    """
    margin = float(scoring.margin(transformed)[0])
    shapley = tree_contributions(scoring.booster, scoring.names, transformed)[0, :-1]
    if scoring.start is not None:
        shapley[list(scoring.start.columns)] += scoring.start.contributions(transformed)[0]
    total = scoring.sigmoid.slope * margin + scoring.sigmoid.intercept
    scaled = scoring.sigmoid.slope * shapley
    return total - math.fsum(scaled), scaled, total


def explained_inputs(document: ResponseDocument, row: Sequence[float], shapley: FloatArray) -> tuple[Contribution, ...]:
    """One contribution for each input, largest effect first."""
    found = [
        Contribution(
            input=entry.name,
            title=entry.title,
            value=value,
            unit=entry.unit,
            training_median=training.median,
            training_low=training.low,
            training_high=training.high,
            log_odds=float(log_odds),
            direction="raises" if log_odds >= 0 else "lowers",
            group=entry.physician_group,
            percentile=round(training.percentile_of(value), 1),
        )
        for entry, value, training, log_odds in zip(document.inputs, row, document.training, shapley, strict=True)
    ]
    return tuple(sorted(found, key=lambda entry: (-abs(entry.log_odds), entry.input)))


def grouped(contributions: Sequence[Contribution]) -> tuple[GroupedContribution, ...]:
    """The contributions of each group together, largest effect first."""
    names = dict.fromkeys(entry.group for entry in contributions)
    found = []
    for group in names:
        members = [entry for entry in contributions if entry.group == group]
        log_odds = math.fsum(entry.log_odds for entry in members)
        found.append(
            GroupedContribution(
                group=group,
                log_odds=log_odds,
                direction="raises" if log_odds >= 0 else "lowers",
                inputs=tuple(entry.input for entry in members),
            )
        )
    return tuple(sorted(found, key=lambda entry: (-abs(entry.log_odds), entry.group)))


def nearest_cases(document: ResponseDocument, transformed: FloatArray) -> tuple[NearestCase, ...]:
    """The training patients nearest to one patient (1, inputs) in the space of the used inputs."""
    if not document.cases:
        return ()
    cases = np.array(
        [
            [entry.transformed(value) for entry, value in zip(document.inputs, case.values, strict=True)]
            for case in document.cases
        ]
    )
    distances = document.distance.distance.between(transformed[0], cases)
    nearest = np.argsort(distances, kind="stable")[:NEAREST_CASES]
    return tuple(
        NearestCase(
            values=dict(zip(document.input_names, document.cases[index].values, strict=True)),
            favorable=document.cases[index].favorable,
            distance=round(float(distances[index]), 3),
        )
        for index in nearest
    )


def answer_changes(
    document: ResponseDocument,
    scoring: ScoringModel,
    row: Sequence[float],
    answer: Answer,
    answer_texts: Mapping[Answer, str],
) -> tuple[AnswerChange, ...]:
    """For each input, the nearest value the training patients had at which the answer is another, nearest first.

    Going out of distribution does not count as another answer.
    """
    found: list[tuple[float, AnswerChange]] = []
    for position, entry in enumerate(document.inputs):
        candidates = _candidates(document, position, row[position])
        if not len(candidates):
            continue
        values = np.tile(np.array(row, dtype=np.float64), (len(candidates), 1))
        values[:, position] = candidates
        transformed = np.array(
            [[item.transformed(value) for item, value in zip(document.inputs, line, strict=True)] for line in values]
        )
        own = entry.transformed(row[position])
        steps = np.abs(transformed[:, position] - own) / document.distance.scale[position]
        there = answers(document, scoring, values, transformed)
        for index in np.argsort(steps, kind="stable"):
            if there[index] not in (answer, Answer.OUT_OF_DISTRIBUTION):
                found.append(
                    (float(steps[index]), _change(entry, row[position], candidates[index], there[index], answer_texts))
                )
                break
    return tuple(change for _, change in sorted(found, key=lambda item: (item[0], item[1].input)))


def three_sentences(
    *,
    outcome_title: str,
    answer: Answer,
    answer_text: str,
    probability_text: str | None,
    contributions: Sequence[Contribution],
    reasons: Sequence[AbstainReason],
    nearest: Sequence[NearestCase],
    changes: Sequence[AnswerChange],
) -> tuple[str, ...]:
    """The answer, the reasons and the uncertainty, each in one sentence, from a template."""
    abstains = answer in (Answer.INDETERMINATE, Answer.OUT_OF_DISTRIBUTION)
    if abstains or probability_text is None:
        why = f" ({_without_stop(reasons[0].text)})" if reasons else ""
        first = f"{outcome_title}: {_without_stop(answer_text)}{why}."
    else:
        first = f"{_without_stop(answer_text)}; probability of {inside_sentence(outcome_title)} {probability_text}."
    outcome = None if abstains else outcome_title
    return (first, _reason_sentence(contributions, outcome), _uncertainty_sentence(nearest, changes, outcome_title))


def _candidates(document: ResponseDocument, position: int, value: float) -> FloatArray:
    entry = document.inputs[position]
    if entry.is_binary:
        return np.array([1.0 - value]) if value in (0.0, 1.0) else np.array([])
    # Three digits, as they will be read; what is claimed is computed from these.
    rounded = {float(f"{step:.3g}") for step in document.training[position].percentiles}
    return np.array(sorted(step for step in rounded if entry.minimum <= step <= entry.maximum and step != value))


def _change(
    entry: ResponseInput, value: float, needed: float, answer: Answer, answer_texts: Mapping[Answer, str]
) -> AnswerChange:
    if entry.is_binary:
        condition = f"were the answer to '{inside_sentence(entry.title)}' {'yes' if needed else 'no'}"
    else:
        condition = (
            f"at {inside_sentence(entry.title)} {spoken_value(float(needed), entry.unit)} "
            f"(now {spoken_value(value, entry.unit)})"
        )
    return AnswerChange(
        input=entry.name,
        title=entry.title,
        value=value,
        needed=float(needed),
        unit=entry.unit,
        answer=answer,
        text=f"With everything else the same, {condition} the answer would be: {_without_stop(answer_texts[answer])}.",
    )


def _reason_sentence(contributions: Sequence[Contribution], outcome_title: str | None) -> str:
    """Without an outcome there is no probability to move, so only what was looked at is said."""
    if not contributions:
        return "No reasons can be given, because a measurement could not be computed."
    parts = []
    for group in grouped(contributions)[:3]:
        members = [entry for entry in contributions if entry.group == group.group][:2]
        described = ", ".join(_described(entry) for entry in members)
        effect = "" if outcome_title is None else f" {group.direction} it"
        parts.append(f"{group.group} ({described}){effect}")
    joined = "; ".join(parts)
    if outcome_title is None:
        return f"The model looked at {joined}."
    return f"Probability of {inside_sentence(outcome_title)}: {joined}."


def _described(entry: Contribution) -> str:
    if entry.value is None:
        return f"{inside_sentence(entry.title)} not computable"
    if entry.unit == "1" and entry.value in (0.0, 1.0):
        return f"{inside_sentence(entry.title)}: {'yes' if entry.value else 'no'}"
    text = f"{inside_sentence(entry.title)} {spoken_value(entry.value, entry.unit)}"
    if entry.percentile is None:
        return text
    if entry.percentile in (0, 100):
        return f"{text}, {'above' if entry.percentile else 'below'} all training patients"
    return f"{text}, above {entry.percentile:.0f} % of the training patients"


def _uncertainty_sentence(nearest: Sequence[NearestCase], changes: Sequence[AnswerChange], outcome_title: str) -> str:
    parts = []
    if nearest:
        good = sum(case.favorable for case in nearest) or "none"
        parts.append(
            f"of the {len(nearest)} most similar training patients {good} had {inside_sentence(outcome_title)}"
        )
    if changes:
        parts.append(_without_stop(changes[0].text[:1].lower() + changes[0].text[1:]))
    else:
        parts.append("no other value of a single measurement would give another answer")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _without_stop(text: str) -> str:
    return text.strip().rstrip(".")
