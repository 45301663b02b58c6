"""The report on one A4 page: image with contour, measures, the answer with its doubt, its reasons, its limits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC

from pydicom.valuerep import PersonName

from oncoresponse.readable_numbers import inside_sentence, significant, spoken_value
from oncoresponse.reporting.key_image import Panel, draw_panel, report_style
from oncoresponse.reporting.pdf_page import A4_WIDTH_MM, Page, drawable
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import (
    ASSOCIATION,
    TRAINING_RANGE,
    answer_title,
    baseline_sentence,
    call_error_sentence,
    contour_sentence,
    contour_variants_sentence,
    doubt_sentence,
    limits,
    measure_lines,
    prediction_title,
    probability_sentence,
    research_use_statement,
    review_sentence,
    warnings,
)
from oncoresponse.response.prediction import Contribution, Prediction

_INK, _SOFT, _PALE, _LINE = "#1B2A41", "#5A6675", "#F1F4F8", "#C5CED8"
_ACCENT, _RANGE = "#0072B2", "#A9CFE6"  # blues of the Okabe-Ito palette: no meaning hangs on hue
_LEFT, _RIGHT = 12.0, A4_WIDTH_MM - 12.0
_WIDTH = _RIGHT - _LEFT
_REASONS_SHOWN = 5


def pdf_report(context: ReportContext, panels: Sequence[Panel]) -> bytes:
    """Draw the page.

    Args:
        context: What is reported.
        panels: From :func:`oncoresponse.reporting.key_image.key_image_panels`.

    Returns:
        A PDF of one A4 page, dated by the time of issue. The same arguments give the same bytes.
    """
    with report_style():
        page = Page()
        _banner(page, context)
        y = _header(page, context, 14)
        y = _images(page, panels, y + 3)
        lower = _measures(page, context, y + 5)
        y = max(lower, _answer(page, context, y + 5)) + 4
        y = _reasons(page, context, y)
        _limits(page, context, y + 3)
        _footer(page, context)
        buffer = io.BytesIO()
        issued = context.issued.astimezone(UTC)
        page.figure.savefig(
            buffer,
            format="pdf",
            metadata={
                "Title": "Tumor response assessment, research use only",
                "Creator": f"OncoResponse {context.software_version}",
                "Producer": "OncoResponse",
                "CreationDate": issued,
                "ModDate": issued,
            },
        )
    return buffer.getvalue()


def _banner(page: Page, context: ReportContext) -> None:
    page.box(0, 0, A4_WIDTH_MM, 10.5, color=_INK)
    statement = research_use_statement(context)
    lines = page.wrap(statement, _WIDTH, 8.5, "bold")
    if len(lines) == 1:
        page.text(A4_WIDTH_MM / 2, 3.7, lines[0], size=8.5, weight="bold", color="white", ha="center")
    else:
        page.paragraph(_LEFT, 1.6, _WIDTH, statement, size=7, weight="bold", most_lines=3, color="white")


def _header(page: Page, context: ReportContext, y: float) -> float:
    page.text(_LEFT, y, "Tumor response assessment", size=15, weight="bold", color=_INK)
    page.badge(_RIGHT, y - 0.4, "PRELIMINARY, not signed", size=8, color=_INK)
    page.text(_LEFT, y + 7.2, page.fit(context.model.title, _WIDTH, 8.5), size=8.5, color=_SOFT)
    y += 13
    page.box(_LEFT, y, _WIDTH, 17.5, color=_PALE)
    patient, study = context.study.patient, context.study
    born = _date(patient.birth_date)
    age = f"{patient.age_years:.0f} y" if patient.age_years is not None else "not stated"
    columns = (
        (("Patient", _person_name(patient.name)), ("Patient ID", patient.patient_id or "not stated")),
        (("Born", born), ("Sex, age at scan", f"{patient.sex or 'not stated'}, {age}")),
        (("Scan", _date(study.study_date_time)), ("Accession", study.accession_number or "not stated")),
        (("Issued", context.issued.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")), ("Scanner", _scanner(context))),
    )
    widths = (0.27, 0.19, 0.22, 0.32)
    x = _LEFT + 3
    for share, column in zip(widths, columns, strict=True):
        for row, (title, value) in enumerate(column):
            top = y + 2 + 8 * row
            page.text(x, top, title, size=6.5, color=_SOFT)
            _value(page, x, top + 2.9, share * _WIDTH - 4, value)
        x += share * _WIDTH
    return y + 17.5


def _value(page: Page, x: float, y: float, width: float, value: str) -> None:
    """A value of the header: identity is made small before it is cut."""
    for size in (8.5, 7.5, 6.5):
        if page.width(drawable(value), size, "bold") <= width:
            page.text(x, y + 0.3 * (8.5 - size) * 0.35, value, size=size, weight="bold", color=_INK)
            return
    page.paragraph(x, y - 0.2, width, value, size=5.5, weight="bold", most_lines=2, color=_INK)


def _images(page: Page, panels: Sequence[Panel], y: float) -> float:
    gap, height, captions = 5.0, 62.0, 10.0
    ratios = []
    for panel in panels:
        left, right, bottom, top = panel.extent_mm
        ratios.append((right - left) / (top - bottom))
    height = min(height, (_WIDTH - gap * (len(panels) - 1)) / sum(ratios))
    x = _LEFT + (_WIDTH - height * sum(ratios) - gap * (len(panels) - 1)) / 2
    for panel, ratio in zip(panels, ratios, strict=True):
        draw_panel(page.axes(x, y + 4, height * ratio, height), panel)
        x += height * ratio + gap
    return y + height + captions


def _heading(page: Page, x: float, y: float, width: float, text: str) -> float:
    page.text(x, y, text, size=9.5, weight="bold", color=_ACCENT)
    page.rule(x, y + 4.6, width, color=_LINE)
    return y + 6.4


def _measures(page: Page, context: ReportContext, y: float) -> float:
    width = 76.0
    y = _heading(page, _LEFT, y, width, "Measures")
    for title, value, unit in measure_lines(context)[:9]:
        page.text(_LEFT, y, page.fit(title, 54, 8), size=8, color=_INK)
        page.text(_LEFT + 66, y, value, size=8.5, weight="bold", color=_INK, ha="right")
        page.text(_LEFT + 67, y, unit, size=8, color=_SOFT)
        y += 4.9
    y += 1
    if review := review_sentence(context):
        y = page.paragraph(_LEFT, y, width, review, size=8, weight="bold", color=_INK, most_lines=3) + 0.6
    return page.paragraph(_LEFT, y, width, contour_sentence(context), size=7, color=_SOFT, most_lines=4)


def _answer(page: Page, context: ReportContext, y: float) -> float:
    x, width = _LEFT + 84, _WIDTH - 84
    prediction = context.prediction
    if prediction is None:
        y = _heading(page, x, y, width, "Predicted response")
        return page.paragraph(x, y, width, "No response prediction was made.", size=10, weight="bold", color=_INK)
    y = _heading(page, x, y, width, page.fit(prediction_title(prediction), width, 9.5, "bold"))
    y = page.paragraph(x, y, width, answer_title(prediction), size=13, weight="bold", color=_INK, most_lines=3) + 1
    probability = probability_sentence(prediction)
    if probability is None:
        y = _no_number(page, prediction, x, y, width)
    else:
        # The outcome on a line of its own, so that the number stands beside its interval.
        title, _, value = probability.partition(": ")
        page.text(x, y, page.fit(f"{title}:", width, 8.5), size=8.5, color=_INK)
        y = page.paragraph(x, y + 4.2, width, value, size=10, weight="bold", color=_INK, most_lines=1) + 1
        y = _probability_bar(page, prediction, x, y, width)
        beside = [call_error_sentence(prediction), contour_variants_sentence(prediction), baseline_sentence(prediction)]
        for text in beside:
            if text:
                y = page.paragraph(x, y + 0.5, width, text, size=7, color=_SOFT, most_lines=2)
    if context.planned_treatment:
        text = f'Planned treatment (from the order, not an input): "{context.planned_treatment}"'
        y = page.paragraph(x, y + 0.5, width, text, size=7, color=_SOFT, most_lines=2)
    return y


def _no_number(page: Page, prediction: Prediction, x: float, y: float, width: float) -> float:
    text = "The model gives no number for this patient. This is a normal answer, not a fault."
    y = page.paragraph(x, y, width, text, size=8, color=_SOFT, most_lines=2) + 1
    for reason in prediction.abstain_reasons[:3]:
        page.text(x, y, "•", size=8.5, color=_ACCENT)
        y = page.paragraph(x + 3, y, width - 3, reason.text, size=8.5, color=_INK, most_lines=3) + 0.6
    return y + 0.5


def _probability_bar(page: Page, prediction: Prediction, x: float, y: float, width: float) -> float:
    axes = page.axes(x + 5, y, width - 10, 7)  # room for the labels of both ends
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.set_xticks([0, 25, 50, 75, 100], [f"{value} %" for value in (0, 25, 50, 75, 100)], fontsize=6.5, color=_SOFT)
    axes.tick_params(length=2, color=_LINE, pad=1.5)
    axes.axhspan(0.3, 0.75, color=_PALE, linewidth=0)
    if prediction.interval_low is not None and prediction.interval_high is not None:
        low, high = 100 * prediction.interval_low, 100 * prediction.interval_high
        axes.barh(0.525, high - low, left=low, height=0.45, color=_RANGE, linewidth=0)
        axes.plot([low, low], [0.22, 0.83], color=_ACCENT, linewidth=1)
        axes.plot([high, high], [0.22, 0.83], color=_ACCENT, linewidth=1)
    if prediction.probability is not None:
        axes.plot([100 * prediction.probability], [0.525], marker="o", markersize=6, color=_INK)
    outcome = inside_sentence(prediction.outcome_title)
    less, more = f"◄ {outcome} less likely", f"{outcome} more likely ►"
    size = next((size for size in (6.5, 6.0) if page.width(less + more, size) < width - 4), 5.5)
    page.text(x, y + 11.2, page.fit(less, width / 2 - 1, size), size=size, color=_SOFT)
    page.text(x + width, y + 11.2, page.fit(more, width / 2 - 1, size), size=size, color=_SOFT, ha="right")
    return y + 15


def _reasons(page: Page, context: ReportContext, y: float) -> float:
    prediction = context.prediction
    if prediction is None or not prediction.contributions:
        return y
    abstains = prediction.abstains
    y = _heading(page, _LEFT, y, _WIDTH, "What the model looked at" if abstains else "Reasons")
    strip = _LEFT + 98
    page.text(_LEFT, y - 0.6, "Input", size=6.5, color=_SOFT)
    page.text(_LEFT + 92, y - 0.6, "This patient", size=6.5, color=_SOFT, ha="right")
    page.text(strip, y - 0.6, f"Training patients, {TRAINING_RANGE}", size=6.5, color=_SOFT)
    page.text(strip + 61, y - 0.6, "Percentile", size=6.5, color=_SOFT, ha="right")
    if not abstains:
        page.text(_RIGHT, y - 0.6, "Effect on probability", size=6.5, color=_SOFT, ha="right")
    y += 3.6
    for item in prediction.contributions[:_REASONS_SHOWN]:
        value = "not computable" if item.value is None else spoken_value(item.value, item.unit)
        title = page.fit(item.title, 54, 8)
        page.text(_LEFT, y, title, size=8, color=_INK)
        page.text(_LEFT + page.width(title, 8) + 2, y + 0.4, item.group, size=6.5, color=_SOFT)
        page.text(_LEFT + 92, y, value, size=8, weight="bold", color=_INK, ha="right")
        _training_strip(page, item, strip, y)
        if item.percentile is not None:
            page.text(strip + 61, y, f"{item.percentile:.0f}", size=8, color=_INK, ha="right")
        arrow = "▲" if item.direction == "raises" else "▼"
        if not abstains:
            page.text(_RIGHT, y, f"{arrow} {item.direction} ({item.log_odds:+.2f})", size=8, color=_INK, ha="right")
        y += 5.2
    if doubt := doubt_sentence(prediction):
        y = page.paragraph(_LEFT, y + 0.3, _WIDTH, doubt, size=8, color=_INK, most_lines=3)
    if abstains:
        return y
    outcome = inside_sentence(prediction.outcome_title)
    text = f"Effects on the probability of {outcome}, in log-odds. Thin line: median. {ASSOCIATION}"
    return page.paragraph(_LEFT, y + 0.3, _WIDTH, text, size=7, color=_SOFT, most_lines=1)


def _training_strip(page: Page, item: Contribution, x: float, y: float) -> None:
    axes = page.axes(x + 9, y, 34, 3.4)
    axes.set_axis_off()
    axes.set_xlim(-0.3, 1.3)
    axes.set_ylim(0, 1)
    span = item.training_high - item.training_low
    axes.plot([0, 1], [0.5, 0.5], color=_RANGE, linewidth=4, solid_capstyle="butt")
    if span > 0:
        median = (item.training_median - item.training_low) / span
        axes.plot([median, median], [0.1, 0.9], color=_ACCENT, linewidth=1)
        if item.value is not None:
            place = (item.value - item.training_low) / span
            marker = "o" if -0.25 <= place <= 1.25 else "<" if place < 0 else ">"
            axes.plot([min(max(place, -0.22), 1.22)], [0.5], marker=marker, markersize=4.5, color=_INK)
    page.text(x + 8.5, y + 0.3, significant(item.training_low), size=6.5, color=_SOFT, ha="right")
    page.text(x + 43.5, y + 0.3, significant(item.training_high), size=6.5, color=_SOFT)


def _limits(page: Page, context: ReportContext, y: float) -> None:
    bottom = 274.0
    found = warnings(context)
    if found:
        y = _heading(page, _LEFT, y, _WIDTH, "Please check")
        y = _bullets(page, found[:3], y, bottom) + 2
    if y < bottom - 12:
        y = _heading(page, _LEFT, y, _WIDTH, "Limits")
        _bullets(page, limits(context), y, bottom)


def _bullets(page: Page, texts: Sequence[str], y: float, bottom: float) -> float:
    for shown, text in enumerate(texts):
        lines = min(len(page.wrap(text, _WIDTH - 3.5, 7.5)), 2)
        is_last = shown == len(texts) - 1
        if y + 3.4 * lines > bottom - (0 if is_last else 3.4):
            page.text(_LEFT + 3.5, y, f"{len(texts) - shown} more in the FHIR report.", size=7.5, color=_SOFT)
            break
        page.text(_LEFT, y, "•", size=7.5, color=_ACCENT)
        y = page.paragraph(_LEFT + 3.5, y, _WIDTH - 3.5, text, size=7.5, color=_INK, most_lines=2) + 0.4
    return y


def _footer(page: Page, context: ReportContext) -> None:
    y = 276.5
    page.rule(_LEFT, y, _WIDTH, color=_LINE)
    prediction = context.prediction
    hashes = [f"Model {context.model.name} {context.model.version}, SHA-256 {context.model_sha256}"]
    digests = [f"radiomics settings {context.features.settings_sha256[:16]}"]
    if context.contour_is_automatic:
        digests.append(f"network {context.segmentation.network_sha256[:16]}")
    if prediction is not None and prediction.booster_sha256 is not None:
        digests.append(f"booster {prediction.booster_sha256[:16]}")
    digests += [f"{name} {digest[:16]}" for name, digest in context.settings_sha256]
    hashes.append(
        f"OncoResponse {context.software_version}, {context.features.engine} {context.features.engine_version}; "
        + ", ".join(digests)
    )
    hashes.append(f"Assessment {context.assessment_id}. Full record: Provenance in the FHIR Bundle.")
    for row, text in enumerate(hashes):
        page.text(_LEFT, y + 1.5 + 3 * row, page.fit(text, _WIDTH, 6.2), size=6.2, color=_SOFT)
    statement = f"{research_use_statement(context)} The physician decides; this report informs."
    page.paragraph(_LEFT, y + 11.4, _WIDTH, statement, size=6.5, weight="bold", color=_INK, most_lines=2)


def _person_name(name: str | None) -> str:
    if not name:
        return "not stated"
    parsed = PersonName(name)
    alphabetic = PersonName(str(parsed.alphabetic or parsed.ideographic or parsed.phonetic))
    given = " ".join(part for part in (alphabetic.given_name, alphabetic.middle_name) if part)
    return ", ".join(part for part in (alphabetic.family_name, given) if part) or "not stated"


def _date(stated: str | None) -> str:
    """ISO or DICOM date (with or without a time) as year-month-day."""
    if not stated:
        return "not stated"
    date = stated.partition("T")[0]
    if len(date) == 8 and date.isdigit():
        return f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return date


def _scanner(context: ReportContext) -> str:
    series = context.study.series_of(context.model.contour_modality)
    if series is None:
        return "not stated"
    return " ".join(part for part in (series.manufacturer, series.manufacturer_model_name) if part) or "not stated"
