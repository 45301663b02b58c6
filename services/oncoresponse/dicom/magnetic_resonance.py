"""MR pixel values to signal (DICOM PS3.3 C.8.3.1, Modality LUT C.11.1).

The signal has an arbitrary unit: it depends on scanner, coil, sequence and gain, so values of two series can be
compared only as far as these stayed the same, as in the phases of one dynamic study.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.reading import Instance, read_pixels
from oncoresponse.dicom.rescale import Rescale, padding_mask, require_sign
from oncoresponse.dicom.slice_geometry import SliceStack, volume_of_stack

_NO_RESCALE = Rescale(1.0, 0.0)


def convert_magnetic_resonance(stack: SliceStack) -> Volume:
    """Signal in arbitrary units as float32 on the grid of the slices (LPS, mm).

    Rescale Slope and Intercept, which MR images may have (PS3.3 C.11.1), are applied slice by slice; without them the
    stored values are the signal. Private scale factors of vendors (Philips (2005,xx0E)) are not applied: they are no
    part of the standard, and the unit stays arbitrary with them. Values at Pixel Padding Value (0028,0120) become 0, no
    signal.

    Raises:
        MissingAttribute: There is a Rescale Intercept without a slope, or no frame of reference.
        InvalidAttribute: The slope is not above zero, there is a Modality LUT in its place, or Pixel Representation
            contradicts the values.
        TruncatedFile: Pixel data cannot be decoded.
        DicomLimitExceeded: It takes too long to decode.
    """
    columns, rows, slices = stack.size
    signal = np.empty((slices, rows, columns), np.float32)
    for k, instance in enumerate(stack.instances):
        signal[k] = _signal(instance)
    return volume_of_stack(stack, signal, Quantity.MR_SIGNAL)


def _signal(instance: Instance) -> npt.NDArray[np.float64]:
    stored = read_pixels(instance)
    is_padding = padding_mask(stored, instance.dataset)
    require_sign(stored, is_padding, instance.dataset, "MR")
    values = _rescale(instance.dataset).apply(stored)
    if is_padding is not None:
        values[is_padding] = 0.0
    return values


def _rescale(dataset: Dataset) -> Rescale:
    keywords = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")
    return Rescale.of(dataset, "MR") if any(word in dataset for word in keywords) else _NO_RESCALE
