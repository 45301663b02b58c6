"""Documents set with typst from the templates of this package: tagged PDF, PDF/A-2b and PDF/UA-1, or PNG.

Only the fonts of this package are used, so every machine sets the same page. A character that none of them holds is
written as its code point, never as an empty box.
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typst
from fontTools.ttLib import TTFont

Json = dict[str, Any]

_HERE = Path(__file__).parent
_FONTS, _TEMPLATES = _HERE / "fonts", _HERE / "templates"
PDF_STANDARDS: list[typst.PDFStandard] = ["a-2b", "ua-1"]
PICTURE_DPI = 200


@cache
def words(language: str) -> Json:
    """The fixed words of the page in a language; one file for each in the templates."""
    found: Json = json.loads((_TEMPLATES / f"words.{language}.json").read_text(encoding="utf-8"))
    return found


def set_pdf(template: str, content: Json, pictures: Mapping[str, bytes]) -> bytes:
    """Set a template as PDF; the same arguments give the same bytes.

    Args:
        template: Name of a file in the templates.
        content: What the template reads as ``data.json``.
        pictures: Image files it refers to, by name.
    """
    return _compiled(template, content, pictures, format="pdf", pdf_standards=PDF_STANDARDS)


def set_picture(template: str, content: Json, pictures: Mapping[str, bytes]) -> bytes:
    """Set a template as PNG of 200 dots an inch; the same arguments give the same bytes."""
    return _compiled(template, content, pictures, format="png", ppi=PICTURE_DPI)


def displayable(content: Any) -> Any:
    """The content with every text as the fonts show it: composed, no control characters, unknown ones by code point."""
    if isinstance(content, str):
        known = _known_characters()
        text = " ".join(unicodedata.normalize("NFC", content).split()).replace(" %", "\u00a0%")
        shown = []
        for character in text:
            if unicodedata.category(character) in ("Cc", "Cs"):
                continue
            is_mark = unicodedata.category(character) == "Cf"  # directions and joiners have no glyph
            shown.append(character if is_mark or ord(character) in known else f"[U+{ord(character):04X}]")
        return "".join(shown)
    if isinstance(content, dict):
        return {key: displayable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [displayable(item) for item in content]
    return content


def _compiled(template: str, content: Json, pictures: Mapping[str, bytes], **options: Any) -> bytes:
    with TemporaryDirectory(prefix="page-") as name:
        root = Path(name)
        for source in _TEMPLATES.glob("*.typ"):
            shutil.copy(source, root)
        (root / "data.json").write_text(json.dumps(content), encoding="utf-8")
        for picture, data in pictures.items():
            (root / picture).write_bytes(data)
        made = typst.compile(root / template, root=root, font_paths=_fonts(), **options)
    if not isinstance(made, bytes):
        raise TypeError(f"{template} became {len(made or ())} pages and has to be one")
    return made


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[_FONTS])


@cache
def _known_characters() -> frozenset[int]:
    known: set[int] = set()
    for path in sorted(_FONTS.glob("*.ttf")):
        with TTFont(path, lazy=True) as font:
            known.update(font.getBestCmap())
    return frozenset(known)
