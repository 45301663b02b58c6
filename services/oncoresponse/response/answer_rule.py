"""From inputs to an answer, for many patients at once: what a call needs, and what stands against it."""

from __future__ import annotations

import numpy as np

from oncoresponse.case.prediction import Answer
from oncoresponse.response.arrays import FloatArray
from oncoresponse.response.call_rule import CALL_FAVORABLE, NO_CALL, calls_of_sets
from oncoresponse.response.conformal import conformal_p_values, conformal_sets
from oncoresponse.response.model_document import ResponseDocument
from oncoresponse.response.pipeline import ScoringModel


def answers(
    document: ResponseDocument,
    scoring: ScoringModel,
    values: FloatArray,
    transformed: FloatArray,
    *,
    only_supported: bool = True,
) -> list[Answer]:
    """The answer of each patient whose inputs are finite.

    Args:
        document: Of the model.
        scoring: Of the model.
        values: Float (patients, inputs), in the units of the inputs.
        transformed: Float (patients, inputs), the same after the transforms; finite.
        only_supported: Make only calls of a kind that validation supports; otherwise what the rule for one patient
            gives.
    """
    margin = scoring.margin(transformed)
    probability = scoring.sigmoid.probability(margin)
    p_values = conformal_p_values(
        *document.calibration.scores(),
        margin,
        document.calibration.stratum_of_each(),
        document.strata_of(transformed),
    )
    sets = conformal_sets(*p_values, document.conformal.coverage)
    far = document.distance.distance.distance(transformed) > document.distance.threshold
    impossible = [
        any(not entry.minimum <= value <= entry.maximum for entry, value in zip(document.inputs, row, strict=True))
        for row in values
    ]
    outside = (far | np.array(impossible)).astype(np.int64)
    made = {figures.favorable: figures.allowed or not only_supported for figures in document.calls}
    found = []
    for call, is_outside in zip(calls_of_sets(sets, probability, outside), outside, strict=True):
        if is_outside:
            found.append(Answer.OUT_OF_DISTRIBUTION)
        elif call == NO_CALL or not made[call == CALL_FAVORABLE]:
            found.append(Answer.INDETERMINATE)
        else:
            found.append(Answer.FAVORABLE if call == CALL_FAVORABLE else Answer.UNFAVORABLE)
    return found
