"""Size of a tumor from its contour alone, as an assessment measures it. The voxels of the image are not read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast, get_args

import numpy as np
import SimpleITK as sitk
from oncoradiomics.lesion_measures import slice_extent_mm

from oncoresponse.case.case import SelectedSeries
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.patient_identity import ExpectedPatient
from oncoresponse.dicom.selection import choose_series
from oncoresponse.dicom.slice_geometry import volume_of_stack
from oncoresponse.dicom.study import DicomStudy, read_contour
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.definition import ImageInput, Modality
from oncoresponse.segmentation.border_interval import border_calibration
from oncoresponse.segmentation.mask_checks import measure_mask, refuse_cut_mask


@dataclass(frozen=True)
class ContourMeasures:
    """Size of a contoured tumor.

    Attributes:
        volume_ml: Voxels inside times the volume of a voxel, ml.
        slice_extent_mm: Slices from the first to the last with tumor, times their distance, mm.
        slices: How many those are.
        border_share: Share of the contour's surface on the border of the images; above 0 the two measures are lower
            bounds.
        volume_high_ml: Upper bound of the whole tumor's volume in ``level`` of tumors; ``None`` where it is seen whole.
        slice_extent_high_mm: Upper bound of its extent.
        level: Of the upper bounds, 0 to 1.
        warnings: What was left out of the contour or repaired, and that no physician drew it.
    """

    volume_ml: float
    slice_extent_mm: float
    slices: int
    border_share: float = 0.0
    volume_high_ml: float | None = None
    slice_extent_high_mm: float | None = None
    level: float | None = None
    warnings: tuple[str, ...] = ()


def measure_contour(
    study: DicomStudy,
    modality: str,
    *,
    series_instance_uid: str = "",
    contour: ContourRequest | None = None,
    expected_patient: ExpectedPatient | None = None,
) -> ContourMeasures:
    """Measure the contour that came with a study on the grid of the series it was drawn on.

    Args:
        study: From :func:`oncoresponse.dicom.study.read_study`.
        modality: Of the series, such as MR.
        series_instance_uid: Which series, where several fit.
        contour: Which object and structure; ``None`` leaves the choice to the rules.
        expected_patient: Who the patient should be.

    Raises:
        InvalidRequest: The modality is none that is converted, or as
            :func:`~oncoresponse.dicom.selection.require_input_roles`.
        PatientMismatch: The files, or the files and the request, name different patients.
        SeriesError, ContourError: As :func:`~oncoresponse.dicom.selection.choose_series` and
            :func:`~oncoresponse.dicom.contours.contour_mask`.
        MaskTouchesBorder: So much of the contour's surface lies on the border of the images that most of the tumor may
            be missing.
    """
    if modality not in get_args(Modality):
        raise InvalidRequest(
            f"A contour is measured on one of {', '.join(get_args(Modality))}. Name the modality of the series.",
            field="modality",
        )
    named = [SelectedSeries(series_instance_uid=series_instance_uid)] if series_instance_uid else []
    inputs = ImageInput.any_of(cast(Modality, modality))
    # A contour needs a grid alone, and the volumes of one series share it.
    first_volumes = {member.series_instance_uid: member for member in reversed(study.series)}
    stack = choose_series(list(first_volumes.values())[::-1], inputs, selected=named).chosen[modality].stack
    columns, rows, slices = stack.size
    grid = volume_of_stack(stack, np.zeros((slices, rows, columns), np.uint8), Quantity.MASK)
    found = read_contour(study, contour or ContourRequest(), grid, expected_patient=expected_patient)
    return replace(measure_mask_size(found.mask), warnings=found.warnings)


def measure_mask_size(mask: Volume) -> ContourMeasures:
    """Measure a mask; its third index axis is that of the slices.

    Raises:
        MaskTouchesBorder: See :func:`~oncoresponse.segmentation.mask_checks.refuse_cut_mask`.
    """
    measures = measure_mask(mask.image)
    refuse_cut_mask(measures)
    extent_mm = slice_extent_mm(sitk.GetArrayViewFromImage(mask.image) > 0, mask.image.GetSpacing())
    known = border_calibration()
    contact = measures.border_contact
    band = None if contact is None else known.band(contact, measures.border_share)
    return ContourMeasures(
        volume_ml=measures.volume_ml,
        slice_extent_mm=extent_mm,
        slices=round(extent_mm / mask.image.GetSpacing()[2]),
        border_share=measures.border_share,
        volume_high_ml=measures.volume_high_ml,
        slice_extent_high_mm=None if band is None else extent_mm * band.slice_extent_factor,
        level=None if band is None else known.level,
    )
