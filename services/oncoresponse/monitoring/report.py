"""The monitoring report: drift, abstention, and performance on recorded outcomes, overall and by subgroup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from oncoresponse.case.prediction import Answer
from oncoresponse.model.folder import ModelFolder
from oncoresponse.monitoring.drift import FEWEST_PATIENTS, FEWEST_SHOWN, DriftOfInput, DriftVerdict, drift_of_input
from oncoresponse.monitoring.performance import Performance, Share, performance, share
from oncoresponse.monitoring.records import MonitoredCase
from oncoresponse.monitoring.training_reference import PROBABILITY, TrainingReference, training_references
from oncoresponse.response.measures_only import open_response_model
from oncoresponse.response.model import ResponseModel

SubgroupKind = Literal["audit", "input", "call"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MonthOfPredictions(_Document):
    """Predictions of one month."""

    month: str
    predictions: int
    abstained: int


class SubgroupReport(_Document):
    """Figures of one subgroup.

    Attributes:
        kind: ``audit``: a group that came with the study, the request or the outcome; ``input``: below or above the
            training median of an input; ``call``: whether a call was made.
        group: What divides the patients, such as ``sex``.
        value: The group, such as ``female``.
        abstained: Predictions without a call.
        performance: On the recorded outcomes.
        remark: A plain sentence where the group is too small to say anything, else ``None``.
    """

    kind: SubgroupKind
    group: str
    value: str
    abstained: Share
    performance: Performance
    remark: str | None


class OutcomeReport(_Document):
    """What is known about the outcomes.

    Attributes:
        recorded: Predictions with a known outcome, of all predictions.
        median_follow_up_months: Over recorded follow-up of favorable outcomes; ``None`` when none was given.
        calls_right: Calls that agreed with the outcome, of all calls with a known outcome.
        performance: Every prediction with a probability and an outcome, those without a call included.
        performance_of_calls: Only predictions where a call was made.
    """

    recorded: Share
    median_follow_up_months: float | None
    calls_right: Share
    performance: Performance
    performance_of_calls: Performance


class MonitoringReport(_Document):
    """Contents of ``monitoring.json``. No row of it belongs to one patient.

    Attributes:
        research_use_statement: Shown wherever a part of this is shown.
        model_name, model_version, model_sha256: The installed model.
        training_patients: Patients it was trained on.
        since_month, until_month: First and last month with a prediction, ``YYYY-MM``; ``None`` without predictions.
        predictions: Recorded predictions of this version.
        predictions_of_other_versions: Recorded under the same name by another version; not counted in anything here.
        answers: Number of predictions by answer.
        abstained: Predictions without a call.
        abstain_reasons: Number of predictions by reason code; one prediction may have several.
        drift: Of each input and, last, of the predicted probability.
        outcomes: Recorded outcomes.
        subgroups: By audit group, and by each input below and above its training median.
        hidden_groups: Number of group values with fewer than five patients, which are not shown.
        months: Predictions by month.
        findings: What it comes to, in plain sentences, the most urgent first.
    """

    research_use_statement: str
    model_name: str
    model_version: str
    model_sha256: str
    training_patients: int
    since_month: str | None
    until_month: str | None
    predictions: int
    predictions_of_other_versions: int
    answers: dict[str, int]
    abstained: Share
    abstain_reasons: dict[str, int]
    drift: tuple[DriftOfInput, ...]
    outcomes: OutcomeReport
    subgroups: tuple[SubgroupReport, ...]
    hidden_groups: int
    months: tuple[MonthOfPredictions, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True)
class MonitoredModel:
    """What the report has to know of the model."""

    name: str
    version: str
    sha256: str
    research_use_statement: str
    training_patients: int
    references: tuple[TrainingReference, ...]

    @classmethod
    def open(cls, folder: ModelFolder) -> MonitoredModel:
        """From a verified model folder.

        Raises:
            ModelFolderInvalid, ModelHashMismatch: See :meth:`ResponseModel.open`.
        """
        opened = open_response_model(folder)
        # A model that only measures has no inputs to compare; its predictions are counted.
        references = training_references(opened.document) if isinstance(opened, ResponseModel) else ()
        return cls(
            folder.definition.name,
            folder.definition.version,
            folder.sha256,
            folder.definition.intended_use.device_status,
            opened.document.training_patients or 0,
            references,
        )


def monitoring_report(
    model: MonitoredModel, cases: Sequence[MonitoredCase], progress: Callable[[float], None] | None = None
) -> MonitoringReport:
    """Compute the report.

    Args:
        model: The installed model.
        cases: Predictions under its name, with their outcomes; those of other versions are only counted.
        progress: Called with the fraction done.
    """
    own = [case for case in cases if case.prediction.model_version == model.version]
    drift = tuple(_drift(reference, own, len(model.references)) for reference in model.references)
    outcomes = _outcomes(own)
    shown, hidden = _groups(model, own)
    subgroups = []
    for number, (kind, group, value, members) in enumerate(shown):
        if progress is not None:
            progress(number / len(shown))
        subgroups.append(_subgroup(kind, group, value, members))
    abstained = _abstained(own)
    months = Counter(case.prediction.month for case in own)
    abstained_months = Counter(case.prediction.month for case in own if case.prediction.abstained)
    report = MonitoringReport(
        research_use_statement=model.research_use_statement,
        model_name=model.name,
        model_version=model.version,
        model_sha256=model.sha256,
        training_patients=model.training_patients,
        since_month=min(months, default=None),
        until_month=max(months, default=None),
        predictions=len(own),
        predictions_of_other_versions=len(cases) - len(own),
        answers=dict(sorted(Counter(case.prediction.answer for case in own).items())),
        abstained=abstained,
        abstain_reasons=dict(sorted(Counter(code for case in own for code in case.prediction.abstain_codes).items())),
        drift=drift,
        outcomes=outcomes,
        subgroups=tuple(subgroups),
        hidden_groups=hidden,
        months=tuple(
            MonthOfPredictions(month=month, predictions=count, abstained=abstained_months[month])
            for month, count in sorted(months.items())
        ),
        findings=(*_findings(model, drift, outcomes, abstained, subgroups), *_other_versions(len(cases) - len(own))),
    )
    if progress is not None:
        progress(1.0)
    return report


def _drift(reference: TrainingReference, cases: Sequence[MonitoredCase], comparisons: int) -> DriftOfInput:
    found = [
        case.prediction.probability if reference.name == PROBABILITY else case.prediction.inputs.get(reference.name)
        for case in cases
    ]
    values = np.array([value for value in found if value is not None], dtype=np.float64)
    return drift_of_input(reference, values, len(found) - len(values), comparisons)


def _abstained(cases: Sequence[MonitoredCase]) -> Share:
    return share(sum(case.prediction.abstained for case in cases), len(cases))


def _outcomes(cases: Sequence[MonitoredCase]) -> OutcomeReport:
    known = [case for case in cases if case.outcome is not None and case.outcome.favorable is not None]
    called = [case for case in known if not case.prediction.abstained]
    follow_up = [
        case.outcome.follow_up_months
        for case in known
        if case.outcome is not None and case.outcome.favorable and case.outcome.follow_up_months is not None
    ]
    return OutcomeReport(
        recorded=share(len(known), len(cases)),
        median_follow_up_months=float(np.median(follow_up)) if follow_up else None,
        calls_right=share(sum(_call_was_right(case) for case in called), len(called)),
        performance=_performance(known),
        performance_of_calls=_performance(called),
    )


def _call_was_right(case: MonitoredCase) -> bool:
    return case.outcome is not None and (case.prediction.answer == Answer.FAVORABLE) == case.outcome.favorable


def _performance(cases: Iterable[MonitoredCase]) -> Performance:
    rows = [
        (case.prediction.probability, float(case.outcome.favorable), case.prediction.baseline_probability)
        for case in cases
        if case.outcome is not None and case.outcome.favorable is not None and case.prediction.probability is not None
    ]
    table = np.array(
        [[p, outcome, np.nan if baseline is None else baseline] for p, outcome, baseline in rows], dtype=np.float64
    ).reshape(-1, 3)
    return performance(table[:, 0], table[:, 1].astype(np.int64), table[:, 2])


def _groups(
    model: MonitoredModel, cases: Sequence[MonitoredCase]
) -> tuple[list[tuple[SubgroupKind, str, str, list[MonitoredCase]]], int]:
    """Kind, name, value and members of every subgroup that is large enough to be shown, and how many are not."""
    members: dict[tuple[SubgroupKind, str, str], list[MonitoredCase]] = {}
    for case in cases:
        for group, value in case.groups.items():
            members.setdefault(("audit", group, value), []).append(case)
        for reference in model.references:
            if (found := case.prediction.inputs.get(reference.name)) is not None:
                members.setdefault(("input", reference.title, _part(reference, found)), []).append(case)
        members.setdefault(("call", "call", "none made" if case.prediction.abstained else "made"), []).append(case)
    shown = [(*key, members[key]) for key in sorted(members) if len(members[key]) >= FEWEST_SHOWN]
    return shown, len(members) - len(shown)


def _part(reference: TrainingReference, value: float) -> str:
    if reference.discrete_values:
        return _amount(value, reference.unit)
    side = "up to" if value <= reference.median else "above"
    return f"{side} {_amount(reference.median, reference.unit)}"


def _subgroup(kind: SubgroupKind, group: str, value: str, cases: Sequence[MonitoredCase]) -> SubgroupReport:
    found = _performance(case for case in cases if case.outcome is not None)
    return SubgroupReport(
        kind=kind, group=group, value=value, abstained=_abstained(cases), performance=found, remark=found.too_few
    )


def _other_versions(count: int) -> tuple[str, ...]:
    """So that nobody takes them for lost after a model was replaced."""
    return (f"Recorded under other versions of the model, and not counted here: {count}.",) if count else ()


def _findings(
    model: MonitoredModel,
    drift: Sequence[DriftOfInput],
    outcomes: OutcomeReport,
    abstained: Share,
    subgroups: Sequence[SubgroupReport],
) -> tuple[str, ...]:
    sentences = []
    for verdict in (DriftVerdict.LARGE, DriftVerdict.MODERATE):
        sentences += [_drift_sentence(entry) for entry in drift if entry.verdict is verdict]
    figures = outcomes.performance.figures
    if figures is not None:
        sentences.append(
            f"On {outcomes.performance.patients} recorded outcomes: AUC {figures.auc.text}, calibration slope "
            f"{figures.calibration_slope.text}; {outcomes.performance.favorable} favorable outcomes, "
            f"{outcomes.performance.expected_favorable:.1f} expected."
        )
        slope, large = figures.calibration_slope, figures.calibration_intercept
        if slope.high < 1 or slope.low > 1 or large.high < 0 or large.low > 0:
            sentences.append(
                "The probabilities are not calibrated on these patients (an interval leaves out the ideal value): "
                "recalibrate on them, or do not use the probability."
            )
        if figures.auc.low <= 0.5:
            sentences.append("On these patients the model cannot be told from guessing: its AUC interval includes 0.5.")
        sentences += _weak_subgroups(figures.auc.value, subgroups)
    elif outcomes.recorded.count and not outcomes.performance.patients:
        sentences.append(
            f"Outcomes recorded: {outcomes.recorded.count}, none of a prediction with a probability, so nothing can be "
            "said about how good predictions were."
        )
    else:
        sentences.append(outcomes.performance.too_few or "")
    if abstained.total < FEWEST_PATIENTS and not drift:
        sentences.append(f"Predictions recorded: {abstained.total}. The model predicts nothing, so no drift is judged.")
    elif abstained.total < FEWEST_PATIENTS:
        sentences.append(f"Predictions recorded: {abstained.total}; drift is judged from {FEWEST_PATIENTS} on.")
    else:
        sentences.append(f"No call was made in {abstained.text} predictions.")
        if not drift:
            sentences.append("The model predicts nothing, so it has no inputs in which drift could be judged.")
        elif all(entry.verdict is DriftVerdict.NONE for entry in drift):
            sentences.append(f"No drift was seen against the {model.training_patients} training patients.")
    return tuple(sentences)


def _drift_sentence(entry: DriftOfInput) -> str:
    return (
        f"{entry.title}: {entry.verdict}. Median {_amount(entry.median, entry.unit)} against "
        f"{_amount(entry.training_median, entry.unit)} in training; population stability index "
        f"{entry.population_stability_index:.2f} (chance alone reaches {entry.index_by_chance:.2f} once in twenty), "
        f"Kolmogorov-Smirnov p {entry.ks_p_value:.2g}."
    )


def _weak_subgroups(overall: float, subgroups: Sequence[SubgroupReport]) -> list[str]:
    return [
        f"{entry.group}, {entry.value}: AUC {entry.performance.figures.auc.text}, its interval below the {overall:.2f} "
        "of all patients."
        for entry in subgroups
        if entry.kind == "audit"  # within half the range of an input, a lower AUC is to be expected
        and entry.performance.figures is not None
        and entry.performance.figures.auc.high < overall
    ]


def short_number(value: float) -> str:
    """Three digits, and all those before the decimal point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _amount(value: float | None, unit: str) -> str:
    number = "unknown" if value is None else short_number(value)
    return number if unit in ("", "1") else f"{number} {unit}"
