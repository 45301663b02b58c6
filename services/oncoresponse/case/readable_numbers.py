"""Numbers, units and names as a physician reads them, the same in every sentence of every stage."""

from __future__ import annotations

import re

_READABLE = {
    "1": "",
    "": "",
    "a": "years",
    "d": "days",
    "mm2": "mm²",
    "mm3": "mm³",
    "[hnsf'U]": "HU",
    "[arb'U]": "arb. units",
}


def significant(value: float) -> str:
    """A value of unknown magnitude, three significant digits, never in exponents where a reader can do without."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
        return text if "e" not in text else f"{value:.0f}"
    return f"{value:.2e}"


def readable_unit(unit: str) -> str:
    """UCUM as a physician writes it; empty for a pure number."""
    return _READABLE.get(unit, re.sub(r"\{[^}]*\}", "", unit))


def spoken_value(value: float, unit: str) -> str:
    """A value with its unit (UCUM) as a physician writes it, three significant digits."""
    return f"{significant(value)} {readable_unit(unit)}".strip()


def percent(probability: float) -> str:
    """Whole percent; never 0 % or 100 %, which no model can claim."""
    if probability < 0.01:
        return "<1 %"
    return ">99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def inside_sentence(title: str) -> str:
    """The title with a small first letter, unless it begins with an abbreviation or a name."""
    first = title.split(" ")[0]
    return title[:1].lower() + title[1:] if first[1:].islower() else title
