"""Stored values to physical ones (Modality LUT Module, PS3.3 C.11.1), and padding (PS3.3 C.7.5.1.1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.errors import InvalidAttribute

# A sign that was lost turns small negative values into the uppermost of the range, and leaves nothing between these and
# the lower half, where positive ones are.
_LOST_SIGN_SHARE = 1 / 16
_FEWEST_VALUES = 3


@dataclass(frozen=True)
class Rescale:
    """Output units = slope x stored value + intercept."""

    slope: float
    intercept: float

    @classmethod
    def of(cls, dataset: Dataset, modality: str) -> Rescale:
        """Read it.

        Raises:
            MissingAttribute: Rescale Slope or Rescale Intercept is absent; PET may lack the intercept, which is zero
                there (PS3.3 C.8.9.4).
            InvalidAttribute: The slope is not above zero, or the image has a Modality LUT Sequence, with which a linear
                rescale may not stand (PS3.3 C.11.1).
        """
        if attributes.items(dataset, "ModalityLUTSequence"):
            raise InvalidAttribute(
                f"The {modality} has a ModalityLUTSequence, so its values are no linear measure. Send the original "
                "images.",
                keyword="ModalityLUTSequence",
            )
        slope = attributes.required_number(dataset, "RescaleSlope")
        if slope <= 0:
            raise InvalidAttribute(
                f"RescaleSlope of the {modality} must be above zero. Export the series again.", keyword="RescaleSlope"
            )
        if modality == "CT":
            return cls(slope, attributes.required_number(dataset, "RescaleIntercept"))
        return cls(slope, attributes.number(dataset, "RescaleIntercept") or 0.0)

    def apply(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Physical values of stored ones."""
        return np.asarray(stored * self.slope + self.intercept, np.float64)


def padding_mask(stored: npt.NDArray[Any], dataset: Dataset) -> npt.NDArray[np.bool_] | None:
    """Where an image holds Pixel Padding Value, or a value of the range up to Pixel Padding Range Limit.

    ``None`` where it declares no padding.
    """
    padding = attributes.stored_value(dataset, "PixelPaddingValue")
    if padding is None:
        return None
    limit = attributes.stored_value(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((padding, padding if limit is None else limit))
    return (stored >= low) & (stored <= high)


def require_sign(
    stored: npt.NDArray[Any], is_padding: npt.NDArray[np.bool_] | None, dataset: Dataset, modality: str
) -> None:
    """Refuse unsigned values that can only be negative ones.

    Two's complement that is called unsigned shows as values at the very top of the stored range, beside values at its
    bottom and with nothing between: no image of a body jumps so.

    Raises:
        InvalidAttribute: Pixel Representation contradicts the values.
    """
    if not np.issubdtype(stored.dtype, np.unsignedinteger) or not stored.size:
        return
    bits = attributes.required_number(dataset, "BitsStored")
    half, top = 2.0 ** (bits - 1), 2.0**bits * (1 - _LOST_SIGN_SHARE)
    if not (stored >= top).any():
        return
    found = stored if is_padding is None else stored[~is_padding]
    high = found[found >= top]
    between = (found >= half) & (found < top)
    if (found < half).any() and not between.any() and len(np.unique(high)) >= _FEWEST_VALUES:
        raise InvalidAttribute(
            f"PixelRepresentation of the {modality} says that values are never negative, and some can be nothing else. "
            "Export the series again at the source.",
            keyword="PixelRepresentation",
        )
