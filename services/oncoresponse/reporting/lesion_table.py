"""Several lesions on the page: a row for each, what all of them measure together, how their contours came to be."""

from __future__ import annotations

from typing import Any

from oncoresponse.case.readable_numbers import readable_unit
from oncoresponse.reporting.lesion_distances import UNIT, distance_sentences, reported_distances
from oncoresponse.reporting.lesion_wording import (
    contour_sentence,
    lower_bound_sentence,
    measure_text,
    of_lesions,
    spoken_lines,
    total_lines,
)
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion

Json = dict[str, Any]

# The page is one A4; the table of the model's inputs takes the place of some rows.
_ROWS, _ROWS_ABOVE_INPUTS = 10, 6
_LONGEST_LABEL = 24
_LONGEST, _PERPENDICULAR = "longest_axial_diameter", "perpendicular_axial_diameter"


def lesion_table(context: ReportContext, fixed: Json) -> Json:
    """What the template sets as a table.

    Args:
        context: With several lesions.
        fixed: The fixed words of the page.

    Returns:
        Columns, rows of as many texts, totals in a sentence, and what is not shown.
    """
    names = [
        name for name in fixed["lesion_measures"] if any(lesion.measure(name) is not None for lesion in context.lesions)
    ]
    shown = _shown_lesions(context)
    columns = [fixed["lesion_number"], fixed["lesion_label"]]
    columns += [_title(context, name, fixed) for name in names]
    distances = [name for name in fixed["lesion_distances"] if any(lesion.distances for lesion in context.lesions)]
    columns += [f"{fixed['lesion_distances'][name]}, {UNIT}" for name in distances]
    columns.append(fixed["lesion_review"])
    rows = [
        [
            str(lesion.number),
            lesion.label if len(lesion.label) <= _LONGEST_LABEL else f"{lesion.label[: _LONGEST_LABEL - 1]}…",
            *(_value(lesion, name) for name in names),
            *(_distance(lesion, name) for name in distances),
            fixed["review_needed"] if lesion.segmentation.asks_for_review else "",
        ]
        for lesion in shown
    ]
    left_out = len(context.lesions) - len(shown)
    return {
        "columns": columns,
        "rows": rows,
        "totals": fixed["totals"].format(totals=spoken_lines(total_lines(context))),
        "more": fixed["lesions_more"].format(count=left_out) if left_out else None,
    }


def contour_texts(context: ReportContext) -> list[str]:
    """What is said of each contour and of missing distances; of several lesions of which the same is said, once."""
    said = (
        (lesion, text)
        for lesion in context.lesions
        for text in (lower_bound_sentence(lesion), contour_sentence(lesion), *distance_sentences(lesion.distances))
    )
    return of_lesions(context, said)


def _shown_lesions(context: ReportContext) -> list[ReportedLesion]:
    """The one that the answer is about and the largest others, in the order of their numbers."""
    by_size = sorted(context.lesions, key=lambda lesion: -lesion.segmentation.volume_ml)
    main = context.main_lesion
    has_inputs = context.prediction is not None and bool(context.prediction.contributions)
    rows = _ROWS_ABOVE_INPUTS if has_inputs else _ROWS
    chosen = [main, *(lesion for lesion in by_size if lesion is not main)][:rows]
    return sorted(chosen, key=lambda lesion: lesion.number)


def _title(context: ReportContext, name: str, fixed: Json) -> str:
    measure = next(found for lesion in context.lesions if (found := lesion.measure(name)) is not None)
    return f"{fixed['lesion_measures'][name]}, {readable_unit(measure.unit)}"


def _value(lesion: ReportedLesion, name: str) -> str:
    measure = lesion.measure(name)
    if measure is None:
        return ""
    text = measure_text(lesion, measure)
    across = lesion.measure(_PERPENDICULAR)
    return f"{text} × {measure_text(lesion, across)}" if name == _LONGEST and across is not None else text


def _distance(lesion: ReportedLesion, name: str) -> str:
    return next((item.text for item in reported_distances(lesion.distances) if item.name == name), "")
