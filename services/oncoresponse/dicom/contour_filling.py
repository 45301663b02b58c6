"""The closed contours of a region to a mask (DICOM PS3.3 C.8.8.6), with what was left out or repaired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from oncoresponse.dicom.contour_gaps import Patch, fill_gaps
from oncoresponse.dicom.contour_outlines import (
    FilledOutline,
    Points,
    clean_outline,
    enclosed_area,
    fill_outline,
    nearly_same_outline,
    same_outline,
)
from oncoresponse.dicom.contour_remarks import counted, milliliters, slices_text
from oncoresponse.errors import ContourAmbiguous, ContourOutsideImage, EmptyMask, GeometryMismatch

# Interobserver differences of a tumor's volume are of this order; beyond it, a volume without the rest misleads.
LARGEST_SHARE_OUTSIDE = 0.1
# What a contour runs round twice may have been meant as a hole; small loops are slips of the pen.
LARGEST_SHARE_WOUND_TWICE = 0.05
# Two contours combined by exclusive or that lie this close to each other all round, in pixels, leave a shell that the
# voxels cannot show, or are one contour that was exported twice.
_SAME_BUT_FOR_PIXELS = 1.0
# A contour this far from a slice plane, in slices, was not drawn on that slice.
_OFF_PLANE_SLICES = 0.1
# Bounds the memory that contours far away from the image can ask for: pixels along an axis, or twice the image.
_LARGEST_BOX = 512


@dataclass(frozen=True, eq=False)
class ClosedContour:
    """One closed planar contour.

    Attributes:
        points: Shape (points, 3), LPS mm.
        is_xor: CLOSEDPLANAR_XOR, else CLOSED_PLANAR.
    """

    points: Points
    is_xor: bool


@dataclass(frozen=True, eq=False)
class FilledRegion:
    """A region on a grid.

    Attributes:
        mask: 0 and 1, axes (k, j, i).
        remarks: What was left out or repaired, in sentences with slices and milliliters.
    """

    mask: npt.NDArray[np.uint8]
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Outline:
    """A contour in its slice: (j, i) in pixels, and in mm for distances."""

    pixels: Points
    mm: Points
    is_xor: bool


@dataclass(frozen=True, eq=False)
class _Part:
    """A filled contour on its own box: from ``low`` to before ``high``, as (j, i)."""

    outline: _Outline
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    filled: FilledOutline

    def lies_in(self, other: _Part) -> bool:
        """Whether another contour holds all voxels of this one, and more."""
        if np.any(self.low < other.low) or np.any(self.high > other.high):
            return False
        box = tuple(slice(*ends) for ends in zip(self.low - other.low, self.high - other.low, strict=True))
        inside = self.filled.inside
        larger = int(other.filled.inside.sum()) > int(inside.sum())
        return larger and not np.any(inside & ~other.filled.inside[box])

    def nearly_repeats(self, other: _Part) -> bool:
        """Whether the two have nearly the same outline, and most of their voxels in common."""
        if not nearly_same_outline(self.outline.pixels, other.outline.pixels, _SAME_BUT_FOR_PIXELS):
            return False
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        inside, also = (Patch((int(p.low[0]), int(p.low[1])), p.filled.inside).on(low, high) for p in (self, other))
        return bool(2 * (inside & also).sum() > (inside | also).sum())


@dataclass(eq=False)
class _Tally:
    """Voxels, by slice, about which a sentence is due."""

    contours: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    volume: float = 0.0

    def add(self, k: int, volume_mm3: float, contours: int = 1) -> None:
        self.contours[k] += contours
        self.volume += volume_mm3

    @property
    def count(self) -> int:
        return sum(self.contours.values())


class _Filling:
    """One region being filled; holds the sums for its remarks."""

    def __init__(self, index_to_patient: npt.NDArray[np.float64], size: tuple[int, int, int]) -> None:
        self.columns, self.rows, self.slices = size
        self._to_index = np.linalg.inv(index_to_patient)
        spacing = np.linalg.norm(index_to_patient[:3, :3], axis=0)
        self._pixel_mm = (float(spacing[1]), float(spacing[0]))
        self._slice_mm = float(spacing[2])
        self._voxel = float(np.prod(spacing))
        self.few, self.repeated, self.nested, self.loops, self.twice, self.empty, self.outside, self.filled = (
            _Tally() for _ in range(8)
        )

    def outlines(self, contours: Sequence[ClosedContour]) -> dict[int, list[_Outline]]:
        """Contours by slice, each once."""
        found: dict[int, list[_Outline]] = defaultdict(list)
        for contour in contours:
            cleaned = clean_outline(contour.points)
            index = cleaned @ self._to_index[:3, :3].T + self._to_index[:3, 3]
            k = round(float(index[:, 2].mean()))
            if len(cleaned) < 3:
                self.few.add(k, 0.0)
                continue
            if np.abs(index[:, 2] - k).max() > _OFF_PLANE_SLICES:
                raise GeometryMismatch(
                    "The contours do not lie in the slices of the image. Send the series they were drawn on, too."
                )
            pixels = index[:, 1::-1]
            outline = _Outline(pixels, pixels * self._pixel_mm, contour.is_xor)
            volume = enclosed_area(outline.mm) * self._slice_mm
            if any(same_outline(outline.mm, other.mm) for other in found[k]):
                self.repeated.add(k, volume)
                continue
            if 2 * len(cleaned) <= len(contour.points):
                self.repeated.add(k, volume)
            found[k].append(outline)
        return found

    def patch(self, k: int, outlines: Sequence[_Outline]) -> Patch:
        """The region on one slice."""
        if len({outline.is_xor for outline in outlines}) > 1:
            raise ContourAmbiguous(
                f"On {slices_text([k], self.slices)}, contours of type CLOSED_PLANAR and of type CLOSEDPLANAR_XOR are "
                "mixed, so their holes are ambiguous. Export the structure with one type."
            )
        parts = [self._part(outline) for outline in outlines]
        if outlines[0].is_xor and any(one.nearly_repeats(other) for one, other in combinations(parts, 2)):
            raise ContourAmbiguous(
                f"On {slices_text([k], self.slices)}, two contours of type CLOSEDPLANAR_XOR lie within a voxel of each "
                "other all round: they cancel each other out, and may be one contour stored twice. Remove one of them "
                "at the source."
            )
        low = np.min([part.low for part in parts], axis=0).astype(np.int64)
        high = np.max([part.high for part in parts], axis=0).astype(np.int64)
        _require_moderate(high - low, self.rows, self.columns)
        whole = np.zeros(tuple(high - low), bool)
        for part in parts:
            box = whole[tuple(slice(*ends) for ends in zip(part.low - low, part.high - low, strict=True))]
            if outlines[0].is_xor:
                box ^= part.filled.inside
            else:
                box |= part.filled.inside
        for part in parts:
            self._note(k, part, parts)
        return Patch((int(low[0]), int(low[1])), whole)

    def _part(self, outline: _Outline) -> _Part:
        low = np.floor(outline.pixels.min(axis=0)).astype(np.int64)
        high = np.ceil(outline.pixels.max(axis=0)).astype(np.int64) + 1
        _require_moderate(high - low, self.rows, self.columns)
        filled = fill_outline(outline.pixels - low, (int(high[0] - low[0]), int(high[1] - low[1])))
        return _Part(outline, low, high, filled)

    def _note(self, k: int, part: _Part, parts: Sequence[_Part]) -> None:
        filled, voxels = part.filled, int(part.filled.inside.sum())
        if not voxels:
            self.empty.add(k, enclosed_area(part.outline.mm) * self._slice_mm)
        if filled.wound_twice.any():
            self.twice.add(k, float(filled.wound_twice.sum()) * self._voxel)
        elif filled.has_loops:
            self.loops.add(k, voxels * self._voxel)
        if filled.is_retraced:
            self.repeated.add(k, voxels * self._voxel)
        if voxels and not part.outline.is_xor and any(part.lies_in(other) for other in parts if other is not part):
            self.nested.add(k, voxels * self._voxel)

    def fill_gaps(
        self, patches: Mapping[int, Patch], plane_distance_mm: float | None
    ) -> tuple[dict[int, Patch], tuple[str, ...]]:
        """Add the slices that may be interpolated."""
        # Within a tenth of it, the planes of the source are the slices of the image.
        are_complete = plane_distance_mm is not None and plane_distance_mm < 1.1 * self._slice_mm
        added, remarks = fill_gaps(patches, self._pixel_mm, self.slices, are_complete=are_complete)
        for k, patch in added.items():
            self.filled.add(k, float(patch.inside.sum()) * self._voxel)
        return {**patches, **added}, remarks

    def draw(self, patches: Mapping[int, Patch]) -> npt.NDArray[np.uint8]:
        """Put the slices into the image; what lies beyond it is counted."""
        mask = np.zeros((self.slices, self.rows, self.columns), np.uint8)
        for k, patch in patches.items():
            low = np.maximum(patch.low, 0)
            high = np.minimum(np.add(patch.low, patch.inside.shape), mask.shape[1:])
            kept = 0
            if 0 <= k < self.slices and np.all(high > low):
                first, last = low - patch.low, high - patch.low
                part = patch.inside[first[0] : last[0], first[1] : last[1]]
                mask[k, low[0] : high[0], low[1] : high[1]] = part
                kept = int(part.sum())
            if lost := int(patch.inside.sum()) - kept:
                self.outside.add(k, lost * self._voxel)
        total = float(mask.sum()) * self._voxel + self.outside.volume
        require_enough_inside(self.outside.volume, total, self._where(self.outside))
        if total and self.twice.volume > LARGEST_SHARE_WOUND_TWICE * total:
            raise ContourAmbiguous(
                f"Contours cross themselves on {self._where(self.twice)} and run twice round "
                f"{milliliters(self.twice.volume)} ({self.twice.volume / total:.0%} of the region), which may be "
                "inside or a hole. Correct them at the source."
            )
        if not total:
            raise EmptyMask("The contours enclose no voxel of the image. Check that they belong to it.")
        return mask

    def remarks(self) -> tuple[str, ...]:
        """A sentence for each kind of repair."""
        found = []
        if self.repeated.count:
            found.append(
                f"{counted(self.repeated.count, 'contour')} stored more than once, on {self._where(self.repeated)}, "
                f"counted once ({milliliters(self.repeated.volume)} not counted again)."
            )
        if self.few.count:
            found.append(
                f"{counted(self.few.count, 'contour')} of fewer than three different points, on "
                f"{self._where(self.few)}, enclosed nothing and was left out (0 ml)."
            )
        if self.empty.count:
            found.append(
                f"{counted(self.empty.count, 'contour')} on {self._where(self.empty)} held no voxel center; "
                f"{milliliters(self.empty.volume)} are not in the mask."
            )
        if self.nested.count:
            found.append(
                f"{counted(self.nested.count, 'contour')} on {self._where(self.nested)} lay inside another one of type "
                f"CLOSED_PLANAR, which is no hole; {milliliters(self.nested.volume)} there count as tumor."
            )
        if self.loops.count:
            found.append(
                f"{counted(self.loops.count, 'contour')} on {self._where(self.loops)} crossed itself; all loops count "
                f"as tumor ({milliliters(self.loops.volume)})."
            )
        if self.twice.count:
            found.append(
                f"{counted(self.twice.count, 'contour')} on {self._where(self.twice)} crossed itself; "
                f"{milliliters(self.twice.volume)} it runs round twice count as tumor."
            )
        if self.filled.count:
            found.append(
                f"Without a contour, {self._where(self.filled)} was interpolated from its two neighbors "
                f"({milliliters(self.filled.volume)})."
            )
        if self.outside.count:
            found.append(outside_remark(self.outside.volume, self._where(self.outside)))
        return tuple(found)

    def _where(self, tally: _Tally) -> str:
        return slices_text(tally.contours, self.slices)


def _require_moderate(extent: npt.NDArray[np.int64], rows: int, columns: int) -> None:
    if extent.max() > max(_LARGEST_BOX, 2 * rows, 2 * columns):
        raise _outside_error("Contours reach far beyond the image.")


def outside_remark(volume_mm3: float, where: str) -> str:
    """What is said of a part outside the image."""
    return f"{milliliters(volume_mm3)} on {where} lie outside the image and are not in the mask."


def require_enough_inside(outside_mm3: float, total_mm3: float, where: str) -> None:
    """Refuse a region of which more than a tenth lies outside the image.

    Raises:
        ContourOutsideImage: Wholly, or by more than that share.
    """
    if not total_mm3 or outside_mm3 <= LARGEST_SHARE_OUTSIDE * total_mm3:
        return
    if outside_mm3 >= total_mm3:
        raise _outside_error("All of the contoured region lies outside the image.")
    raise _outside_error(
        f"{milliliters(outside_mm3)} of the contoured region ({outside_mm3 / total_mm3:.0%}; {where}) lie outside the "
        f"image; at most {LARGEST_SHARE_OUTSIDE:.0%} may."
    )


def fill_contours(
    contours: Sequence[ClosedContour],
    index_to_patient: npt.NDArray[np.float64],
    size: tuple[int, int, int],
    plane_distance_mm: float | None = None,
) -> FilledRegion:
    """Fill closed contours on the slices they were drawn on.

    A voxel is inside when its center is, or lies on the path. CLOSED_PLANAR contours of a slice are joined,
    CLOSEDPLANAR_XOR ones combined by exclusive or; a keyhole makes a hole in one contour. A contour that is stored
    more than once counts once.

    Args:
        contours: Of one region.
        index_to_patient: Affine, shape (4, 4), of the grid: (i, j, k) to LPS mm.
        size: Voxels of the grid along i, j, k.
        plane_distance_mm: Distance of the source's pixel planes where the structure set gives them: a plane without a
            contour is then empty (PS3.3 C.8.8.6.4).

    Raises:
        GeometryMismatch: Contours do not lie in slice planes of the grid.
        ContourGap: Slices are missing between drawn ones, and may not be interpolated.
        ContourAmbiguous: Both closed types on one slice, two nearly equal contours combined by exclusive or, or much of
            the region is run round twice.
        ContourOutsideImage: More than a tenth of the region lies outside the grid.
        EmptyMask: No voxel center is inside.
    """
    filling = _Filling(index_to_patient, size)
    outlines = filling.outlines(contours)
    if not outlines:
        raise EmptyMask("No contour has three different points, so they enclose nothing. Draw the region again.")
    patches, remarks = filling.fill_gaps(
        {k: filling.patch(k, found) for k, found in outlines.items()}, plane_distance_mm
    )
    mask = filling.draw(patches)
    return FilledRegion(mask, (*filling.remarks(), *remarks))


def _outside_error(cause: str) -> ContourOutsideImage:
    return ContourOutsideImage(f"{cause} Send the series it was drawn on, with all its slices.")
