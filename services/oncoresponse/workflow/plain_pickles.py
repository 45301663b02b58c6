"""Reads the pickles of release 0.1.0 without running anything.

That release wrote plain data (the JSON of its messages) as pickles of protocol 4. Such a pickle needs few instructions,
and none of them names a class or calls anything. A pickle with any other instruction is refused before it is loaded.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import pickletools
from typing import Any, NoReturn

from oncoresponse.errors import RecordUnreadable

# Texts, numbers, booleans, None, lists, dictionaries and tuples, and what refers to an object written before. PUT and
# its kin are not among them: protocol 4 does not need them, and they can ask for any amount of memory.
_PLAIN = (
    {"PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET"}
    | {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
    | {"SHORT_BINUNICODE", "BINUNICODE", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"}
    | {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
)
# The longest that release 0.1.0 wrote, the result of an assessment, has about 400.
_MOST_VALUES = 100_000


def plain_value(stored: str) -> Any:
    """The value of a pickle in base64, as the workflow engine stores it.

    Raises:
        RecordUnreadable: It holds anything but plain data, is damaged, or unfolds to more than is ever written.
    """
    try:
        data = base64.b64decode(stored, validate=True)
        foreign = {code.name for code, _, _ in pickletools.genops(data)} - _PLAIN
        if foreign:
            raise RecordUnreadable("A stored value asks for more than plain data and was not read.")
        value = _PlainUnpickler(io.BytesIO(data)).load()
        _require_bounded(value)
    except (binascii.Error, pickle.UnpicklingError, ValueError, IndexError, KeyError, TypeError, EOFError) as error:
        raise RecordUnreadable("A stored value is damaged and was not read.") from error
    return value


class _PlainUnpickler(pickle.Unpickler):
    """The instructions were looked through before; this holds even where that was wrong."""

    def find_class(self, *_: str) -> NoReturn:
        raise pickle.UnpicklingError("a stored value names a class")


def _require_bounded(value: Any) -> None:
    # A value may refer to one before it, or to itself, and so be small as a pickle and endless as JSON.
    waiting, seen = [value], 0
    while waiting:
        seen += 1
        if seen > _MOST_VALUES:
            raise RecordUnreadable("A stored value unfolds to more than is ever written and was not read.")
        current = waiting.pop()
        if isinstance(current, dict):
            waiting.extend(current)
            waiting.extend(current.values())
        elif isinstance(current, list | tuple):
            waiting.extend(current)
