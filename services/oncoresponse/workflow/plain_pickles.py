"""Reads the pickles of release 0.1.0 without the pickle module, which runs what a pickle names.

That release wrote plain data (the JSON of its messages) as pickles of protocol 4. Such a pickle needs few instructions,
and none of them names a class or calls anything. ``pickletools`` takes a pickle apart into instructions and does none
of them; those few are done here, and a pickle with any other is refused.
"""

from __future__ import annotations

import base64
import binascii
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from oncoresponse.errors import RecordUnreadable

# The longest that release 0.1.0 wrote, the result of an assessment, has about 400.
_MOST_VALUES = 100_000


def plain_value(stored: str) -> Any:
    """The value of a pickle in base64, as the workflow engine stores it.

    Raises:
        RecordUnreadable: It holds anything but plain data, is damaged, or unfolds to more than is ever written.
    """
    try:
        value = _built(base64.b64decode(stored, validate=True))
        _require_bounded(value)
    except (binascii.Error, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise RecordUnreadable("A stored value is damaged and was not read.") from error
    return value


class _Stack:
    """What the instructions work on: values, marks between them, and values to be referred to."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._below_marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.values.append(value)

    def mark(self) -> None:
        self._below_marks.append(self.values)
        self.values = []

    def since_mark(self) -> list[Any]:
        found, self.values = self.values, self._below_marks.pop()
        return found

    def last(self, count: int) -> list[Any]:
        found = self.values[len(self.values) - count :]
        if count > len(self.values):
            raise IndexError("an instruction takes more than there is")
        del self.values[len(self.values) - count :]
        return found

    def append(self, items: list[Any]) -> None:
        # Of a list alone: nothing else that stands here has this method.
        self.values[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise ValueError("a key has no value")
        self.values[-1].update(zip(items[::2], items[1::2], strict=True))


def _nothing(_stack: _Stack, _argument: Any) -> None:
    return None


def _push_argument(stack: _Stack, argument: Any) -> None:
    stack.push(argument)


def _pushes(make: Callable[[], Any]) -> Callable[[_Stack, Any], None]:
    return lambda stack, _: stack.push(make())


# Texts, numbers, booleans, None, lists, dictionaries and tuples, and what refers to an object written before. PUT and
# its kin are not among them: protocol 4 does not need them, and they can ask for any amount of memory.
_INSTRUCTIONS: Mapping[str, Callable[[_Stack, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _push_argument),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE"), _push_argument),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda stack, place: stack.push(stack.memo[place])),
    "MARK": lambda stack, _: stack.mark(),
    "MEMOIZE": lambda stack, _: stack.memo.update({len(stack.memo): stack.values[-1]}),
    "NONE": _pushes(lambda: None),
    "NEWTRUE": _pushes(lambda: True),
    "NEWFALSE": _pushes(lambda: False),
    "EMPTY_LIST": _pushes(list),
    "EMPTY_DICT": _pushes(dict),
    "EMPTY_TUPLE": _pushes(tuple),
    "APPEND": lambda stack, _: stack.append(stack.last(1)),
    "APPENDS": lambda stack, _: stack.append(stack.since_mark()),
    "SETITEM": lambda stack, _: stack.set_items(stack.last(2)),
    "SETITEMS": lambda stack, _: stack.set_items(stack.since_mark()),
    "TUPLE": lambda stack, _: stack.push(tuple(stack.since_mark())),
    "TUPLE1": lambda stack, _: stack.push(tuple(stack.last(1))),
    "TUPLE2": lambda stack, _: stack.push(tuple(stack.last(2))),
    "TUPLE3": lambda stack, _: stack.push(tuple(stack.last(3))),
}


def _built(data: bytes) -> Any:
    instructions = [(code.name, argument) for code, argument, _ in pickletools.genops(data)]
    if any(name not in _INSTRUCTIONS for name, _ in instructions):
        raise RecordUnreadable("A stored value asks for more than plain data and was not read.")
    stack = _Stack()
    for name, argument in instructions:
        _INSTRUCTIONS[name](stack, argument)
    (value,) = stack.values
    return value


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
