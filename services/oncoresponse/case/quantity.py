"""What the voxels of an image measure. Apart from the volumes, because a model is declared without loading an image."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class Quantity(StrEnum):
    """What the voxels of a volume measure, as a UCUM unit where it has one (arbitrary unit for the signal of MR)."""

    HOUNSFIELD = "HU"
    SUV_BODY_WEIGHT = "g/mL{SUVbw}"
    MR_SIGNAL = "[arb'U]"
    MASK = "mask"
    PROBABILITY = "probability"


QUANTITY_OF_MODALITY = MappingProxyType(
    {"CT": Quantity.HOUNSFIELD, "PT": Quantity.SUV_BODY_WEIGHT, "MR": Quantity.MR_SIGNAL}
)
"""What the intake converts a DICOM modality to."""
