"""Looks for planted values in every file below some folders: as they are, compressed, in base64, in UTF-16, in hex."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
_DEEPEST = 3


def spellings(value: str) -> Iterator[bytes]:
    """A value in the encodings in which it may lie somewhere. A pickle holds its texts as UTF-8."""
    yield value.encode()
    yield value.encode("utf-16-le")
    yield value.encode("utf-16-be")
    yield value.encode().hex().encode()
    if re.fullmatch("[0-9a-f]{64}", value):
        yield bytes.fromhex(value)


def unfolded(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """Bytes, what is compressed in them (zlib, gzip, raw deflate of PDF and NRRD), and what is base64 in them."""
    yield data
    if depth == _DEEPEST:
        return
    for at in _starts(data):
        stream = zlib.decompressobj(47)
        try:
            inside = stream.decompress(data[at:], 64 * 1024**2)
        except zlib.error:
            continue
        if len(inside) > 16:
            yield from unfolded(inside, depth + 1)
    for found in _BASE64.finditer(data):
        text = found.group().rstrip(b"=")
        for start in range(min(4, len(text))):
            part = text[start : start + (len(text) - start) // 4 * 4]
            yield base64.b64decode(part)


def _starts(data: bytes) -> Iterator[int]:
    for match in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        yield match.start()


def places(folders: Iterable[Path], planted: Iterable[str]) -> dict[str, list[str]]:
    """In which files each planted value stands, by the value; a value that stands nowhere is left out."""
    wanted = {value: list(spellings(value)) for value in planted}
    found: dict[str, list[str]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            names = str(path.relative_to(folder)).encode()
            for block in (names, *unfolded(path.read_bytes())):
                for value, forms in wanted.items():
                    if str(path) not in found.get(value, []) and any(form in block for form in forms):
                        found.setdefault(value, []).append(str(path))
    return found
