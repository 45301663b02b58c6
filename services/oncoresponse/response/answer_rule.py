"""From inputs to an answer, for many patients at once: what a call needs, and what stands against it."""

from __future__ import annotations

from oncoresponse.response.cohort import FloatArray
from oncoresponse.response.conformal import conformal_p_values, conformal_sets
from oncoresponse.response.model_document import ResponseDocument
from oncoresponse.response.pipeline import ScoringModel
from oncoresponse.response.prediction import Answer


def answers(
    document: ResponseDocument, scoring: ScoringModel, values: FloatArray, transformed: FloatArray
) -> list[Answer]:
    """The answer of each patient whose inputs are finite.

    Args:
        document: Of the model.
        scoring: Of the model.
        values: Float (patients, inputs), in the units of the inputs.
        transformed: Float (patients, inputs), the same after the transforms; finite.
    """
    margin = scoring.margin(transformed)
    probability = scoring.sigmoid.probability(margin)
    p_values = conformal_p_values(*document.calibration.scores(), margin)
    sets = conformal_sets(*p_values, document.conformal.coverage)
    distance = document.distance.distance.distance(transformed)
    found = []
    for row in range(len(values)):
        allowed = all(
            entry.minimum <= value <= entry.maximum for entry, value in zip(document.inputs, values[row], strict=True)
        )
        favorable, unfavorable = bool(sets[row, 0]), bool(sets[row, 1])
        if not allowed or distance[row] > document.distance.threshold:
            found.append(Answer.OUT_OF_DISTRIBUTION)
        elif favorable == unfavorable or favorable != (probability[row] >= 0.5):
            found.append(Answer.INDETERMINATE)
        else:
            found.append(Answer.FAVORABLE if favorable else Answer.UNFAVORABLE)
    return found
