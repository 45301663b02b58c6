"""Whether validation gives evidence for a prediction at all, by the rule that the task declared in advance.

"No evidence" is a result: the model then measures and does not predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.figures_of_merit import Estimate, FiguresOfMerit, auc_difference, bootstrap_weights
from oncoresponse.response.task import Candidate, ResponseTask
from oncoresponse.response.training.cohort import FollowUp
from oncoresponse.response.training.survival import concordance_estimate

_BOOTSTRAP_SEED = 7_008
_CONCORDANCE_SAMPLES = 1000


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_SLOPE, _INTERCEPT = "Calibration slope", "Calibration-in-the-large"
_ABOUT_PERCENTAGES = frozenset({_SLOPE, _INTERCEPT})


class Criterion(_Strict):
    """One requirement of the rule.

    Attributes:
        name: What is required of.
        required: The limit in words.
        found: What validation found.
        met: Whether it suffices.
    """

    name: str
    required: str
    found: str
    met: bool


class CandidateFigures(_Strict):
    """One candidate under the rule.

    Attributes:
        name: Its name.
        inputs: Its inputs.
        auc: Cross-validated.
        concordance: Uno's, where the task declares a follow-up.
        gain: AUC minus that of the first candidate, paired; ``None`` for the first.
        criteria: The requirements.
        booster_sha256: Of the booster fitted to all patients, by which an outside check recognizes its model.
    """

    name: str
    inputs: tuple[str, ...]
    auc: Estimate
    concordance: Estimate | None
    gain: Estimate | None
    criteria: tuple[Criterion, ...]
    booster_sha256: str

    @property
    def passes(self) -> bool:
        """Whether every requirement is met."""
        return all(criterion.met for criterion in self.criteria)


class EvidenceFigures(_Strict):
    """The decision.

    Attributes:
        candidates: In the declared order.
        chosen: Name of the candidate that became the model; ``None``: no evidence for a prediction.
        sentence: The decision in words.
    """

    candidates: tuple[CandidateFigures, ...]
    chosen: str | None
    sentence: str

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the requirements that no candidate met together with the others, of the last candidate."""
        return tuple(criterion.name for criterion in self.candidates[-1].criteria if not criterion.met)


@dataclass(frozen=True)
class ValidatedCandidate:
    """A candidate with what its validation found.

    Attributes:
        candidate: The candidate.
        figures: Its figures.
        permutation_p: Of the permutation test; ``None`` where there was none.
        probability: Float (repeats, patients), out of fold.
        booster_sha256: Of the booster fitted to all patients.
    """

    candidate: Candidate
    figures: FiguresOfMerit
    permutation_p: float | None
    probability: FloatArray
    booster_sha256: str


def decide(
    task: ResponseTask, validated: Sequence[ValidatedCandidate], favorable: IntArray, follow_up: FollowUp | None
) -> EvidenceFigures:
    """Apply the rule of the task.

    Args:
        task: The declared task.
        validated: The candidates, in the declared order.
        favorable: Int (patients,).
        follow_up: Times; ``None`` where the task declares none.
    """
    weights = bootstrap_weights(favorable, task.validation.bootstrap_samples, task.seed + _BOOTSTRAP_SEED)
    figures = [_judge(task, item, validated[0], favorable, follow_up, weights) for item in validated]
    chosen: int | None = None
    for index, found in enumerate(figures):
        if not found.passes:
            continue
        if chosen is None:
            chosen = index
            continue
        ours, theirs = validated[index].probability, validated[chosen].probability
        if auc_difference(ours, theirs, favorable, weights).low > 0:
            chosen = index
    return EvidenceFigures(
        candidates=tuple(figures),
        chosen=None if chosen is None else figures[chosen].name,
        sentence=_sentence(figures, chosen, len(favorable)),
    )


def _judge(
    task: ResponseTask,
    item: ValidatedCandidate,
    first: ValidatedCandidate,
    favorable: IntArray,
    follow_up: FollowUp | None,
    weights: FloatArray,
) -> CandidateFigures:
    rule, figures = task.evidence, item.figures
    slope, intercept = figures.calibration_slope, figures.calibration_intercept
    low, high, most = *rule.calibration_slope, rule.largest_calibration_intercept
    criteria = [
        Criterion(
            name="Discrimination (AUC)",
            required=f"lower end at least {rule.lowest_auc:g}",
            found=figures.auc.text,
            met=figures.auc.low >= rule.lowest_auc,
        )
    ]
    order = None
    if follow_up is not None and task.follow_up is not None:
        order = concordance_estimate(
            item.probability, follow_up, task.follow_up.horizon, weights[:_CONCORDANCE_SAMPLES]
        )
        criteria.append(
            Criterion(
                name="Order of failures under censoring (Uno's concordance)",
                required=f"lower end at least {rule.lowest_concordance:g}",
                found=order.text,
                met=order.low >= rule.lowest_concordance,
            )
        )
    criteria += [
        Criterion(
            name="Better than the average for everybody (scaled Brier score)",
            required=f"lower end above {rule.lowest_scaled_brier:g}",
            found=figures.scaled_brier.text,
            met=figures.scaled_brier.low > rule.lowest_scaled_brier,
        ),
        Criterion(
            name=_SLOPE,
            required=f"interval within {low:g} to {high:g}",
            found=slope.text,
            met=low <= slope.low and slope.high <= high,
        ),
        Criterion(
            name=_INTERCEPT,
            required=f"interval within -{most:g} to {most:g}",
            found=intercept.text,
            met=-most <= intercept.low and intercept.high <= most,
        ),
    ]
    if item.permutation_p is not None:
        criteria.append(
            Criterion(
                name="Permutation test",
                required=f"p at most {rule.largest_permutation_p:g}",
                found=f"{item.permutation_p:.3f}",
                met=item.permutation_p <= rule.largest_permutation_p,
            )
        )
    gain = None
    if item is not first:
        gain = auc_difference(item.probability, first.probability, favorable, weights)
    return CandidateFigures(
        name=item.candidate.name,
        inputs=item.candidate.inputs,
        auc=figures.auc,
        concordance=order,
        gain=gain,
        criteria=tuple(criteria),
        booster_sha256=item.booster_sha256,
    )


def _sentence(figures: Sequence[CandidateFigures], chosen: int | None, patients: int) -> str:
    if chosen is not None:
        return (
            f"Validation on {patients} patients meets every requirement that was declared in advance "
            f"({figures[chosen].name})."
            if len(figures) > 1
            else f"Validation on {patients} patients meets every requirement that was declared in advance."
        )
    found = figures[-1]
    # No figures: physicians read this sentence, and some are in log-odds. They stand in the card's table.
    names = [criterion.name for criterion in found.criteria if not criterion.met]
    missed = ", ".join(f"{name[:1].lower()}{name[1:]}" for name in names)
    which = f" by {found.name}" if len(figures) > 1 else ""
    unknown = "what a percentage would mean" if set(names) <= _ABOUT_PERCENTAGES else "whether it beats chance"
    return (
        f"Validation on {patients} patients does not show what was required in advance of any prediction: {unknown} is "
        f"not known. Not met{which}: {missed}."
    )
