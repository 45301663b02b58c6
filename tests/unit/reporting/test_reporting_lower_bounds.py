"""A tumor that goes on beyond the images: what is measured on it is "at least", in words and in FHIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oncoresponse.reporting.lesion_wording import contour_sentence, lower_bound_sentence
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import conclusion, readable_summary

MakeContext = Callable[..., ReportContext]


@pytest.fixture
def cut(make_context: MakeContext) -> ReportContext:
    """Contoured by the network, 7 % of the surface on the border."""
    found = {"touches_border": True, "border_share": 0.07, "volume_high_ml": 410.0}
    return make_context(segmentation=make_context().lesions[0].segmentation.model_copy(update=found))


def _compared(bundle: dict[str, Any]) -> dict[str, str]:
    """Comparator by the text of the code of each quantity that has one."""
    found: dict[str, str] = {}

    def visit(item: Any) -> None:
        if isinstance(item, dict):
            if "comparator" in item.get("valueQuantity", {}):
                found[item["code"]["text"]] = item["valueQuantity"]["comparator"]
            for part in item.values():
                visit(part)
        elif isinstance(item, list):
            for part in item:
                visit(part)

    visit(bundle)
    return found


def test_volume_and_diameters_carry_the_comparator_of_fhir(
    cut: ReportContext, make_context: MakeContext, make_bundle: Callable[[ReportContext], dict[str, Any]]
) -> None:
    compared = _compared(make_bundle(cut))
    assert set(compared.values()) == {">="}
    for title in ("volume", "longest", "perpendicular"):
        assert any(title in name.casefold() for name in compared), (title, compared)
    assert not any("suvm" in name.casefold() for name in compared)
    assert _compared(make_bundle(make_context())) == {}


def test_the_upper_bound_and_the_look_at_other_images_are_said(cut: ReportContext, make_context: MakeContext) -> None:
    said = lower_bound_sentence(cut.lesions[0])
    assert said is not None
    assert "It has at most 410 ml in 80 % of tumors that reach the border like this." in said
    assert said.endswith("Check on other images whether it goes on.")
    for text in (conclusion(cut), readable_summary(cut)):
        assert said in text
    assert "≥ 215 ml" in " ".join(readable_summary(cut).split())
    assert "A physician's contour of the whole tumor would measure 164 to 410 ml" in contour_sentence(cut.lesions[0])
    assert lower_bound_sentence(make_context().lesions[0]) is None
    assert cut.lesions[0].segmentation.asks_for_review
    assert not make_context().lesions[0].segmentation.asks_for_review


def test_a_supplied_contour_at_the_border_has_the_bound_of_contours(
    cut: ReportContext, make_context: MakeContext
) -> None:
    supplied = cut.lesions[0].segmentation.model_copy(
        update={"method": "supplied_rtstruct", "volume_low_ml": 214.8, "volume_high_ml": 239.0}
    )
    said = lower_bound_sentence(make_context(segmentation=supplied).lesions[0])
    assert said is not None
    assert "at most 239 ml" in said
