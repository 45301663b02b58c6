"""Which of several lesions a prediction is made from, as the model declares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oncoresponse.case.case import Lesion
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.definition import LesionChoice


@dataclass(frozen=True)
class ChosenLesions:
    """The lesions, and in words which ones they are of how many.

    Attributes:
        lesions: One, or all of them; none where the model predicts from the only lesion, and there are several.
        words: For a report.
    """

    lesions: tuple[Lesion, ...]
    words: str


def chosen_lesions(lesions: Sequence[Lesion], choice: LesionChoice) -> ChosenLesions:
    """The lesions that a model predicts from; of equals the first.

    Raises:
        InvalidRequest: There is no lesion, or a choice by uptake and none was measured.
    """
    if not lesions:
        raise InvalidRequest("The case holds no lesion to predict from.")
    count = len(lesions)
    if count == 1:
        return ChosenLesions((lesions[0],), "the lesion")
    if choice == "all lesions":
        return ChosenLesions(tuple(lesions), f"all {count} lesions together")
    if choice == "the only lesion":
        return ChosenLesions((), f"none of {count} lesions: the model predicts from a single one")
    if choice == "the lesion with the highest uptake":
        if any(lesion.measure("suv_max") is None for lesion in lesions):
            raise InvalidRequest("The model predicts from the lesion with the highest uptake, and none was measured.")
        best = max(lesions, key=lambda lesion: lesion.measure("suv_max") or 0.0)
    else:
        best = max(lesions, key=lambda lesion: lesion.volume_ml)
    return ChosenLesions((best,), f"{choice} (number {best.number} of {count})")
