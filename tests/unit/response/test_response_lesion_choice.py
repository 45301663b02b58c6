"""Which of several lesions a prediction is made from."""

from __future__ import annotations

import pytest
from oncoresponse.case.case import Lesion, LesionMeasure
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.definition import LesionChoice
from oncoresponse.response.lesion_choice import chosen_lesions

LESIONS = [
    Lesion(number=number, volume_ml=volume, measures=(LesionMeasure(name="suv_max", value=uptake, unit="g/mL"),))
    for number, volume, uptake in ((1, 8.0, 12.0), (2, 111.0, 9.0), (3, 40.0, 3.0))
]


@pytest.mark.parametrize(
    ("choice", "numbers", "words"),
    [
        ("the largest lesion", [2], "the largest lesion (number 2 of 3)"),
        ("the lesion with the highest uptake", [1], "the lesion with the highest uptake (number 1 of 3)"),
        ("all lesions", [1, 2, 3], "all 3 lesions together"),
        ("the only lesion", [], "none of 3 lesions: the model predicts from a single one"),
    ],
)
def test_the_model_says_which_lesion_it_is(choice: LesionChoice, numbers: list[int], words: str) -> None:
    found = chosen_lesions(LESIONS, choice)
    assert ([lesion.number for lesion in found.lesions], found.words) == (numbers, words)
    (single,) = chosen_lesions(LESIONS[2:], choice).lesions
    assert single.number == 3


def test_a_choice_by_uptake_needs_uptake() -> None:
    with pytest.raises(InvalidRequest, match="highest uptake"):
        chosen_lesions([LESIONS[0], Lesion(number=2, volume_ml=1.0)], "the lesion with the highest uptake")
