"""A prediction as it travels in messages."""

from __future__ import annotations

from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.prediction import Answer, CallEvidence, Prediction
from oncoresponse.v1 import response_pb2

_ANSWERS = {
    Answer.FAVORABLE: response_pb2.PREDICTION_ANSWER_FAVORABLE,
    Answer.UNFAVORABLE: response_pb2.PREDICTION_ANSWER_UNFAVORABLE,
    Answer.INDETERMINATE: response_pb2.PREDICTION_ANSWER_INDETERMINATE,
    Answer.OUT_OF_DISTRIBUTION: response_pb2.PREDICTION_ANSWER_OUTSIDE_EXPERIENCE,
    Answer.NO_EVIDENCE: response_pb2.PREDICTION_ANSWER_NO_EVIDENCE,
    Answer.MEASURED_ONLY: response_pb2.PREDICTION_ANSWER_MEASURED_ONLY,
}


def prediction_message(prediction: Prediction) -> response_pb2.Prediction:
    """The short form that travels in messages."""
    outside, contours, evidence = prediction.outside, prediction.contour_interval, prediction.call_evidence
    return response_pb2.Prediction(
        answer=_ANSWERS[prediction.answer],
        answer_text=answer_line(prediction),
        probability=prediction.probability,
        interval_low=prediction.interval_low,
        interval_high=prediction.interval_high,
        interval_level=prediction.interval_level or 0,
        contributions=[
            response_pb2.Contribution(
                input=item.input,
                title=item.title,
                value=item.value,
                unit=item.unit,
                log_odds=item.log_odds,
                group=item.group,
                percentile=item.percentile,
            )
            for item in prediction.contributions
        ],
        outside_score=None if outside is None or outside.score is None else outside.score / outside.threshold,
        abstain_reasons=[reason.text for reason in prediction.abstain_reasons],
        sentences=prediction.sentences,
        contour_low=None if contours is None else contours.low,
        contour_high=None if contours is None else contours.high,
        used_in_training=prediction.used_in_training,
        call_evidence=None if evidence is None else _evidence(evidence),
    )


def _evidence(evidence: CallEvidence) -> response_pb2.CallEvidence:
    return response_pb2.CallEvidence(
        call=_ANSWERS[evidence.outcome],
        patients=evidence.patients,
        right=evidence.right,
        right_low=evidence.right_low,
        reference=evidence.reference,
        allowed=evidence.allowed,
        text=evidence.text,
    )
