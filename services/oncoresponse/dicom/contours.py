"""A contour that came with the study, RTSTRUCT or SEG, as a mask on the grid of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, resample_to
from oncoresponse.dicom import attributes, rtstruct, segmentation_object
from oncoresponse.dicom.contour_filling import fill_contours, outside_remark, require_enough_inside
from oncoresponse.dicom.contour_remarks import counted, milliliters, slices_text
from oncoresponse.dicom.contour_request import AlgorithmType, ContourRequest, automatic_contour
from oncoresponse.dicom.reading import RTSTRUCT_SOP_CLASS, SEGMENTATION_SOP_CLASSES, Instance, whole_instance
from oncoresponse.dicom.rtstruct import RegionOfInterest
from oncoresponse.dicom.segmentation_object import OpenedSegmentation, Segment
from oncoresponse.dicom.series import ImageSeries
from oncoresponse.dicom.slice_geometry import SliceStack, grid_affine, stack_slices, volume_of_stack
from oncoresponse.errors import AmbiguousSeries, AutomaticContour, ContourError, ContourNotFound, DicomError, EmptyMask

__all__ = ["Contour", "ContourRequest", "contour_mask", "every_contour", "require_structure"]

# A change of volume this large by sampling on another grid is told.
_TOLD_CHANGE = 0.1
_ELSEWHERE = "drawn on another series of the same frame of reference."
_OWN_MODEL_NAME = "OncoResponse"


@dataclass(frozen=True, eq=False)
class Contour:
    """A contour as a mask.

    Attributes:
        mask: ``Quantity.MASK``, uint8 0 and 1, on the grid asked for.
        kind: What it was made from.
        algorithm_type: Who drew it, as the object says: MANUAL, SEMIAUTOMATIC, AUTOMATIC; ``None`` when it does not.
        warnings: What was left out or repaired, with slices and milliliters, and that no physician drew it.
        number: ROI Number or Segment Number.
        label: ROI Name or Segment Label; outside text, not for logs.
    """

    mask: Volume
    kind: Literal["rtstruct", "segmentation"]
    algorithm_type: AlgorithmType | None
    warnings: tuple[str, ...]
    number: int
    label: str


def contour_mask(
    instances: Sequence[Instance], series: Sequence[ImageSeries], request: ContourRequest, grid: Volume
) -> Contour:
    """Find the contour a request means and draw it on a grid.

    A contour drawn on the series of the grid is filled on its slices. One drawn on another series of the study
    is filled on the grid of that series and then sampled at the nearest voxel.

    Args:
        instances: Of the study, RTSTRUCT and SEG among them.
        series: Image series of the study.
        request: Which contour. Without the UID of an object it is one drawn on the series of the grid, or, where there
            is none, one drawn on another series of the same frame of reference, which is told.
        grid: Image on whose grid the mask is wanted.

    Raises:
        ContourNotFound, AmbiguousSeries: None, or several, fit the request.
        AutomaticContour: Only contours that an algorithm made fit, and none was named by its UID.
        FrameOfReferenceMismatch: The contour belongs to another frame of reference.
        GeometryMismatch: Contours lie between the slices of the grid and the series they were drawn on is absent.
        ContourError: As :func:`~oncoresponse.dicom.contour_filling.fill_contours`.
        EmptyMask: No voxel of the grid is inside.
        SeriesError: The series the contour was drawn on is not one regular volume.
    """
    source, remarks = _choose_object(
        instances, series, request, grid, lambda found: _has_drawn_tumor(found, request.structure_name)
    )
    source = whole_instance(source)
    is_named = bool(request.sop_instance_uid)
    structure: RegionOfInterest | Segment
    if source.sop_class_uid in SEGMENTATION_SOP_CLASSES:
        structure = segmentation_object.choose_segment(source, request.structure_name, with_automatic=is_named)
    else:
        structure = rtstruct.choose_region(source, request.structure_name, with_automatic=is_named)
    return _contour(source, structure, instances, series, grid, remarks)


def every_contour(
    instances: Sequence[Instance], series: Sequence[ImageSeries], request: ContourRequest, grid: Volume
) -> tuple[tuple[Contour, ...], tuple[str, ...]]:
    """Draw every lesion of the object that a request means on a grid, each by itself.

    What the object says to be no lesion stays out, see :func:`oncoresponse.dicom.rtstruct.every_lesion` and
    :func:`oncoresponse.dicom.segmentation_object.every_lesion`. Whether lesions overlap is not looked at.

    Args:
        instances: Of the study, RTSTRUCT and SEG among them.
        series: Image series of the study.
        request: Which object; the name of a structure is not looked at.
        grid: Image on whose grid the masks are wanted.

    Returns:
        The contours in the order of the object, and a warning that names by number what was left out.

    Raises:
        ContourError, SeriesError, DicomError: As :func:`contour_mask`; of a single structure with its number.
    """
    source, remarks = _choose_object(instances, series, request, grid, _has_drawn_lesion)
    source = whole_instance(source)
    is_named = bool(request.sop_instance_uid)
    structures: Sequence[RegionOfInterest | Segment]
    opened = None
    if source.sop_class_uid in SEGMENTATION_SOP_CLASSES:
        structures, left_out = segmentation_object.every_lesion(source, with_automatic=is_named)
        opened = segmentation_object.open_segmentation(source, grid)
    else:
        structures, left_out = rtstruct.every_lesion(source, with_automatic=is_named)
    contours = []
    for structure in structures:
        try:
            contours.append(_contour(source, structure, instances, series, grid, remarks, opened))
        except (ContourError, DicomError) as error:
            raise type(error)(f"Structure #{structure.number}: {error.message}", **error.metadata) from None
    if not left_out:
        return tuple(contours), ()
    warning = f"Contour: {counted(len(left_out), 'structure')} of the object left out: {', '.join(left_out)}."
    return tuple(contours), (warning,)


def require_structure(
    instances: Sequence[Instance],
    series: Sequence[ImageSeries],
    request: ContourRequest,
    grid: ImageSeries,
    *,
    every_structure: bool = False,
) -> None:
    """Refuse what :func:`contour_mask` would refuse before it looks at a contour point or a pixel.

    Args:
        instances: Of the study, RTSTRUCT and SEG among them; their headers may be partial.
        series: Image series of the study.
        request: Which contour.
        grid: Series on whose grid the mask is wanted.
        every_structure: As for :func:`every_contour`: which structures there are, only the whole object says.

    Raises:
        ContourNotFound, AmbiguousSeries, AutomaticContour: As :func:`contour_mask`.
    """
    name = request.structure_name
    is_drawn = _has_drawn_lesion if every_structure else lambda found: _has_drawn_tumor(found, name)
    source, _ = _choose_object(instances, series, request, grid, is_drawn)
    is_named = bool(request.sop_instance_uid)
    if every_structure:
        return
    if source.sop_class_uid in SEGMENTATION_SOP_CLASSES:
        segmentation_object.choose_segment(source, name, with_automatic=is_named)
    else:
        rtstruct.require_region(source, name, with_automatic=is_named)


def _contour(
    source: Instance,
    structure: RegionOfInterest | Segment,
    instances: Sequence[Instance],
    series: Sequence[ImageSeries],
    grid: Volume,
    object_remarks: tuple[str, ...],
    opened: OpenedSegmentation | None = None,
) -> Contour:
    """A structure on the grid; ``opened`` is the source, where several of its segments are wanted."""
    kind: Literal["rtstruct", "segmentation"]
    if isinstance(structure, Segment):
        kind, label = "segmentation", structure.label
        is_own_series = grid.series_instance_uid in _references(source, instances)
        opened = opened or segmentation_object.open_segmentation(source, grid)
        drawn, remarks = segmentation_object.segment_image(opened, structure.number, grid, is_own_series=is_own_series)
        image, more = _sampled(drawn, grid)
        remarks = (*remarks, *more)
    else:
        kind, label = "rtstruct", structure.name
        image, remarks = _filled(structure, _drawn_on(source, instances, series, grid), grid)
    warnings = tuple(f"Contour: {remark}" for remark in (*object_remarks, *remarks))
    return Contour(
        mask=grid.with_image(image, Quantity.MASK),
        kind=kind,
        algorithm_type=structure.algorithm_type,
        warnings=(*_origin_warnings(structure.algorithm_type), *warnings),
        number=structure.number,
        label=label,
    )


def _filled(region: RegionOfInterest, drawn_on: SliceStack | None, grid: Volume) -> tuple[sitk.Image, tuple[str, ...]]:
    rtstruct.require_frame_of_reference(region, grid.frame_of_reference_uid)
    if drawn_on is None:
        own = grid.geometry
        affine = grid_affine(own.spacing_mm, own.origin_mm, own.direction)
        filled = fill_contours(region.contours, affine, own.size, region.plane_distance_mm)
        image = sitk.GetImageFromArray(filled.mask)
        image.CopyInformation(grid.image)
        return image, filled.remarks
    filled = fill_contours(region.contours, drawn_on.index_to_patient, drawn_on.size, region.plane_distance_mm)
    image, more = _sampled(volume_of_stack(drawn_on, filled.mask, Quantity.MASK).image, grid)
    return image, (*filled.remarks, *more)


def _origin_warnings(algorithm_type: AlgorithmType | None) -> tuple[str, ...]:
    if algorithm_type == "AUTOMATIC":
        return (
            "The contour is an automatic segmentation that came with the study; no physician drew or corrected it.",
        )
    if algorithm_type == "SEMIAUTOMATIC":
        return ("The contour is AI-assisted: it came with the study and is marked as semi-automatic.",)
    return ()


def _sampled(drawn: sitk.Image, grid: Volume) -> tuple[sitk.Image, tuple[str, ...]]:
    """A mask of another grid at the nearest voxels of this one, and what that changes.

    Raises:
        ContourOutsideImage: More than a tenth of it lies outside.
        EmptyMask: It lies between all voxel centers.
    """
    array = np.asarray(sitk.GetArrayViewFromImage(drawn), bool)
    voxel = float(np.prod(drawn.GetSpacing()))
    whole = float(array.sum()) * voxel
    if not whole:
        raise EmptyMask("The contour encloses no voxel. Check that it is the one that is meant.")
    k, j, i = np.nonzero(array)
    affine = grid_affine(drawn.GetSpacing(), drawn.GetOrigin(), drawn.GetDirection())
    own = grid.geometry
    to_index = np.linalg.inv(grid_affine(own.spacing_mm, own.origin_mm, own.direction)) @ affine
    index = np.stack([i, j, k], axis=1) @ to_index[:3, :3].T + to_index[:3, 3]
    # Half a voxel beyond the outermost centers belongs to the image; the tolerance is for rounded positions.
    beyond = ((index < -0.501) | (index > np.array(own.size) - 0.499)).any(axis=1)
    remarks = []
    if beyond.any():
        lost = float(beyond.sum()) * voxel
        where = slices_text(np.rint(index[beyond, 2]).astype(int).tolist(), own.size[2])
        require_enough_inside(lost, whole, where)
        remarks.append(outside_remark(lost, where))
        whole -= lost
    image = resample_to(drawn, grid.image, interpolator=sitk.sitkNearestNeighbor, outside=0)
    sampled = float(np.count_nonzero(sitk.GetArrayViewFromImage(image))) * own.voxel_volume_mm3
    if not sampled:
        raise EmptyMask("The contour encloses no voxel center of the image. Check that it belongs to it.")
    if abs(sampled - whole) > _TOLD_CHANGE * whole:
        slices = np.flatnonzero(np.asarray(sitk.GetArrayViewFromImage(image)).any(axis=(1, 2)))
        remarks.append(
            f"{milliliters(whole)} on the grid it was drawn on became {milliliters(sampled)} on the image's grid "
            f"({slices_text(slices.tolist(), own.size[2])})."
        )
    return image, tuple(remarks)


def _drawn_on(
    source: Instance, instances: Sequence[Instance], series: Sequence[ImageSeries], grid: Volume
) -> SliceStack | None:
    """Slices of the other series that a structure set was drawn on; ``None`` for the grid's own, or an absent one."""
    uids = _references(source, instances)
    if grid.series_instance_uid in uids:
        return None
    others = [
        member
        for member in series
        if member.series_instance_uid in uids
        and not member.is_enhanced
        and member.frame_of_reference_uid == grid.frame_of_reference_uid
    ]
    return stack_slices(others[0].slices) if others else None


def _choose_object(
    instances: Sequence[Instance],
    series: Sequence[ImageSeries],
    request: ContourRequest,
    grid: Volume | ImageSeries,
    is_drawn: Callable[[Instance], bool],
) -> tuple[Instance, tuple[str, ...]]:
    """The object that a request means, and what has to be said of it.

    Unless it is named, a person had a hand in what is meant of it (``is_drawn``).
    """
    contours = [found for found in instances if _is_contour(found)]
    if request.sop_instance_uid:
        fitting = [found for found in contours if found.sop_instance_uid == request.sop_instance_uid]
        if not fitting:
            raise ContourNotFound(
                "The study holds no RTSTRUCT or SEG of that SOP Instance UID. Send it with the study."
            )
        return fitting[0], ()
    remarks: tuple[str, ...] = ()
    drawn = [found for found in contours if grid.series_instance_uid in _references(found, instances)]
    if not drawn:
        elsewhere = {
            member.series_instance_uid
            for member in series
            if member.frame_of_reference_uid == grid.frame_of_reference_uid
        }
        remarks = (_ELSEWHERE,)
        drawn = [found for found in contours if elsewhere & _references(found, instances)]
    if not drawn:
        raise ContourNotFound(
            "The study holds no RTSTRUCT or SEG drawn on the series the model works on, or on another one of its frame "
            f"of reference. {_of_others(contours, instances, series)}"
        )
    fitting = [found for found in drawn if is_drawn(found)]
    if not fitting:
        raise automatic_contour()
    # What this software wrote from another contour, stored with the study, stands behind that contour.
    fitting = [found for found in fitting if not _is_own(found)] or fitting
    if len(fitting) > 1:
        where = "other series of its frame of reference, and none on the series" if remarks else "the series"
        raise AmbiguousSeries(
            f"{len(fitting)} contour objects are drawn on {where}. Name one by its SOP Instance UID.",
            candidates=len(fitting),
        )
    return fitting[0], remarks


def _of_others(contours: Sequence[Instance], instances: Sequence[Instance], series: Sequence[ImageSeries]) -> str:
    """What the contours of a study are drawn on, none of which fits, and what to do."""
    if not contours:
        return "Send it with the study, or name the one to use."
    sent = {member.series_instance_uid for member in series}
    elsewhere = sum(bool(sent & _references(found, instances)) for found in contours)
    said = [
        f"{counted(number, 'contour object')} drawn on images {where}"
        for number, where in (
            (elsewhere, "of another frame of reference"),
            (len(contours) - elsewhere, "that were not sent"),
        )
        if number
    ]
    return f"Found: {'; '.join(said)}. Send what is missing with the study, or name the contour to use."


def _is_contour(instance: Instance) -> bool:
    return instance.sop_class_uid == RTSTRUCT_SOP_CLASS or instance.sop_class_uid in SEGMENTATION_SOP_CLASSES


def _is_own(instance: Instance) -> bool:
    return attributes.text(instance.dataset, "ManufacturerModelName") == _OWN_MODEL_NAME


def _has_drawn_tumor(instance: Instance, structure_name: str) -> bool:
    if instance.sop_class_uid == RTSTRUCT_SOP_CLASS:
        return rtstruct.has_drawn_tumor(instance, structure_name)
    return segmentation_object.has_drawn_tumor(instance, structure_name)


def _has_drawn_lesion(instance: Instance) -> bool:
    try:
        if instance.sop_class_uid == RTSTRUCT_SOP_CLASS:
            rtstruct.every_lesion(whole_instance(instance))
        else:
            segmentation_object.every_lesion(instance)
    except AutomaticContour:
        return False
    except (ContourError, DicomError):
        # Choosing the object gives the error that says so.
        return True
    return True


def _references(contour: Instance, instances: Iterable[Instance]) -> frozenset[str]:
    """Series a contour was drawn on: those it names, and those of the images it names."""
    dataset = contour.dataset
    if contour.sop_class_uid == RTSTRUCT_SOP_CLASS:
        named, images = rtstruct.referenced_series_uids(dataset), rtstruct.referenced_instance_uids(dataset)
    else:
        named = segmentation_object.referenced_series_uids(dataset)
        images = segmentation_object.referenced_instance_uids(dataset)
    return frozenset((*named, *(found.series_instance_uid for found in instances if found.sop_instance_uid in images)))
