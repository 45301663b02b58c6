"""What monitoring keeps of a prediction and of its outcome, and what it leaves out.

Left out is whatever names a person: patient ID, name, date of birth, accession number, every DICOM UID, and of dates
everything but year and month. The resource name of the assessment remains, which means something only to who holds the
assessment itself.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from oncoresponse.case.prediction import Answer, Contribution, Prediction
from oncoresponse.case.study_description import StudyDescription

_NOT_IN_A_GROUP = re.compile(r"[^A-Za-z0-9 +<>=/_.-]+")
_LONGEST_GROUP = 40
_OLDEST_DECADE = 90
_YEARS = "a"
_SEXES = {"M": "male", "F": "female", "O": "other"}


@dataclass(frozen=True)
class PredictionRecord:
    """One prediction as it is kept.

    Attributes:
        assessment: Resource name, ``assessments/{assessment}``.
        month: ``YYYY-MM`` (UTC) in which the assessment was created.
        model_name, model_version, model_sha256: The model that answered.
        inputs: Values by input name in the units of the model, before any transform; ``None`` where one could not be
            computed. Empty when the prediction names none because an input was not finite. Ages above 90 are kept
            as 90.
        answer: Value of :class:`~oncoresponse.case.prediction.Answer`.
        abstained: Whether the model made no call.
        probability: Of the favorable outcome; ``None`` when an input could not be computed.
        interval_low, interval_high: Interval of the probability.
        outside_score: Distance from the training data over its limit; above 1 is outside.
        abstain_codes: Reason codes, empty when a call was made.
        baseline_probability: What the logistic regression beside the booster said.
        groups: Audit groups by name.
    """

    assessment: str
    month: str
    model_name: str
    model_version: str
    model_sha256: str
    inputs: Mapping[str, float | None]
    answer: str
    abstained: bool
    probability: float | None
    interval_low: float | None
    interval_high: float | None
    outside_score: float | None
    abstain_codes: tuple[str, ...]
    baseline_probability: float | None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OutcomeRecord:
    """What happened to the patient of an assessment.

    Attributes:
        assessment: Resource name of the assessment.
        favorable: ``None`` when not known, which also takes back an earlier outcome.
        follow_up_months: From the examination to the last visit or the event.
        groups: Further audit groups by name.
    """

    assessment: str
    favorable: bool | None
    follow_up_months: int | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MonitoredCase:
    """A prediction with its outcome, where there is one."""

    prediction: PredictionRecord
    outcome: OutcomeRecord | None = None

    @property
    def groups(self) -> dict[str, str]:
        """All audit groups; those that came with the outcome win."""
        return {**self.prediction.groups, **(self.outcome.groups if self.outcome is not None else {})}


def prediction_record(
    assessment: str,
    created: datetime.datetime,
    prediction: Prediction,
    *,
    study: StudyDescription | None = None,
    covariates: Mapping[str, float] | None = None,
) -> PredictionRecord:
    """Reduce a prediction to what is kept.

    Args:
        assessment: Resource name of the assessment.
        created: When it was created, with time zone.
        prediction: The answer.
        study: The study; only sex, age in decades and scanner model are taken from it.
        covariates: Covariates of the assessment; those that are no input become audit groups. None do of a prediction
            that only measured: it does not say which are inputs, and an input such as the age is no group.
    """
    outside = prediction.outside
    given = {} if covariates is None or prediction.answer is Answer.MEASURED_ONLY else covariates
    inputs = {item.input: _kept(item) for item in sorted(prediction.contributions, key=lambda item: item.input)}
    groups = {name: f"{value:g}" for name, value in sorted(given.items()) if name not in inputs}
    groups |= _study_groups(study) if study is not None else {}
    return PredictionRecord(
        assessment=assessment,
        month=created.astimezone(datetime.UTC).strftime("%Y-%m"),
        model_name=prediction.model_name,
        model_version=prediction.model_version,
        model_sha256=prediction.model_sha256,
        inputs=inputs,
        answer=prediction.answer.value,
        abstained=prediction.abstains,
        probability=prediction.probability,
        interval_low=prediction.interval_low,
        interval_high=prediction.interval_high,
        outside_score=None if outside is None or outside.score is None else outside.score / outside.threshold,
        abstain_codes=tuple(dict.fromkeys(reason.code for reason in prediction.abstain_reasons)),
        baseline_probability=prediction.baseline.probability if prediction.baseline is not None else None,
        groups=groups,
    )


def age_decade(age_years: float) -> str:
    """Such as ``60 to 69``; ``90 or older`` is one group, because few people are that old."""
    decade = int(age_years // 10) * 10
    return f"{_OLDEST_DECADE} or older" if decade >= _OLDEST_DECADE else f"{decade} to {decade + 9}"


def _study_groups(study: StudyDescription) -> dict[str, str]:
    patient = study.patient
    groups = {}
    if patient.sex in _SEXES:
        groups["sex"] = _SEXES[patient.sex]
    if patient.age_years is not None and patient.age_years >= 0:
        groups["age_years"] = age_decade(patient.age_years)
    if study.series:
        first = study.series[0]
        scanner = " ".join(filter(None, (first.manufacturer, first.manufacturer_model_name)))
        if plain := _NOT_IN_A_GROUP.sub(" ", scanner).strip()[:_LONGEST_GROUP]:
            groups["scanner"] = plain
    return groups


def _kept(item: Contribution) -> float | None:
    if item.value is None or not math.isfinite(item.value):
        return None
    return min(item.value, float(_OLDEST_DECADE)) if item.unit == _YEARS else item.value
