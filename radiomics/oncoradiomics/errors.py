"""Every error this package raises on purpose. ``reason`` is the stable code that OncoResponse's services return.

::

    RadiomicsError
    ├── SettingsError         CONFIGURATION_INVALID       the settings file is wrong; correct it
    ├── QuantityError         QUANTITY_MISMATCH           what the voxels measure is not said, or is another quantity
    ├── GeometryError         GEOMETRY_MISMATCH           image and mask are on different grids
    ├── EmptyMaskError        EMPTY_MASK                  nothing inside the mask
    ├── ImageFileError        FEATURE_EXTRACTION_FAILED   an image or mask file cannot be read
    └── ExtractionError       FEATURE_EXTRACTION_FAILED   the engine could not compute the features
        ├── ExtractionTimeout     DEADLINE_EXCEEDED   it took longer than allowed
        └── ExtractionOutOfMemory OUT_OF_MEMORY       the image is too large for the free memory

A message says what is wrong and what to do, without file names and without anything about a patient.
"""

from __future__ import annotations

from typing import ClassVar


class RadiomicsError(Exception):
    """Base of every intended error.

    Args:
        message: One or two sentences: what is wrong, then what to do.
    """

    reason: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SettingsError(RadiomicsError):
    reason = "CONFIGURATION_INVALID"


class QuantityError(RadiomicsError):
    reason = "QUANTITY_MISMATCH"


class GeometryError(RadiomicsError):
    reason = "GEOMETRY_MISMATCH"


class EmptyMaskError(RadiomicsError):
    reason = "EMPTY_MASK"


class ImageFileError(RadiomicsError):
    reason = "FEATURE_EXTRACTION_FAILED"


class ExtractionError(RadiomicsError):
    reason = "FEATURE_EXTRACTION_FAILED"


class ExtractionTimeout(ExtractionError):
    reason = "DEADLINE_EXCEEDED"


class ExtractionOutOfMemory(ExtractionError):
    reason = "OUT_OF_MEMORY"
