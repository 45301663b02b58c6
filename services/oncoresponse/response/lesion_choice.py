"""Which of several lesions a prediction is made from, as the model declares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oncoresponse.case.case import Lesion
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.definition import LesionChoice


@dataclass(frozen=True)
class ChosenLesion:
    """The lesion, and in words which one it is of how many.

    Attributes:
        fits: Whether the model predicts from it; not where it predicts from the only lesion, and there are several.
    """

    lesion: Lesion
    words: str
    fits: bool = True


def chosen_lesion(lesions: Sequence[Lesion], choice: LesionChoice) -> ChosenLesion:
    """The lesion that a model predicts from; of equals the first.

    Raises:
        InvalidRequest: There is no lesion, or a choice by uptake and none was measured.
    """
    if not lesions:
        raise InvalidRequest("The case holds no lesion to predict from.")
    count = len(lesions)
    if count == 1:
        return ChosenLesion(lesions[0], "the lesion")
    if choice == "the lesion with the highest uptake":
        if any(lesion.measure("suv_max") is None for lesion in lesions):
            raise InvalidRequest("The model predicts from the lesion with the highest uptake, and none was measured.")
        best = max(lesions, key=lambda lesion: lesion.measure("suv_max") or 0.0)
    else:
        best = max(lesions, key=lambda lesion: lesion.volume_ml)
    if choice == "the only lesion":
        return ChosenLesion(best, f"none of {count} lesions: the model predicts from a single one", fits=False)
    return ChosenLesion(best, f"{choice} (number {best.number} of {count})")
