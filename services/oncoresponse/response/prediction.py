"""The answer of the response stage: ``prediction.json``.

A probability never travels alone. One document holds the answer in words, the calibrated probability with its
interval, the conformal set, the contribution of each input, the distance from the training data, the reasons for
abstaining, and the limits of the model, so that no reader can show the number without them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from oncoresponse.response.task import PhysicianGroup


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Answer(StrEnum):
    """What the model says about one patient."""

    FAVORABLE = "favorable"
    UNFAVORABLE = "unfavorable"
    INDETERMINATE = "indeterminate"
    """The evidence does not allow a call."""
    OUTSIDE_EXPERIENCE = "outside_experience"
    """The patient is unlike those the model was trained on."""


ConformalOutcome = Literal[Answer.FAVORABLE, Answer.UNFAVORABLE]
"""What a conformal set may hold."""

ABSTAIN_CODES = (
    "INPUT_NOT_FINITE",
    "OUTSIDE_ALLOWED_RANGE",
    "OUTSIDE_TRAINING_DATA",
    "CONFORMAL_BOTH",
    "CONFORMAL_NEITHER",
    "SET_DISAGREES_WITH_PROBABILITY",
    "CONTOUR_CHANGES_ANSWER",
    "BORDER_CHANGES_ANSWER",
)
"""Every reason for abstaining: an input is NaN or infinite; an input cannot be true; the inputs are too far from the
training patients; neither outcome can be ruled out; both can; the set and the probability point to different
outcomes; another plausible contour would give the opposite call; the tumor goes on beyond the images, perhaps so far
that the call would not be made.
"""


class AbstainReason(_Document):
    """Why no call was made.

    Attributes:
        code: One of :data:`ABSTAIN_CODES`. Stable.
        text: One sentence for the physician.
    """

    code: str
    text: str


class Contribution(_Document):
    """How one input moved the prediction: association in the training data, not cause.

    Attributes:
        input: Name of the feature or measure.
        title: The same in clinical words.
        value: The patient's value, in ``unit``, before any transform; ``None`` when it could not be computed.
        unit: UCUM.
        training_median: Median of the training patients, in ``unit``.
        training_low: Their 5th percentile.
        training_high: Their 95th percentile.
        log_odds: Shapley value in calibrated natural log-odds of the favorable outcome. ``base_log_odds`` plus all
            of these is ``margin_log_odds``, the log-odds of ``probability``.
        direction: Whether the value raises or lowers the probability of the favorable outcome.
        group: What a physician would call the input.
        percentile: Share of training patients with a smaller value, ties half, 0 to 100; ``None`` without a value.
    """

    input: str
    title: str
    value: float | None
    unit: str
    training_median: float
    training_low: float
    training_high: float
    log_odds: float
    direction: Literal["raises", "lowers"]
    group: PhysicianGroup = "size"
    percentile: float | None = Field(default=None, ge=0, le=100)


class GroupedContribution(_Document):
    """Contributions of all inputs of one kind together.

    Attributes:
        group: What a physician would call them.
        log_odds: Sum of their contributions.
        direction: Its sign in words.
        inputs: Names of the inputs.
    """

    group: PhysicianGroup
    log_odds: float
    direction: Literal["raises", "lowers"]
    inputs: tuple[str, ...]


class NearestCase(_Document):
    """A training patient with similar inputs, without identifier.

    Attributes:
        values: By name of the input, in its unit, rounded.
        favorable: Whether the outcome was the favorable one.
        distance: Mahalanobis distance to the patient.
    """

    values: dict[str, float]
    favorable: bool
    distance: float


class AnswerChange(_Document):
    """The smallest change of one input, everything else kept, that would change the answer.

    Attributes:
        input: Name of the input.
        title: The same in clinical words.
        value: The patient's value, in ``unit``.
        needed: The nearest value, of those the training patients had, at which the answer is another.
        unit: UCUM.
        answer: The answer there.
        text: One sentence.
    """

    input: str
    title: str
    value: float
    needed: float
    unit: str
    answer: Answer
    text: str


class ContourInterval(_Document):
    """What other plausible contours of the same tumor would have given.

    Attributes:
        variants: How many were tried, those whose inputs could be computed.
        low: Smallest probability among them and the contour itself.
        high: Largest.
        calls: Different calls among them: favorable, unfavorable or none.
    """

    variants: int = Field(ge=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    calls: tuple[Answer, ...]


class TimeToFailureEstimate(_Document):
    """Estimate of the time to failure, shown only beside the answer.

    Attributes:
        median: Median time in ``unit``; ``None`` when it lies beyond the longest follow-up.
        unit: UCUM.
        longest_follow_up: Of the training patients.
        concordance: Cross-validated, 0.5 is chance.
        concordance_low: Lower end of its 95 % interval.
        concordance_high: Upper end.
        text: One sentence.
    """

    median: float | None
    unit: str
    longest_follow_up: float
    concordance: float
    concordance_low: float
    concordance_high: float
    text: str


class OutsideTrainingData(_Document):
    """How far the patient lies from the training patients.

    Attributes:
        score: Mahalanobis distance of the transformed inputs, shrunk covariance; ``None`` when an input is not finite.
        threshold: Distance above which the patient counts as outside.
        is_outside: The score exceeds the threshold, or an input lies outside the range the task allows; the model then
            answers ``outside_experience``.
        inputs_outside_range: Names of inputs below the smallest or above the largest value of the training patients.
            One such input alone is named and adds a limit, it does not make the patient an outsider: with 38 training
            patients about one new patient in eight has one.
    """

    score: float | None
    threshold: float
    is_outside: bool
    inputs_outside_range: tuple[str, ...]


class BaselinePrediction(_Document):
    """What the plain logistic regression, always computed beside the booster, says of the same patient."""

    name: str
    probability: float = Field(ge=0, le=1)


class Prediction(_Document):
    """Contents of ``prediction.json``.

    When ``answer`` is ``indeterminate`` or ``outside_experience`` the model abstains. ``probability`` and its interval
    may still be present, so that the record is complete; a report must not show them as an answer then, only the
    ``abstain_reasons``. :attr:`abstains` tells.

    Attributes:
        model_name: Name of the model folder.
        model_version: Its version.
        model_sha256: SHA-256 over the model's manifest.
        outcome_code: Code of the outcome, such as ``durable-response``.
        outcome_title: Title of the outcome.
        answer: The call.
        answer_text: The call in plain words, without a treatment directive.
        probability: Calibrated probability of the favorable outcome, 0 to 1; ``None`` when it cannot be computed.
        interval_low: Lower end of the interval of ``probability``; ``None`` with it.
        interval_high: Upper end.
        interval_level: Level of the interval, such as 0.9.
        interval_method: How the interval was made.
        conformal_set: Outcomes, of ``favorable`` and ``unfavorable``, that cannot be ruled out.
        conformal_coverage: Promised coverage of the set in each outcome class, such as 0.8.
        conformal_coverage_measured: Coverage found in cross-validation, all patients together.
        contributions: One for each input, largest effect first.
        grouped_contributions: The same by what a physician knows, largest effect first.
        sentences: Three sentences made from what is below: the answer, the reasons, the doubt.
        nearest_cases: The three nearest training patients; empty where the model keeps none.
        changes: For each input that can change the answer alone, how far it would have to go, nearest first.
        contour_interval: ``None`` when no contour variants were sent.
        time_to_failure: ``None`` where the model has none, when an input is not finite, and outside experience.
        base_log_odds: Calibrated log-odds before any contribution; ``None`` when an input is not finite.
        margin_log_odds: ``base_log_odds`` plus the contributions; ``None`` when an input is not finite.
        outside: Distance from the training data.
        abstain_reasons: Empty unless the model abstains.
        baseline: The logistic baseline; ``None`` when an input of it is not finite.
        limits: Plain sentences about what the model cannot do, made from its evaluation.
        research_use_statement: Shown wherever a part of this is shown.
        booster_sha256: SHA-256 of the booster file.
        training_patients: Number of patients the model was trained on.
        training_data_sha256: SHA-256 over the training table (inputs, outcome).
        seed: Seed of the training run.
        xgboost_version: Version of XGBoost that made the prediction.
    """

    model_name: str
    model_version: str
    model_sha256: str
    outcome_code: str
    outcome_title: str
    answer: Answer
    answer_text: str
    probability: float | None = Field(ge=0, le=1)
    interval_low: float | None = Field(ge=0, le=1)
    interval_high: float | None = Field(ge=0, le=1)
    interval_level: float = Field(gt=0, lt=1)
    interval_method: str
    conformal_set: tuple[ConformalOutcome, ...]
    conformal_coverage: float = Field(gt=0, lt=1)
    conformal_coverage_measured: float = Field(ge=0, le=1)
    contributions: tuple[Contribution, ...]
    base_log_odds: float | None
    margin_log_odds: float | None
    grouped_contributions: tuple[GroupedContribution, ...] = ()
    sentences: tuple[str, ...] = ()
    nearest_cases: tuple[NearestCase, ...] = ()
    changes: tuple[AnswerChange, ...] = ()
    contour_interval: ContourInterval | None = None
    time_to_failure: TimeToFailureEstimate | None = None
    outside: OutsideTrainingData
    abstain_reasons: tuple[AbstainReason, ...]
    baseline: BaselinePrediction | None
    limits: tuple[str, ...]
    research_use_statement: str
    booster_sha256: str
    training_patients: int
    training_data_sha256: str
    seed: int
    xgboost_version: str

    @property
    def abstains(self) -> bool:
        """Whether the model makes no call for this patient."""
        return self.answer in (Answer.INDETERMINATE, Answer.OUTSIDE_EXPERIENCE)
