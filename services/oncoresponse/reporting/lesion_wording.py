"""What is said of a lesion, and of all of them together: measures, contour, review, what the images do not show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from oncoradiomics.features import MEASURE_NAMES, Measure

from oncoresponse.case.case import LesionMeasure
from oncoresponse.case.readable_numbers import percent, readable_unit
from oncoresponse.case.totals import PART_OF_TOTAL
from oncoresponse.reporting.lesion_distances import DISTANCE_METHOD, distance_lines
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion

COMPARE_FIRST = "Compare contour and images, and correct the contour, before using any figure of this report."

Line = tuple[str, str, str]
"""Title, value, unit of a measure."""

_DECIMALS = {"mm": 0, "g/mL": 1, "g": 0}
_EXTENSIVE_MEASURES = frozenset(
    {
        "lesion_volume",
        "longest_axial_diameter",
        "perpendicular_axial_diameter",
        "maximum_3d_diameter",
        "slice_extent",
        "metabolic_tumor_volume",
        "total_lesion_glycolysis",
    }
)
_SUPPLIED = {
    "MANUAL": "drawn by hand",
    "SEMIAUTOMATIC": "AI-assisted (semi-automatic)",
    "AUTOMATIC": "an automatic segmentation that no physician drew or corrected",
    None: "which does not say how it was drawn",
}
"""How a contour of the study was drawn, by what its object says of it."""

_TOTALS = {
    "lesion_count": "Number of lesions",
    "total_lesion_volume": "Total lesion volume",
    "total_metabolic_tumor_volume": "Total metabolic tumor volume (total MTV)",
    "total_lesion_glycolysis": "Total lesion glycolysis (TLG) of all lesions",
    "sum_of_longest_axial_diameters": "Sum of longest axial diameters",
}


def number(value: float, unit: str) -> str:
    """A measure as a reader wants it: mm whole, SUV with one decimal, volumes with three significant digits."""
    decimals = _DECIMALS.get(unit)
    if decimals is None:
        magnitude = abs(value)
        decimals = 0 if magnitude >= 100 else 1 if magnitude >= 10 else 2
    return f"{value:.{decimals}f}"


def sentence(text: str) -> str:
    """The text in one line, with a full stop."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def lesion_name(lesion: ReportedLesion) -> str:
    """Such as ``Lesion 2 (GTV-2)``."""
    label = " ".join(lesion.label.split())
    return f"Lesion {lesion.number} ({label})" if label else f"Lesion {lesion.number}"


def measure_title(measure: Measure) -> str:
    """The title of a measure; of one above a threshold of SUVmax, its abbreviation with the threshold."""
    threshold = re.search(r"\d+ % of SUVmax", measure.method)
    if threshold is None:
        return measure.title
    abbreviation = re.search(r"\(([A-Z]+)\)", measure.title)
    return f"{abbreviation[1] if abbreviation else measure.title} at {threshold[0]}"


def measure_lines(lesion: ReportedLesion) -> list[Line]:
    """Title, value and unit of each measure, the well-known ones first, then distances."""
    known = [measure for name in MEASURE_NAMES if (measure := lesion.measure(name)) is not None]
    others = [measure for measure in lesion.features.measures if measure.name not in MEASURE_NAMES]
    return [
        (measure_title(measure), measure_text(lesion, measure), readable_unit(measure.unit))
        for measure in known + others
    ] + distance_lines(lesion.distances)


def measure_text(lesion: ReportedLesion, measure: Measure) -> str:
    """The value of a measure, with ``≥`` where it is of a part of the lesion."""
    return ("≥ " if is_lower_bound(lesion, measure) else "") + number(measure.value, measure.unit)


def spoken_lines(lines: Sequence[Line]) -> str:
    """Lines of measures in one sentence, without the full stop."""
    return "; ".join(" ".join(part for part in line if part) for line in lines)


def is_lower_bound(lesion: ReportedLesion, measure: Measure) -> bool:
    """Whether the images may show only a part of what the measure is of."""
    return lesion.segmentation.touches_border and measure.name in _EXTENSIVE_MEASURES


def lower_bound_sentence(lesion: ReportedLesion) -> str | None:
    """That a tumor goes on beyond the images; ``None`` for one that is seen whole."""
    summary = lesion.segmentation
    if not summary.touches_border:
        return None
    has_uptake = lesion.measure("metabolic_tumor_volume") is not None
    measures = "volume, diameters, MTV and TLG" if has_uptake else "volume and diameters"
    text = (
        f"The tumor reaches the border of the images: {measures} are those of the part they show; the whole has at "
        "least (≥) that."
    )
    if summary.volume_high_ml is not None and summary.volume_level is not None:
        text += (
            f" It has at most {number(summary.volume_high_ml, 'ml')} ml in {percent(summary.volume_level)} of tumors "
            "that reach the border like this."
        )
    return f"{text} Check on other images whether it goes on."


def contour_sentence(lesion: ReportedLesion) -> str:
    """How the contour came to be, and which volume a physician's own contour would have.

    The expected Dice of one patient is not said: without its error it looks surer than it is.
    """
    summary = lesion.segmentation
    if summary.method == "corrected":
        return "Contour drawn by the network as a person corrected it, by clicks, outlined slices or a box."
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


def review_sentence(lesion: ReportedLesion) -> str | None:
    """Why a contour must not be believed before a person has looked; ``None`` for one that is not marked."""
    summary = lesion.segmentation
    if not summary.needs_review:
        return None
    return " ".join((COMPARE_FIRST, *map(sentence, summary.review_reasons)))


def contour_sentences(lesion: ReportedLesion) -> list[str]:
    """Everything said of a contour, the heaviest first."""
    said = (review_sentence(lesion), lower_bound_sentence(lesion), contour_sentence(lesion))
    return [text for text in said if text]


def distance_method(context: ReportContext) -> str | None:
    """How distances were measured; ``None`` where there are none."""
    return DISTANCE_METHOD if any(lesion.distances is not None for lesion in context.lesions) else None


def of_lesion(context: ReportContext, lesion: ReportedLesion, text: str) -> str:
    """The text; where lesions have to be told apart, with the lesion before it."""
    return f"{lesion_name(lesion)}: {text}" if context.has_several_lesions else text


def of_lesions(context: ReportContext, said: Iterable[tuple[ReportedLesion, str | None]]) -> list[str]:
    """Sentences about lesions; where lesions have to be told apart, each once with the numbers that it is about."""
    numbers: dict[str, list[int]] = {}
    for lesion, text in said:
        if text:
            numbers.setdefault(text, []).append(lesion.number)
    if not context.has_several_lesions:
        return list(numbers)
    return [f"Lesion{'s' if len(found) > 1 else ''} {_ranges(found)}: {text}" for text, found in numbers.items()]


def _ranges(numbers: Sequence[int]) -> str:
    """Increasing numbers in words: ``1, 3 to 5``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found)


def totals(context: ReportContext) -> tuple[LesionMeasure, ...]:
    """What is reported of all lesions together; nothing of a single one."""
    return context.totals if context.has_several_lesions else ()


def total_title(total: LesionMeasure) -> str:
    """Title of a total."""
    return _TOTALS.get(total.name) or total.name.replace("_", " ").capitalize()


def is_lower_bound_of_total(context: ReportContext, total: LesionMeasure) -> bool:
    """Whether a part of the sum is a lower bound."""
    part = PART_OF_TOTAL.get(total.name)
    parts = ((lesion, lesion.measure(part)) for lesion in context.lesions if part is not None)
    return any(measure is not None and is_lower_bound(lesion, measure) for lesion, measure in parts)


def total_method(context: ReportContext, total: LesionMeasure) -> str:
    """What was added up."""
    measure = context.lesions[0].measure(PART_OF_TOTAL.get(total.name, ""))
    if measure is None:
        return "Number of lesions that were contoured in this assessment."
    return f"Sum over the lesions that were contoured in this assessment. Of each: {measure.method}"


def total_lines(context: ReportContext) -> list[Line]:
    """Title, value and unit of each total; empty for a single lesion."""
    return [
        (
            total_title(item),
            f"{item.value:.0f}"
            if item.name == "lesion_count"
            else ("≥ " if is_lower_bound_of_total(context, item) else "") + number(item.value, item.unit),
            readable_unit(item.unit),
        )
        for item in totals(context)
    ]
