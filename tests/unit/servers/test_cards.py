"""What a card tells of a report."""

from __future__ import annotations

import json

import pytest
from oncoresponse.servers.card_servicer import card_of
from oncoresponse.storage.card_store import ReportForCard

FIRST = "Residual disease likely: 83 % (80 % interval 74 to 90 %)."


def report(
    code: str = "unfavorable", conclusion: str = f"{FIRST}\nMeasures: 12 ml.\nResearch use only."
) -> ReportForCard:
    content = {"conclusion": conclusion, "conclusionCode": [{"coding": [{"system": "urn:x", "code": code}]}]}
    return ReportForCard("a", 1, "r", json.dumps(content))


def test_the_answer_comes_first_and_the_rest_below():
    card = card_of("name", report())
    assert (card.summary, card.unfavorable, card.report) == (FIRST, True, "r")
    assert card.detail == "Measures: 12 ml.\n\nResearch use only."


@pytest.mark.parametrize("code", ["favorable", "indeterminate", "out_of_distribution", "no_evidence", "no-prediction"])
def test_only_the_unfavorable_call_is_more_than_information(code):
    assert not card_of("name", report(code)).unfavorable


def test_a_summary_is_under_140_characters_and_research_use_is_always_said():
    card = card_of("name", report(conclusion="x" * 300))
    assert (len(card.summary), card.summary[-1]) == (139, "…")
    assert "research use" in card.detail


def test_what_somebody_typed_is_shown_as_it_is():
    """A comment of a signature stands in the conclusion: it makes no link and no markup in the EHR."""
    card = card_of("name", report(conclusion="First\n<script>[click](https://x)* research"))
    assert card.detail == r"\<script\>\[click\](https://x)\* research"
