"""DICOM files among artifacts."""

from __future__ import annotations

from fnmatch import fnmatchcase

from oncoresponse.rpc.edge_settings import Destination
from oncoresponse.v1 import delivery_pb2

DICOM_MEDIA_TYPE = "application/dicom"


def is_wanted(file: delivery_pb2.DeliveryFile, destination: Destination) -> bool:
    """Whether a file is DICOM, among what the destination is to have, and not among what it is not."""
    if file.artifact.media_type != DICOM_MEDIA_TYPE:
        return False
    return _is_any_of(file.file_name, destination.objects) and not _is_any_of(file.file_name, destination.omit)


def _is_any_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
