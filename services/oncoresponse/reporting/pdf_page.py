"""A page measured in millimetres from its top left corner, with text that wraps by its true width."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle

A4_WIDTH_MM, A4_HEIGHT_MM = 210.0, 297.0
_MM_PER_INCH = 25.4
_MM_PER_POINT = _MM_PER_INCH / 72
_LEADING = 1.28
_MEASURE_SCALE = 20
_UNKNOWN_GLYPH = "\u25a1"


def _properties(size: float, weight: str) -> FontProperties:
    return FontProperties(family=["DejaVu Sans"], size=size, weight=weight)


_untyped_renderer: Any = RendererAgg  # matplotlib gives it no types


@cache
def _known_characters() -> frozenset[int]:
    return frozenset(get_font(findfont(_properties(8, "normal"))).get_charmap())


def drawable(text: str) -> str:
    """The text with control characters gone and characters the font lacks shown as an empty box."""
    known = _known_characters()
    shown = []
    for character in " ".join(text.split()):
        if ord(character) < 32 or 127 <= ord(character) < 160:
            continue
        shown.append(character if ord(character) in known else _UNKNOWN_GLYPH)
    return "".join(shown)


@dataclass
class Page:
    """One A4 page. All positions and sizes in mm, y downwards; font sizes in points."""

    figure: Figure = field(default_factory=lambda: Figure(figsize=(A4_WIDTH_MM / _MM_PER_INCH, A4_HEIGHT_MM / 25.4)))

    def __post_init__(self) -> None:
        self.figure.set_dpi(72)
        FigureCanvasAgg(self.figure)
        # Measured large, because at 72 dots an inch every glyph is rounded to whole dots.
        self._renderer: Any = _untyped_renderer(1, 1, 72 * _MEASURE_SCALE)

    def text(self, x: float, y: float, text: str, *, size: float = 8, weight: str = "normal", **style: Any) -> None:
        """One line whose top is at y; ``ha`` and ``color`` as in matplotlib."""
        self.figure.text(
            x / A4_WIDTH_MM,
            1 - (y + 0.8 * size * _MM_PER_POINT) / A4_HEIGHT_MM,
            drawable(text),
            fontproperties=_properties(size, weight),
            va="baseline",
            **style,
        )

    def paragraph(
        self,
        x: float,
        y: float,
        width: float,
        text: str,
        *,
        size: float = 8,
        weight: str = "normal",
        most_lines: int = 20,
        **style: Any,
    ) -> float:
        """Wrapped text; returns the y below its last line. What does not fit ``most_lines`` ends in an ellipsis."""
        lines = self.wrap(text, width, size, weight)
        if len(lines) > most_lines:
            lines = lines[:most_lines]
            cut = self._longest(lines[-1], " …", width, size, weight)
            lines[-1] = f"{lines[-1][:cut].rstrip()} …"
        for line in lines:
            self.text(x, y, line, size=size, weight=weight, **style)
            y += size * _MM_PER_POINT * _LEADING
        return y

    def wrap(self, text: str, width: float, size: float, weight: str = "normal") -> list[str]:
        """Lines that are at most ``width`` mm long; a longer word is broken, a percent sign stays with its number."""
        lines: list[str] = []
        line = ""
        for word in re.split(r" (?!%)", drawable(text)):
            candidate = f"{line} {word}" if line else word
            if self.width(candidate, size, weight) <= width:
                line = candidate
                continue
            if line:
                lines.append(line)
            while self.width(word, size, weight) > width:
                cut = max(self._longest(word, "", width, size, weight), 1)
                lines.append(word[:cut])
                word = word[cut:]
            line = word
        if line:
            lines.append(line)
        return lines

    def fit(self, text: str, width: float, size: float, weight: str = "normal") -> str:
        """The text, shortened by an ellipsis where it is longer than ``width`` mm."""
        text = drawable(text)
        if self.width(text, size, weight) <= width:
            return text
        return f"{text[: self._longest(text, '…', width, size, weight)].rstrip()}…"

    def _longest(self, text: str, ending: str, width: float, size: float, weight: str) -> int:
        """How many characters fit, with the ending, into ``width`` mm."""
        fits = bisect_right(range(len(text)), width, key=lambda n: self.width(text[: n + 1] + ending, size, weight))
        return int(fits)

    def width(self, text: str, size: float, weight: str = "normal") -> float:
        """Width of one line in mm."""
        points, _, _ = self._renderer.get_text_width_height_descent(text, _properties(size, weight), ismath=False)
        return float(points) / _MEASURE_SCALE * _MM_PER_POINT

    def box(self, x: float, y: float, width: float, height: float, *, color: str, edge: str = "none") -> None:
        """Filled rectangle."""
        self.figure.add_artist(
            Rectangle(
                (x / A4_WIDTH_MM, 1 - (y + height) / A4_HEIGHT_MM),
                width / A4_WIDTH_MM,
                height / A4_HEIGHT_MM,
                facecolor=color,
                edgecolor=edge,
                linewidth=0.8,
                zorder=-2,
            )
        )

    def badge(self, right: float, y: float, text: str, *, size: float, color: str) -> None:
        """Short text in a rounded frame that ends at ``right``."""
        width, height = self.width(text, size, "bold") + 5, size * _MM_PER_POINT * 1.9
        axes = self.axes(right - width, y, width, height)
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        axes.add_patch(
            FancyBboxPatch(
                (0.4, 0.4),
                width - 0.8,
                height - 0.8,
                boxstyle="round,pad=0,rounding_size=1",
                facecolor="white",
                edgecolor=color,
                linewidth=1,
            )
        )
        self.text(
            right - width / 2,
            y + height / 2 - 0.5 * size * _MM_PER_POINT,
            text,
            size=size,
            weight="bold",
            ha="center",
            color=color,
        )

    def rule(self, x: float, y: float, width: float, *, color: str, weight: float = 0.6) -> None:
        """Horizontal line."""
        height = 1 - y / A4_HEIGHT_MM
        self.figure.add_artist(
            Line2D([x / A4_WIDTH_MM, (x + width) / A4_WIDTH_MM], [height, height], color=color, linewidth=weight)
        )

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes in a rectangle given by its top left corner."""
        return self.figure.add_axes(
            (x / A4_WIDTH_MM, 1 - (y + height) / A4_HEIGHT_MM, width / A4_WIDTH_MM, height / A4_HEIGHT_MM)
        )
