"""How far a lesion is from bone and skin, as plain data, and in words.

What counts as bone and skin stands in :mod:`oncoresponse.reporting.surfaces.anatomy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from oncoresponse.case.document import Tolerant

Relation = Literal["exact", "at least", "unknown"]
NOT_COMPUTED = "not computed"
UNIT = "mm"

REASONS = {
    "head or neck": "not computed in head and neck",
    "may be head or neck": "not computed, as the lesion may lie in head or neck, for all the study says",
}
"""Why no distance to skin was computed: code in the document, and words."""

DISTANCE_METHOD = (
    "Distances: shortest line between surfaces on CT (bone from 250 HU, skin as border of the body from -300 HU; at "
    "least, ≥, where the image or the search ends); for planning, not for navigation."
)


class LesionDistances(Tolerant):
    """Distances of one lesion.

    Attributes:
        lesion: Number of it.
        bone_mm, bone: Value and relation; see :class:`~oncoresponse.reporting.surfaces.anatomy.Distance`.
        skin_mm, skin: The same; ``not computed`` where nothing was looked for.
        skin_not_computed: Why: one of :data:`REASONS`; empty where it was.
    """

    lesion: int
    bone_mm: float | None
    bone: Relation
    skin_mm: float | None
    skin: Relation | str
    skin_not_computed: str = ""


@dataclass(frozen=True)
class ReportedDistance:
    """One distance, as every rendering shows it.

    Attributes:
        name: ``distance_to_bone`` or ``distance_to_skin``.
        title: Of it.
        mm: Value; ``None`` where there is none.
        is_lower_bound: Whether it is at least the value.
        was_tried: Whether it was looked for; without a value it is unknown then.
        absent: Why there is no value, in words; empty where there is one.
    """

    name: str
    title: str
    mm: float | None
    is_lower_bound: bool
    was_tried: bool
    absent: str

    @property
    def text(self) -> str:
        """Whole mm; a lower bound is rounded down, as a larger one would not be known."""
        if self.mm is None:
            return "unknown" if self.was_tried else NOT_COMPUTED
        return f"≥ {math.floor(self.mm)}" if self.is_lower_bound else f"{self.mm:.0f}"

    @property
    def unit(self) -> str:
        """Empty where there is no value."""
        return "" if self.mm is None else UNIT


def reported_distances(distances: LesionDistances | None) -> list[ReportedDistance]:
    """To bone, then to skin; empty without a CT."""
    if distances is None:
        return []
    found = (
        ("distance_to_bone", "Distance to bone", distances.bone_mm, distances.bone, "as the CT cuts the lesion"),
        (
            "distance_to_skin",
            "Distance to skin",
            distances.skin_mm,
            distances.skin,
            "as the CT cuts the lesion, or it lies outside the body",
        ),
    )
    reported = []
    for name, title, value, relation, unknown in found:
        tried = relation != NOT_COMPUTED
        absent = ""
        if value is None:
            absent = f"unknown, {unknown}" if tried else REASONS.get(distances.skin_not_computed, NOT_COMPUTED)
        reported.append(ReportedDistance(name, title, value, relation == "at least", tried, absent))
    return reported


def distance_lines(distances: LesionDistances | None) -> list[tuple[str, str, str]]:
    """Title, value and unit of each, as lines of measures."""
    return [(item.title, item.text, item.unit) for item in reported_distances(distances)]


def distance_sentences(distances: LesionDistances | None) -> list[str]:
    """Why a distance is missing."""
    return [f"{item.title}: {item.absent}." for item in reported_distances(distances) if item.absent]
