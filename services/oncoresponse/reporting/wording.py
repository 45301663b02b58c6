"""The sentences of the report, written once and used by FHIR, the PDF and the command line.

No sentence tells anybody what to do about a treatment; :func:`refuse_treatment_directives` guards that for our own
words and for those a model folder brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from oncoradiomics.features import MEASURE_NAMES, Measure

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.readable_numbers import inside_sentence, percent, readable_unit, significant, spoken_value
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.response.prediction import Answer, Contribution, Prediction

NOT_SIGNED = "Preliminary: not reviewed or signed by a physician."
ASSOCIATION = "Associations in the training patients, not causes."
TRAINING_RANGE = "5th to 95th percentile"

_DECIMALS = {"mm": 0, "g/mL": 1, "g": 0}

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

# A terminal shows the answer on one screen.
_LIMITS_IN_SUMMARY = 2


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


def number(value: float, unit: str) -> str:
    """A measure as a reader wants it: mm whole, SUV with one decimal, volumes with three significant digits."""
    decimals = _DECIMALS.get(unit)
    if decimals is None:
        magnitude = abs(value)
        decimals = 0 if magnitude >= 100 else 1 if magnitude >= 10 else 2
    return f"{value:.{decimals}f}"


def research_use_statement(context: ReportContext) -> str:
    """The statement every rendering carries."""
    if context.prediction is not None:
        return context.prediction.research_use_statement
    return context.model.intended_use.device_status


def probability_title(prediction: Prediction) -> str:
    """Which outcome every probability of the prediction is of: ``Probability of durable response to treatment``."""
    return f"Probability of {inside_sentence(prediction.outcome_title)}"


def prediction_title(prediction: Prediction) -> str:
    """What the answer answers: ``Prediction of durable response to treatment``."""
    return f"Prediction of {inside_sentence(prediction.outcome_title)}"


def probability_sentence(prediction: Prediction) -> str | None:
    """``Probability of durable response: 72 % (90 % interval 51 % to 86 %)``, without a final full stop.

    ``None`` where the model abstains, as the number is no answer then.
    """
    if prediction.abstains or prediction.probability is None:
        return None
    text = f"{probability_title(prediction)}: {percent(prediction.probability)}"
    if prediction.interval_low is not None and prediction.interval_high is not None:
        text += (
            f" ({percent(prediction.interval_level)} interval {percent(prediction.interval_low)}"
            f" to {percent(prediction.interval_high)})"
        )
    return text


def answer_title(prediction: Prediction) -> str:
    """The answer in a few words, without its final full stop."""
    return prediction.answer_text.strip().rstrip(".")


def answer_sentences(prediction: Prediction) -> list[str]:
    """The answer with its doubt; where the model abstains, the reasons and no number."""
    sentences = [f"{prediction_title(prediction)}: {answer_title(prediction)}."]
    if probability := probability_sentence(prediction):
        sentences.append(f"{probability}.")
    sentences.extend(_sentence(reason.text) for reason in prediction.abstain_reasons)
    if error := call_error_sentence(prediction):
        sentences.append(error)
    return sentences


def call_error_sentence(prediction: Prediction) -> str | None:
    """How often the rule behind a call drops the outcome that then happens; ``None`` where there is no call.

    The rule is the conformal set: what it promises is how rarely it leaves out the true outcome, not how likely the
    outcome that is left has become.
    """
    if prediction.abstains or len(prediction.conformal_set) != 1:
        return None
    promised, measured = 1 - prediction.conformal_coverage, 1 - prediction.conformal_coverage_measured
    return (
        f"Calls are built to leave out the true outcome in at most {percent(promised)} of patients; in "
        f"cross-validation it was {percent(measured)}."
    )


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
    """The reasons in groups and the doubt, other contours, and the time to failure beside a call."""
    found = list(prediction.sentences[1:2])
    if doubt := doubt_sentence(prediction):
        found.append(doubt)
    if contours := contour_variants_sentence(prediction):
        found.append(contours)
    if baseline := baseline_sentence(prediction):
        found.append(baseline)
    if prediction.time_to_failure is not None and not prediction.abstains:
        found.append(prediction.time_to_failure.text)
    return found


def doubt_sentence(prediction: Prediction) -> str | None:
    """How similar patients fared and what would change the answer; ``None`` for a patient unlike all of them."""
    if prediction.answer is Answer.OUTSIDE_EXPERIENCE or len(prediction.sentences) < 3:
        return None
    return prediction.sentences[2]


def contour_variants_sentence(prediction: Prediction) -> str | None:
    """What other plausible contours would have given; no number where the model abstains."""
    contours = prediction.contour_interval
    if contours is None:
        return None
    if prediction.abstains:
        return f"{contours.variants} other plausible contours of the tumor were tried."
    return (
        f"{probability_title(prediction)} with {contours.variants} other plausible contours of the tumor: "
        f"{percent(contours.low)} to {percent(contours.high)}."
    )


def baseline_sentence(prediction: Prediction) -> str | None:
    """What the plain logistic regression says; ``None`` where the model abstains, as the number is no answer then."""
    if prediction.abstains or prediction.baseline is None:
        return None
    name, value = inside_sentence(prediction.baseline.name), percent(prediction.baseline.probability)
    return f"For comparison, {inside_sentence(probability_title(prediction))} by {name}: {value}."


def measure_title(measure: Measure) -> str:
    """The title of a measure; of one above a threshold of SUVmax, its abbreviation with the threshold."""
    threshold = re.search(r"\d+ % of SUVmax", measure.method)
    if threshold is None:
        return measure.title
    abbreviation = re.search(r"\(([A-Z]+)\)", measure.title)
    return f"{abbreviation[1] if abbreviation else measure.title} at {threshold[0]}"


def measure_lines(context: ReportContext) -> list[tuple[str, str, str]]:
    """Title, value and unit of each measure, the well-known ones first."""
    known = [measure for name in MEASURE_NAMES if (measure := context.measure(name)) is not None]
    others = [measure for measure in context.features.measures if measure.name not in MEASURE_NAMES]
    return [
        (measure_title(measure), number(measure.value, measure.unit), readable_unit(measure.unit))
        for measure in known + others
    ]


_SUPPLIED = {
    "MANUAL": "drawn by hand",
    "SEMIAUTOMATIC": "AI-assisted (semi-automatic)",
    "AUTOMATIC": "an automatic segmentation that no physician drew or corrected",
    None: "which does not say how it was drawn",
}
"""How a contour of the study was drawn, by what its object says of it."""


def contour_sentence(context: ReportContext) -> str:
    """How the contour came to be, and which volume a physician's own contour would have.

    The expected Dice of one patient is not said: without its error it looks surer than it is.
    """
    summary = context.segmentation
    if summary.method != "automatic":
        source = "RTSTRUCT" if summary.method == "supplied_rtstruct" else "DICOM segmentation"
        text = f"Contour supplied with the study ({source}), {_SUPPLIED[summary.supplied_algorithm_type]}"
        return f"{text}; not drawn in this assessment."
    text = "Contour drawn by the network, not corrected by a person."
    if summary.prompt in ("point", "box"):
        text = f"Contour drawn by the network around a {summary.prompt} that a person gave, not corrected."
    if summary.volume_low_ml is None or summary.volume_high_ml is None or summary.volume_level is None:
        return f"{text} How far its volume may be wrong is not known."
    low, high = number(summary.volume_low_ml, "ml"), number(summary.volume_high_ml, "ml")
    return (
        f"{text} A physician's contour would measure {low} to {high} ml ({percent(summary.volume_level)} interval from "
        "cross-validation)."
    )


def review_sentence(context: ReportContext) -> str | None:
    """What a contour needs of which the network itself is unsure; ``None`` for one that is not marked."""
    if not context.segmentation.needs_review:
        return None
    return (
        "This contour may be clearly wrong: compare it with the images and correct it before using any figure of this "
        "report."
    )


def warnings(context: ReportContext) -> list[str]:
    """What the earlier stages found odd, each sentence once."""
    found = [*context.segmentation.warnings, *context.study.warnings]
    for series in context.study.series:
        found.extend(series.warnings)
    return list(dict.fromkeys(_sentence(text) for text in found))


def limits(context: ReportContext) -> list[str]:
    """What the model cannot do: the prediction's own limits, then those of the model folder, each once."""
    own = context.prediction.limits if context.prediction is not None else ()
    return list(dict.fromkeys(_sentence(text) for text in (*own, *context.model.limitations)))


def conclusion(context: ReportContext) -> str:
    """``DiagnosticReport.conclusion``: plain text, the research statement first."""
    sentences = [_sentence(research_use_statement(context)), NOT_SIGNED]
    measures = "; ".join(" ".join(part for part in line if part) for line in measure_lines(context))
    sentences.append(f"Tumor measures: {measures}.")
    sentences.append(contour_sentence(context))
    if review := review_sentence(context):
        sentences.append(review)
    if context.prediction is None:
        sentences.append("No response prediction was made.")
    else:
        sentences.extend(answer_sentences(context.prediction))
    sentences.extend(limits(context)[:1])
    return " ".join(sentences)


def readable_summary(context: ReportContext) -> str:
    """The result for a terminal: measures, answer with its doubt, reasons. Holds no patient identity.

    The first limits stand here; the report has them all.
    """
    lines = [_sentence(research_use_statement(context)), NOT_SIGNED, ""]
    measures = measure_lines(context)
    width = max((len(title) for title, _, _ in measures), default=0)
    lines += [f"  {title:<{width}}  {value:>8} {unit}".rstrip() for title, value, unit in measures]
    review = review_sentence(context)
    lines += ["", *([review] if review else []), contour_sentence(context), *warnings(context), ""]
    prediction = context.prediction
    if prediction is None:
        lines.append("No response prediction was made.")
    else:
        lines += answer_sentences(prediction)
        lines += [f"  - {contribution_sentence(item, prediction)}" for item in prediction.contributions[:5]]
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
    """Every text a report says in its own or the model's words, for the guard."""
    texts = [conclusion(context), readable_summary(context), *warnings(context), *limits(context)]
    texts.append(context.model.outcome.title)
    if context.prediction is not None:
        texts += [contribution_sentence(item, context.prediction) for item in context.prediction.contributions]
        texts += [*context.prediction.sentences, *explanation_sentences(context.prediction)]
    return texts


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
