"""A tumor of which the images show a part: the answer holds for all that the whole of it may be."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from oncoresponse.case.prediction import ABSTAIN_CODES, Answer
from oncoresponse.model.folder import ModelFolder
from oncoresponse.response.model import ResponseModel
from oncoresponse.response.whole_lesion import bounds_from_volume, whole_lesion_variants

_CALLS = (Answer.FAVORABLE, Answer.UNFAVORABLE)


@pytest.fixture(scope="module")
def sarcoma(models_that_predict: Path) -> ResponseModel:
    return ResponseModel.open(ModelFolder.open(models_that_predict / "sts-petct"))


def test_volumes_grow_with_the_tumor_and_the_highest_uptake_stays(sarcoma: ResponseModel) -> None:
    values = {"lesion_volume": 100.0, "suv_max": 9.0}
    inputs = sarcoma.document.inputs
    assert bounds_from_volume(values, inputs, 100.0, 160.0) == {"lesion_volume": 160.0}
    assert bounds_from_volume(values, inputs, 100.0, 0.0) == {}
    assert whole_lesion_variants(values, inputs, {}) == ()
    steps = whole_lesion_variants(values, inputs, {"lesion_volume": 160.0})
    assert steps[-1] == {"lesion_volume": pytest.approx(160.0), "suv_max": 9.0}
    volumes = [100.0, *(step["lesion_volume"] for step in steps)]
    assert all(after / before == pytest.approx(1.6**0.25) for before, after in pairwise(volumes))


def _whole(model: ResponseModel, values: dict[str, float], factor: float) -> tuple[dict[str, float], ...]:
    return whole_lesion_variants(values, model.document.inputs, {"lesion_volume": factor * values["lesion_volume"]})


def test_the_interval_reaches_to_what_the_whole_lesion_would_give(sarcoma: ResponseModel) -> None:
    seen = {"lesion_volume": 250.0, "suv_max": 9.0}
    found = sarcoma.predict(seen, whole_lesion=_whole(sarcoma, seen, 2.0))
    whole = sarcoma.predict(seen | {"lesion_volume": 500.0})
    assert found.contour_interval.low == pytest.approx(whole.probability)
    assert found.contour_interval.high == found.probability
    assert found.probability == sarcoma.predict(seen).probability


def test_a_call_is_made_only_where_the_whole_lesion_would_get_it_too(sarcoma: ResponseModel) -> None:
    assert "BORDER_CHANGES_ANSWER" in ABSTAIN_CODES
    called = [
        tumor
        for volume in np.geomspace(60, 900, 4)
        for uptake in (6.0, 14.0)
        if sarcoma.predict(tumor := {"lesion_volume": float(volume), "suv_max": uptake}).answer in _CALLS
    ]
    assert called
    kept = 0
    for tumor in called:
        alone = sarcoma.predict(tumor).answer
        for factor in (1.02, 1.5, 4.0):
            variants = _whole(sarcoma, tumor, factor)
            on_the_way = {sarcoma.predict(variant).answer for variant in variants}
            found = sarcoma.predict(tumor, whole_lesion=variants)
            codes = [reason.code for reason in found.abstain_reasons]
            if on_the_way == {alone}:
                assert found.answer is alone
                kept += 1
            else:
                assert found.answer is Answer.INDETERMINATE
                assert "BORDER_CHANGES_ANSWER" in codes
                assert "goes on beyond the images" in found.sentences[0]
    assert 0 < kept < 3 * len(called)
