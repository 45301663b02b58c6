"""The report as one HTML page for ``DiagnosticReport.presentedForm``: the content of the PDF in reading order.

It stands alone: no script, no picture, no address of anything else, so that an EHR can show it as it is. The words are
those of :mod:`~oncoresponse.reporting.pdf_report`; the images stay in the PDF and in the key image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

Json = dict[str, Any]

_STYLE = (
    "body{font-family:sans-serif;color:#1b2a41;max-width:60em;margin:1em auto;padding:0 1em;line-height:1.4}"
    "h1{font-size:1.4em}h2{font-size:1.1em;color:#00609a;border-bottom:1px solid #c5ced8}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.2em 1em .2em 0;vertical-align:top}"
    "caption{text-align:left;font-weight:bold}"
    ".banner{background:#7a3200;color:#fff;padding:.6em 1em;font-weight:bold}"
    ".alert{background:#fff3e0;border-left:.3em solid #b34700;padding:.4em 1em}"
    ".signed{background:#e6f1f8;border-left:.3em solid #00609a;padding:.4em 1em}"
)


def report_html(content: Json, status: str = "", sign_off: Json | None = None) -> bytes:
    """The page of a report. The same arguments give the same bytes.

    Args:
        content: What the PDF is set from (:class:`~oncoresponse.reporting.report_page.ReportPage`).
        status: To show instead of that of the content.
        sign_off: ``statement``, ``lines`` and ``warns``, as on the PDF; ``None`` for none.
    """
    words, answer = content["words"], content["answer"]
    parts = [
        _banner(content["banner"]),
        f"<h1>{escape(content['heading'])}</h1>",
        _paragraphs([f"{content['subtitle']}. {status or content['status']}."]),
    ]
    if sign_off is not None:
        kind = "alert" if sign_off["warns"] else "signed"
        parts.append(f'<div class="{kind}">{_paragraphs([sign_off["statement"], *sign_off["lines"]])}</div>')
    parts.append(_facts(content["facts"]))
    if content["alerts"]:
        parts.append(f'<div class="alert">{_paragraphs([content["alert_title"]])}{_bullets(content["alerts"])}</div>')
    parts.append(f"<h2>{escape(answer['heading'])}</h2>")
    parts.append(_paragraphs([answer["line"]]))
    if answer["number"] is not None:
        parts.append(_paragraphs([f"{answer['probability_of']} {answer['number']}"]))
    parts += [_bullets(answer["reasons"]), _paragraphs(answer["beside"])]
    parts.append(_section(content["distrust_heading"], _bullets(content["distrust"], "ol")))
    if (lesions := content["lesions"]) is not None:
        table = _table(words["lesions"], lesions["columns"], lesions["rows"])
        said = [lesions["totals"], *([lesions["more"]] if lesions["more"] else []), content["contour"]]
        parts.append(_section(words["lesions"], table + _paragraphs(said)))
    else:
        rows = [[item["title"], item["value"], item["unit"]] for item in content["measures"]]
        table = _table(words["measures"], words["measure_columns"], rows)
        parts.append(_section(words["measures"], table + _paragraphs([content["contour"]])))
    if (inputs := content["inputs"]) is not None:
        rows = [
            [
                item["title"],
                item["value"],
                f"{item['low']} to {item['high']}",
                *([item["direction"]] if inputs["directed"] else []),
            ]
            for item in inputs["rows"]
        ]
        table = _table(inputs["heading"], inputs["columns"], rows)
        parts.append(_section(inputs["heading"], table + _paragraphs(inputs["notes"])))
    if content["check"]:
        parts.append(_section(words["check"], _bullets(content["check"])))
    if content["limits"]:
        parts.append(_section(words["limits"], _bullets(content["limits"])))
    parts.append(_paragraphs([content["closing"], *content["footer"]]))
    return html_document(content["language"], content["title"], "".join(parts))


def withdrawn_html(content: Json) -> bytes:
    """The page of a withdrawn report: that it is, and nothing of what it found.

    Args:
        content: What the PDF of a withdrawn report is set from.
    """
    parts = [
        _banner(content["banner"]),
        f"<h1>{escape(content['heading'])}</h1>",
        _facts(content["facts"]),
        f'<div class="alert">{_paragraphs([content["statement"], *content["lines"]])}</div>',
        _paragraphs([content["footer"]]),
    ]
    return html_document(content["language"], content["title"], "".join(parts))


def html_document(language: str, title: str, body: str, style: str = _STYLE) -> bytes:
    """A whole HTML document, UTF-8.

    Args:
        language: BCP 47.
        title: Plain text.
        body: HTML of what stands in ``main``.
        style: CSS.
    """
    text = (
        f'<!DOCTYPE html>\n<html lang="{escape(language)}">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{style}</style></head>\n<body><main>{body}</main></body>\n</html>\n"
    )
    return text.encode()


def _banner(text: str) -> str:
    return f'<p class="banner">{escape(text)}</p>'


def _facts(facts: Iterable[Json]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(i["title"])}</th><td>{escape(i["value"])}</td></tr>' for i in facts)
    return f"<table>{rows}</table>"


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>{body}"


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts if text)


def _bullets(texts: Sequence[str], kind: str = "ul") -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<{kind}>{items}</{kind}>" if items else ""


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
