"""Which lesion of the later scan is which of the earlier one: by overlap and distance of masks on one grid.

The scans have to be registered before; nothing is moved here. The pairs are a proposal with a score, for a physician to
confirm or change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment

from oncoresponse.errors import InvalidRequest

MatchKind = Literal["pair", "split", "merged", "ambiguous", "new", "vanished"]


class LesionMatch(BaseModel):
    """Lesions that belong together.

    Attributes:
        kind: ``pair``: one to one; ``split``: one became several; ``merged``: several became one; ``ambiguous``:
            several to several; ``new`` and ``vanished``: without a partner.
        earlier: Identifiers in the earlier scan.
        later: Identifiers in the later scan.
        score: 0 to 1: the overlap (shared volume over that of the smaller lesion) of the weakest link, or, where
            lesions do not touch, at most 0.5 and falling to 0 with the distance of their surfaces; 0 for new and
            vanished.
        distance_mm: Smallest distance of the surfaces; 0 where they overlap; ``None`` for new and vanished.
        sentence: The same in words.
        proposed: Always true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: MatchKind
    earlier: tuple[str, ...]
    later: tuple[str, ...]
    score: float
    distance_mm: float | None
    sentence: str
    proposed: Literal[True] = True


def match_lesions(
    earlier: Mapping[str, NDArray[np.bool_]],
    later: Mapping[str, NDArray[np.bool_]],
    spacing_mm: Sequence[float],
    *,
    smallest_overlap: float = 0.1,
    largest_distance_mm: float = 15.0,
) -> tuple[LesionMatch, ...]:
    """Propose which lesions belong together.

    Lesions are linked where they overlap by ``smallest_overlap`` or more. Those without such a link are paired one
    to one with the nearest within ``largest_distance_mm``, the shortest distances in all.

    Args:
        earlier: Masks (k, j, i) by identifier, registered to the grid of the later ones.
        later: Masks on the same grid.
        spacing_mm: Of the grid, in the order of the axes (k, j, i).
        smallest_overlap: Share of the smaller lesion.
        largest_distance_mm: Between the surfaces.

    Returns:
        Every lesion in exactly one match; the order of the masks does not matter.

    Raises:
        InvalidRequest: Masks of different shape, an empty mask, or a spacing that is not three numbers above 0.
    """
    _check(earlier, later, spacing_mm)
    before, after = sorted(earlier), sorted(later)
    overlap = np.array([[_overlap(earlier[a], later[b]) for b in after] for a in before]).reshape(
        len(before), len(after)
    )
    linked = overlap >= smallest_overlap
    distances = np.zeros_like(overlap)
    free_before = [row for row in range(len(before)) if not linked[row].any()]
    free_after = [column for column in range(len(after)) if not linked[:, column].any()]
    if free_before and free_after:
        gaps = np.array(
            [[_distance_mm(earlier[before[a]], later[after[b]], spacing_mm) for b in free_after] for a in free_before]
        )
        # A pair beyond the limit costs more than any set of pairs within it, so that none is given up for it.
        cost = np.where(gaps <= largest_distance_mm, gaps, (largest_distance_mm + 1.0) * (min(gaps.shape) + 1))
        for a, b in zip(*linear_sum_assignment(cost), strict=True):
            if gaps[a, b] <= largest_distance_mm:
                linked[free_before[a], free_after[b]] = True
                distances[free_before[a], free_after[b]] = gaps[a, b]
    return tuple(
        _match(rows, columns, before, after, linked, overlap, distances, largest_distance_mm)
        for rows, columns in _connected(linked)
    )


def _check(
    earlier: Mapping[str, NDArray[np.bool_]], later: Mapping[str, NDArray[np.bool_]], spacing_mm: Sequence[float]
) -> None:
    masks = [*earlier.values(), *later.values()]
    if len(spacing_mm) != 3 or not all(np.isfinite(value) and value > 0 for value in spacing_mm):
        raise InvalidRequest("The spacing has to be three numbers above 0, in mm.", field="spacing_mm")
    if len({mask.shape for mask in masks}) > 1 or any(mask.ndim != 3 for mask in masks):
        raise InvalidRequest("The masks are not on one grid. Register and resample the earlier ones first.")
    if any(not mask.any() for mask in masks):
        raise InvalidRequest("A lesion's mask is empty. Leave it out.")


def _overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(first & second) / min(np.count_nonzero(first), np.count_nonzero(second)))


def _distance_mm(first: NDArray[np.bool_], second: NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Smallest distance between voxel centers of the two; 0 where they share a voxel."""
    points = np.argwhere(first | second)
    box = tuple(slice(low, high + 1) for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True))
    field = distance_transform_edt(~first[box], sampling=tuple(spacing_mm))
    return float(field[second[box]].min())


def _connected(linked: NDArray[np.bool_]) -> list[tuple[list[int], list[int]]]:
    """Groups of rows and columns joined by links, in the order of rows, then of columns without a row."""
    rows_left, columns_left = set(range(linked.shape[0])), set(range(linked.shape[1]))
    groups = []
    for start in range(linked.shape[0]):
        if start not in rows_left:
            continue
        rows, columns, grown = {start}, set[int](), True
        while grown:
            found = {int(column) for row in rows for column in np.flatnonzero(linked[row])}
            back = {int(row) for column in found for row in np.flatnonzero(linked[:, column])} | rows
            grown = found != columns or back != rows
            rows, columns = back, found
        rows_left -= rows
        columns_left -= columns
        groups.append((sorted(rows), sorted(columns)))
    return groups + [([], [column]) for column in sorted(columns_left)]


def _match(
    rows: list[int],
    columns: list[int],
    before: list[str],
    after: list[str],
    linked: NDArray[np.bool_],
    overlap: NDArray[np.float64],
    distances: NDArray[np.float64],
    largest_distance_mm: float,
) -> LesionMatch:
    names = tuple(before[row] for row in rows), tuple(after[column] for column in columns)
    if not columns or not rows:
        kind: MatchKind = "vanished" if rows else "new"
        sentence = "No lesion of the other scan overlaps it or lies near."
        return LesionMatch(kind=kind, earlier=names[0], later=names[1], score=0, distance_mm=None, sentence=sentence)
    links = [(row, column) for row in rows for column in columns if linked[row, column]]
    distance = max(float(distances[link]) for link in links)
    score = min(float(overlap[link]) for link in links) if distance == 0 else 0.5 * (1 - distance / largest_distance_mm)
    if len(rows) == 1 and len(columns) == 1:
        kind = "pair"
        sentence = (
            f"They share {score:.0%} of the smaller one." if distance == 0 else f"They lie {distance:.1f} mm apart."
        )
    elif len(rows) == 1:
        kind, sentence = "split", f"One lesion became {len(columns)}."
    elif len(columns) == 1:
        kind, sentence = "merged", f"{len(rows)} lesions became one."
    else:
        kind, sentence = "ambiguous", f"{len(rows)} lesions became {len(columns)}; which is which has to be said."
    return LesionMatch(
        kind=kind, earlier=names[0], later=names[1], score=score, distance_mm=distance, sentence=sentence
    )
