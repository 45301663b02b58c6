"""The answer of the response stage: ``prediction.json``.

A probability never travels alone. One document holds the answer in words, the probability with its interval, the
conformal set, the measured error of the call, the contribution of each input, the distance from the training data, the
reasons for abstaining, and the limits of the model, so that no reader can show the number without them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from oncoresponse.case.document import Tolerant

PhysicianGroup = Literal["size", "uptake", "intensity", "heterogeneity", "shape", "patient"]
"""Things a physician knows, to which each input belongs; ``intensity`` is density or signal, ``uptake`` that of PET."""


class Answer(StrEnum):
    """What the model says about one patient."""

    FAVORABLE = "favorable"
    UNFAVORABLE = "unfavorable"
    INDETERMINATE = "indeterminate"
    """The evidence does not allow a call."""
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    """The patient is unlike those the model was trained on."""
    NO_EVIDENCE = "no_evidence"
    """Validation found no evidence for any prediction: the model measures and does not predict."""
    MEASURED_ONLY = "measured_only"
    """Nothing is predicted from what was measured: it has another definition than in the training data, is not the
    lesion that the model means, or clinical inputs lack."""


NO_EVIDENCE_TEXT = "No evidence for a prediction: measures only"
"""The answer of a model that measures and does not predict."""

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
    "CONTOUR_NEEDS_REVIEW",
    "CALL_NOT_SUPPORTED",
    "USED_IN_TRAINING",
    "NO_EVIDENCE",
    "DEFINITION_DIFFERS",
    "SEVERAL_LESIONS",
    "CLINICAL_INPUTS_MISSING",
)
"""Every reason for abstaining: an input is NaN or infinite; an input cannot be true; the inputs are too far from the
training patients; neither outcome can be ruled out; both can; the set and the probability point to different
outcomes; another plausible contour would give the opposite call; the tumor goes on beyond the images, perhaps so far
that the call would be another; the contour must not be believed before a physician has reviewed it; calls of this kind
were not right often enough in validation; the model was trained on this patient; the model has no evidence for a
prediction of anybody; what was measured is not shown to be the same quantity as in the training data; the model
predicts from one lesion, and several were measured; the request does not give clinical inputs that the model needs.
"""


class AbstainReason(Tolerant):
    """Why no call was made.

    Attributes:
        code: One of :data:`ABSTAIN_CODES`. Stable.
        text: One sentence for the physician.
    """

    code: str
    text: str


USED_IN_TRAINING = AbstainReason(
    code="USED_IN_TRAINING",
    text="The model was trained on this patient, so that its answer here would only repeat what it was told.",
)
MEASURES_USED_IN_TRAINING = AbstainReason(
    code="USED_IN_TRAINING",
    text="Used in training: this patient is among those the model was made from. How well its contours fit others does "
    "not show here.",
)
"""The same of a model that predicts nothing."""


class Contribution(Tolerant):
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


class GroupedContribution(Tolerant):
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


class NearestCase(Tolerant):
    """A training patient with similar inputs, without identifier.

    Attributes:
        values: By name of the input, in its unit, rounded.
        favorable: Whether the outcome was the favorable one.
        distance: Mahalanobis distance to the patient.
    """

    values: dict[str, float]
    favorable: bool
    distance: float


class AnswerChange(Tolerant):
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


class ContourInterval(Tolerant):
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


class CallEvidence(Tolerant):
    """How often calls of one kind were right when the very rule that makes them was validated.

    Attributes:
        outcome: The kind of call.
        patients: Validation patients who were given this call, each counted once; a patient to whom only some of the
            repeats gave it counts in proportion, so this need not be whole.
        right: Share of them for whom it was right, 0 to 1; ``None`` when nobody was given it.
        right_low: Lower end of the two-sided 80 % interval of that share; ``None`` with it.
        reference: What it has to exceed: the better of chance (0.5) and the share of all patients with that outcome.
        required: Smallest ``right`` with which a call is made.
        allowed: Whether such calls are made: ``right`` reaches ``required`` and ``right_low`` exceeds ``reference``.
        text: The same in one sentence.
    """

    outcome: ConformalOutcome
    patients: float = Field(ge=0)
    right: float | None = Field(ge=0, le=1)
    right_low: float | None = Field(ge=0, le=1)
    reference: float = Field(ge=0, le=1)
    required: float = Field(ge=0, le=1)
    allowed: bool
    text: str


class OutsideTrainingData(Tolerant):
    """How far the patient lies from the training patients.

    Attributes:
        score: Mahalanobis distance of the transformed inputs, shrunk covariance; ``None`` when an input is not finite.
        threshold: Distance above which the patient counts as outside.
        is_outside: The score exceeds the threshold, or an input lies outside the range the task allows; the model then
            answers ``out_of_distribution``.
        inputs_outside_range: Names of inputs below the smallest or above the largest value of the training patients.
            One such input alone is named and adds a limit, it does not make the patient an outsider: with 38 training
            patients about one new patient in eight has one.
    """

    score: float | None
    threshold: float
    is_outside: bool
    inputs_outside_range: tuple[str, ...]


class BaselinePrediction(Tolerant):
    """What the plain logistic regression, always computed beside the booster, says of the same patient."""

    name: str
    probability: float = Field(ge=0, le=1)


class Prediction(Tolerant):
    """Contents of ``prediction.json``.

    When ``answer`` is neither ``favorable`` nor ``unfavorable`` the model abstains. ``probability`` and its interval
    may still be present, so that the record is complete; a report must not show them as an answer then, only the
    ``abstain_reasons``. :attr:`abstains` tells. With ``no_evidence`` and ``measured_only`` everything that describes a
    prediction is absent.

    Attributes:
        model_name: Name of the model folder.
        model_version: Its version.
        model_sha256: SHA-256 over the model's manifest.
        outcome_code: Code of the outcome, such as ``no-recurrence-or-metastasis``.
        outcome_title: Title of the outcome, with its horizon.
        answer: The call.
        answer_text: The call in plain words, without a treatment directive.
        probability: Probability of the favorable outcome, 0 to 1; ``None`` when it cannot be computed.
        interval_low: Lower end of the one interval to show with ``probability``: it holds what another sample of
            training patients and what other plausible contours would have given; ``None`` with ``probability``.
        interval_high: Upper end.
        interval_level: Level of the interval, such as 0.9; ``None`` where the model makes none.
        interval_method: How the interval was made.
        conformal_set: Outcomes, of ``favorable`` and ``unfavorable``, that cannot be ruled out.
        conformal_coverage: Promised coverage of the set in each group of patients, such as 0.8; ``None`` where the
            model makes no sets.
        conformal_coverage_measured: Coverage found in cross-validation, all patients together.
        call_evidence: How often calls of the kind that the rule gives this patient were right, whether or not such
            calls are made (``CALL_NOT_SUPPORTED``); ``None`` when the rule gives none.
        used_in_training: Whether the patient was found among those the model was trained on; no call is made then.
        contributions: One for each input, largest effect first.
        grouped_contributions: The same by what a physician knows, largest effect first.
        sentences: Three sentences made from what is below: the answer, the reasons, the uncertainty.
        nearest_cases: The three nearest training patients, never the patient's own row; empty where the model keeps
            none.
        changes: For each input that can change the answer alone, how far it would have to go, nearest first.
        contour_interval: ``None`` when no contour variants were sent.
        base_log_odds: Log-odds before any contribution; ``None`` when an input is not finite.
        margin_log_odds: ``base_log_odds`` plus the contributions; ``None`` when an input is not finite.
        outside: Distance from the training data; ``None`` where the model knows none.
        abstain_reasons: Empty unless the model abstains.
        baseline: The logistic regression; ``None`` when an input of it is not finite.
        limits: Plain sentences about what the model cannot do, heaviest first, made from its evaluation.
        research_use_statement: Shown wherever a part of this is shown.
        booster_sha256: SHA-256 of the booster file; ``None`` where the model holds none.
        training_patients: Number of patients the model was trained on.
        training_data_sha256: SHA-256 over the training table (inputs, outcome).
        seed: Seed of the training run.
        xgboost_version: Version of XGBoost that made the prediction.
        provenance: ``DECLARED`` where somebody said how the inputs were made, and it is as those of the training
            patients were; else ``PROVENANCE_UNDECLARED``, and one of ``limits`` says so.
    """

    model_name: str
    model_version: str
    model_sha256: str
    outcome_code: str
    outcome_title: str
    answer: Answer
    answer_text: str
    probability: float | None = Field(default=None, ge=0, le=1)
    interval_low: float | None = Field(default=None, ge=0, le=1)
    interval_high: float | None = Field(default=None, ge=0, le=1)
    interval_level: float | None = Field(default=None, gt=0, lt=1)
    interval_method: str | None = None
    conformal_set: tuple[ConformalOutcome, ...] = ()
    conformal_coverage: float | None = Field(default=None, gt=0, lt=1)
    conformal_coverage_measured: float | None = Field(default=None, ge=0, le=1)
    call_evidence: CallEvidence | None = None
    used_in_training: bool = False
    contributions: tuple[Contribution, ...] = ()
    base_log_odds: float | None = None
    margin_log_odds: float | None = None
    grouped_contributions: tuple[GroupedContribution, ...] = ()
    sentences: tuple[str, ...] = ()
    nearest_cases: tuple[NearestCase, ...] = ()
    changes: tuple[AnswerChange, ...] = ()
    contour_interval: ContourInterval | None = None
    outside: OutsideTrainingData | None = None
    abstain_reasons: tuple[AbstainReason, ...]
    baseline: BaselinePrediction | None = None
    limits: tuple[str, ...]
    research_use_statement: str
    booster_sha256: str | None = None
    training_patients: int | None = None
    training_data_sha256: str | None = None
    seed: int | None = None
    xgboost_version: str | None = None
    provenance: Literal["DECLARED", "PROVENANCE_UNDECLARED"] = "PROVENANCE_UNDECLARED"

    @property
    def abstains(self) -> bool:
        """Whether the model makes no call for this patient."""
        return self.answer not in (Answer.FAVORABLE, Answer.UNFAVORABLE)
