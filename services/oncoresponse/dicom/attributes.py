"""Typed reading of single DICOM attributes, with errors that name the attribute and never its value.

pydicom reports odd values through warnings and its logger, and both quote the value, which may identify a
patient. Everything that touches a pydicom object therefore runs inside
:func:`oncoresponse.case.pydicom_messages.without_pydicom_messages`.
"""

from __future__ import annotations

import math
import struct
from functools import cache

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.errors import InvalidAttribute, MissingAttribute

# Value representations of numbers written as text.
_TEXT_NUMBERS = ("DS", "IS")
# Those of text with several values, in which the library changes nothing but the padding.
_PLAIN_VRS = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UI"})
_ESCAPE = b"\x1b"


def _value(dataset: Dataset, keyword: str) -> object:
    try:
        with without_pydicom_messages():
            value = dataset.get(keyword)
            if isinstance(value, bytes) and dictionary_VR(keyword) in _TEXT_NUMBERS:
                # More than 64 KiB has to be stored as UN in Explicit VR (PS3.5 6.2.2), and pydicom leaves it so.
                value = value.decode("ascii").strip(" \0").split("\\")
            # A DS or IS is converted when it is touched, so the list has to be made in here.
            return list(value) if isinstance(value, (list, tuple)) or _is_multiple(value) else value
    except (ValueError, TypeError, ArithmeticError, AttributeError, NotImplementedError, LookupError, OSError):
        raise invalid(keyword) from None


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _plain_numbers(dataset: Dataset, keyword: str) -> list[int] | None:
    """As :func:`_plain_text`, of 16-bit numbers."""
    element = dataset.get_item(_tag(keyword), keep_deferred=True)
    if not isinstance(element, RawDataElement) or (element.VR or _vr(keyword)) != "US" or not element.value:
        return None
    count, rest = divmod(len(element.value), 2)
    return None if rest else list(struct.unpack(f"{'<' if element.is_little_endian else '>'}{count}H", element.value))


@cache
def _vr(keyword: str) -> str:
    return dictionary_VR(keyword)


def _plain_text(dataset: Dataset, keyword: str) -> str | None:
    """Text of an element as it stands in the file; ``None`` where it has to be interpreted first.

    The library takes several times as long, and each instance that comes in is asked for some twenty.
    """
    element = dataset.get_item(_tag(keyword), keep_deferred=True)
    if not isinstance(element, RawDataElement) or (element.VR or _vr(keyword)) not in _PLAIN_VRS:
        return None
    value = element.value
    if value is None:
        return None
    return value.decode("ascii").rstrip(" \0") if value.isascii() and _ESCAPE not in value else None


def _is_multiple(value: object) -> bool:
    return type(value).__name__ == "MultiValue"


def invalid(keyword: str) -> InvalidAttribute:
    """The error for an attribute whose value cannot be read."""
    return InvalidAttribute(
        f"DICOM attribute {keyword} holds a value that cannot be read. Correct it at the source and send the "
        "study again.",
        keyword=keyword,
    )


def missing(keyword: str) -> MissingAttribute:
    """The error for an attribute that is absent or empty."""
    return MissingAttribute(
        f"DICOM attribute {keyword} is absent or empty and is needed. Export the series again with it.",
        keyword=keyword,
    )


def text(dataset: Dataset, keyword: str) -> str | None:
    """First value as stripped text; ``None`` when absent or empty.

    Raises:
        InvalidAttribute: The element cannot be decoded.
    """
    values = texts(dataset, keyword)
    return values[0] if values and values[0] else None


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """All values as stripped text; empty when absent.

    Raises:
        InvalidAttribute: The element cannot be decoded.
    """
    plain = _plain_text(dataset, keyword)
    if plain is not None:
        return tuple(part.strip(" \0") for part in plain.split("\\")) if plain else ()
    value = _value(dataset, keyword)
    if value is None or value == "":
        return ()
    parts = value if isinstance(value, list) else [value]
    try:
        with without_pydicom_messages():
            return tuple(str(part).strip(" \0") for part in parts)
    except (ValueError, LookupError):
        raise invalid(keyword) from None


def required_text(dataset: Dataset, keyword: str) -> str:
    """As :func:`text`.

    Raises:
        MissingAttribute: Absent or empty.
        InvalidAttribute: The element cannot be decoded.
    """
    value = text(dataset, keyword)
    if value is None:
        raise missing(keyword)
    return value


def numbers(dataset: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """All values as finite floats; ``None`` when absent or empty.

    Args:
        dataset: Where to look.
        keyword: DICOM keyword.
        count: How many values there must be.

    Raises:
        InvalidAttribute: Not numbers, not finite, or not ``count`` of them.
    """
    value: object = _plain_numbers(dataset, keyword)
    if value is None:
        value = _value(dataset, keyword)
    if value is None or value == "" or value == []:
        return None
    parts = value if isinstance(value, list) else [value]
    if all(part is None or part == "" for part in parts):
        return None
    try:
        found = tuple(float(str(part)) for part in parts)
    except (ValueError, TypeError):
        raise invalid(keyword) from None
    if not all(map(math.isfinite, found)) or (count is not None and len(found) != count):
        raise invalid(keyword)
    return found


def number(dataset: Dataset, keyword: str) -> float | None:
    """A single finite float; ``None`` when absent or empty.

    Raises:
        InvalidAttribute: Not one finite number.
    """
    found = numbers(dataset, keyword, 1)
    return None if found is None else found[0]


def required_number(dataset: Dataset, keyword: str) -> float:
    """As :func:`number`.

    Raises:
        MissingAttribute: Absent or empty.
        InvalidAttribute: Not one finite number.
    """
    found = number(dataset, keyword)
    if found is None:
        raise missing(keyword)
    return found


def required_numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """As :func:`numbers`.

    Raises:
        MissingAttribute: Absent or empty.
        InvalidAttribute: Not ``count`` finite numbers.
    """
    found = numbers(dataset, keyword, count)
    if found is None:
        raise missing(keyword)
    return found


def stored_value(dataset: Dataset, keyword: str) -> int | None:
    """An attribute of VR "US or SS" (a stored pixel value), signed as Pixel Representation says.

    In Implicit VR the ambiguity survives reading, and the value may come as two bytes.
    """
    value = _value(dataset, keyword)
    if isinstance(value, bytes) and len(value) == 2:
        value = int.from_bytes(value, "little")
    if not isinstance(value, int):
        return None
    signed = number(dataset, "PixelRepresentation") == 1
    return value - 0x10000 if signed and value > 0x7FFF else value


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Items of a sequence; empty when absent.

    Raises:
        InvalidAttribute: The element is not a sequence.
    """
    try:
        with without_pydicom_messages():
            value = dataset.get(keyword)
            if value is None:
                return ()
            if not isinstance(value, Sequence):
                raise invalid(keyword)
            return tuple(value)
    except (ValueError, TypeError, AttributeError, NotImplementedError, LookupError, OSError, EOFError):
        raise invalid(keyword) from None


def private_text(dataset: Dataset, group: int, creator: str, element: int) -> str | None:
    """A private element (DICOM PS3.5 7.8) as text; ``None`` when absent or empty.

    In Implicit VR a private element may come as bytes; every one used here is text inside.
    """
    try:
        with without_pydicom_messages():
            block = dataset.private_block(group, creator)
            value = block[element].value
    except (KeyError, ValueError, TypeError):
        return None
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return str(value).strip(" \0") or None if value is not None else None


def private_number(dataset: Dataset, group: int, creator: str, element: int) -> float | None:
    """As :func:`private_text`, a finite number; ``None`` also when it is not one."""
    found = private_text(dataset, group, creator, element)
    try:
        value = float(found) if found is not None else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None
