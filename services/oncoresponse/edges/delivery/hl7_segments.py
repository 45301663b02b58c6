r"""HL7 v2.5.1 messages of python-hl7, made from plain values: fields, components, escapes.

python-hl7 writes letters beyond ASCII as hexadecimal escapes, which HL7 defines for bytes and few systems read. With
MSH-18 ``UNICODE UTF-8`` they stand for themselves; its escapes are used for all else (HL7 v2.5.1 section 2.7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import hl7

Component = str | Sequence[str]
"""A component, or its subcomponents."""
Field = str | Sequence[Component]
"""A field without components, or its components."""

_ASCII = re.compile(r"[\x20-\x7e\r]+")
_NEW_LINE = re.compile(r"\r\n|\n|\v|\f|\x85|\u2028|\u2029")
_CONTROL = re.compile(r"[\x00-\x0c\x0e-\x1f\x7f-\x9f]")
_SEPARATORS = "\r|~^&"


def empty_message() -> Any:
    """A message without a segment, with the separators that HL7 recommends."""
    return hl7.Message(separators=_SEPARATORS, esc="\\")


def escaped(message: Any, text: str) -> str:
    r"""A value as it stands in a message: separators and ``\`` escaped, lines ended by ``\.br\``."""
    text = _CONTROL.sub("", _NEW_LINE.sub("\r", text))
    return _ASCII.sub(lambda found: str(message.escape(found.group())), text)


def add_segment(message: Any, name: str, fields: dict[int, Field]) -> None:
    """Append a segment.

    Args:
        message: Is changed.
        name: Of three letters.
        fields: By their number in the standard, values as they are: they are escaped here.
    """
    segment = message.create_segment([message.create_field([name])])
    for number in range(1, max(fields, default=0) + 1):
        segment.append(_field(message, fields.get(number, "")))
    message.append(segment)


def add_header(message: Any, fields: dict[int, Field]) -> None:
    """Append MSH, whose first two fields are the separators themselves."""
    segment = message.create_segment([message.create_field(["MSH"])])
    segment.append(message.create_field([_SEPARATORS[1]]))
    segment.append(message.create_field([f"{_SEPARATORS[3]}{_SEPARATORS[2]}\\{_SEPARATORS[4]}"]))
    for number in range(3, max(fields) + 1):
        segment.append(_field(message, fields.get(number, "")))
    message.append(segment)


def _field(message: Any, value: Field) -> Any:
    """One repetition; trailing components that are empty are left out."""
    if isinstance(value, str):
        return message.create_field([escaped(message, value)])
    components = [
        escaped(message, each)
        if isinstance(each, str)
        else message.create_component([escaped(message, part) for part in each])
        for each in value
    ]
    while components and not str(components[-1]):
        components.pop()
    return message.create_field([message.create_repetition(components)])


def encoded(message: Any) -> bytes:
    """As it is sent: UTF-8, each segment ended by a carriage return."""
    text = str(message)
    return (text if text.endswith("\r") else text + "\r").encode()


def timestamp(fhir: str) -> str:
    """TS of HL7 v2.5.1 (section 2.A.78) from a FHIR date or dateTime; empty from an empty one, or from none."""
    if re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", fhir):
        return fhir.replace("-", "")
    try:
        time = datetime.fromisoformat(fhir)
    except ValueError:
        return ""
    return time.strftime("%Y%m%d%H%M%S%z")
