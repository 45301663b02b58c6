"""The sentences of the report, written once and used by FHIR, the PDF and the command line.

Those about lesions stand in :mod:`oncoresponse.reporting.lesion_wording`.

No sentence tells anybody what to do about a treatment; :func:`refuse_treatment_directives` guards that for our own
words and for those a model folder brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from oncoresponse.case.answer_words import WEAK, answer_line, strength
from oncoresponse.case.prediction import Answer, Contribution, Prediction
from oncoresponse.case.readable_numbers import inside_sentence, percent, significant, spoken_value
from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.reporting.lesion_distances import distance_sentences
from oncoresponse.reporting.lesion_wording import (
    Line,
    contour_sentences,
    distance_method,
    lesion_name,
    measure_lines,
    of_lesions,
    sentence,
    spoken_lines,
    total_lines,
)
from oncoresponse.reporting.report_content import ReportContext

NOT_SIGNED = "Preliminary: not reviewed or signed by a physician."
ASSOCIATION = "Associations in the training patients, not causes."
TRAINING_RANGE = "5th to 95th percentile"

_TREATMENT = (
    r"(?:treatment|therapy|therapies|chemotherapy|radiotherapy|radiation|immunotherapy|surgery|resection|drug|"
    r"medication|regimen|dose|course)s?"
)
_DIRECTIVE = re.compile(
    r"\b(?:start|stop|change|continue|discontinue|switch|initiate|withhold|escalate|de-escalate|intensify|omit|give|"
    r"administer|prescribe|add|offer|choose)\b(?!\W+of\b)(?:\W+[\w-]+){0,3}?\W+" + _TREATMENT + r"\b"
    r"|\b(?:recommend(?:ed|s)?|advise[ds]?|indicated)\b(?:\W+[\w-]+){0,4}?\W+" + _TREATMENT + r"\b"
    r"|\b" + _TREATMENT + r"\b(?:\W+[\w-]+){0,2}?\W+(?:should|must|is recommended|is advised|is indicated)\b",
    re.IGNORECASE,
)

_LONGEST_FIRST_LINE = 140

# A terminal shows the answer on one screen.
_LIMITS_IN_SUMMARY = 2
_INPUTS_IN_SUMMARY = 6


def treatment_directives(text: str) -> list[str]:
    """Passages of a text that tell the reader what to do about a treatment; empty for an acceptable text."""
    return [match.group(0) for match in _DIRECTIVE.finditer(text)]


def refuse_treatment_directives(texts: Iterable[str]) -> None:
    """Guard over everything a report says in its own or the model's words.

    The words of the order (planned treatment) are quoted, not said, and are not checked.

    Raises:
        ModelFolderInvalid: A text is a treatment directive.
    """
    if any(treatment_directives(text) for text in texts):
        raise ModelFolderInvalid(
            "A text of the model tells the reader what to do about a treatment. A report only informs: reword the "
            "outcome, the limitations or the answer in the model folder."
        )


def research_use_statement(context: ReportContext) -> str:
    """The statement every rendering carries."""
    if context.prediction is not None:
        return context.prediction.research_use_statement
    return context.model.intended_use.device_status


def probability_title(prediction: Prediction) -> str:
    """Which outcome every probability of the prediction is of: ``Probability of pathologic complete response``."""
    return f"Probability of {inside_sentence(prediction.outcome_title)}"


def prediction_title(prediction: Prediction) -> str:
    """What the answer answers: ``Prediction of pathologic complete response``."""
    return f"Prediction of {inside_sentence(prediction.outcome_title)}"


def probability_sentence(prediction: Prediction) -> str | None:
    """``Probability of pathologic complete response: 72 % (90 % interval 51 % to 86 %)``, without a final full stop.

    ``None`` where the model abstains, as the number is no answer then.
    """
    if prediction.abstains or prediction.probability is None:
        return None
    text = f"{probability_title(prediction)}: {percent(prediction.probability)}"
    if prediction.interval_low is not None and prediction.interval_high is not None:
        text += (
            f" ({interval_name(prediction)} {percent(prediction.interval_low)} to {percent(prediction.interval_high)})"
        )
    return text


def interval_name(prediction: Prediction) -> str:
    """Such as ``90 % interval``."""
    return "interval" if prediction.interval_level is None else f"{percent(prediction.interval_level)} interval"


def strength_sentence(prediction: Prediction) -> str | None:
    """What the weakest words mean; ``None`` for others and without a call."""
    if prediction.abstains or strength(prediction) != WEAK:
        return None
    return "Weak evidence: the interval includes even odds, so the other outcome may be as likely."


def answer_sentences(prediction: Prediction) -> list[str]:
    """The answer with its uncertainty; where the model abstains, the reasons and no number."""
    sentences = [f"{prediction_title(prediction)}: {answer_line(prediction)}."]
    if probability := probability_sentence(prediction):
        sentences.append(f"{probability}.")
    sentences.extend(sentence(reason.text) for reason in prediction.abstain_reasons)
    sentences.extend(text for text in (strength_sentence(prediction), call_error_sentence(prediction)) if text)
    return sentences


def made_from_sentence(context: ReportContext) -> str | None:
    """What the answer was made from; ``None`` where it was the only lesion, or where nothing is predicted at all."""
    prediction = context.prediction
    is_of_the_only_lesion = len(context.lesions) == len(context.predicted_lesions) == 1
    is_no_answer = prediction is None or prediction.answer in (Answer.NO_EVIDENCE, Answer.MEASURED_ONLY)
    if is_no_answer or is_of_the_only_lesion:
        return None
    return sentence(f"The answer was made from {context.predicted_from}") if context.predicted_from else None


def sentences_of_answer(context: ReportContext, prediction: Prediction) -> list[str]:
    """:func:`answer_sentences`, and what the answer was made from."""
    made_from = made_from_sentence(context)
    return [*answer_sentences(prediction), *([made_from] if made_from else [])]


def call_error_sentence(prediction: Prediction) -> str | None:
    """How often calls of this kind were right in validation; ``None`` where there is no call."""
    if prediction.abstains or prediction.call_evidence is None:
        return None
    return prediction.call_evidence.text


def contribution_sentence(contribution: Contribution, prediction: Prediction) -> str:
    """One reason: the value, where the training patients lie, and which way it moves the probability of what.

    Where the model abstains there is no probability to move, so the sentence ends before.
    """
    value = "not computable" if contribution.value is None else spoken_value(contribution.value, contribution.unit)
    low, high = significant(contribution.training_low), spoken_value(contribution.training_high, contribution.unit)
    text = f"{contribution.title} {value} (training patients' {TRAINING_RANGE} {low} to {high}{_rank(contribution)})"
    if prediction.abstains:
        return text
    return f"{text} {contribution.direction} the probability of {inside_sentence(prediction.outcome_title)}"


def _rank(contribution: Contribution) -> str:
    if contribution.percentile is None:
        return ""
    if contribution.percentile in (0, 100):
        return f", this one {'above' if contribution.percentile else 'below'} all of them"
    return f", this one above {contribution.percentile:.0f} % of them"


def explanation_sentences(prediction: Prediction) -> list[str]:
    """The reasons in groups, the uncertainty, and what the interval covers."""
    found = list(prediction.sentences[1:2])
    found += [text for text in (uncertainty_sentence(prediction), contour_variants_sentence(prediction)) if text]
    return found


def uncertainty_sentence(prediction: Prediction) -> str | None:
    """How similar patients fared and what would change the answer; ``None`` for a patient unlike all of them."""
    if prediction.answer in (Answer.OUT_OF_DISTRIBUTION, Answer.MEASURED_ONLY) or len(prediction.sentences) < 3:
        return None
    return prediction.sentences[2]


def contour_variants_sentence(prediction: Prediction) -> str | None:
    """That other plausible contours were tried; they are in the one interval, not in one of their own."""
    contours = prediction.contour_interval
    if contours is None:
        return None
    if prediction.abstains:
        return f"{contours.variants} other plausible contours of the tumor were tried."
    return f"The interval covers {contours.variants} other plausible contours of the tumor."


def warnings(context: ReportContext) -> list[str]:
    """What the earlier stages found odd, each sentence once."""
    found = of_lesions(context, ((lesion, text) for lesion in context.lesions for text in lesion.segmentation.warnings))
    found += [*_other_image(context), *context.study.warnings]
    for series in context.study.series:
        found.extend(series.warnings)
    return list(dict.fromkeys(sentence(text) for text in found))


def _other_image(context: ReportContext) -> list[str]:
    """That lesions were contoured in one image and measured in another; empty where it was one."""
    model = context.model
    if model.segment_on == model.features_from:
        return []
    names = {item.role: "PET" if item.modality == "PT" else item.modality for item in model.inputs}
    drawn, measured = (
        f"{names[role]} ({role})" if list(names.values()).count(names[role]) > 1 else names[role]
        for role in (model.segment_on, model.features_from)
    )
    subject = "The lesions were" if context.has_several_lesions else "The lesion was"
    return [f"{subject} contoured on the {drawn} and measured in the {measured}, at the same place of the patient."]


def limits(context: ReportContext) -> list[str]:
    """What the model cannot do: the prediction's own limits, then those of the model folder, each once."""
    own = context.prediction.limits if context.prediction is not None else ()
    return list(dict.fromkeys(sentence(text) for text in (*own, *context.model.limitations)))


def reasons_to_distrust(context: ReportContext) -> list[str]:
    """The three heaviest limits of the model, in the order of the model folder."""
    return [sentence(text) for text in context.model.limitations[:3]]


def first_line(context: ReportContext) -> str:
    """Answer and uncertainty in at most 140 characters, which is what a list of results shows of a report.

    Where the outcome's title is too long for that, the probability is of the outcome that is called and needs no name.
    """
    prediction = context.prediction
    if prediction is None:
        return "No response prediction was made."
    line, probability = answer_line(prediction), probability_sentence(prediction)
    if probability is None or prediction.probability is None:
        text = f"{line}."
    elif len(text := f"{line}. {probability}.") > _LONGEST_FIRST_LINE:
        low, high = prediction.interval_low, prediction.interval_high
        of_called = prediction.probability
        if prediction.answer is Answer.UNFAVORABLE:
            of_called = 1 - of_called
            low, high = (None if high is None else 1 - high), (None if low is None else 1 - low)
        text = f"{line}, {percent(of_called)}"
        if low is not None and high is not None:
            text += f" ({interval_name(prediction)} {percent(low)} to {percent(high)})"
        text += "."
    return text if len(text) <= _LONGEST_FIRST_LINE else f"{text[: _LONGEST_FIRST_LINE - 1]}…"


def conclusion(context: ReportContext) -> str:
    """``DiagnosticReport.conclusion``: plain text in lines, answer and uncertainty first."""
    lines = [first_line(context)]
    if context.prediction is not None:
        lines.append(" ".join(sentences_of_answer(context, context.prediction)))
    if context.has_several_lesions:
        lines.append(f"All lesions: {spoken_lines(total_lines(context))}.")
    for lesion in context.lesions:
        named = lesion_name(lesion) if context.has_several_lesions else "Measures"
        contour = " ".join((*contour_sentences(lesion), *distance_sentences(lesion.distances)))
        # One line a lesion where they have to be told apart.
        measured = f"{named}: {spoken_lines(measure_lines(lesion))}."
        lines += [f"{measured} {contour}"] if context.has_several_lesions else [measured, contour]
    lines += [
        *([method] if (method := distance_method(context)) else []),
        *([f"Please check: {' '.join(noted)}"] if (noted := warnings(context)) else []),
        f"Limits: {' '.join(reasons_to_distrust(context))}",
        f"{sentence(research_use_statement(context))} {NOT_SIGNED}",
    ]
    return "\n".join(lines)


def readable_summary(context: ReportContext) -> str:
    """The result for a terminal: measures, answer with its uncertainty, reasons. Holds no patient identity.

    The first limits stand here; the report has them all. Names of structures, which somebody typed, are left out.
    """
    context = _without_labels(context)
    lines = [sentence(research_use_statement(context)), NOT_SIGNED, ""]
    if context.has_several_lesions:
        lines += ["All lesions", *_in_columns(total_lines(context)), ""]
    for lesion in context.lesions:
        if context.has_several_lesions:
            lines.append(lesion_name(lesion))
        lines += [*_in_columns(measure_lines(lesion)), "", *contour_sentences(lesion)]
        lines += distance_sentences(lesion.distances)
        if lesion is not context.lesions[-1]:
            lines.append("")
    lines += [*([method] if (method := distance_method(context)) else []), *warnings(context), ""]
    prediction = context.prediction
    if prediction is None:
        lines.append("No response prediction was made.")
    else:
        lines += sentences_of_answer(context, prediction)
        lines += [
            f"  - {contribution_sentence(item, prediction)}" for item in prediction.contributions[:_INPUTS_IN_SUMMARY]
        ]
        said_in_lines = prediction.sentences[1:2]
        lines += [text for text in explanation_sentences(prediction) if text not in said_in_lines]
        if not prediction.abstains:
            lines.append(ASSOCIATION)
    every = limits(context)
    lines += ["", *every[:_LIMITS_IN_SUMMARY]]
    if (more := len(every) - _LIMITS_IN_SUMMARY) > 0:
        lines.append(f"The report states {more} more limits.")
    lines += ["", f"Model {context.model.name} {context.model.version} ({context.model_sha256[:12]})"]
    return "\n".join(lines) + "\n"


def spoken_texts(context: ReportContext) -> list[str]:
    """Every text a report says in its own or the model's words, for the guard; names of structures are quoted."""
    context = _without_labels(context)
    texts = [conclusion(context), readable_summary(context), *warnings(context), *limits(context)]
    texts.append(context.model.outcome.title)
    if context.prediction is not None:
        texts += [contribution_sentence(item, context.prediction) for item in context.prediction.contributions]
        texts += [*context.prediction.sentences, *explanation_sentences(context.prediction)]
    return texts


def _without_labels(context: ReportContext) -> ReportContext:
    return replace(context, lesions=tuple(replace(lesion, label="") for lesion in context.lesions))


def _in_columns(lines: list[Line]) -> list[str]:
    width = max((len(title) for title, _, _ in lines), default=0)
    return [f"  {title:<{width}}  {value:>8} {unit}".rstrip() for title, value, unit in lines]
