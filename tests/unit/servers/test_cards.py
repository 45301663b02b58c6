"""What a card tells of a report."""

from __future__ import annotations

import json

import pytest
from oncoresponse.servers.card_text import card_of, shortened
from oncoresponse.storage.card_store import ReportForCard

FIRST = "Residual disease likely: 83 % (80 % interval 74 to 90 %)."
CODES = "https://hospital.example/fhir/CodeSystem/oncoresponse"


def report(
    code: str = "unfavorable",
    conclusion: str = f"{FIRST}\nMeasures: 12 ml.\nResearch use only.",
    withheld: bool = False,
    **more: object,
) -> ReportForCard:
    content = {
        "conclusion": conclusion,
        "conclusionCode": [{"coding": [{"system": "urn:x", "code": code}]}],
        "effectiveDateTime": "2026-03-01T09:00:00+01:00",
        **more,
    }
    return ReportForCard("a", 1, "r", json.dumps(content), withheld)


def test_the_answer_comes_first_and_the_rest_below():
    card = card_of("name", report(), CODES)
    assert (card.summary, card.unfavorable) == (f"Study 2026-03-01: {FIRST}", True)
    assert (card.report, card.assessment) == ("r", "a")
    assert card.detail == "Study of 2026-03-01.\n\nMeasures: 12 ml.\n\nResearch use only."
    assert {each.system for each in card.override_reasons} == {CODES}


@pytest.mark.parametrize("code", ["favorable", "indeterminate", "out_of_distribution", "no_evidence", "no-prediction"])
def test_only_the_unfavorable_call_is_more_than_information(code):
    assert not card_of("name", report(code), CODES).unfavorable


def test_a_summary_is_under_140_characters_and_research_use_is_always_said():
    card = card_of("name", report(conclusion="x" * 300), CODES)
    assert (len(card.summary), card.summary[-1]) == (139, "…")
    assert "x" * 300 in card.detail and "research use" in card.detail


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("One. Two.", "One. Two."),
        # Half a sentence may be a probability without its interval.
        ("Some words. Probability 37 % (19 to 58 %).", "Some words."),
        ("A. B. Probability 37 % (80 % interval 19 to 58 %).", "A. B."),
        ("A sentence that has no end at all", "A sentence that has no …"),
    ],
)
def test_whole_sentences_are_left_out(text, short):
    assert shortened(text, 24) == short


@pytest.mark.parametrize(("date", "said"), [("", "Study without a date: "), ("2026-03", "Study 2026-03: ")])
def test_a_study_says_what_is_known_of_its_date(date, said):
    assert card_of("name", report(effectiveDateTime=date), CODES).summary == f"{said}{FIRST}"


def test_what_is_withheld_is_not_told():
    card = card_of("name", report(withheld=True), CODES)
    assert card.judgement_awaited and not card.unfavorable
    assert len(card.summary) < 140 and "awaited" in card.summary and "2026-03-01" in card.summary
    assert not any(word in card.summary + card.detail for word in ("83", "Residual", "likely", "12 ml"))


def test_what_somebody_typed_is_shown_as_it_is():
    """A comment of a signature stands in the conclusion: it makes no link and no markup in the EHR."""
    card = card_of("name", report(conclusion="First\n<script>[click](https://x)* research"), CODES)
    assert card.detail == "Study of 2026-03-01.\n\n" + r"\<script\>\[click\](https://x)\* research"
