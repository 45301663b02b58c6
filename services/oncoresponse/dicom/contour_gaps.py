"""Slices without a contour between drawn ones: filled by a stated rule, or refused.

DICOM says nothing about what lies between two contours (PS3.3 C.8.8.6), except where Source Pixel Planes are given
(C.8.8.6.4): there a plane without a contour is empty. So the rule is ours; ``docs/dicom-intake.md`` states it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from oncoresponse.dicom.contour_remarks import counted, slices_text
from oncoresponse.errors import ContourGap

# Of the slices from the first to the last; one is always allowed between at least four drawn ones.
LARGEST_FILLED_SHARE = 0.1
_FEWEST_DRAWN = 4


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a slice's plane, which may reach beyond the image.

    Attributes:
        low: Index (j, i) of the first element.
        inside: Axes (j, i).
    """

    low: tuple[int, int]
    inside: npt.NDArray[np.bool_]

    def on(self, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The same on a larger part of the plane, from ``low`` to before ``high``."""
        array = np.zeros(tuple(high - low), bool)
        first = np.array(self.low) - low
        last = first + self.inside.shape
        array[first[0] : last[0], first[1] : last[1]] = self.inside
        return array


def fill_gaps(
    drawn: Mapping[int, Patch], pixel_mm: tuple[float, float], slices: int, *, are_complete: bool = False
) -> tuple[dict[int, Patch], tuple[str, ...]]:
    """Slices to add where one slice is missing between two drawn ones.

    One missing slice is filled by shape-based interpolation (mean of the signed distances to the two outlines; Raya and
    Udupa, IEEE Trans Med Imaging 9:32, 1990) when the regions on both sides of it overlap, at least four slices are
    drawn, and at most a tenth of the slices from the first to the last is missing, or one. Two regions that do not
    overlap in projection are two parts, with nothing to fill. All else is refused.

    Args:
        drawn: Region by slice index k; a slice with a contour in which no pixel center lies is drawn, too.
        pixel_mm: Distance between rows, and between columns.
        slices: Slices of the series, for the numbers in the remarks.
        are_complete: The structure set says that it has a contour on every slice where the region is.

    Returns:
        The slices to add, and remarks about parts that lie apart. What was filled is for the caller to say, who knows
        its volume.

    Raises:
        ContourGap: Slices are missing otherwise.
    """
    planes = sorted(drawn)
    steps = np.diff(planes)
    if np.all(steps == 1):
        return {}, ()
    if are_complete:
        empty = sorted(set(range(planes[0], planes[-1])) - set(planes))
        return {}, (
            f"The structure set says that there is none on {slices_text(empty, slices)}; nothing was filled (0 ml).",
        )
    gaps = [(planes[n], planes[n + 1]) for n in np.flatnonzero(steps > 1)]
    in_place = [gap for gap in gaps if _overlap(drawn[gap[0]], drawn[gap[1]])]
    if 2 * len(in_place if len(gaps) == 1 else gaps) >= len(steps):
        raise ContourGap(
            f"The contour is drawn on {counted(len(planes), 'slice')} of {planes[-1] - planes[0] + 1} from its first "
            "to its last, with slices left out throughout. Interpolate it to every slice at the source, or send the "
            "series that it was drawn on.",
            drawn=len(planes),
        )
    missing = [below + 1 for below, above in in_place if above - below == 2]
    wide = [k for below, above in in_place if above - below > 2 for k in range(below + 1, above)]
    apart = [k for gap in gaps if gap not in in_place for k in range(gap[0] + 1, gap[1])]
    if wide:
        raise ContourGap(
            f"The contour leaves out {slices_text(wide, slices)} between slices where it is drawn at the same place. "
            "Draw it there; if these are separate tumors, make each a structure of its own.",
            missing=len(wide),
        )
    allowed = max(1, int(LARGEST_FILLED_SHARE * (planes[-1] - planes[0] + 1)))
    if missing and (len(missing) > allowed or len(planes) < _FEWEST_DRAWN):
        raise ContourGap(
            f"The contour leaves out {slices_text(missing, slices)}; of the slices from its first to its last, at most "
            f"{LARGEST_FILLED_SHARE:.0%} may be interpolated, and one where at least {_FEWEST_DRAWN} are drawn. "
            "Interpolate it at the source.",
            missing=len(missing),
        )
    remarks: tuple[str, ...] = ()
    if apart:
        remarks = (
            f"The contour has parts that lie apart; {slices_text(apart, slices)} between them have none and were left "
            "empty (0 ml).",
        )
    return {k: _between(drawn[k - 1], drawn[k + 1], pixel_mm) for k in missing}, remarks


def refuse_regular_gaps(planes: Sequence[int], numbers: Sequence[int], slices: int) -> tuple[str, ...]:
    """The same for a segmentation, whose empty slices say that nothing is there: told, never filled.

    Args:
        planes: Ascending indices k of the slices with a voxel of the segment.
        numbers: Index k of the image's slice at each slice of the segmentation.
        slices: Slices of the image.

    Raises:
        ContourGap: Slices are left out throughout.
    """
    steps = np.diff(planes)
    if np.all(steps == 1):
        return ()
    if len(steps) > 1 and 2 * np.count_nonzero(steps > 1) >= len(steps):
        raise ContourGap(
            f"The segment is drawn on {counted(len(planes), 'slice')} of {planes[-1] - planes[0] + 1} from its first "
            "to its last, with slices left out throughout. Interpolate it to every slice at the source.",
            drawn=len(planes),
        )
    empty = [numbers[plane] for plane in sorted(set(range(planes[0], planes[-1])) - set(planes))]
    return (f"The segment is empty on {slices_text(empty, slices)} between its first and last (nothing filled, 0 ml).",)


def _overlap(one: Patch, other: Patch) -> bool:
    low, high = _box(one, other)
    return bool((one.on(low, high) & other.on(low, high)).any())


def _between(one: Patch, other: Patch, pixel_mm: tuple[float, float]) -> Patch:
    low, high = _box(one, other)
    low, high = low - 1, high + 1  # so that a region that fills its box has an outside
    distance = np.zeros(tuple(high - low))
    for patch in (one, other):
        inside = patch.on(low, high)
        distance += distance_transform_edt(inside, pixel_mm) - distance_transform_edt(~inside, pixel_mm)
    return Patch((int(low[0]), int(low[1])), distance >= 0)


def _box(one: Patch, other: Patch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    lows = np.array([one.low, other.low])
    highs = lows + np.array([one.inside.shape, other.inside.shape])
    return lows.min(axis=0), highs.max(axis=0)
