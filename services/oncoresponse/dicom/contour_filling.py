"""The closed contours of a region to a mask (DICOM PS3.3 C.8.8.6), with what was left out or repaired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from oncoresponse.dicom.contour_gaps import Patch, fill_gaps
from oncoresponse.dicom.contour_outlines import FilledOutline, Points, clean_outline, fill_outline, same_outline
from oncoresponse.dicom.contour_outlines import enclosed_area as enclosed_area_of
from oncoresponse.dicom.contour_remarks import counted, milliliters, slices_text
from oncoresponse.errors import ContourMixedTypes, ContourOutsideImage, ContourSelfCrossing, EmptyMask, GeometryMismatch

# Interobserver differences of a tumor's volume are of this order; beyond it, a volume without the rest misleads.
LARGEST_SHARE_OUTSIDE = 0.1
# What a contour runs round twice may have been meant as a hole; small loops are slips of the pen.
LARGEST_SHARE_WOUND_TWICE = 0.05
# A contour this far from a slice plane, in slices, was not drawn on that slice.
_OFF_PLANE_SLICES = 0.1
# Bounds the memory that contours far away from the image can ask for, in pixels along an axis.
_LARGEST_BOX = 4096


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
            volume = enclosed_area_of(outline.mm) * self._slice_mm
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
            raise ContourMixedTypes(
                f"On {slices_text([k], self.slices)}, contours of type CLOSED_PLANAR and of type CLOSEDPLANAR_XOR are "
                "mixed, so their holes are ambiguous. Export the structure with one type."
            )
        points = np.concatenate([outline.pixels for outline in outlines])
        low = np.floor(points.min(axis=0)).astype(np.int64)
        high = np.ceil(points.max(axis=0)).astype(np.int64) + 1
        if (high - low).max() > max(_LARGEST_BOX, 2 * self.rows, 2 * self.columns):
            raise _outside_error("Contours reach far beyond the image.")
        shape = (int(high[0] - low[0]), int(high[1] - low[1]))
        parts = [fill_outline(outline.pixels - low, shape) for outline in outlines]
        whole = np.zeros(shape, bool)
        for part in parts:
            whole = whole ^ part.inside if outlines[0].is_xor else whole | part.inside
        self._note(k, outlines, parts)
        return Patch((int(low[0]), int(low[1])), whole)

    def _note(self, k: int, outlines: Sequence[_Outline], parts: Sequence[FilledOutline]) -> None:
        for number, (outline, part) in enumerate(zip(outlines, parts, strict=True)):
            if not part.inside.any():
                self.empty.add(k, enclosed_area_of(outline.mm) * self._slice_mm)
            if part.wound_twice.any():
                self.twice.add(k, float(part.wound_twice.sum()) * self._voxel)
            elif part.has_loops:
                self.loops.add(k, float(part.inside.sum()) * self._voxel)
            if part.is_retraced:
                self.repeated.add(k, float(part.inside.sum()) * self._voxel)
            others = [other for index, other in enumerate(parts) if index != number]
            if (
                not outline.is_xor
                and part.inside.any()
                and any(
                    other.inside.sum() > part.inside.sum() and not np.any(part.inside & ~other.inside)
                    for other in others
                )
            ):
                self.nested.add(k, float(part.inside.sum()) * self._voxel)

    def fill_gaps(self, patches: Mapping[int, Patch]) -> tuple[dict[int, Patch], tuple[str, ...]]:
        """Add the slices that may be interpolated."""
        added, remarks = fill_gaps(patches, self._pixel_mm, self.slices)
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
            raise ContourSelfCrossing(
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
    contours: Sequence[ClosedContour], index_to_patient: npt.NDArray[np.float64], size: tuple[int, int, int]
) -> FilledRegion:
    """Fill closed contours on the slices they were drawn on.

    A voxel is inside when its center is, or lies on the path. CLOSED_PLANAR contours of a slice are joined,
    CLOSEDPLANAR_XOR ones combined by exclusive or; a keyhole makes a hole in one contour. A contour that is stored
    more than once counts once.

    Args:
        contours: Of one region.
        index_to_patient: Affine, shape (4, 4), of the grid: (i, j, k) to LPS mm.
        size: Voxels of the grid along i, j, k.

    Raises:
        GeometryMismatch: Contours do not lie in slice planes of the grid.
        ContourGap: Slices are missing between drawn ones, and may not be interpolated.
        ContourMixedTypes: Both closed types on one slice.
        ContourSelfCrossing: Much of the region is run round twice.
        ContourOutsideImage: More than a tenth of the region lies outside the grid.
        EmptyMask: No voxel center is inside.
    """
    filling = _Filling(index_to_patient, size)
    outlines = filling.outlines(contours)
    if not outlines:
        raise EmptyMask("No contour has three different points, so they enclose nothing. Draw the region again.")
    patches, remarks = filling.fill_gaps({k: filling.patch(k, found) for k, found in outlines.items()})
    mask = filling.draw(patches)
    return FilledRegion(mask, (*filling.remarks(), *remarks))


def _outside_error(cause: str) -> ContourOutsideImage:
    return ContourOutsideImage(f"{cause} Send the series it was drawn on, with all its slices.")
