"""What a stored file is, by its own bytes: the store keeps no media types."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import quantity_of_file

_HEAD_BYTES = 132
_PREAMBLE_BYTES = 128


class ArtifactKind(StrEnum):
    """What is counted apart when it goes."""

    DICOM = "DICOM"
    VOLUME = "volume"
    MASK = "mask"
    PDF = "PDF"
    DOCUMENT = "JSON document"
    OTHER = "other"


def artifact_kind(path: Path) -> ArtifactKind:
    """The kind of a file.

    Raises:
        FileNotFoundError: There is none.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[_PREAMBLE_BYTES:] == b"DICM":
        return ArtifactKind.DICOM
    if head.startswith(b"NRRD"):
        return ArtifactKind.MASK if quantity_of_file(path) is Quantity.MASK else ArtifactKind.VOLUME
    if head.startswith(b"%PDF"):
        return ArtifactKind.PDF
    return ArtifactKind.DOCUMENT if head.lstrip()[:1] in (b"{", b"[") else ArtifactKind.OTHER
