"""What is done to a valid file or message. Everything follows from the generator that is given."""

from __future__ import annotations

import random
import struct
from io import BytesIO

from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.tag import Tag

_SIZES = (0, 1, 2, 7, 8, 12, 16, 17, 32, 64, 255, 4096, 32767, 65535)
_TEXTS = ("", " ", "0", "-1", "1e308", "nan", "inf", "\\", "1\\2\\3", "x" * 300, "20240230", "999999", "1.2.3", "\x00")
_INTERESTING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xfe\xff\x00\xe0",
    b"\xff\xd9",
    b"\xff\x90",
    b"\xff\xd8",
    b"\x80",
)


def mutated_file(data: bytes, rng: random.Random) -> bytes:
    """One file, changed in its bytes, its elements, its pixel data, or several of these."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice((_change_bytes, _change_bytes, _change_pixels, _change_element, _change_element, _cut))
        data = change(data, rng)
    return data


def _change_bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = rng.randrange(len(changed))
        kind = rng.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            piece = rng.choice(_INTERESTING)
            changed[at : at + len(piece)] = piece
        elif kind == 3:
            del changed[at : at + rng.choice((1, 2, 8, 119, 400))]
        else:
            changed[at:at] = changed[max(0, at - rng.choice((1, 8, 64))) : at]
        if not changed:
            break
    return bytes(changed)


def _change_pixels(data: bytes, rng: random.Random) -> bytes:
    """Changes inside the pixel data only, where the codecs meet them."""
    at = data.find(b"\xe0\x7f\x10\x00")
    if at < 0:
        return _change_bytes(data, rng)
    start = at + rng.choice((12, 20, 28, 60))
    head, pixels = data[:start], bytearray(data[start:])
    if len(pixels) < 8:
        return data
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.choice((1, 3, 30))):
            pixels[rng.randrange(len(pixels))] = rng.randrange(256)
    elif kind == 1:
        # In place of what is missing, zeros at the end: lengths stay right.
        where, count = rng.randrange(len(pixels)), rng.choice((1, 2, 119))
        pixels = bytearray((bytes(pixels[:where]) + bytes(pixels[where + count :])).ljust(len(pixels), b"\0"))
    elif kind == 2:
        # The head of the codestream, which claims size and depth.
        for _ in range(rng.choice((1, 2, 4))):
            pixels[rng.randrange(min(len(pixels), 120))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    else:
        where = rng.randrange(len(pixels) - 4)
        pixels[where : where + 4] = struct.pack(rng.choice(("<L", ">L")), rng.choice((0, 0xFFFFFFFF, 1 << 31, 65536)))
    return head + bytes(pixels)


def _change_element(data: bytes, rng: random.Random) -> bytes:
    """Remove, empty, repeat, or replace elements of the data set or of its sequences."""
    try:
        with disable_value_validation():
            dataset = dcmread(BytesIO(data))
            for _ in range(rng.choice((1, 1, 2, 4))):
                _change_one(_some_data_set(dataset, rng), rng)
            buffer = BytesIO()
            dataset.save_as(buffer, enforce_file_format=False)
            return buffer.getvalue()
    except Exception:
        # An earlier change left nothing that pydicom reads or writes.
        return _change_bytes(data, rng)


def _some_data_set(dataset: Dataset, rng: random.Random) -> Dataset:
    found = [dataset]
    for element in dataset.iterall():
        if element.VR == "SQ":
            found.extend(element.value)
    return rng.choice(found) if rng.random() < 0.6 else dataset


def _change_one(dataset: Dataset, rng: random.Random) -> None:
    tags = list(dataset.keys())
    if not tags:
        return
    tag = Tag(rng.choice(tags))
    element, kind = dataset[tag], rng.randrange(5)
    if kind == 0:
        del dataset[tag]
    elif kind == 1:
        element.value = [] if element.VR == "SQ" else None
    elif element.VR == "SQ":
        items = list(element.value)
        element.value = items * 2 if kind == 2 else items[:-1]
    elif element.VR in ("US", "SS", "UL", "SL"):
        element.value = rng.choice(_SIZES)
    elif element.VR in ("DS", "IS") and kind == 2:
        element.value = rng.choice(("0", "-1", "1e30", "1e-30", "65535", "4294967296", "0.5"))
    elif element.VR in ("OB", "OW", "UN", "FL", "FD", "AT"):
        if isinstance(element.value, bytes):
            element.value = element.value[: rng.randrange(len(element.value) + 1)]
    else:
        element.value = rng.choice(_TEXTS)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def mutated_message(data: bytes, rng: random.Random) -> bytes:
    """A serialized message, changed in its bytes."""
    return _cut(data, rng) if rng.random() < 0.2 else _change_bytes(data, rng)
