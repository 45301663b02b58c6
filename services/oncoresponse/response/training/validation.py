"""How good the model is on patients it has not seen: repeated nested cross-validation, and a permutation test.

Nested: hyper-parameters, calibration and conformal scores are fitted inside each outer training fold by
:func:`~oncoresponse.response.pipeline.fit_pipeline`. Permutation: the same with shuffled outcomes says what the
procedure finds where there is nothing (Ojala and Garriga 2010, JMLR 11:1833).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from oncoresponse.errors import TrainingDataInvalid
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.call_rule import NO_CALL, CallFigures, calls_of_sets, judge_calls
from oncoresponse.response.conformal import (
    CoverageCell,
    conformal_p_values,
    conformal_sets,
    coverage_by_group,
    stratum_of,
)
from oncoresponse.response.figures_of_merit import (
    Estimate,
    FiguresOfMerit,
    area_under_curve,
    auc_difference,
    bootstrap_weights,
    figures_of_merit,
)
from oncoresponse.response.pipeline import fit_baseline, fit_pipeline, patient_folds
from oncoresponse.response.progress import Progress, no_progress
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.task_settings import CalibrationMethod
from oncoresponse.response.training.decision_thresholds import (
    DecisionCurve,
    ThresholdFigures,
    decision_curve,
    threshold_figures,
)
from oncoresponse.response.training.distribution_shift import ShiftFigures
from oncoresponse.response.training.evaluation_curves import ModelCurves, model_curves
from oncoresponse.response.training.evidence import EvidenceFigures
from oncoresponse.response.training.optimism import OptimismCorrection
from oncoresponse.response.training.statistical_power import PowerStatement, state_power
from oncoresponse.response.training.subgroup_audit import SubgroupFigures, audit_subgroups
from oncoresponse.response.training.survival import FollowUpFigures
from oncoresponse.response.training_distance import fit_training_distance

_PERMUTATION_SEED = 7_001
_BOOTSTRAP_SEED = 7_002
_SUBGROUP_SEED = 7_007


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ConformalFigures(_Strict):
    """What the conformal sets do on patients kept out of training and calibration.

    Attributes:
        promised: Promised coverage in each outcome class.
        covered: Share of patients whose outcome is in their set.
        covered_favorable: The same among patients with the favorable outcome.
        covered_unfavorable: Among the others.
        decided: Share of patients whose set holds exactly one outcome.
        correct_when_decided: Share of those whose one outcome is right; ``None`` when none was decided.
    """

    promised: float
    covered: float
    covered_favorable: float
    covered_unfavorable: float
    decided: float
    correct_when_decided: float | None


class PermutationTest(_Strict):
    """The whole pipeline on shuffled outcomes.

    Attributes:
        permutations: How many.
        auc_observed: AUC with the true outcomes, with the same reduced number of repeats.
        auc_permuted_mean: Mean AUC with shuffled outcomes.
        auc_permuted_high: Their 95th percentile.
        p_value: (1 + permutations at least as good) / (1 + permutations).
        repeats: Outer repeats in each permutation (inner repeats: 1).
    """

    permutations: int
    auc_observed: float
    auc_permuted_mean: float
    auc_permuted_high: float
    p_value: float
    repeats: int


class AutomaticContourFigures(_Strict):
    """The same models on features of automatic contours of the patients kept out of each fold.

    Attributes:
        patients: Patients with automatic features.
        patients_without: Patients for whom the table has no usable row; left out.
        figures: On the automatic contours.
        physician_contours: On the physician's contours of the same patients.
        mean_absolute_change: Mean absolute change of the calibrated probability between the two.
    """

    patients: int
    patients_without: int
    figures: FiguresOfMerit
    physician_contours: FiguresOfMerit
    mean_absolute_change: float


class ChosenHyperParameters(_Strict):
    """How often inner cross-validation chose a setting."""

    max_depth: int
    rounds: int
    calibration: CalibrationMethod
    times: int


class Evaluation(_Strict):
    """Contents of ``evaluation.json``.

    Attributes:
        patients: Number of training patients.
        favorable: How many had the favorable outcome.
        held_out_patients: Patients excluded from everything; the samples of the project.
        folds: Outer folds.
        repeats: Outer repeats.
        booster: Figures of the calibrated booster.
        baseline: Figures of the logistic baseline, on the same folds.
        baseline_inputs: Its inputs.
        starts_from_baseline: Whether the trees start from a logistic regression on these inputs.
        difference: AUC of the booster minus AUC of the baseline, with a paired interval.
        conformal: Coverage of the conformal sets.
        permutation: ``None`` when the task asks for no permutations.
        chosen: Hyper-parameters chosen in the outer folds, most frequent first.
        constant_boosters: Outer folds in which the booster was a constant.
        excluded: Patients left out by the exclusions of the task, by reason.
        thresholds: Sensitivity and specificity at the thresholds of the task.
        decision_curve: Net benefit by threshold.
        booster_curves: ROC and calibration curve.
        baseline_curves: The same of the baseline.
        subgroups: The evaluation in each subgroup.
        power: What the size of the cohort allows to say.
        optimism: Bootstrap-corrected figures; ``None`` until the ensemble is fitted.
        shift: Trained on one half, tested on the other; ``None`` where the task declares none.
        coverage_by_group: Coverage of the sets in each outcome and stratum.
        calls: How often each kind of call was right, favorable first.
        follow_up: How long the patients were followed; ``None`` where the task declares no follow-up.
        evidence: Whether all this is evidence for a prediction; ``None`` until it is decided.
        automatic_contours: ``None`` when no such table was given.
    """

    patients: int
    favorable: int
    held_out_patients: tuple[str, ...]
    folds: int
    repeats: int
    booster: FiguresOfMerit
    baseline: FiguresOfMerit
    baseline_inputs: tuple[str, ...]
    starts_from_baseline: bool
    difference: Estimate
    conformal: ConformalFigures
    permutation: PermutationTest | None
    chosen: tuple[ChosenHyperParameters, ...]
    constant_boosters: int
    excluded: dict[str, int] = {}
    thresholds: tuple[ThresholdFigures, ...]
    decision_curve: DecisionCurve
    booster_curves: ModelCurves
    baseline_curves: ModelCurves
    subgroups: tuple[SubgroupFigures, ...]
    power: PowerStatement
    optimism: OptimismCorrection | None = None
    shift: ShiftFigures | None = None
    coverage_by_group: tuple[CoverageCell, ...]
    calls: tuple[CallFigures, CallFigures]
    follow_up: FollowUpFigures | None = None
    evidence: EvidenceFigures | None = None
    automatic_contours: AutomaticContourFigures | None

    @property
    def predicts(self) -> bool:
        """Whether the evidence allows a prediction."""
        return self.evidence is None or self.evidence.chosen is not None

    @property
    def beats_baseline(self) -> bool:
        """Whether the booster ranks patients better than the baseline beyond what chance explains."""
        return self.difference.low > 0

    @property
    def below_baseline(self) -> bool:
        """Whether it ranks patients worse than the baseline beyond what chance explains."""
        return self.difference.high < 0


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of each patient by models that had not seen that patient.

    Attributes:
        probability: Float (repeats, patients), calibrated.
        baseline: Float (repeats, patients).
        automatic: Float (repeats, patients) on automatic contours, NaN where there is none; ``None`` without a table.
        sets: Int (repeats, patients, 2), conformal sets, columns favorable and unfavorable.
        calls: Int (repeats, patients), what the rule for calls gave; no call where it was not asked.
        chosen: Depth, rounds and calibration of each outer fold.
        constant_boosters: Outer folds whose booster was a constant.
    """

    probability: FloatArray
    baseline: FloatArray
    automatic: FloatArray | None
    sets: IntArray
    calls: IntArray
    chosen: tuple[tuple[int, int, CalibrationMethod], ...]
    constant_boosters: int


def cross_validate(
    task: ResponseTask,
    inputs: FloatArray,
    favorable: IntArray,
    *,
    repeats: int,
    inner_repeats: int | None = None,
    automatic: FloatArray | None = None,
    with_calls: bool = True,
    progress: Progress = no_progress,
) -> OutOfFold:
    """Repeated nested cross-validation.

    Args:
        task: The task.
        inputs: Float (patients, inputs), transformed.
        favorable: Int (patients,).
        repeats: Outer repeats.
        inner_repeats: Replaces that of the task.
        automatic: Float (patients, inputs), transformed, from automatic contours; NaN rows are skipped.
        with_calls: Ask the rule for calls too, for which the distance from the training side is fitted in each fold.
        progress: Told after each outer fold.
    """
    patients = len(favorable)
    probability, baseline = np.empty((repeats, patients)), np.empty((repeats, patients))
    from_automatic = None if automatic is None else np.full((repeats, patients), np.nan)
    sets = np.empty((repeats, patients, 2), dtype=np.int64)
    calls = np.full((repeats, patients), NO_CALL, dtype=np.int64)
    strata = stratum_of(task.strata, task.inputs, inputs)
    chosen: list[tuple[int, int, CalibrationMethod]] = []
    constant = 0
    for repeat in range(repeats):
        seed = task.seed + 100 * repeat
        for test in patient_folds(favorable, np.arange(patients), task.validation.folds, seed):
            train = np.setdiff1d(np.arange(patients), test)
            fitted = fit_pipeline(task, inputs[train], favorable[train], seed=seed + 1, inner_repeats=inner_repeats)
            chosen.append((fitted.max_depth, fitted.rounds, fitted.calibration))
            constant += fitted.is_constant(inputs[train])
            margin = fitted.margin(inputs[test])
            probability[repeat, test] = fitted.sigmoid.probability(margin)
            baseline[repeat, test] = fit_baseline(task, inputs[train], favorable[train]).probability(inputs[test])
            p_values = conformal_p_values(fitted.out_of_fold, favorable[train], margin, strata[train], strata[test])
            sets[repeat, test] = conformal_sets(*p_values, task.uncertainty.conformal_coverage)
            if with_calls:
                distance = fit_training_distance(inputs[train], task.uncertainty.outside_quantile)
                outside = (distance.distance(inputs[test]) > distance.threshold).astype(np.int64)
                calls[repeat, test] = calls_of_sets(sets[repeat, test], probability[repeat, test], outside)
            if automatic is not None and from_automatic is not None:
                usable = test[np.isfinite(automatic[test]).all(axis=1)]
                if len(usable):
                    from_automatic[repeat, usable] = fitted.probability(automatic[usable])
            progress("nested cross-validation", len(chosen) / (repeats * task.validation.folds))
    return OutOfFold(probability, baseline, from_automatic, sets, calls, tuple(chosen), constant)


def permutation_test(
    task: ResponseTask, inputs: FloatArray, favorable: IntArray, progress: Progress = no_progress
) -> PermutationTest:
    """Run the whole pipeline on shuffled outcomes; one inner repeat, to keep it affordable."""
    repeats = task.validation.permutation_repeats
    random = np.random.default_rng(task.seed + _PERMUTATION_SEED)

    def auc(outcome: IntArray) -> float:
        found = cross_validate(task, inputs, outcome, repeats=repeats, inner_repeats=1, with_calls=False)
        return area_under_curve(found.probability, outcome)

    observed = auc(favorable)
    permuted = np.empty(task.validation.permutations)
    for index in range(len(permuted)):
        permuted[index] = auc(random.permutation(favorable))
        progress("permutation test", (index + 1) / len(permuted))
    return PermutationTest(
        permutations=len(permuted),
        auc_observed=round(observed, 6),
        auc_permuted_mean=round(float(permuted.mean()), 6),
        auc_permuted_high=round(float(np.percentile(permuted, 95)), 6),
        p_value=round((1 + int((permuted >= observed).sum())) / (1 + len(permuted)), 6),
        repeats=repeats,
    )


def evaluate(
    task: ResponseTask,
    inputs: FloatArray,
    favorable: IntArray,
    *,
    automatic: FloatArray | None = None,
    subgroups: Mapping[str, Sequence[str]] | None = None,
    progress: Progress = no_progress,
) -> tuple[Evaluation, OutOfFold]:
    """Validate the task on a cohort.

    Args:
        task: The task.
        inputs: Float (patients, inputs), transformed.
        favorable: Int (patients,).
        automatic: The same inputs from automatic contours, NaN where there are none.
        subgroups: By title of the audit group, the subgroup of each patient.
        progress: Told as the work goes on.

    Returns:
        The figures, and the out-of-fold predictions they were made from.
    """
    found = cross_validate(
        task, inputs, favorable, repeats=task.validation.repeats, automatic=automatic, progress=progress
    )
    weights = bootstrap_weights(favorable, task.validation.bootstrap_samples, task.seed + _BOOTSTRAP_SEED)
    permutation = permutation_test(task, inputs, favorable, progress) if task.validation.permutations else None
    booster = figures_of_merit(found.probability, favorable, weights)
    evaluation = Evaluation(
        patients=len(favorable),
        favorable=int(favorable.sum()),
        held_out_patients=task.held_out_patients,
        folds=task.validation.folds,
        repeats=task.validation.repeats,
        booster=booster,
        baseline=figures_of_merit(found.baseline, favorable, weights),
        baseline_inputs=task.baseline_inputs,
        starts_from_baseline=task.booster.start == "logistic",
        difference=auc_difference(found.probability, found.baseline, favorable, weights),
        conformal=conformal_figures(found.sets, favorable, task.uncertainty.conformal_coverage),
        permutation=permutation,
        chosen=tuple(
            ChosenHyperParameters(max_depth=depth, rounds=rounds, calibration=calibration, times=times)
            for (depth, rounds, calibration), times in Counter(sorted(found.chosen)).most_common()
        ),
        constant_boosters=found.constant_boosters,
        thresholds=threshold_figures(found.probability, found.baseline, favorable, task.validation.thresholds, weights),
        decision_curve=decision_curve(found.probability, found.baseline, favorable),
        booster_curves=model_curves(found.probability, favorable),
        baseline_curves=model_curves(found.baseline, favorable),
        subgroups=audit_subgroups(
            subgroups or {},
            found.probability,
            found.baseline,
            found.sets,
            favorable,
            promised=task.uncertainty.conformal_coverage,
            seed=task.seed + _SUBGROUP_SEED,
        ),
        power=state_power(booster.auc, len(favorable), int(favorable.sum())),
        coverage_by_group=coverage_by_group(task, found.sets, favorable, stratum_of(task.strata, task.inputs, inputs)),
        calls=judge_calls(found.calls, favorable, task.calls),
        automatic_contours=_automatic_contours(task, found, favorable),
    )
    return evaluation, found


def conformal_figures(sets: IntArray, favorable: IntArray, promised: float) -> ConformalFigures:
    """Coverage of conformal sets (repeats, patients, 2)."""
    has_own = np.where(favorable == 1, sets[:, :, 0], sets[:, :, 1])
    decided = sets.sum(axis=2) == 1
    return ConformalFigures(
        promised=promised,
        covered=round(float(has_own.mean()), 6),
        covered_favorable=round(float(has_own[:, favorable == 1].mean()), 6),
        covered_unfavorable=round(float(has_own[:, favorable == 0].mean()), 6),
        decided=round(float(decided.mean()), 6),
        correct_when_decided=round(float(has_own[decided].mean()), 6) if decided.any() else None,
    )


def _automatic_contours(task: ResponseTask, found: OutOfFold, favorable: IntArray) -> AutomaticContourFigures | None:
    if found.automatic is None:
        return None
    usable = np.isfinite(found.automatic).all(axis=0)
    outcome = favorable[usable]
    if len(np.unique(outcome)) < 2:
        raise TrainingDataInvalid("The table of automatic contours holds too few usable patients. Check its columns.")
    weights = bootstrap_weights(outcome, task.validation.bootstrap_samples, task.seed + _BOOTSTRAP_SEED)
    automatic, drawn = found.automatic[:, usable], found.probability[:, usable]
    return AutomaticContourFigures(
        patients=int(usable.sum()),
        patients_without=int((~usable).sum()),
        figures=figures_of_merit(automatic, outcome, weights),
        physician_contours=figures_of_merit(drawn, outcome, weights),
        mean_absolute_change=round(float(np.abs(automatic - drawn).mean()), 6),
    )
