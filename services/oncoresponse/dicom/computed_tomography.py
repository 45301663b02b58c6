"""CT pixel values to Hounsfield units (DICOM PS3.3 C.8.2.1 and C.11.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import Instance, read_pixels
from oncoresponse.dicom.rescale import Rescale, padding_mask, require_sign
from oncoresponse.dicom.slice_geometry import SliceStack, volume_of_stack
from oncoresponse.errors import InvalidAttribute
from oncoresponse.volume import Quantity, Volume

# What scanners write outside the reconstructed circle is no measurement; air is the nearest truth.
_PADDING_HU = -1024.0
# Fat, water, soft tissue and contrast medium: what padding must never be taken for.
_TISSUE_HU = (-500.0, 3071.0)
# Noise beside air reaches some way below -1024 HU. A bone whose highest bit was taken for a sign lies further down.
_LOWEST_NOISE_HU = -1200.0
_FEWEST_VALUES = 3
_INT16 = np.iinfo(np.int16)


def convert_computed_tomography(stack: SliceStack) -> Volume:
    """Hounsfield units, rounded to int16, on the grid of the slices (LPS, mm).

    Values at Pixel Padding Value (0028,0120) become -1024 HU.

    Raises:
        MissingAttribute: Rescale Slope or Intercept, or the frame of reference, is absent.
        InvalidAttribute: Rescale Type names another unit than HU, or sign, intercept, padding or a Modality LUT
            contradict values that shall be Hounsfield units.
        TruncatedFile: Pixel data cannot be decoded.
        DicomLimitExceeded: It takes too long to decode.
    """
    columns, rows, slices = stack.size
    hounsfield = np.empty((slices, rows, columns), np.int16)
    for k, instance in enumerate(stack.instances):
        hounsfield[k] = _hounsfield(instance)
    first = stack.instances[0].dataset
    if attributes.number(first, "PixelRepresentation") == 0 and int(hounsfield.min()) >= 0:
        # Air is -1000 HU and fat -100 HU (PS3.3 C.8.2.1.1.2), and no CT is without either.
        raise InvalidAttribute(
            "RescaleIntercept of the CT leaves no value below 0 HU, so the values are not Hounsfield units. Export the "
            "series again at the source.",
            keyword="RescaleIntercept",
        )
    return volume_of_stack(stack, hounsfield, Quantity.HOUNSFIELD)


def _hounsfield(instance: Instance) -> npt.NDArray[np.int16]:
    dataset = instance.dataset
    rescale = Rescale.of(dataset, "CT")
    if (attributes.text(dataset, "RescaleType") or "HU").upper() != "HU":
        raise InvalidAttribute(
            "RescaleType of the CT is not HU, so its values are not Hounsfield units. Send the original CT.",
            keyword="RescaleType",
        )
    stored = read_pixels(instance)
    is_padding = padding_mask(stored, dataset)
    require_sign(stored, is_padding, dataset, "CT")
    values = rescale.apply(stored)
    if is_padding is not None and is_padding.any():
        _require_no_tissue(values[is_padding])
        values[is_padding] = _PADDING_HU
    _require_no_false_sign(values, dataset)
    rounded: npt.NDArray[np.float64] = np.rint(values, out=values)
    if rounded.max() > _INT16.max or rounded.min() < _INT16.min:
        unsigned = rescale.slope <= 1 and attributes.number(dataset, "PixelRepresentation") == 0
        keyword = "PixelRepresentation" if unsigned else "RescaleSlope"
        raise InvalidAttribute(
            f"{keyword} of the CT gives values that no CT measures. Export the series again at the source.",
            keyword=keyword,
        )
    return rounded.astype(np.int16)


def _require_no_tissue(padding_hu: npt.NDArray[np.float64]) -> None:
    if ((padding_hu >= _TISSUE_HU[0]) & (padding_hu <= _TISSUE_HU[1])).any():
        raise InvalidAttribute(
            "PixelPaddingValue of the CT is a value that tissue has, and the image holds it. Export the series again "
            "at the source.",
            keyword="PixelPaddingValue",
        )


def _require_no_false_sign(hounsfield: npt.NDArray[np.float64], dataset: Dataset) -> None:
    """Refuse unsigned values that are called signed, where fewer bits are stored than allocated."""
    stored, allocated = (attributes.required_number(dataset, name) for name in ("BitsStored", "BitsAllocated"))
    if stored == allocated or attributes.number(dataset, "PixelRepresentation") != 1:
        return
    low = hounsfield[hounsfield < _LOWEST_NOISE_HU]
    # One such value is padding that nobody declared; many are bones.
    if low.size and len(np.unique(low)) >= _FEWEST_VALUES:
        raise InvalidAttribute(
            "PixelRepresentation of the CT says that values are signed, which makes some lower than air. Export the "
            "series again at the source.",
            keyword="PixelRepresentation",
        )
