"""Whose an instance is: the few attributes by which pieces of a study are told apart, read without the rest."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

_LAST_TAG = 0x0020000E
_SOP_CLASS, _SOP_INSTANCE, _STUDY = 0x00080016, 0x00080018, 0x0020000D
_PATIENT, _ISSUER = 0x00100020, 0x00100021
_WANTED = frozenset({_SOP_CLASS, _SOP_INSTANCE, _STUDY, _PATIENT, _ISSUER})
_TRANSFER_SYNTAX = 0x00020010
_ITEM_GROUP, _ITEM = 0xFFFE, 0xE000
_UNDEFINED = 0xFFFFFFFF
# Value representations with a length of four bytes (PS3.5 table 7.1-1).
_LONG_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
_TAG_AND_LENGTH = struct.Struct("<HHL").unpack_from
_SHORT, _LONG = struct.Struct("<H").unpack_from, struct.Struct("<L").unpack_from
# Group 0002 to 0020 of any file; more is a file that wants to grow.
_MOST_INFLATED_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class InstanceHeader:
    """What a file says of itself.

    Attributes:
        sop_class_uid: (0008,0016).
        sop_instance_uid: (0008,0018).
        study_instance_uid: (0020,000D).
        patient: Patient ID (0010,0020) and its issuer (0010,0021); kept to be compared, never to be told.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    patient: tuple[str, str]


def header_of_bytes(data: bytes) -> InstanceHeader | None:
    """As :func:`instance_header`, of a file that is at hand whole; much quicker for most."""
    found = _walked(data)
    if found is None:
        return instance_header(io.BytesIO(data))
    uids = found[_SOP_CLASS], found[_SOP_INSTANCE], found[_STUDY]
    return InstanceHeader(*uids, (found[_PATIENT], found[_ISSUER])) if all(map(is_uid, uids)) else None


def instance_header(file: IO[bytes]) -> InstanceHeader | None:
    """Of a file of PS3.10; ``None`` where it is none, or does not say whose it is. Blocks."""
    file.seek(0)
    try:
        dataset = _first_attributes(file)
        header = InstanceHeader(
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            study_instance_uid=str(dataset.StudyInstanceUID),
            patient=(str(dataset.get("PatientID", "")), str(dataset.get("IssuerOfPatientID", ""))),
        )
    except Exception:
        # Whatever a damaged file makes the parser do.
        return None
    finally:
        file.seek(0)
    uids = (header.sop_class_uid, header.sop_instance_uid, header.study_instance_uid)
    return header if all(map(is_uid, uids)) else None


def is_uid(text: str) -> bool:
    """Whether it is written as a UID (PS3.5 section 9.1), leading zeros forgiven."""
    return 0 < len(text) <= 64 and text.isascii() and text.replace(".", "").isdigit()


def _walked(data: bytes) -> dict[int, str] | None:
    """The attributes of a header, by a walk over its bytes (PS3.5 chapter 7); ``None``: a library has to read it.

    Left to the library is whatever is not plain: other characters than ASCII, other syntaxes than Little Endian that
    is not deflated, unknown elements of undefined length, damage.
    """
    if data[128:132] != b"DICM":
        return None
    position, syntax = _meta(data)
    if syntax in ("", DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        return None
    implicit = syntax == ImplicitVRLittleEndian
    found, depth, end = dict.fromkeys(_WANTED, ""), 0, len(data)
    while position + 12 <= end:
        group, element, length = _TAG_AND_LENGTH(data, position)
        if group == _ITEM_GROUP:
            position += 8
            if element != _ITEM:
                depth -= 1
            elif length == _UNDEFINED:
                depth += 1
            else:
                position += length
            continue
        tag = group << 16 | element
        if not depth and tag >= _LAST_TAG:
            return found
        position += 8
        if not implicit:
            vr = data[position - 4 : position - 2]
            if not (vr.isalpha() and vr.isupper()):
                return None
            if vr in _LONG_VRS:
                (length,) = _LONG(data, position)
                position += 4
                if vr == b"UN" and length == _UNDEFINED:
                    return None
            else:
                (length,) = _SHORT(data, position - 2)
        if length == _UNDEFINED:
            depth += 1
            continue
        if not depth and tag in _WANTED:
            value = data[position : position + length]
            if not value.isascii():
                return None
            found[tag] = value.decode("ascii").strip(" \0")
        position += length
    return None


def _meta(data: bytes) -> tuple[int, str]:
    """Where the data set begins, and the transfer syntax; empty where it is not as PS3.10 section 7.1 wants it."""
    position, syntax = 132, ""
    while data[position : position + 2] == b"\2\0" and position + 12 <= len(data):
        group, element, _ = _TAG_AND_LENGTH(data, position)
        vr = data[position + 4 : position + 6]
        if vr in _LONG_VRS:
            (length,), start = _LONG(data, position + 8), position + 12
        else:
            (length,), start = _SHORT(data, position + 6), position + 8
        if group << 16 | element == _TRANSFER_SYNTAX:
            syntax = data[start : start + length].decode("ascii", "replace").strip(" \0")
        position = start + length
    return position, syntax


def _first_attributes(stream: IO[bytes]) -> Dataset:
    file = cast("BinaryIO", stream)
    read_preamble(file, force=True)
    syntax = _read_file_meta_info(file).get("TransferSyntaxUID")
    if syntax != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return read_partial(file, _is_behind, force=True)
    # The library would inflate all of it, however large that becomes.
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_MOST_INFLATED_BYTES), _MOST_INFLATED_BYTES)
    return read_dataset(io.BytesIO(inflated), is_implicit_VR=False, is_little_endian=True, stop_when=_is_behind)


def _is_behind(tag: BaseTag, vr: str | None, length: int) -> bool:
    del vr, length
    return int(tag) >= _LAST_TAG
