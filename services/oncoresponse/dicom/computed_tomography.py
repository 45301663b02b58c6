"""CT pixel values to Hounsfield units (DICOM PS3.3 C.8.2.1 and C.11.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import Instance, read_pixels
from oncoresponse.dicom.slice_geometry import SliceStack, volume_of_stack
from oncoresponse.errors import InvalidAttribute
from oncoresponse.volume import Quantity, Volume

# What scanners write outside the reconstructed circle is no measurement; air is the nearest truth.
_PADDING_HU = -1024.0
_INT16 = np.iinfo(np.int16)


def convert_computed_tomography(stack: SliceStack) -> Volume:
    """Hounsfield units, rounded to int16, on the grid of the slices (LPS, mm).

    Values at Pixel Padding Value (0028,0120) become -1024 HU.

    Raises:
        MissingAttribute: Rescale Slope or Intercept, or the frame of reference, is absent.
        InvalidAttribute: The slope is zero, or Rescale Type names another unit than HU.
        TruncatedFile: Compressed pixel data cannot be decoded.
    """
    columns, rows, slices = stack.size
    hounsfield = np.empty((slices, rows, columns), np.int16)
    for k, instance in enumerate(stack.instances):
        hounsfield[k] = _hounsfield(instance)
    return volume_of_stack(stack, hounsfield, Quantity.HOUNSFIELD)


def _hounsfield(instance: Instance) -> npt.NDArray[np.int16]:
    dataset = instance.dataset
    slope = attributes.required_number(dataset, "RescaleSlope")
    intercept = attributes.required_number(dataset, "RescaleIntercept")
    if slope == 0:
        raise InvalidAttribute("RescaleSlope of the CT is zero. Export the series again.", keyword="RescaleSlope")
    if (attributes.text(dataset, "RescaleType") or "HU").upper() != "HU":
        raise InvalidAttribute(
            "RescaleType of the CT is not HU, so its values are not Hounsfield units. Send the original CT.",
            keyword="RescaleType",
        )
    stored = read_pixels(instance)
    values = stored * slope + intercept
    padding = attributes.stored_value(dataset, "PixelPaddingValue")
    if padding is not None:
        limit = attributes.stored_value(dataset, "PixelPaddingRangeLimit")
        low, high = sorted((padding, padding if limit is None else limit))
        values[(stored >= low) & (stored <= high)] = _PADDING_HU
    clipped: npt.NDArray[np.int16] = np.clip(np.rint(values), _INT16.min, _INT16.max).astype(np.int16)
    return clipped
