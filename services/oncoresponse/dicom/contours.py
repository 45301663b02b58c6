"""A contour that came with the study, RTSTRUCT or SEG, as a mask on the grid of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import SimpleITK as sitk

from oncoresponse.dicom import rtstruct, segmentation_object
from oncoresponse.dicom.reading import RTSTRUCT_SOP_CLASS, SEGMENTATION_SOP_CLASS, Instance
from oncoresponse.dicom.series import ImageSeries
from oncoresponse.dicom.slice_geometry import SliceStack, grid_affine, stack_slices, volume_of_stack
from oncoresponse.errors import AmbiguousSeries, ContourNotFound, EmptyMask
from oncoresponse.volume import Quantity, Volume, resample_to


@dataclass(frozen=True)
class ContourRequest:
    """Which contour is meant; empty leaves the choice to the rules.

    Attributes:
        sop_instance_uid: Of an RTSTRUCT or SEG; empty: the only one drawn on the series of the grid.
        structure_name: ROI Name or Segment Label; empty: the only gross tumor volume.
    """

    sop_instance_uid: str = ""
    structure_name: str = ""


@dataclass(frozen=True, eq=False)
class Contour:
    """A contour as a mask.

    Attributes:
        mask: ``Quantity.MASK``, uint8 0 and 1, on the grid asked for.
        kind: What it was made from.
    """

    mask: Volume
    kind: Literal["rtstruct", "segmentation"]


def contour_mask(
    instances: Sequence[Instance], series: Sequence[ImageSeries], request: ContourRequest, grid: Volume
) -> Contour:
    """Find the contour a request means and draw it on a grid.

    A contour drawn on the series of the grid is filled on its slices. One drawn on another series of the study
    is filled on the grid of that series and then sampled at the nearest voxel.

    Args:
        instances: Of the study, RTSTRUCT and SEG among them.
        series: Image series of the study.
        request: Which contour.
        grid: Image on whose grid the mask is wanted.

    Raises:
        ContourNotFound, AmbiguousSeries: None, or several, fit the request.
        FrameOfReferenceMismatch: The contour belongs to another frame of reference.
        GeometryMismatch: Contours lie between the slices of the grid and the series they were drawn on is absent.
        EmptyMask: No voxel of the grid is inside.
        SeriesError: The series the contour was drawn on is not one regular volume.
    """
    source = _choose_object(instances, request.sop_instance_uid, grid.series_instance_uid)
    if source.sop_class_uid == SEGMENTATION_SOP_CLASS:
        number = segmentation_object.choose_segment(source, request.structure_name)
        return Contour(segmentation_object.segment_mask(source, number, grid), "segmentation")
    region = rtstruct.choose_region(source, request.structure_name)
    rtstruct.require_frame_of_reference(region, grid.frame_of_reference_uid)
    drawn_on = _drawn_on(source, series, grid)
    if drawn_on is None:
        own = grid.geometry
        affine = grid_affine(own.spacing_mm, own.origin_mm, own.direction)
        array = rtstruct.rasterize(region, affine, own.size, grid.frame_of_reference_uid)
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(grid.image)
    else:
        array = rtstruct.rasterize(region, drawn_on.index_to_patient, drawn_on.size, grid.frame_of_reference_uid)
        drawn = volume_of_stack(drawn_on, array, Quantity.MASK).image
        image = resample_to(drawn, grid.image, interpolator=sitk.sitkNearestNeighbor, outside=0)
        if not sitk.GetArrayViewFromImage(image).any():
            raise EmptyMask("The contours enclose no voxel of the image. Check that they belong to it.")
    return Contour(grid.with_image(image, Quantity.MASK), "rtstruct")


def _drawn_on(source: Instance, series: Sequence[ImageSeries], grid: Volume) -> SliceStack | None:
    """Slices of the other series that a structure set was drawn on; ``None`` for the grid's own, or an absent one."""
    uids = rtstruct.referenced_series_uids(source.dataset)
    if grid.series_instance_uid in uids:
        return None
    others = [
        member
        for member in series
        if member.series_instance_uid in uids and member.frame_of_reference_uid == grid.frame_of_reference_uid
    ]
    return stack_slices(others[0].slices) if others else None


def _choose_object(instances: Sequence[Instance], sop_instance_uid: str, series_instance_uid: str) -> Instance:
    contours = [found for found in instances if found.sop_class_uid in (RTSTRUCT_SOP_CLASS, SEGMENTATION_SOP_CLASS)]
    if sop_instance_uid:
        fitting = [found for found in contours if found.sop_instance_uid == sop_instance_uid]
    else:
        fitting = [found for found in contours if series_instance_uid in _references(found)]
    if not fitting:
        raise ContourNotFound(
            "The study holds no RTSTRUCT or SEG of that SOP Instance UID. Send it with the study."
            if sop_instance_uid
            else "The study holds no RTSTRUCT or SEG drawn on the series the model works on. Send it with the study, "
            "or name the one to use."
        )
    if len(fitting) > 1:
        raise AmbiguousSeries(
            f"{len(fitting)} contour objects are drawn on the series. Name one by its SOP Instance UID.",
            candidates=len(fitting),
        )
    return fitting[0]


def _references(contour: Instance) -> tuple[str, ...]:
    if contour.sop_class_uid == SEGMENTATION_SOP_CLASS:
        return segmentation_object.referenced_series_uids(contour.dataset)
    return rtstruct.referenced_series_uids(contour.dataset)
