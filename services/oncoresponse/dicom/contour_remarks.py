"""Sentences about what was left out of a contour, or repaired: slices and milliliters, no names."""

from __future__ import annotations

from collections.abc import Iterable


def slices_text(indices: Iterable[int], count: int) -> str:
    """Slices of a series as people count them, from 1, runs joined; those beyond the series by how many they are.

    Args:
        indices: Along index axis k, from 0; those below 0 and from ``count`` on lie beyond the series.
        count: Slices of the series.

    >>> slices_text([4, 5, 6, 9], 20)
    'slices 5 to 7, 10'
    >>> slices_text([-2, -1, 0, 20], 20)
    'slice 1, 2 slices before the first, 1 slice after the last'
    """
    ordered = sorted(set(indices))
    inside = [index + 1 for index in ordered if 0 <= index < count]
    runs: list[list[int]] = []
    for number in inside:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = []
    if runs:
        listed = ", ".join(f"{low}" if low == high else f"{low} to {high}" for low, high in runs)
        parts.append(f"{'slice' if len(inside) == 1 else 'slices'} {listed}")
    for beyond, place in (
        (sum(index < 0 for index in ordered), "before the first"),
        (sum(index >= count for index in ordered), "after the last"),
    ):
        if beyond:
            parts.append(f"{beyond} {'slice' if beyond == 1 else 'slices'} {place}")
    return ", ".join(parts)


def milliliters(volume_mm3: float) -> str:
    """A volume with its unit; two significant digits below 1 ml."""
    value = volume_mm3 / 1000
    return f"{value:.1f} ml" if value >= 1 else f"{value:.2g} ml"


def counted(number: int, noun: str) -> str:
    """A number with its noun, as in "1 contour" or "2 contours"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
