"""The sentences of the report, written once and used by FHIR, the PDF and the command line.

No sentence tells anybody what to do about a treatment; :func:`refuse_treatment_directives` guards that for our own
words and for those a model folder brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from oncoradiomics.features import MEASURE_NAMES

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.response.prediction import Answer, Contribution, Prediction

NOT_SIGNED = "Preliminary: not reviewed or signed by a physician."
ASSOCIATION = "Associations in the training patients, not causes."

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


def significant(value: float) -> str:
    """A feature value of unknown magnitude, three significant digits."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
        return text if "e" not in text else f"{value:.0f}"
    return f"{value:.2e}"


def readable_unit(unit: str) -> str:
    """UCUM as a physician writes it; empty for a pure number."""
    return {"1": "", "": "", "a": "years", "d": "days", "mm2": "mm²", "mm3": "mm³"}.get(
        unit, re.sub(r"\{[^}]*\}", "", unit)
    )


def percent(probability: float) -> str:
    """Whole percent; never 0 % or 100 %, which no model can claim."""
    if probability < 0.01:
        return "<1 %"
    if probability > 0.99:
        return ">99 %"
    return f"{100 * probability:.0f} %"


def research_use_statement(context: ReportContext) -> str:
    """The statement every rendering carries."""
    if context.prediction is not None:
        return context.prediction.research_use_statement
    return context.model.intended_use.device_status


def interval_sentence(prediction: Prediction) -> str | None:
    """``72 % (90 % interval 51 % to 86 %)``; ``None`` where the model abstains, as the number is no answer then."""
    if prediction.abstains or prediction.probability is None:
        return None
    text = percent(prediction.probability)
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
    sentences = [f"{prediction.outcome_title}: {answer_title(prediction)}."]
    interval = interval_sentence(prediction)
    if interval is not None:
        sentences.append(f"Estimated probability {interval}.")
    sentences.extend(_sentence(reason.text) for reason in prediction.abstain_reasons)
    if conformal := conformal_sentence(prediction):
        sentences.append(f"{conformal}.")
    return sentences


def conformal_sentence(prediction: Prediction) -> str | None:
    """What the conformal set leaves open, without a final full stop.

    ``None`` where a reason to abstain says it, and outside the model's experience, where the set promises nothing.
    """
    if prediction.answer is Answer.OUTSIDE_EXPERIENCE:
        return None
    if any(reason.code.startswith("CONFORMAL") for reason in prediction.abstain_reasons):
        return None
    names = {"favourable": "favorable outcome", "unfavourable": "unfavorable outcome"}
    promised = f"at {percent(prediction.conformal_coverage)} coverage"
    members = [names[name] for name in prediction.conformal_set]
    if len(members) == 2:
        return f"Neither outcome can be ruled out {promised}"
    if members:
        return f"Only the {members[0]} remains {promised}"
    return f"The case fits neither outcome {promised}"


def contribution_sentence(contribution: Contribution, *, abstains: bool) -> str:
    """One reason: the value, where the training patients lie, and which way it moves the estimate.

    Where the model abstains there is no estimate to move, so the sentence ends before.
    """
    unit = readable_unit(contribution.unit)
    unit = f" {unit}" if unit else ""
    low, high = significant(contribution.training_low), significant(contribution.training_high)
    value = "not computable" if contribution.value is None else f"{significant(contribution.value)}{unit}"
    rank = "" if contribution.percentile is None else f", this one above {contribution.percentile:.0f} % of them"
    text = f"{contribution.title} {value} (training patients {low} to {high}{unit}{rank})"
    return text if abstains else f"{text} {contribution.direction} the estimate"


def explanation_sentences(prediction: Prediction) -> list[str]:
    """The reasons in groups and the doubt, other contours, and the time to failure beside a call."""
    found = list(prediction.sentences[1:])
    if contours := contour_variants_sentence(prediction):
        found.append(contours)
    if prediction.time_to_failure is not None and not prediction.abstains:
        found.append(prediction.time_to_failure.text)
    return found


def contour_variants_sentence(prediction: Prediction) -> str | None:
    """What other plausible contours would have given; no number where the model abstains."""
    contours = prediction.contour_interval
    if contours is None:
        return None
    if prediction.abstains:
        return f"{contours.variants} other plausible contours of the tumor were tried."
    return (
        f"{contours.variants} other plausible contours of the tumor give {percent(contours.low)} to "
        f"{percent(contours.high)}."
    )


def measure_lines(context: ReportContext) -> list[tuple[str, str, str]]:
    """Title, value and unit of each measure, the well-known ones first."""
    known = [measure for name in MEASURE_NAMES if (measure := context.measure(name)) is not None]
    others = [measure for measure in context.features.measures if measure.name not in MEASURE_NAMES]
    return [
        (measure.title, number(measure.value, measure.unit), readable_unit(measure.unit)) for measure in known + others
    ]


def contour_sentence(context: ReportContext) -> str:
    """How the contour came to be and how sure it is."""
    summary = context.segmentation
    if summary.method != "automatic":
        source = "RTSTRUCT" if summary.method == "supplied_rtstruct" else "DICOM segmentation"
        return f"Contour supplied with the study ({source}), not drawn by this software."
    text = "Contour drawn by the network, not corrected by a person"
    if summary.prompt in ("point", "box"):
        text = f"Contour drawn by the network around a {summary.prompt} that a person gave, not corrected"
    if summary.volume_low_ml is not None and summary.volume_high_ml is not None:
        low, high = number(summary.volume_low_ml, "ml"), number(summary.volume_high_ml, "ml")
        text += f"; volume {low} to {high} ml"
        if summary.volume_level is not None:
            text += f" ({100 * summary.volume_level:.0f} % interval)"
    if summary.expected_dice is not None:
        text += f"; expected Dice {summary.expected_dice:.2f}"
    return f"{text}."


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
    lines += ["", contour_sentence(context), *warnings(context), ""]
    prediction = context.prediction
    if prediction is None:
        lines.append("No response prediction was made.")
    else:
        lines += answer_sentences(prediction)
        lines += [
            f"  - {contribution_sentence(item, abstains=prediction.abstains)}" for item in prediction.contributions[:5]
        ]
        lines += explanation_sentences(prediction)[1:]
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
        texts += [contribution_sentence(item, abstains=False) for item in context.prediction.contributions]
        texts += [*context.prediction.sentences, *explanation_sentences(context.prediction)]
    return texts


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
