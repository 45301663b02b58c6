"""What stands before a data set in a file (PS3.10 section 7.1), for a data set that came by C-STORE.

The library builds it element by element for each object, which takes longer than writing the object to the disk.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

_VERSION = struct.pack("<HH2sHL", 2, 1, b"OB", 0, 2) + b"\0\1"


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and file meta information."""
    start, end = _around(sop_class_uid, transfer_syntax_uid)
    instance = _element(3, b"UI", sop_instance_uid)
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(start) + len(instance) + len(end))
    return b"".join((b"\0" * 128, b"DICM", length, start, instance, end))


@lru_cache(maxsize=256)
def _around(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """What stands before and after the one element that is of the instance."""
    writer = _element(0x12, b"UI", PYNETDICOM_IMPLEMENTATION_UID) + _element(
        0x13, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION, b" "
    )
    return _VERSION + _element(2, b"UI", sop_class_uid), _element(0x10, b"UI", transfer_syntax_uid) + writer


def _element(number: int, vr: bytes, value: str, padding: bytes = b"\0") -> bytes:
    data = value.encode("ascii")
    data += padding * (len(data) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(data)) + data
