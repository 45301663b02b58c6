"""Reasons a physician can follow, on a model of images and on the shipped model of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.model.folder import ModelFolder
from oncoresponse.reporting.wording import treatment_directives
from oncoresponse.response.answer_rule import answers
from oncoresponse.response.model import ResponseModel

MODELS = Path(__file__).parents[3] / "models"
OUTCOME = "no recurrence or metastasis at last follow-up (median 2.3 years)"
TUMOR = {"lesion_volume": 250.0, "suv_max": 9.0}
PATIENT = {
    "age_years": 48.0,
    "hormone_receptor_positive": 0.0,
    "her2_positive": 1.0,
    "mammaprint_high": 1.0,
    "tumor_volume_ml": 12.0,
    "tumor_slice_extent_mm": 40.0,
}


@pytest.fixture(scope="module")
def sarcoma(models_that_predict: Path) -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(models_that_predict / "sts-petct", verify=False))


@pytest.fixture(scope="module")
def breast() -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(MODELS / "breast-nac"))


def _tumors() -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({"lesion_volume": st.floats(5, 2500), "suv_max": st.floats(1, 40)})


def _patients() -> st.SearchStrategy[dict[str, float]]:
    yes_or_no = st.sampled_from([0.0, 1.0])
    return st.fixed_dictionaries(
        {
            "age_years": st.floats(20, 80),
            "hormone_receptor_positive": yes_or_no,
            "her2_positive": yes_or_no,
            "mammaprint_high": yes_or_no,
            "tumor_volume_ml": st.floats(0.5, 300),
            "tumor_slice_extent_mm": st.floats(10, 170),
        }
    )


def _require_whole(found: Prediction) -> None:
    total = found.base_log_odds + sum(entry.log_odds for entry in found.contributions)
    assert total == pytest.approx(found.margin_log_odds, abs=1e-12)
    assert 1 / (1 + np.exp(-found.margin_log_odds)) == pytest.approx(found.probability, abs=1e-12)
    assert len(found.sentences) == 3
    assert not [passage for text in found.sentences for passage in treatment_directives(text)]
    assert [case.distance for case in found.nearest_cases] == sorted(case.distance for case in found.nearest_cases)
    assert all(change.answer != found.answer for change in found.changes)


@settings(max_examples=25, deadline=None)
@given(_tumors())
def test_contributions_add_up_and_what_is_claimed_to_change_the_answer_does(
    sarcoma: ResponseModel, tumor: dict[str, float]
) -> None:
    found = sarcoma.predict(tumor)
    _require_whole(found)
    for change in found.changes:
        assert sarcoma.predict(tumor | {change.input: change.needed}).answer is change.answer
    row = np.array([[tumor["lesion_volume"], tumor["suv_max"]]])
    assert answers(sarcoma.document, sarcoma.scoring, row, np.log(row)) == [found.answer]


@settings(max_examples=15, deadline=None)
@given(_patients())
def test_a_model_of_a_table_explains_itself_as_well(breast: ResponseModel, patient: dict[str, float]) -> None:
    found = breast.predict({}, patient)
    _require_whole(found)
    assert {entry.group for entry in found.grouped_contributions} == {"patient", "size"}
    for change in found.changes:
        assert breast.predict({}, patient | {change.input: change.needed}).answer is change.answer


def test_a_percentile_is_the_share_of_training_patients_below(sarcoma: ResponseModel) -> None:
    volumes = np.sort([case.values[0] for case in sarcoma.document.cases])
    for volume in (20.0, 100.0, 400.0, 5000.0):
        found = {item.input: item for item in sarcoma.predict(TUMOR | {"lesion_volume": volume}).contributions}
        assert found["lesion_volume"].percentile == pytest.approx(100 * (volumes < volume).mean(), abs=3)


def test_a_training_patient_is_its_own_nearest_case(sarcoma: ResponseModel) -> None:
    case = sarcoma.document.cases[17]
    found = sarcoma.predict(dict(zip(sarcoma.document.input_names, case.values, strict=True)))
    assert found.nearest_cases[0].distance == 0
    assert found.nearest_cases[0].favorable == case.favorable
    assert len(found.nearest_cases) == 3
    assert "most similar training patients" in found.sentences[2]
    assert f"had {OUTCOME}" in found.sentences[2]


def test_the_sentences_say_answer_number_and_reasons(sarcoma: ResponseModel) -> None:
    found = sarcoma.predict({"lesion_volume": 800.0, "suv_max": 24.0})
    answer, reasons, _ = found.sentences
    assert found.answer_text in answer
    assert f"{100 * found.probability:.0f} %" in answer
    assert "90 % interval" in answer
    assert "tumor volume 800 ml" in reasons
    assert reasons.startswith(f"Probability of {OUTCOME}: ")
    assert "lowers it" in reasons
    assert f"probability of {OUTCOME}" in answer


def test_an_abstention_gives_a_reason_and_no_number(sarcoma: ResponseModel) -> None:
    found = sarcoma.predict({"lesion_volume": 2.0, "suv_max": 60.0})
    assert found.answer is Answer.OUT_OF_DISTRIBUTION
    assert "probability" not in found.sentences[0]
    assert "unlike those of the 160 training patients" in found.sentences[0]
    assert "robability" not in found.sentences[1]


def test_yes_and_no_are_said_as_such(breast: ResponseModel) -> None:
    text = " ".join(breast.predict({}, PATIENT).sentences)
    assert "HER2 positive: yes" in text or "hormone receptor positive: no" in text
    assert "HER2 positive 1" not in text


def test_contours_that_agree_give_an_interval_and_keep_the_answer(sarcoma: ResponseModel) -> None:
    tumor = {"lesion_volume": 800.0, "suv_max": 24.0}
    variants = [tumor | {"lesion_volume": volume} for volume in (760.0, 840.0)]
    found = sarcoma.predict(tumor, contour_variants=[*variants, tumor | {"suv_max": float("nan")}])
    assert found.answer is Answer.UNFAVORABLE
    assert found.contour_interval.variants == 2, "a variant that could not be measured does not count"
    assert found.contour_interval.low <= found.probability <= found.contour_interval.high
    alone = sarcoma.predict(tumor)
    assert alone.contour_interval is None
    assert found.interval_low == min(alone.interval_low, found.contour_interval.low), "one interval holds both"
    assert found.interval_high == max(alone.interval_high, found.contour_interval.high)
    same = sarcoma.predict(tumor, contour_variants=[tumor])
    assert same.contour_interval.low == same.contour_interval.high == same.probability


def test_contours_that_disagree_about_the_call_end_it(sarcoma: ResponseModel) -> None:
    tumor = {"lesion_volume": 800.0, "suv_max": 24.0}
    opposite = {"lesion_volume": 60.0, "suv_max": 4.0}
    assert sarcoma.predict(opposite).answer is Answer.FAVORABLE
    found = sarcoma.predict(tumor, contour_variants=[tumor, opposite])
    assert found.answer is Answer.INDETERMINATE
    assert [reason.code for reason in found.abstain_reasons] == ["CONTOUR_CHANGES_ANSWER"]
    assert set(found.contour_interval.calls) >= {Answer.FAVORABLE, Answer.UNFAVORABLE}
    assert "plausible contours" in found.sentences[0]
