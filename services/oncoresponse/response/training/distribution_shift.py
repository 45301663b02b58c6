"""What becomes of the promises where they are not kept: trained on small tumors, tested on large ones.

Conformal coverage holds for patients like those of the calibration. Here they are not, on purpose.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import roc_auc_score

from oncoresponse.case.readable_numbers import inside_sentence, percent, spoken_value
from oncoresponse.response.arrays import FloatArray, IntArray
from oncoresponse.response.calibration import calibration_slope_and_intercept
from oncoresponse.response.conformal import conformal_p_values, conformal_sets, stratum_of
from oncoresponse.response.pipeline import fit_pipeline
from oncoresponse.response.task import ResponseTask
from oncoresponse.response.training_distance import fit_training_distance

_SHIFT_SEED = 7_005


class ShiftFigures(BaseModel):
    """Trained on the patients with the smaller half of an input, tested on the others.

    Attributes:
        input: The input.
        limit: Its median, in its unit: the border between the halves.
        trained_on: Patients below.
        tested_on: Patients above.
        auc: Area under the curve on those; ``None`` when they all had one outcome.
        calibration_intercept: Calibration-in-the-large, ideal 0; negative: too optimistic.
        promised: Promised coverage.
        covered: Share whose outcome is in their set.
        outside: Share the distance calls out of distribution.
        covered_inside: Coverage among those it does not; ``None`` when there are none.
        sentence: The same in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: str
    limit: float
    trained_on: int
    tested_on: int
    auc: float | None
    calibration_intercept: float
    promised: float
    covered: float
    outside: float
    covered_inside: float | None
    sentence: str


def judge_under_shift(
    task: ResponseTask, values: FloatArray, transformed: FloatArray, favorable: IntArray
) -> ShiftFigures | None:
    """Fit to one half, judge on the other; ``None`` where the task declares no test or a half lacks an outcome."""
    if task.shift is None:
        return None
    column = task.input_names.index(task.shift.input)
    limit = float(np.median(values[:, column]))
    below = values[:, column] <= limit
    if min(int(favorable[below].sum()), int((1 - favorable[below]).sum())) < task.validation.folds:
        return None
    fitted = fit_pipeline(task, transformed[below], favorable[below], seed=task.seed + _SHIFT_SEED)
    distance = fit_training_distance(transformed[below], task.uncertainty.outside_quantile)
    inputs, outcome = transformed[~below], favorable[~below]
    margin = fitted.margin(inputs)
    strata = stratum_of(task.strata, task.inputs, transformed)
    p_values = conformal_p_values(fitted.out_of_fold, favorable[below], margin, strata[below], strata[~below])
    sets = conformal_sets(*p_values, task.uncertainty.conformal_coverage)
    held = np.where(outcome == 1, sets[:, 0], sets[:, 1])
    outside = distance.distance(inputs) > distance.threshold
    _, intercept = calibration_slope_and_intercept(fitted.sigmoid.probability(margin), outcome)
    entry, promised = task.inputs[column], task.uncertainty.conformal_coverage
    covered = float(held.mean())
    return ShiftFigures(
        input=entry.name,
        limit=round(limit, 4),
        trained_on=int(below.sum()),
        tested_on=int((~below).sum()),
        auc=None if len(np.unique(outcome)) < 2 else round(float(roc_auc_score(outcome, margin)), 6),
        calibration_intercept=round(intercept, 6),
        promised=promised,
        covered=round(covered, 6),
        outside=round(float(outside.mean()), 6),
        covered_inside=None if outside.all() else round(float(held[~outside].mean()), 6),
        sentence=f"Trained only on patients with {inside_sentence(entry.title)} up to {spoken_value(limit, entry.unit)}"
        f" and tested on the {int((~below).sum())} others, the prediction sets held the true outcome of "
        f"{percent(covered)} (promised {percent(promised)}); {percent(float(outside.mean()))} of those patients were "
        "called out of distribution.",
    )
