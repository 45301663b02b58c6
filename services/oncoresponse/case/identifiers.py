"""Identifiers that derive from the assessment, so that making a result again creates nothing new."""

from __future__ import annotations

import uuid

# Fixed for ever: another value would give every report, sent again, new identifiers.
_NAMESPACE = uuid.UUID("6e9b9a2c-6a8b-5b53-9b83-3a0b8f0c2d11")


def derived_uuid(*parts: str) -> uuid.UUID:
    """Name-based UUID (RFC 4122 version 5) of the parts, in order."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join(parts))


def derived_dicom_uid(*parts: str) -> str:
    """DICOM UID below 2.25 (PS3.5 B.2) of the same parts."""
    return f"2.25.{derived_uuid(*parts).int}"


def lesion_part(number: int) -> str:
    """Name of a lesion among the parts; the first has the name that the only one always had."""
    return "lesion" if number == 1 else f"lesion-{number}"


def tracking_uid(report_id: str, number: int) -> str:
    """Tracking Unique Identifier (DICOM (0062,0021)) of a lesion in an assessment."""
    return derived_dicom_uid(report_id, lesion_part(number))


def tracking_identifier(report_id: str, number: int) -> str:
    """Tracking Identifier (DICOM (0062,0020)): the same lesion in words, without patient data."""
    return f"tumor-{derived_uuid(report_id, lesion_part(number)).hex[:12]}"
