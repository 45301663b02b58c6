"""PET pixel values to body-weight SUV (g/mL)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import Instance, read_pixels
from oncoresponse.dicom.rescale import Rescale, padding_mask, require_sign
from oncoresponse.dicom.slice_geometry import SliceStack, volume_of_stack
from oncoresponse.dicom.standardized_uptake_value import (
    SuvConversion,
    require_plausible_suv,
    suv_conversion,
)
from oncoresponse.dicom.suv_plausibility import require_plausible_uptake
from oncoresponse.errors import InvalidAttribute, MissingSlices

# Reconstructions may go a little below zero; values whose highest bit was taken for a sign go as far below as above.
_LARGEST_NEGATIVE_SHARE = 0.5


def convert_positron_emission(stack: SliceStack) -> tuple[Volume, SuvConversion]:
    """Body-weight SUV (g/mL) as float32 on the grid of the slices (LPS, mm), and how it was computed.

    The rescale slope may differ from slice to slice (GE); each is used for its own slice. Values at Pixel Padding Value
    (0028,0120) become 0.

    Raises:
        SuvError: As :func:`~oncoresponse.dicom.standardized_uptake_value.suv_conversion`.
        ImplausibleSuvInput: The values show that Units is wrong, or hold more activity than was injected.
        MissingSlices: The images announce more slices than there are.
        MissingAttribute, InvalidAttribute: An attribute that the conversion needs is absent or impossible.
        TruncatedFile: Pixel data cannot be decoded.
        DicomLimitExceeded: It takes too long to decode.
    """
    conversion = suv_of_headers(stack)
    columns, rows, slices = stack.size
    suv = np.empty((slices, rows, columns), np.float32)
    for k, (instance, factor) in enumerate(zip(stack.instances, conversion.factors, strict=True)):
        suv[k] = _physical_values(instance) * factor
    if float(suv.min()) < -_LARGEST_NEGATIVE_SHARE * abs(float(suv.max())):
        raise InvalidAttribute(
            "PixelRepresentation of the PET says that values are signed, which makes some far below zero. Export the "
            "series again at the source.",
            keyword="PixelRepresentation",
        )
    require_plausible_suv(float(suv.max()), is_computed=conversion.weight_grams is not None)
    if conversion.weight_grams is not None:
        voxel_ml = float(np.prod(stack.spacing_mm)) / 1000.0
        require_plausible_uptake(
            float(suv.sum(dtype=np.float64)) * voxel_ml, conversion.weight_grams, stack.spacing_mm[2] * slices
        )
    return volume_of_stack(stack, suv, Quantity.SUV_BODY_WEIGHT), conversion


def suv_of_headers(stack: SliceStack) -> SuvConversion:
    """How the values of a series become SUV, which its headers say.

    Raises:
        SuvError, MissingAttribute: As :func:`~oncoresponse.dicom.standardized_uptake_value.suv_conversion`.
        MissingSlices: The images announce more slices than there are.
    """
    _require_all_slices(stack)
    return suv_conversion(stack.instances)


def _physical_values(instance: Instance) -> npt.NDArray[np.float64]:
    rescale = Rescale.of(instance.dataset, "PET")
    stored = read_pixels(instance)
    is_padding = padding_mask(stored, instance.dataset)
    require_sign(stored, is_padding, instance.dataset, "PET")
    values = rescale.apply(stored)
    if is_padding is not None:
        values[is_padding] = 0.0
    return values


def is_attenuation_corrected(instance: Instance) -> bool | None:
    """Whether a PET image is corrected for attenuation; ``None`` when it does not say.

    Corrected Image (0028,0051) decides; Attenuation Correction Method (0054,1101) where that is empty.
    """
    corrections = {part.upper() for part in attributes.texts(instance.dataset, "CorrectedImage")} - {""}
    if corrections:
        return "ATTN" in corrections
    method = attributes.text(instance.dataset, "AttenuationCorrectionMethod")
    return None if method is None else method.upper() != "NONE"


def _require_all_slices(stack: SliceStack) -> None:
    # Number of Slices (0054,0081) is the only witness of slices lost at an end of the stack. A derived series
    # may be a crop that kept the number of its source, so only the scanner's own images are held to it.
    first = stack.instances[0]
    announced = attributes.number(first.dataset, "NumberOfSlices")
    if announced is not None and first.image_type[:1] == ("ORIGINAL",) and stack.size[2] < announced:
        count = int(announced) - stack.size[2]
        raise MissingSlices(
            f"PET: {count} slice(s) of the series are missing. Send the complete series.", slices=count, modality="PT"
        )
