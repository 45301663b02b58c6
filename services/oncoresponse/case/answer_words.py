"""The answer in one line, as strong as its interval: the same words on the page, in FHIR and in tables."""

from __future__ import annotations

import re

from oncoresponse.case.prediction import Answer, Prediction

_STRENGTHS = (("very likely", 0.90), ("likely", 0.66))
_MORE, WEAK = "more likely than not", "weak evidence"


def answer_line(prediction: Prediction) -> str:
    """The answer in one line, as strong as its interval: ``Recurrence or metastasis: weak evidence``.

    The words are those of the Intergovernmental Panel on Climate Change for a calibrated likelihood (Mastrandrea et al.
    2010, table 1), read at the end of the interval that speaks least for the outcome called: *very likely* from 90 %,
    *likely* from 66 %, *more likely than not* above 50 %. Where the interval holds 50 % the evidence is weak, whatever
    the estimate.
    """
    answer = prediction.answer_text.strip().rstrip(".")
    if prediction.abstains:
        if not prediction.used_in_training:
            return answer
        if prediction.answer in (Answer.NO_EVIDENCE, Answer.MEASURED_ONLY):
            return f"{answer}; patient used in training"
        return "No prediction: the model was trained on this patient"
    return f"{re.sub(r'[ ,:]+(very )?likely$', '', answer)}: {strength(prediction)}"


def strength(prediction: Prediction) -> str:
    """The words that the interval allows for the outcome called."""
    share = _least_share(prediction)
    return next((words for words, least in _STRENGTHS if share >= least), _MORE if share > 0.5 else WEAK)


def _least_share(prediction: Prediction) -> float:
    """Probability of the outcome that is called, at the end of the interval that speaks least for it; 0 without one."""
    if prediction.interval_low is None or prediction.interval_high is None:
        return 0.0
    return prediction.interval_low if prediction.answer is Answer.FAVORABLE else 1 - prediction.interval_high
