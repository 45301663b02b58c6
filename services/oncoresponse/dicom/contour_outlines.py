"""One closed contour in its plane: cleaned, compared with another one, filled.

Coordinates are those of the slice's own plane. DICOM PS3.3 C.8.8.6.1 and C.8.8.6.3: the last point is joined to the
first, points along the path belong to the region, and a hole may be drawn by a keyhole, in one contour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.measure import grid_points_in_poly

Points = npt.NDArray[np.float64]

# Two exports of one contour differ by the decimals they print; no hand draws two outlines so close to each other.
SAME_OUTLINE_MM = 0.05
_SAME_POINT_MM = 1e-3
# Vertices are put on a lattice this fine, so that a line drawn through pixel centers, as programs that trace a mask
# write it, runs through them in spite of the rounding of the change of coordinates.
_LATTICE_PER_PIXEL = 2**16
# An edge must reach this far to both sides of another one, in pixels, to cross it.
_CROSSING_PIXELS = 0.01
# Pairs of edges are compared in blocks, which bounds the memory that a contour of many points asks for.
_AT_ONCE = 256
_MANY_POINTS = 1000


@dataclass(frozen=True, eq=False)
class FilledOutline:
    """Pixel centers inside one contour.

    Attributes:
        inside: Axes (j, i), with the path itself.
        wound_twice: Those of ``inside`` round which the contour runs more than once because it crosses itself.
        has_loops: Whether it crosses itself so that loops run in opposite directions, as in a figure eight.
        is_retraced: Whether all of it was drawn more than once, in one contour.
    """

    inside: npt.NDArray[np.bool_]
    wound_twice: npt.NDArray[np.bool_]
    has_loops: bool
    is_retraced: bool


def clean_outline(points: Points) -> Points:
    """Drop points that repeat the one before, the first one repeated at the end, and second rounds of the same path.

    Args:
        points: Shape (points, dimensions), mm.

    Returns:
        Fewer than three points where the contour encloses nothing.
    """
    following = np.roll(points, -1, axis=0)
    kept: Points = points[np.abs(points - following).max(axis=1) > _SAME_POINT_MM]
    if len(kept) == 0:
        return points[:1]
    extent = np.ptp(kept, axis=0)
    for rounds in range(len(kept) // 3, 1, -1):
        if len(kept) % rounds == 0:
            period = len(kept) // rounds
            # Points that lie dense along one round are near those that follow, too, but do not span it.
            spans_all = np.abs(np.ptp(kept[:period], axis=0) - extent).max() <= SAME_OUTLINE_MM
            if spans_all and np.abs(kept - np.roll(kept, period, axis=0)).max() <= SAME_OUTLINE_MM:
                return kept[:period]
    return kept


def enclosed_area(outline: Points) -> float:
    """Area of a polygon by the shoelace formula; of a figure eight, the difference of its loops."""
    first, second = outline.T
    return abs(float(first @ np.roll(second, -1) - second @ np.roll(first, -1))) / 2


def same_outline(one: Points, other: Points) -> bool:
    """Whether two polygons, shape (points, 2) in mm, follow one path, whatever their first point and direction."""
    low, high = one.min(axis=0), one.max(axis=0)
    if max(np.abs(other.min(axis=0) - low).max(), np.abs(other.max(axis=0) - high).max()) > SAME_OUTLINE_MM:
        return False
    length = float(np.linalg.norm(one - np.roll(one, -1, axis=0), axis=1).sum())
    if abs(enclosed_area(one) - enclosed_area(other)) > SAME_OUTLINE_MM * length:
        return False
    return _lies_on(one, other) and _lies_on(other, one)


def nearly_same_outline(one: Points, other: Points, distance: float) -> bool:
    """Whether two polygons follow one path within a distance, in the unit of their points, shape (points, 2)."""
    extent = np.abs(one.min(axis=0) - other.min(axis=0)), np.abs(one.max(axis=0) - other.max(axis=0))
    if np.max(extent) > distance:
        return False
    return _lies_on(one, other, distance) and _lies_on(other, one, distance)


def _lies_on(points: Points, path: Points, distance: float = SAME_OUTLINE_MM) -> bool:
    points, path = _thinned(points), _thinned(path)
    along = np.roll(path, -1, axis=0) - path
    squared = np.maximum((along**2).sum(axis=1), np.finfo(float).tiny)
    for first in range(0, len(points), _AT_ONCE):
        from_start = points[first : first + _AT_ONCE, None] - path[None]
        nearest = np.clip((from_start * along).sum(axis=2) / squared, 0, 1)
        apart = np.linalg.norm(from_start - nearest[..., None] * along, axis=2).min(axis=1)
        if apart.max() > distance:
            return False
    return True


def _thinned(path: Points) -> Points:
    """A closed path of very many points with those it needs, because each point is compared with each edge."""
    if len(path) <= _MANY_POINTS:
        return path
    # Here, because it takes all of scipy.signal along, which takes a second.
    from skimage.measure import approximate_polygon

    kept: Points = approximate_polygon(np.vstack([path, path[:1]]), SAME_OUTLINE_MM / 10)[:-1]  # type: ignore[no-untyped-call]
    return kept


def fill_outline(outline: Points, shape: tuple[int, int]) -> FilledOutline:
    """Pixel centers inside a polygon.

    Inside is what the even-odd rule says, so that a keyhole is a hole in whichever direction it is drawn. Where a
    contour crosses itself and runs twice round a place, that place counts as inside and is told.

    Args:
        outline: Shape (points, 2) as (j, i), in pixels.
        shape: Rows and columns of the answer.
    """
    vertices = np.rint(outline * _LATTICE_PER_PIXEL) / _LATTICE_PER_PIXEL
    # 0 is outside, 1 inside, 2 a vertex, 3 an edge.
    labels = grid_points_in_poly(shape, vertices, binarize=False)  # type: ignore[no-untyped-call]
    inside = labels >= 1
    winding = _winding_numbers(vertices, shape)
    doubtful = (winding != 0) & ~inside
    is_retraced = False
    if doubtful.any() and not _crosses_itself(vertices):
        # Nothing is inside by the even-odd rule: the whole path was drawn twice. Else it is a keyhole whose inner round
        # has the direction of the outer one.
        is_retraced = not (labels == 1).any()
        inside = winding != 0 if is_retraced else inside
        doubtful = np.zeros_like(inside)
    strictly = winding[labels == 1]
    has_loops = bool(strictly.size and strictly.min() < 0 < strictly.max())
    return FilledOutline(inside | doubtful, doubtful, has_loops, is_retraced)


def _winding_numbers(vertices: Points, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """How often a polygon runs round each pixel center, by the crossings of each row with its edges."""
    start, end = vertices, np.roll(vertices, -1, axis=0)
    direction = np.sign(end[:, 0] - start[:, 0]).astype(int)
    first = np.ceil(np.minimum(start[:, 0], end[:, 0])).astype(int)
    count = np.ceil(np.maximum(start[:, 0], end[:, 0])).astype(int) - first
    edge = np.repeat(np.arange(len(vertices)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    along = (row - start[edge, 0]) / (end[edge, 0] - start[edge, 0])
    column = np.ceil(start[edge, 1] + along * (end[edge, 1] - start[edge, 1])).astype(int)
    steps = np.zeros((shape[0], shape[1] + 1), np.int64)
    valid = (row >= 0) & (row < shape[0])
    np.add.at(steps, (row[valid], np.clip(column[valid], 0, shape[1])), direction[edge[valid]])
    return np.cumsum(steps, axis=1)[:, :-1]


def _crosses_itself(vertices: Points) -> bool:
    """Whether two edges cross, not merely touch or lie on one another as those of a keyhole's channel do."""
    for first in range(0, len(vertices), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        apart = _separates(vertices, some, slice(None))
        if (apart & _separates(vertices, slice(None), some).T).any():
            return True
    return False


def _separates(vertices: Points, edges: slice, others: slice) -> npt.NDArray[np.bool_]:
    """Whether the line of each edge runs between the ends of each other edge, axes (edge, other)."""
    following = np.roll(vertices, -1, axis=0)
    start, along = vertices[edges], (following - vertices)[edges]
    length = np.maximum(np.linalg.norm(along, axis=1), np.finfo(float).tiny)
    sides = []
    for points in (vertices[others], following[others]):
        offset = points[None] - start[:, None]
        sides.append((along[:, None, 0] * offset[..., 1] - along[:, None, 1] * offset[..., 0]) / length[:, None])
    low, high = np.minimum(*sides), np.maximum(*sides)
    return np.asarray((low < -_CROSSING_PIXELS) & (high > _CROSSING_PIXELS), bool)
