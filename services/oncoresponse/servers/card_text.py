"""What a card says: of a report, or that the physician's own judgement is awaited before the answer is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from oncoresponse.case.prediction import Answer
from oncoresponse.case.sign_off import PhysicianJudgement
from oncoresponse.storage.card_store import ReportForCard
from oncoresponse.v1 import card_pb2

JUDGEMENTS: Mapping[str, tuple[PhysicianJudgement, str]] = MappingProxyType(
    {
        "judgement-favorable": (PhysicianJudgement.FAVORABLE, "I expect the favorable outcome"),
        "judgement-unfavorable": (PhysicianJudgement.UNFAVORABLE, "I expect the unfavorable outcome"),
        "judgement-uncertain": (PhysicianJudgement.UNCERTAIN, "I am uncertain"),
    }
)
"""Override reasons by their codes: what each is as a judgement, and how a card words it."""

_LONGEST_SUMMARY = 139  # CDS Hooks 2.0: under 140 characters
_RESEARCH = "For research use only. The physician decides."
_AWAITED = "your own judgement is awaited; the model's answer is shown afterwards."
_HOW_TO_JUDGE = "Which outcome do you expect? Say it with a reason of this card."
_SHOWN_AFTERWARDS = "What the model says is shown once a physician has judged without it."


def card_of(name: str, report: ReportForCard, code_system: str, *, asks: bool = True) -> card_pb2.Card:
    """The card of a report; one that is withheld tells nothing of it but which study it is of.

    Args:
        name: UUID of the card.
        report: The report.
        code_system: URL of the local codes.
        asks: For the judgement of who gets it; of somebody whom the EHR does not name none could be kept.
    """
    content: dict[str, Any] = json.loads(report.content)
    date = str(content.get("effectiveDateTime", ""))[:10]
    # An old study must not look like today's, wherever the EHR shows the summary alone.
    dated = f"Study {date}" if date else "Study without a date"
    card = card_pb2.Card(
        uuid=name,
        report=report.report,
        assessment=report.assessment,
        judgement_awaited=report.withheld,
        override_reasons=[
            card_pb2.CardReason(code=code, system=code_system, display=display)
            for code, (_, display) in (JUDGEMENTS.items() if asks else ())
        ],
    )
    if report.withheld:
        card.summary = f"{dated}: {_AWAITED}"
        lines = [*([_HOW_TO_JUDGE] if asks else []), _SHOWN_AFTERWARDS, _RESEARCH]
    else:
        codes = {coding["code"] for each in content.get("conclusionCode", []) for coding in each.get("coding", [])}
        first, _, rest = str(content.get("conclusion", "")).partition("\n")
        card.summary = shortened(f"{dated}: {first}", _LONGEST_SUMMARY)
        card.unfavorable = Answer.UNFAVORABLE.value in codes
        lines = [line.strip() for line in rest.split("\n") if line.strip()]
        if not card.summary.endswith(first):
            lines.insert(0, first)
        if not any("research" in line.lower() for line in lines):
            lines.append(_RESEARCH)
    card.detail = "\n\n".join(map(_plain, [_which_study(content, date), *lines]))
    return card


def shortened(text: str, longest: int) -> str:
    """The whole sentences that fit: half of one may be a probability without its interval. A long first one is cut."""
    if len(text) <= longest:
        return text
    end = text.rfind(". ", 0, longest)
    return text[: end + 1] if end > 0 else f"{text[: longest - 1]}…"


def _which_study(content: Mapping[str, Any], date: str) -> str:
    """Date of the study, what it was assessed for, and when: what tells two cards of a patient apart."""
    parts = [f"Study of {date}" if date else "The images give no date of the study"]
    if title := str(content.get("code", {}).get("text", "")):
        parts.append(f"assessed for: {title}")
    if issued := str(content.get("issued", ""))[:10]:
        parts.append(f"report of {issued}")
    return f"{', '.join(parts)}."


def _plain(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!" else letter for letter in text)
