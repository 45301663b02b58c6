"""The PDF of a signed version: the page as it was, with the signature on it; of a withdrawn one: no finding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import oncoresponse
from oncoresponse.case.sign_off import SignOff
from oncoresponse.reporting.html_page import report_html
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.sign_off_wording import (
    RESEARCH_USE,
    agreement_sentence,
    is_reservation,
    reason_words,
    spoken_time,
    status_lines,
)
from oncoresponse.reporting.typesetting import displayable, set_pdf, words

Json = dict[str, Any]

LANGUAGE = "en"
_LONGEST_COMMENT_ON_PAGE = 500


def signed_page(page: ReportPage, sign_offs: Sequence[SignOff], replaced_by: str = "") -> bytes:
    """A PDF of the page with its signature, dated by it. The same arguments give the same bytes.

    Args:
        page: Of version 1.
        sign_offs: In order; the last one is of this version.
        replaced_by: Identifier of a newer assessment; empty for none.
    """
    newest = sign_offs[-1]
    return page.pdf(
        status=_status(newest), sign_off=_sign_off_block(sign_offs, replaced_by), issued=_moment(newest.time)
    )


def signed_html(page: ReportPage, sign_offs: Sequence[SignOff], replaced_by: str = "") -> bytes:
    """The same as HTML; arguments as of :func:`signed_page`."""
    return report_html(page.content, _status(sign_offs[-1]), _sign_off_block(sign_offs, replaced_by))


def _status(newest: SignOff) -> str:
    status: str = words(LANGUAGE)["signed_status"][newest.status.value]
    return status


def _sign_off_block(sign_offs: Sequence[SignOff], replaced_by: str) -> Json:
    newest = sign_offs[-1]
    first, *others = status_lines(sign_offs, replaced_by)
    said = agreement_sentence(newest)
    lines = [line for line in others if line != said]
    if newest.comment:
        lines.insert(0, f'Comment: "{_shortened(newest.comment)}"')
    block: Json = displayable({"statement": f"{said} {first}", "warns": is_reservation(newest), "lines": lines})
    return block


def withdrawn_page(assessment_id: str, filed_under: str, sign_off: SignOff, replaced_by: str = "") -> bytes:
    """A PDF that says that the report was withdrawn, with a banner on every page. It needs nothing of the report.

    Arguments as of :func:`withdrawn_content`.
    """
    return set_pdf("withdrawn.typ", withdrawn_content(assessment_id, filed_under, sign_off, replaced_by), {})


def withdrawn_content(assessment_id: str, filed_under: str, sign_off: SignOff, replaced_by: str = "") -> Json:
    """What the page of a withdrawn report is set from, as PDF and as HTML.

    Args:
        assessment_id: Identifier of the assessment.
        filed_under: Patient ID or reference that the report was filed under; empty where there was none.
        sign_off: The withdrawal.
        replaced_by: Identifier of a newer assessment; empty for none.
    """
    fixed = words(LANGUAGE)
    facts = {
        "assessment": assessment_id,
        "version": str(sign_off.version),
        "withdrawn": spoken_time(sign_off.time),
        "by": sign_off.shown_signer,
        "reason": reason_words(sign_off),
        "filed_under": filed_under or fixed["not_stated"],
    }
    lines = [f'Comment: "{sign_off.comment}"'] if sign_off.comment else []
    if replaced_by:
        lines.append(f"Replaced by the report of assessment {replaced_by}.")
    content = {
        "language": fixed["language"],
        "title": fixed["withdrawn_title"],
        "author": f"OncoResponse {oncoresponse.__version__}",
        "keywords": ["withdrawn", "research use only"],
        "issued": _moment(sign_off.time),
        "banner": fixed["withdrawn_banner"],
        "heading": fixed["withdrawn_heading"],
        "status": fixed["withdrawn_status"],
        "facts": [{"title": fixed["withdrawn_facts"][name], "value": value} for name, value in facts.items()],
        "statement": fixed["withdrawn_text"],
        "lines": lines,
        "footer": f"Assessment {assessment_id}. {RESEARCH_USE}",
    }
    shown: Json = displayable(content)
    return shown


def _moment(time: datetime) -> Json:
    utc = time.astimezone(UTC)
    return {name: getattr(utc, name) for name in ("year", "month", "day", "hour", "minute", "second")}


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    if len(text) <= _LONGEST_COMMENT_ON_PAGE:
        return text
    return f"{text[: _LONGEST_COMMENT_ON_PAGE - 1].rstrip()}… (whole in the FHIR report)"
