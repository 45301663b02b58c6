"""How large a DICOM file may be and become, checked before anything is inflated or decoded."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

_MEBIBYTE = 1024**2


class DicomLimits(BaseModel):
    """Bounds of what one file may ask for. A small file can claim to become a large one.

    The sizes of images are bounds for CT, PET, MR and segmentation objects, the only ones whose pixels are decoded.

    Attributes:
        file_bytes: Largest file.
        inflated_bytes: Largest data set in the deflated transfer syntax (PS3.5 A.5), once inflated.
        elements: Data elements and sequence items in one file.
        nesting_depth: Sequences within sequences.
        rows, columns: (0028,0010) and (0028,0011), and what a compressed image claims itself.
        frames: (0028,0008) Number of Frames.
        decoded_bytes: All pixels of one file, uncompressed.
        decode_seconds: Longest time to decode one frame.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file_bytes: int = Field(default=1024 * _MEBIBYTE, gt=0)
    inflated_bytes: int = Field(default=256 * _MEBIBYTE, gt=0)
    elements: int = Field(default=1_000_000, gt=0)
    nesting_depth: int = Field(default=64, gt=0, le=128)
    rows: int = Field(default=4096, gt=0, le=65535)
    columns: int = Field(default=4096, gt=0, le=65535)
    frames: int = Field(default=100_000, gt=0)
    decoded_bytes: int = Field(default=1024 * _MEBIBYTE, gt=0)
    decode_seconds: int = Field(default=30, gt=0, le=3600)


DEFAULT_LIMITS = DicomLimits()
