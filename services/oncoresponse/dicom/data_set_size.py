"""Counts what a DICOM data set is made of without building it (PS3.5 chapter 7).

A library that reads a data set makes an object of every element and item. A file of a few megabytes can hold millions
of empty items, or thousands of sequences within each other, so the bytes are walked first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from oncoresponse.dicom.limits import DicomLimits
from oncoresponse.errors import DicomLimitExceeded

_UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
"""Value representations with a length of four bytes (PS3.5 table 7.1-1)."""
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)


@dataclass(slots=True)
class _Sequence:
    end: int | None
    implicit: bool
    holds_fragments: bool


def require_limited_size(data: bytes, start: int, *, implicit: bool, big_endian: bool, limits: DicomLimits) -> None:
    """Walk a data set and stop at the first thing too many; damage is left for the reader to find.

    Args:
        data: The file, or the inflated data set.
        start: Where the data set begins.
        implicit: Whether the transfer syntax has implicit value representations.
        big_endian: Byte order.
        limits: What is allowed.

    Raises:
        DicomLimitExceeded: More elements, or sequences within each other, than allowed.
    """
    order = ">" if big_endian else "<"
    tag_and_length, short, long = (struct.Struct(order + form).unpack_from for form in ("HHL", "H", "L"))
    item_start = struct.pack(f"{order}HH", *_ITEM)
    if len(data) // 8 <= limits.elements and data.count(item_start) < limits.nesting_depth:
        # An element takes eight bytes, and a sequence within another an item: there cannot be too many.
        return
    position, count, end = start, 0, len(data)
    open_sequences: list[_Sequence] = []
    while position + 8 <= end:
        while open_sequences and (close := open_sequences[-1].end) is not None and position >= close:
            open_sequences.pop()
        group, element, length = tag_and_length(data, position)
        inner = open_sequences[-1] if open_sequences else None
        if group == 0xFFFE:
            position += 8
            if (group, element) == _ITEM:
                count += 1
                if inner is not None and inner.holds_fragments:
                    position += 0 if length == _UNDEFINED else length
            elif (group, element) == _SEQUENCE_END and open_sequences:
                open_sequences.pop()
            elif (group, element) != _ITEM_END:
                return
            if count > limits.elements:
                raise _too_many("elements", limits.elements)
            continue
        count += 1
        if count > limits.elements:
            raise _too_many("elements", limits.elements)
        vr = data[position + 4 : position + 6]
        as_implicit = (implicit if inner is None else inner.implicit) or not (vr.isalpha() and vr.isupper())
        if as_implicit:
            position += 8
        elif vr in LONG_VRS:
            if position + 12 > end:
                return
            (length,) = long(data, position + 8)
            position += 12
        else:
            (length,) = short(data, position + 6)
            position += 8
        undefined = length == _UNDEFINED
        fragments = undefined and (group, element) == (0x7FE0, 0x0010)
        if undefined or (
            (as_implicit or vr in (b"SQ", b"UN")) and data[position : position + 4] == item_start and length >= 8
        ):
            # PS3.5 6.2.2: an unknown element of undefined length holds items of implicit value representation.
            hidden = as_implicit or vr == b"UN"
            open_sequences.append(_Sequence(None if undefined else position + length, hidden, fragments))
            if len(open_sequences) > limits.nesting_depth:
                raise _too_many("nesting_depth", limits.nesting_depth)
        else:
            position += length


def _too_many(limit: str, allowed: int) -> DicomLimitExceeded:
    what = "data elements" if limit == "elements" else "sequences within each other"
    return DicomLimitExceeded(
        f"The DICOM file holds more than {allowed} {what}. Leave it out, or ask the administrator to raise "
        f"dicom_limits.{limit}.",
        limit=limit,
        allowed=allowed,
    )
