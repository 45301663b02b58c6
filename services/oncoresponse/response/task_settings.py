"""Settings of a response task that steer the fit and the validation, apart from what is predicted from what."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CalibrationMethod = Literal["none", "intercept", "platt"]
"""The booster's log-odds as they are; moved; or scaled and moved (Platt)."""


class Strict(BaseModel):
    """Base of every part of a task file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EvidenceRule(Strict):
    """What repeated nested cross-validation has to show before a model predicts; declared before it is run.

    All bounds are ends of 95 % intervals by patient bootstrap. The calibration limits follow from what is shown: with a
    slope or an intercept that may lie beyond them, a percentage says nothing that a physician could use (Van Calster et
    al. 2019, doi:10.1186/s12916-019-1466-7).

    Attributes:
        lowest_auc: Smallest lower end of the AUC.
        lowest_concordance: The same of Uno's concordance, where the task declares a follow-up.
        lowest_scaled_brier: The lower end of the scaled Brier score must exceed this.
        calibration_slope: The interval of the slope must lie within.
        largest_calibration_intercept: The interval of calibration-in-the-large must lie within this of 0 (log-odds).
        largest_permutation_p: Of the permutation test, where the task asks for permutations.
    """

    lowest_auc: float = Field(default=0.6, ge=0, le=1)
    lowest_concordance: float = Field(default=0.6, ge=0, le=1)
    lowest_scaled_brier: float = 0.0
    calibration_slope: tuple[float, float] = (0.5, 2.0)
    largest_calibration_intercept: float = Field(default=0.5, gt=0)
    largest_permutation_p: float = Field(default=0.05, gt=0, le=1)


class BoosterSettings(Strict):
    """Fixed hyper-parameters of XGBoost and the small search declared in advance.

    ``min_child_weight`` is the sum of p(1-p) in a leaf: 1 asks for about four patients. With 3 and fewer than 40
    patients trees stop splitting and the model becomes a constant, which training refuses.

    Attributes:
        start: Where the booster starts: ``zero`` log-odds, or the log-odds of the ``logistic`` regression on the
            baseline inputs (XGBoost ``base_margin``), so that the trees add only what the regression misses.
    """

    start: Literal["zero", "logistic"] = "zero"
    max_depth: tuple[int, ...] = Field(min_length=1)
    rounds: tuple[int, ...] = Field(min_length=1)
    learning_rate: float = Field(gt=0, le=1)
    l2_penalty: float = Field(default=1.0, ge=0)
    min_child_weight: float = Field(default=1.0, ge=0)
    row_fraction: float = Field(default=1.0, gt=0, le=1)
    column_fraction: float = Field(default=1.0, gt=0, le=1)


class ValidationSettings(Strict):
    """Size of the validation.

    Attributes:
        folds: Outer and inner folds, stratified by outcome, whole patients.
        repeats: Repeats of the outer cross-validation with new folds.
        inner_repeats: Repeats of the inner one, which chooses hyper-parameters and calibrates.
        permutations: Permutations of the outcome through the whole pipeline.
        permutation_repeats: Outer repeats in each permutation.
        bootstrap_samples: Patient bootstraps for intervals of figures of merit.
        simulated_cohorts: Cohorts of the same size with a known truth on which the interval is checked and widened.
        thresholds: Probabilities of the favorable outcome at which sensitivity and specificity are reported.
    """

    folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=20, ge=1)
    inner_repeats: int = Field(default=3, ge=1)
    permutations: int = Field(default=200, ge=0)
    permutation_repeats: int = Field(default=1, ge=1)
    bootstrap_samples: int = Field(default=2000, ge=100)
    simulated_cohorts: int = Field(default=40, ge=0)
    thresholds: tuple[float, ...] = (0.3, 0.5, 0.7)


class UncertaintySettings(Strict):
    """Promises about a single prediction.

    Attributes:
        conformal_coverage: Coverage of the conformal set in each outcome class.
        interval_level: Level of the interval of the probability.
        ensemble_members: Patient bootstraps refitted for that interval.
        outside_quantile: Quantile of the leave-one-out distances of training patients that is the threshold.
        calibration: Methods among which inner cross-validation chooses. All are linear in the log-odds, so that the
            contributions add up to the calibrated prediction; isotonic regression is not, and overfits below about a
            thousand patients.
    """

    conformal_coverage: float = Field(default=0.8, gt=0.5, lt=1)
    interval_level: float = Field(default=0.9, gt=0.5, lt=1)
    ensemble_members: int = Field(default=100, ge=10)
    outside_quantile: float = Field(default=0.975, gt=0.5, lt=1)
    calibration: tuple[CalibrationMethod, ...] = Field(default=("none", "intercept", "platt"), min_length=1)
