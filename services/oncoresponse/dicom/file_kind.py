"""What the first bytes of a file say: DICOM or not. Light, so that a client needs no DICOM library to look."""

from __future__ import annotations

HEAD_BYTES = 1024
"""So many bytes from the begin are enough."""

_PREAMBLE_LENGTH = 128
_LONGEST_FIRST_VALUE = 1024
_MEDIA_DIRECTORY = b"1.2.840.10008.1.3.10"
# What data sets without file meta information begin with, PS3.3 C.12.1: group length, length to end, character set,
# image type, instance creation date and time, SOP Class UID, SOP Instance UID.
_FIRST_ELEMENTS = frozenset((0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0013, 0x0016, 0x0018))


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file, with the preamble of PS3.10 section 7.1 or without it.

    Archives and toolkits write data sets without preamble, with or without the file meta information.
    """
    return data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4] == b"DICM" or _begins_as_data_set(data)


def is_media_directory(data: bytes) -> bool:
    """Whether the bytes are a DICOMDIR (PS3.10 section 8), which lists instances and is none itself."""
    start = meta_start(data)
    return _MEDIA_DIRECTORY in data[start : start + 400]


def meta_start(data: bytes) -> int:
    """Where the file meta information, or without it the data set, begins."""
    return _PREAMBLE_LENGTH + 4 if data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4] == b"DICM" else 0


def _begins_as_data_set(data: bytes) -> bool:
    if len(data) < 8 or data[1] != 0:
        return False
    group, element = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:4], "little")
    vr = data[4:6]
    if group == 0x0002:
        return element == 0 and vr == b"UL"
    if group != 0x0008 or element not in _FIRST_ELEMENTS:
        return False
    if vr in (b"UL", b"CS", b"UI", b"DA", b"TM"):
        return int.from_bytes(data[6:8], "little") <= _LONGEST_FIRST_VALUE
    return int.from_bytes(data[4:8], "little") <= _LONGEST_FIRST_VALUE
