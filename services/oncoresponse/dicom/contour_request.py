"""Which contour a request means, and how it was made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.errors import AmbiguousSeries, AutomaticContour

AlgorithmType = Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]
"""Segment Algorithm Type (0062,0008), ROI Generation Algorithm (3006,0036)."""

_MOST_LISTED = 10


@dataclass(frozen=True)
class ContourRequest:
    """Which contour is meant; empty leaves the choice to the rules.

    Attributes:
        sop_instance_uid: Of an RTSTRUCT or SEG; empty: the only one drawn on the series of the grid, or, where there is
            none, on another series of its frame of reference. A contour that an algorithm made (AUTOMATIC) is used only
            when it is named so.
        structure_name: ROI Name or Segment Label, or ``#`` and the ROI Number or Segment Number, as in ``#2``; empty:
            the only gross tumor volume.
    """

    sop_instance_uid: str = ""
    structure_name: str = ""


def is_named(structure_name: str, name: str, number: int) -> bool:
    """Whether a request means the structure of that name and number; ``#`` and digits are a number, never a name."""
    wanted = structure_name[1:]
    if structure_name.startswith("#") and wanted.isascii() and wanted.isdigit():
        return number == int(wanted)
    return name == structure_name


def ambiguous_structures(what: str, numbers: Sequence[int]) -> AmbiguousSeries:
    """The error for several structures that fit; it lists their numbers, as names are outside text."""
    listed = ", ".join(f"#{number}" for number in numbers[:_MOST_LISTED])
    more = " and others" if len(numbers) > _MOST_LISTED else ""
    return AmbiguousSeries(
        f"{len(numbers)} {what} may be meant: {listed}{more}. Name one in the request, by its name or as #number.",
        candidates=len(numbers),
    )


def automatic_contour() -> AutomaticContour:
    """The error for a contour that only an algorithm made and that no request named."""
    return AutomaticContour(
        "The contour in the study was made by an algorithm (AUTOMATIC), not by a physician. Send a physician's "
        "contour, or name this one by its SOP Instance UID: it is then used, and the report says what it is."
    )


def algorithm_type(item: Dataset, keyword: str) -> AlgorithmType | None:
    """How a structure was made; ``None`` when the file does not say.

    Other spellings than the defined terms, such as "AUTO" and "SEMI-AUTOMATIC", mean what they begin with.
    """
    value = re.sub(r"[^A-Z]", "", (attributes.text(item, keyword) or "").upper())
    beginnings: dict[str, AlgorithmType] = {"SEMI": "SEMIAUTOMATIC", "AUTO": "AUTOMATIC", "MANUAL": "MANUAL"}
    return next((kind for beginning, kind in beginnings.items() if value.startswith(beginning)), None)
