"""The report on one A4 page: what the template ``report.typ`` is filled with.

The template knows where things stand, this module what they say, ``words.en.json`` the fixed words; the sentences are
those of :mod:`oncoresponse.reporting.wording`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from pydicom.valuerep import PersonName

from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.prediction import Contribution, Prediction
from oncoresponse.case.readable_numbers import inside_sentence, significant, spoken_value
from oncoresponse.reporting.key_image import Panel, panel_content, panel_png
from oncoresponse.reporting.lesion_distances import distance_lines
from oncoresponse.reporting.lesion_table import contour_texts, lesion_table
from oncoresponse.reporting.lesion_wording import COMPARE_FIRST, Line, distance_method, measure_lines, of_lesions
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.typesetting import displayable, words
from oncoresponse.reporting.wording import (
    ASSOCIATION,
    call_error_sentence,
    contour_variants_sentence,
    limits,
    made_from_sentence,
    prediction_title,
    probability_sentence,
    reasons_to_distrust,
    research_use_statement,
    strength_sentence,
    uncertainty_sentence,
    warnings,
)

Json = dict[str, Any]

LANGUAGE = "en"
_INPUTS_SHOWN, _REASONS_SHOWN, _WARNINGS_SHOWN, _MEASURES_SHOWN = 6, 4, 4, 9
_LONGEST_VALUE, _LONGEST_SENTENCE = 90, 330
_ALERTS_SHOWN, _LONGEST_CONTOURS, _LONGEST_CONTOURS_WITHOUT_INPUTS = 6, 600, 1000


def pdf_report(context: ReportContext, panels: Sequence[Panel]) -> bytes:
    """One A4 page (tagged, PDF/A-2b, PDF/UA-1), dated by the time of issue. The same arguments give the same bytes."""
    return report_page(context, panels).pdf()


def report_page(context: ReportContext, panels: Sequence[Panel]) -> ReportPage:
    """What the page is set from.

    Args:
        context: What is reported.
        panels: From :func:`oncoresponse.reporting.key_image.key_image_panels`.
    """
    files = {f"panel-{number}.png": panel_png(panel) for number, panel in enumerate(panels)}
    content = page_content(context)
    content["panels"] = [panel_content(panel, name) for panel, name in zip(panels, files, strict=True)]
    shown = displayable(content)
    if "[U+" in str(shown):
        shown["check"] = [*shown["check"], words(LANGUAGE)["unknown_characters"]]
    return ReportPage.of(shown, files)


def page_content(context: ReportContext) -> Json:
    """Every word and number of the page but for the panels."""
    fixed = words(LANGUAGE)
    issued = context.issued.astimezone(UTC)
    distrusted = reasons_to_distrust(context)
    reviews = of_lesions(
        context, ((lesion, text) for lesion in context.lesions for text in lesion.segmentation.review_reasons)
    )
    return {
        "words": fixed,
        "language": fixed["language"],
        "title": fixed["title"],
        "author": f"OncoResponse {context.software_version}",
        "keywords": [context.model.name, context.model.version, "research use only"],
        "issued": {
            "year": issued.year,
            "month": issued.month,
            "day": issued.day,
            "hour": issued.hour,
            "minute": issued.minute,
            "second": issued.second,
        },
        "banner": _shortened(research_use_statement(context), _LONGEST_SENTENCE),
        "heading": fixed["heading"],
        "status": fixed["status"],
        "subtitle": _shortened(context.model.title, 110),
        "facts": _facts(context, fixed),
        "facts_widths": [1.25, 0.85, 0.95, 1.15, 0.95],
        "alert_title": COMPARE_FIRST,
        "alerts": _first(reviews, _ALERTS_SHOWN, fixed),
        "answer": _answer(context, fixed),
        "distrust_heading": fixed["distrust_without_call" if _without_call(context) else "distrust"],
        "distrust": [_shortened(text, _LONGEST_SENTENCE) for text in distrusted],
        "lesions": lesion_table(context, fixed) if context.has_several_lesions else None,
        "measures": [{"title": title, "value": value, "unit": unit} for title, value, unit in _shown_measures(context)],
        "contour": _contours(context, fixed),
        "inputs": _inputs(context.prediction, fixed),
        "check": _to_check(context, fixed),
        "limits": [_shortened(text, _LONGEST_SENTENCE) for text in limits(context) if text not in distrusted],
        "footer": _footer(context),
        "closing": fixed["closing"],
    }


def _shown_measures(context: ReportContext) -> list[Line]:
    """The first measures, and the distances always: a surgeon looks for them."""
    lines, distances = measure_lines(context.main_lesion), distance_lines(context.main_lesion.distances)
    return [*[line for line in lines if line not in distances][:_MEASURES_SHOWN], *distances]


def _contours(context: ReportContext, fixed: Json) -> str:
    """What is said of the contours, as much as fits, and nothing cut in the middle: a number would lose its unit."""
    has_inputs = context.prediction is not None and bool(context.prediction.contributions)
    longest = _LONGEST_CONTOURS if has_inputs else _LONGEST_CONTOURS_WITHOUT_INPUTS
    first, *others = contour_texts(context)
    shown = [_shortened(first, longest)]
    while others and len(" ".join((*shown, others[0]))) <= longest:
        shown.append(others.pop(0))
    shown += [fixed["more"].format(count=len(others))] if others else []
    method = distance_method(context)
    return " ".join([*shown, *([method] if method else [])])


def _to_check(context: ReportContext, fixed: Json) -> list[str]:
    return _first(warnings(context), _WARNINGS_SHOWN, fixed)


def _first(texts: Sequence[str], count: int, fixed: Json) -> list[str]:
    shown = [_shortened(text, _LONGEST_SENTENCE) for text in texts[:count]]
    more = len(texts) - count
    return [*shown, fixed["more"].format(count=more)] if more > 0 else shown


def _without_call(context: ReportContext) -> bool:
    return context.prediction is None or context.prediction.abstains


def _facts(context: ReportContext, fixed: Json) -> list[Json]:
    patient, study, absent = context.study.patient, context.study, fixed["not_stated"]
    age = f"{patient.age_years:.0f} y" if patient.age_years is not None else absent
    rows = (
        ("patient", _person_name(patient.name) or absent),
        ("born", _date(patient.birth_date) or absent),
        ("scan", _date(study.study_date_time) or absent),
        ("issued", context.issued.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("site", _site(context) or absent),
        ("patient_id", patient.patient_id or absent),
        ("sex_age", f"{patient.sex or absent}, {age}"),
        ("accession", study.accession_number or absent),
        ("scanner", _scanner(context) or absent),
    )
    images = _image_facts(context)
    shown = (*rows, ("images", images)) if images else rows
    return [{"title": fixed[name], "value": _shortened(value, _LONGEST_VALUE)} for name, value in shown]


def _answer(context: ReportContext, fixed: Json) -> Json:
    prediction = context.prediction
    answer: Json = {"heading": fixed["prediction"], "line": fixed["no_prediction"], "number": None}
    beside: list[str | None] = []
    reasons: list[str] = []
    if prediction is not None:
        answer["heading"] = _shortened(prediction_title(prediction), 90)
        answer["line"] = _shortened(answer_line(prediction), 120)
        number = probability_sentence(prediction)
        if number is None:
            reasons = [_shortened(item.text, _LONGEST_SENTENCE) for item in prediction.abstain_reasons[:_REASONS_SHOWN]]
            beside = [fixed["no_number"]]
        else:
            title, _, value = number.rpartition(": ")
            answer |= {"probability_of": f"{title}:", "number": value, "bar": _bar(prediction, fixed)}
            beside = [strength_sentence(prediction), call_error_sentence(prediction)]
            beside.append(contour_variants_sentence(prediction))
        beside.append(made_from_sentence(context))
    if context.planned_treatment:
        beside.append(fixed["planned"].format(treatment=_shortened(context.planned_treatment, _LONGEST_VALUE)))
    return {**answer, "reasons": reasons, "beside": [_shortened(text, _LONGEST_SENTENCE) for text in beside if text]}


def _bar(prediction: Prediction, fixed: Json) -> Json:
    low, high = prediction.interval_low, prediction.interval_high
    return {
        "value": prediction.probability,
        "low": prediction.probability if low is None else low,
        "high": prediction.probability if high is None else high,
        "ticks": [[share, f"{100 * share:.0f} %"] for share in (0.0, 0.25, 0.5, 0.75, 1.0)],
        "less": fixed["less"],
        "outcome": _shortened(inside_sentence(prediction.outcome_title), 50),
        "more": fixed["likelier"],
    }


def _inputs(prediction: Prediction | None, fixed: Json) -> Json | None:
    if prediction is None or not prediction.contributions:
        return None
    directed = not prediction.abstains
    more = len(prediction.contributions) - _INPUTS_SHOWN
    notes = [
        fixed["more"].format(count=more) if more > 0 else None,
        uncertainty_sentence(prediction),
        ASSOCIATION if directed else None,
    ]
    return {
        "heading": fixed["inputs_with_call" if directed else "inputs_without_call"],
        "directed": directed,
        "columns": [*fixed["input_columns"], *([fixed["direction_column"]] if directed else [])],
        "rows": [_input(item, fixed) for item in prediction.contributions[:_INPUTS_SHOWN]],
        "notes": [_shortened(text, _LONGEST_SENTENCE) for text in notes if text],
    }


def _input(item: Contribution, fixed: Json) -> Json:
    span = item.training_high - item.training_low
    return {
        "title": _shortened(item.title, 44),
        "value": "not computable" if item.value is None else spoken_value(item.value, item.unit),
        "low": significant(item.training_low),
        "high": significant(item.training_high),
        "median": (item.training_median - item.training_low) / span if span > 0 else None,
        "place": (item.value - item.training_low) / span if span > 0 and item.value is not None else None,
        "direction": fixed[item.direction],
    }


def _footer(context: ReportContext) -> list[str]:
    prediction = context.prediction
    features = context.lesions[0].features
    digests = [f"radiomics settings {features.settings_sha256[:16]}"]
    if context.network_sha256 is not None:
        digests.append(f"network {context.network_sha256[:16]}")
    if prediction is not None and prediction.booster_sha256:
        digests.append(f"booster {prediction.booster_sha256[:16]}")
    digests += [f"{name} {digest[:16]}" for name, digest in context.settings_sha256]
    engine = f"{features.engine} {features.engine_version}"
    replaced = f", which replaces {context.replaces}" if context.replaces else ""
    return [
        f"Model {context.model.name} {context.model.version}, SHA-256 {context.model_sha256}",
        f"OncoResponse {context.software_version}, {engine}; " + ", ".join(digests),
        f"Assessment {context.assessment_id}{replaced}. Full record: Provenance in the FHIR Bundle.",
    ]


def _person_name(name: str | None) -> str | None:
    """Family name, given names, with the same in the patient's own script behind it (DICOM PS3.5 6.2.1.2)."""
    if not name:
        return None
    parsed = PersonName(name)
    groups = [_of_group(str(group)) for group in (parsed.alphabetic, parsed.ideographic, parsed.phonetic) if group]
    first, *others = dict.fromkeys(group for group in groups if group) or [None]
    return f"{first} ({others[0]})" if first and others else first


def _of_group(group: str) -> str:
    name = PersonName(group)
    given = " ".join(part for part in (name.given_name, name.middle_name) if part)
    return ", ".join(part for part in (name.family_name, given) if part)


def _date(stated: str | None) -> str | None:
    """ISO or DICOM date (with or without a time) as year-month-day."""
    if not stated:
        return None
    date = stated.partition("T")[0]
    if len(date) == 8 and date.isdigit():
        return f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return date


def _site(context: ReportContext) -> str | None:
    """Body part and side as the study states them; what it does not state is not guessed."""
    series = context.study.series_of_role(context.model.features_from)
    if series is None:
        return None
    side = {"R": "right", "L": "left", "B": "both sides"}.get(series.laterality or "", series.laterality)
    part = series.body_part_examined
    return ", ".join(text for text in (part.lower() if part else None, side or "side not stated") if text)


def _scanner(context: ReportContext) -> str:
    series = context.study.series_of_role(context.model.features_from)
    if series is None:
        return ""
    return " ".join(part for part in (series.manufacturer, series.manufacturer_model_name) if part)


def _image_facts(context: ReportContext) -> str | None:
    """How the images that were measured were made, where they are no PET, whose facts stand with its SUV."""
    series = context.study.series_of_role(context.model.features_from)
    if series is None or series.modality == "PT":
        return None
    field = f"{series.magnetic_field_strength_t:g} T" if series.magnetic_field_strength_t else None
    kernel = f"kernel {series.convolution_kernel}" if series.convolution_kernel else None
    contrast = f"contrast {series.contrast_agent}" if series.contrast_agent else "no contrast agent named"
    said = (series.modality, series.description, series.sequence_name, field, kernel, contrast)
    return ", ".join(text for text in said if text)


def _shortened(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
