"""The sentences of the report, written once and used by FHIR, the PDF and the command line.

No sentence tells anybody what to do about a treatment; :func:`refuse_treatment_directives` guards that for our own
words and for those a model folder brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from oncoradiomics.features import MEASURE_NAMES, Measure

from oncoresponse.case.answer_words import WEAK, answer_line, strength
from oncoresponse.case.prediction import Answer, Contribution, Prediction
from oncoresponse.case.readable_numbers import inside_sentence, percent, readable_unit, significant, spoken_value
from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.reporting.report_content import ReportContext

COMPARE_FIRST = "Compare contour and images, and correct the contour, before using any figure of this report."
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

_LONGEST_FIRST_LINE = 140
_EXTENSIVE_MEASURES = frozenset(
    {
        "lesion_volume",
        "longest_axial_diameter",
        "perpendicular_axial_diameter",
        "maximum_3d_diameter",
        "metabolic_tumor_volume",
        "total_lesion_glycolysis",
    }
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
    sentences.extend(_sentence(reason.text) for reason in prediction.abstain_reasons)
    sentences.extend(text for text in (strength_sentence(prediction), call_error_sentence(prediction)) if text)
    return sentences


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
    if prediction.answer is Answer.OUT_OF_DISTRIBUTION or len(prediction.sentences) < 3:
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
        (
            measure_title(measure),
            ("≥ " if is_lower_bound(context, measure) else "") + number(measure.value, measure.unit),
            readable_unit(measure.unit),
        )
        for measure in known + others
    ]


def is_lower_bound(context: ReportContext, measure: Measure) -> bool:
    """Whether the images may show only a part of what the measure is of."""
    return context.segmentation.touches_border and measure.name in _EXTENSIVE_MEASURES


def lower_bound_sentence(context: ReportContext) -> str | None:
    """That a tumor goes on beyond the images; ``None`` for one that is seen whole."""
    if not context.segmentation.touches_border:
        return None
    summary = context.segmentation
    text = (
        "The tumor reaches the border of the images: volume, diameters, MTV and TLG are those of the part they show; "
        "the whole has at least (≥) that."
    )
    if summary.volume_high_ml is not None and summary.volume_level is not None:
        text += (
            f" It has at most {number(summary.volume_high_ml, 'ml')} ml in {percent(summary.volume_level)} of tumors "
            "that reach the border like this."
        )
    return f"{text} Check on other images whether it goes on."


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
    whose = "A physician's contour of the whole tumor" if summary.volume_is_lower_bound else "A physician's contour"
    return (
        f"{text} {whose} would measure {low} to {high} ml ({percent(summary.volume_level)} interval from "
        "cross-validation)."
    )


def review_sentence(context: ReportContext) -> str | None:
    """Why a contour must not be believed before a person has looked; ``None`` for one that is not marked."""
    summary = context.segmentation
    if not summary.needs_review:
        return None
    return " ".join((COMPARE_FIRST, *map(_sentence, summary.review_reasons)))


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


def reasons_to_distrust(context: ReportContext) -> list[str]:
    """The three heaviest limits of the model, in the order of the model folder."""
    return [_sentence(text) for text in context.model.limitations[:3]]


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
    measures = "; ".join(" ".join(part for part in line if part) for line in measure_lines(context))
    contour = (review_sentence(context), lower_bound_sentence(context), contour_sentence(context))
    lines = [first_line(context)]
    if context.prediction is not None:
        lines.append(" ".join(answer_sentences(context.prediction)))
    lines += [
        f"Measures: {measures}.",
        " ".join(text for text in contour if text),
        *([f"Please check: {' '.join(noted)}"] if (noted := warnings(context)) else []),
        f"Limits: {' '.join(reasons_to_distrust(context))}",
        f"{_sentence(research_use_statement(context))} {NOT_SIGNED}",
    ]
    return "\n".join(lines)


def readable_summary(context: ReportContext) -> str:
    """The result for a terminal: measures, answer with its uncertainty, reasons. Holds no patient identity.

    The first limits stand here; the report has them all.
    """
    lines = [_sentence(research_use_statement(context)), NOT_SIGNED, ""]
    measures = measure_lines(context)
    width = max((len(title) for title, _, _ in measures), default=0)
    lines += [f"  {title:<{width}}  {value:>8} {unit}".rstrip() for title, value, unit in measures]
    review = review_sentence(context)
    bound = lower_bound_sentence(context)
    said = [text for text in (review, bound, contour_sentence(context)) if text]
    lines += ["", *said, *warnings(context), ""]
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
