"""Whose an instance is: the few attributes by which pieces of a study are told apart, read without the rest."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

_LAST_TAG = 0x0020000E
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
