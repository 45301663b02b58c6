"""A page for the patient in plain language: how AI was used in the report, what it can and cannot say, what to ask.

It is written of the Bundle of the same version, so that it cannot say anything else of status and signature. It names
no result and no number: those are for a talk with a physician. It holds no name and no Patient ID of the patient.

HTML of its own language with headings, lists and landmarks alone (WCAG 2.2: 1.3.1, 1.4.3, 2.4.2, 2.4.6, 3.1.1, 3.1.5).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path

from oncoresponse.reporting.code_systems import AI_ASSERTED, NOT_CONFIRMED, Json
from oncoresponse.reporting.fhir_elements import LANGUAGE
from oncoresponse.reporting.html_page import html_document

_TEMPLATES = Path(__file__).parent / "templates"
_WITHDRAWN, _PRELIMINARY, _AMENDED = "entered-in-error", "preliminary", "amended"
_STYLE = (
    "body{font-family:sans-serif;font-size:1.125rem;line-height:1.6;color:#1b2a41;background:#fff;max-width:42em;"
    "margin:1em auto;padding:0 1em}h1{font-size:1.6em;line-height:1.2}"
    "h2{font-size:1.2em;margin-top:1.6em;color:#00558a}"
    "li{margin:.4em 0}.note{border:2px solid #7a3200;background:#fff3e0;padding:.6em 1em}"
)


def patient_page(bundle: bytes) -> bytes:
    """HTML, UTF-8. The same Bundle gives the same bytes.

    Args:
        bundle: FHIR R4 Bundle of a version of a report.
    """
    resources = [entry["resource"] for entry in json.loads(bundle)["entry"]]
    words = _words(LANGUAGE)
    (report,) = _of_kind(resources, "DiagnosticReport")
    if report["status"] == _WITHDRAWN:
        taken_back = [words["withdrawn"], words["withdrawn_date"].format(date=_date(report["issued"]))]
        body = [_heading(words["withdrawn_title"], 1), _note(taken_back), _paragraphs([words["withdrawn_ask"]])]
        return html_document(words["language"], words["withdrawn_title"], "".join(body), _STYLE)
    body = [
        _heading(words["title"], 1),
        _paragraphs([words["intro"], _scan(resources, report, words)]),
        _note([words["research"]]),
        _section(words["done_heading"], _bullets(_done(resources, words))),
        _section(words["people_heading"], _paragraphs(_people(report, words))),
        _section(words["can_heading"], _bullets(words["can"])),
        _section(words["cannot_heading"], _bullets(words["cannot"])),
        _section(words["ask_heading"], _bullets(words["ask"])),
        _section(words["data_heading"], _paragraphs([words["data"]])),
        _section(words["names_heading"], _paragraphs(_names(resources, report, words))),
    ]
    return html_document(words["language"], words["title"], "".join(body), _STYLE)


def _scan(resources: Sequence[Json], report: Json, words: Json) -> str:
    studies = _of_kind(resources, "ImagingStudy")
    codes = [item["code"] for study in studies for item in study.get("modality", [])]
    named = [words["modalities"][code] for code in codes if code in words["modalities"]]
    scan = words["and"].join(named) or words["no_modality"]
    date = str(report.get("effectiveDateTime", ""))[:10]
    return str(words["scan_of_date"].format(scan=scan, date=date) if date else words["scan_of"].format(scan=scan))


def _done(resources: Sequence[Json], words: Json) -> list[str]:
    by_ai = [_is_by_ai(lesion) for lesion in _of_kind(resources, "BodyStructure")]
    drawn = "contour_by_ai" if all(by_ai) else "contour_mixed" if any(by_ai) else "contour_by_hand"
    risks = _of_kind(resources, "RiskAssessment")
    estimated = "not_asked" if not risks else "estimate" if "prediction" in risks[0] else "no_estimate"
    return [words[drawn], words["measured"], words[estimated]]


def _people(report: Json, words: Json) -> list[str]:
    if report["status"] == _PRELIMINARY:
        return [words["not_signed"], words["decides"]]
    who = [person["display"] for person in report.get("resultsInterpreter", []) if person.get("display")]
    signed = words["signed" if who else "signed_no_name"].format(
        who=who[0] if who else "", date=_date(report["issued"])
    )
    said = [signed]
    if report["status"] == _AMENDED:
        said.append(words["amended"])
    codes = [coding["code"] for item in report.get("conclusionCode", []) for coding in item.get("coding", [])]
    if NOT_CONFIRMED.code in codes:
        said.append(words["not_confirmed"])
    return [*said, words["decides"]]


def _names(resources: Sequence[Json], report: Json, words: Json) -> list[str]:
    devices = [item for item in _of_kind(resources, "Device") if item["deviceName"][0]["name"] == "OncoResponse"]
    devices += [item for item in _of_kind(resources, "Device") if "extension" in item]
    names = [f"{item['deviceName'][0]['name']} {item['version'][0]['value']}" for item in devices]
    number = report["identifier"][0]["value"].removeprefix("urn:uuid:")
    return [words["software"].format(names="; ".join(names)), words["report"].format(number=number)]


def _is_by_ai(resource: Json) -> bool:
    return any(label["code"] == AI_ASSERTED.code for label in resource.get("meta", {}).get("security", []))


def _of_kind(resources: Iterable[Json], kind: str) -> list[Json]:
    return [item for item in resources if item["resourceType"] == kind]


def _date(moment: str) -> str:
    return moment[:10]


def _section(heading: str, body: str) -> str:
    return f"<section>{_heading(heading, 2)}{body}</section>"


def _heading(text: str, level: int) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def _note(texts: Iterable[str]) -> str:
    return f'<div class="note" role="note">{_paragraphs(texts)}</div>'


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _bullets(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


@cache
def _words(language: str) -> Json:
    found: Json = json.loads((_TEMPLATES / f"patient-page.{language}.json").read_text(encoding="utf-8"))
    return found
