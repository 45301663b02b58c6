"""CT pixel values to Hounsfield units (DICOM PS3.3 C.8.2.1 and C.11.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import Instance, read_pixels
from oncoresponse.dicom.rescale import Rescale, padding_mask, require_sign
from oncoresponse.dicom.slice_geometry import SliceStack, volume_of_stack
from oncoresponse.errors import InvalidAttribute

# What scanners write outside the reconstructed circle is no measurement; air is the nearest truth.
_PADDING_HU = -1024.0
# Fat, water, soft tissue and contrast medium: what padding must never be taken for.
_TISSUE_HU = (-500.0, 3071.0)
# Noise beside air reaches some way below -1024 HU. A bone whose highest bit was taken for a sign lies further down.
_LOWEST_NOISE_HU = -1200.0
_FEWEST_VALUES = 3
# Noise and streaks thin out below air; a sign that is none puts bone at the bottom of the range.
_TAIL = 4
# Of all voxels: what the noise of the sharpest kernels puts below -1200 HU stays far under this share.
_LARGEST_SHARE_BELOW_AIR = 0.1
# Of what is denser than lung (-500 HU), fat, water, muscle and contrast medium are the most, in crops as well.
_DENSER_THAN_LUNG_HU = -500
_SOFT_TISSUE_HU = (-300, 400)
_SMALLEST_SHARE_OF_SOFT_TISSUE = 0.2
_SMALLEST_SHARE_OF_TISSUE = 0.001
_INT16 = np.iinfo(np.int16)


def convert_computed_tomography(stack: SliceStack) -> Volume:
    """Hounsfield units, rounded to int16, on the grid of the slices (LPS, mm).

    Values at Pixel Padding Value (0028,0120) become -1024 HU.

    Raises:
        MissingAttribute: Rescale Slope or Intercept, or the frame of reference, is absent.
        InvalidAttribute: Rescale Type names another unit than HU, or sign, slope, intercept, padding or a Modality LUT
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
    _require_scale(hounsfield)
    return volume_of_stack(stack, hounsfield, Quantity.HOUNSFIELD)


def _require_scale(hounsfield: npt.NDArray[np.int16]) -> None:
    """Refuse values that are no Hounsfield units of a body: air at -1000 HU, fat at -100 HU, water at 0 HU.

    An intercept that was applied already, and stayed in the header, moves everything by -1024 HU.
    """
    low = hounsfield[hounsfield < _LOWEST_NOISE_HU]
    if low.size > _LARGEST_SHARE_BELOW_AIR * hounsfield.size:
        # The most frequent value may be padding that nobody declared.
        measured = low.size - int(np.unique(low, return_counts=True)[1].max())
        if measured > _LARGEST_SHARE_BELOW_AIR * hounsfield.size:
            raise _wrong_scale("puts much of the image below the density of air")
    dense = int(np.count_nonzero(hounsfield > _DENSER_THAN_LUNG_HU))
    low_hu, high_hu = _SOFT_TISSUE_HU
    soft = int(np.count_nonzero((hounsfield >= low_hu) & (hounsfield <= high_hu)))
    if dense < _SMALLEST_SHARE_OF_TISSUE * hounsfield.size or soft < _SMALLEST_SHARE_OF_SOFT_TISSUE * dense:
        raise _wrong_scale("leaves hardly anything at the density of soft tissue")


def _wrong_scale(what: str) -> InvalidAttribute:
    return InvalidAttribute(
        f"RescaleIntercept or RescaleSlope of the CT {what}, so the values are not Hounsfield units. Export the series "
        "again at the source.",
        keyword="RescaleIntercept",
    )


def require_hounsfield_scale(instance: Instance) -> Rescale:
    """How stored values become Hounsfield units, which the header says.

    Raises:
        MissingAttribute: Rescale Slope or Intercept is absent.
        InvalidAttribute: Rescale Type names another unit, the slope is not above zero, or there is a Modality LUT.
    """
    rescale = Rescale.of(instance.dataset, "CT")
    if (attributes.text(instance.dataset, "RescaleType") or "HU").upper() != "HU":
        raise InvalidAttribute(
            "RescaleType of the CT is not HU, so its values are not Hounsfield units. Send the original CT.",
            keyword="RescaleType",
        )
    return rescale


def _hounsfield(instance: Instance) -> npt.NDArray[np.int16]:
    dataset, rescale = instance.dataset, require_hounsfield_scale(instance)
    stored = read_pixels(instance)
    is_padding = padding_mask(stored, dataset)
    require_sign(stored, is_padding, dataset, "CT")
    values = rescale.apply(stored)
    if is_padding is not None and is_padding.any():
        _require_no_tissue(values[is_padding])
        values[is_padding] = _PADDING_HU
    _require_no_false_sign(values, dataset, rescale)
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


def _require_no_false_sign(hounsfield: npt.NDArray[np.float64], dataset: Dataset, rescale: Rescale) -> None:
    """Refuse unsigned values that are called signed, where fewer bits are stored than allocated.

    Bone then lies at the bottom of the range. The noise of a sharp kernel and the streaks beside metal lie below air as
    well, but near it.
    """
    stored, allocated = (attributes.required_number(dataset, name) for name in ("BitsStored", "BitsAllocated"))
    if stored == allocated or attributes.number(dataset, "PixelRepresentation") != 1:
        return
    lowest = rescale.intercept - rescale.slope * 2.0 ** (stored - 1)
    values, counts = np.unique(hounsfield[hounsfield < _LOWEST_NOISE_HU], return_counts=True)
    # One such value is padding that nobody declared.
    if len(values) < _FEWEST_VALUES:
        return
    counts[np.argmax(counts)] = 0
    middle = (_LOWEST_NOISE_HU + lowest) / 2
    if _TAIL * counts[values < middle].sum() > counts[values >= middle].sum():
        raise InvalidAttribute(
            "PixelRepresentation of the CT says that values are signed, which makes some lower than air. Export the "
            "series again at the source.",
            keyword="PixelRepresentation",
        )
