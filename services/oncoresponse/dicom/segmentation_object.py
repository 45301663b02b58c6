"""DICOM Segmentation objects (PS3.3 C.8.20), label maps among them, to a mask, read by highdicom."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

import highdicom
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydicom.dataset import Dataset

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.case.volume import Volume
from oncoresponse.dicom import attributes
from oncoresponse.dicom.contour_gaps import refuse_regular_gaps
from oncoresponse.dicom.contour_request import (
    AlgorithmType,
    algorithm_type,
    ambiguous_structures,
    automatic_contour,
    is_named,
)
from oncoresponse.dicom.file_parsing import PARSE_ERRORS
from oncoresponse.dicom.pixel_values import with_native_pixels
from oncoresponse.dicom.reading import Instance, read_whole
from oncoresponse.dicom.slice_geometry import grid_affine, place_image
from oncoresponse.errors import ContourNotFound, EmptyMask, FrameOfReferenceMismatch, InvalidAttribute

# SNOMED CT: neoplasm (morphology), neoplasm primary, mass, gross tumor volume.
_TUMOR_CODES = frozenset({"108369006", "86049000", "4147007", "228791004", "M-80000", "M-80003", "M-03000"})
# SNOMED CT and its older codes: anatomical structure (PS3.16 CID 7150).
_ANATOMY_CODES = frozenset({"123037004", "91723000", "T-D000A"})
_TUMOR_LABEL = re.compile(r"gtv|gross[\W_]*tumou?r|\btumou?r|neoplasm|lesion", re.I)
_EDEMA = re.compile(r"o?edema", re.I)
_INSIDE = 0.5
# Frames nearer to a slice of the image than this, in slices, lie on it.
_ON_SLICE = 0.1
# highdicom keeps its table of frames in SQLite and lets its errors through, as those of pydicom about broken sequences.
_HIGHDICOM_ERRORS = (*PARSE_ERRORS, RuntimeError, OSError, EOFError, sqlite3.Error)


@dataclass(frozen=True)
class Segment:
    """A segment that may be meant.

    Attributes:
        number: Segment Number (0062,0004).
        label: Segment Label (0062,0005); outside text, not for logs.
        algorithm_type: Segment Algorithm Type (0062,0008), ``None`` when not stated.
    """

    number: int
    label: str
    algorithm_type: AlgorithmType | None


def referenced_series_uids(dataset: Dataset) -> tuple[str, ...]:
    """Series that the segmentation was made on (0008,1115)."""
    items = attributes.items(dataset, "ReferencedSeriesSequence")
    return tuple(uid for item in items if (uid := attributes.text(item, "SeriesInstanceUID")))


def referenced_instance_uids(dataset: Dataset) -> frozenset[str]:
    """Images the segmentation was made on: (0008,1115 > 0008,114A) and Source Image Sequence (0008,2112), which stands
    in the functional groups (PS3.3 C.7.6.16.2.6) or, as in older objects, in the data set itself."""
    groups = (
        dataset,
        *attributes.items(dataset, "SharedFunctionalGroupsSequence"),
        *attributes.items(dataset, "PerFrameFunctionalGroupsSequence"),
    )
    derivations = [item for group in groups for item in attributes.items(group, "DerivationImageSequence")]
    named = [image for item in (*groups, *derivations) for image in attributes.items(item, "SourceImageSequence")] + [
        image
        for series in attributes.items(dataset, "ReferencedSeriesSequence")
        for image in attributes.items(series, "ReferencedInstanceSequence")
    ]
    return frozenset(uid for image in named if (uid := attributes.text(image, "ReferencedSOPInstanceUID")))


def has_drawn_tumor(segmentation: Instance, structure_name: str) -> bool:
    """Whether a segment that a request may mean is not AUTOMATIC, so that a person had a hand in it.

    An object with no segment that fits counts too: choosing from it gives the error that says so.
    """
    fitting = _fitting(segmentation.dataset, structure_name)
    return not fitting or any(segment.algorithm_type != "AUTOMATIC" for segment in fitting)


def choose_segment(segmentation: Instance, structure_name: str = "", *, with_automatic: bool = False) -> Segment:
    """The segment a request names, or the only tumor.

    A tumor is a segment whose property type is a neoplasm or a mass, or whose label says so.

    Args:
        segmentation: Segmentation object.
        structure_name: Segment Label, or ``#`` and the Segment Number, or empty.
        with_automatic: Segments whose Segment Algorithm Type is AUTOMATIC may be chosen.

    Raises:
        ContourNotFound: No such segment.
        AutomaticContour: There is one, and it is AUTOMATIC.
        AmbiguousSeries: Several segments fit.
    """
    fitting = _fitting(segmentation.dataset, structure_name)
    if not fitting:
        raise ContourNotFound(
            "The segmentation has no segment of that label or number. Name one that it has."
            if structure_name
            else "The segmentation has no segment that is a tumor. Name the segment in the request."
        )
    if not with_automatic:
        fitting = [segment for segment in fitting if segment.algorithm_type != "AUTOMATIC"]
        if not fitting:
            raise automatic_contour()
    if len(fitting) > 1:
        raise ambiguous_structures("segments", [segment.number for segment in fitting])
    return fitting[0]


def every_lesion(
    segmentation: Instance, *, with_automatic: bool = False
) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
    """All segments but those that the object calls anatomy (Segmented Property Category) or edema (label).

    Args:
        segmentation: Segmentation object.
        with_automatic: Segments whose Segment Algorithm Type is AUTOMATIC may be among them.

    Returns:
        The segments in order of their items, and those left out, as their number and the reason.

    Raises:
        ContourNotFound: There is none.
        AutomaticContour: All are AUTOMATIC.
    """
    segments, left_out = [], []
    for item in attributes.items(segmentation.dataset, "SegmentSequence"):
        label = attributes.text(item, "SegmentLabel") or ""
        segment = Segment(
            int(attributes.required_number(item, "SegmentNumber")), label, algorithm_type(item, "SegmentAlgorithmType")
        )
        categories = attributes.items(item, "SegmentedPropertyCategoryCodeSequence")
        if _ANATOMY_CODES & {attributes.text(category, "CodeValue") for category in categories}:
            left_out.append(f"#{segment.number} (anatomy)")
        elif _EDEMA.search(label):
            left_out.append(f"#{segment.number} (edema)")
        elif segment.algorithm_type == "AUTOMATIC" and not with_automatic:
            left_out.append(f"#{segment.number} (AUTOMATIC)")
        else:
            segments.append(segment)
    if not segments and any("AUTOMATIC" in text for text in left_out):
        raise automatic_contour()
    if not segments:
        raise ContourNotFound("The segmentation has no segment that may be a lesion. Name the segments in the request.")
    return tuple(segments), tuple(left_out)


def _fitting(dataset: Dataset, structure_name: str) -> list[Segment]:
    fitting = []
    for item in attributes.items(dataset, "SegmentSequence"):
        label = attributes.text(item, "SegmentLabel") or ""
        number = int(attributes.required_number(item, "SegmentNumber"))
        if structure_name:
            fits = is_named(structure_name, label, number)
        else:
            kinds = attributes.items(item, "SegmentedPropertyTypeCodeSequence")
            codes = {attributes.text(kind, "CodeValue") for kind in kinds}
            fits = bool(codes & _TUMOR_CODES or _TUMOR_LABEL.search(label)) and not _EDEMA.search(label)
        if fits:
            fitting.append(Segment(number, label, algorithm_type(item, "SegmentAlgorithmType")))
    return fitting


@dataclass(frozen=True, eq=False)
class OpenedSegmentation:
    """A segmentation object with its pixel data, read and decoded once for all of its segments.

    Attributes:
        frames: With native pixel data.
        is_gapless: Whether its frames say that they reach each other.
    """

    frames: highdicom.seg.Segmentation
    is_gapless: bool


def open_segmentation(segmentation: Instance, grid: Volume) -> OpenedSegmentation:
    """Read and decode a segmentation object.

    Args:
        segmentation: Segmentation object that was read from a file.
        grid: The image, whose frame of reference must be the segmentation's.

    Raises:
        FrameOfReferenceMismatch: The segmentation belongs to another frame of reference.
        InvalidAttribute: An attribute that DICOM requires is absent.
        TruncatedFile, DicomLimitExceeded: Its pixel data cannot be decoded.
    """
    if segmentation.frame_of_reference_uid != grid.frame_of_reference_uid:
        raise FrameOfReferenceMismatch(
            "The segmentation belongs to another frame of reference than the image. Send one made on this examination."
        )
    # Decompressed in a child process first: highdicom would decode in this one.
    dataset = with_native_pixels(read_whole(segmentation), segmentation.limits)
    try:
        with without_pydicom_messages():
            is_gapless = _frames_reach_each_other(dataset)
            return OpenedSegmentation(highdicom.seg.Segmentation.from_dataset(dataset, copy=False), is_gapless)
    except _HIGHDICOM_ERRORS:
        raise _no_regular_volume() from None


def segment_image(
    segmentation: OpenedSegmentation, segment_number: int, grid: Volume, *, is_own_series: bool
) -> tuple[sitk.Image, tuple[str, ...]]:
    """A segment as an image of 0 and 1 on the grid it is stored on.

    A fractional segmentation counts as inside from 0.5. A frame that is not stored is empty (PS3.3 C.8.20.2).

    Args:
        segmentation: From :func:`open_segmentation`.
        segment_number: (0062,0004).
        grid: The image.
        is_own_series: Whether the segmentation was made on the series of the grid.

    Returns:
        The image, and remarks about empty slices.

    Raises:
        InvalidAttribute: The segmentation is not one regular volume.
        ContourGap: The segment leaves out slices throughout.
        EmptyMask: The segment holds no voxel.
    """
    try:
        with without_pydicom_messages():
            found = segmentation.frames.get_volume(segment_numbers=[segment_number])
            array, affine = np.asarray(found.array)[..., 0], np.asarray(found.affine)
    except _HIGHDICOM_ERRORS:
        raise _no_regular_volume() from None
    # highdicom's index axes are (slice, row, column); SimpleITK's are (column, row, slice).
    vectors = affine[:3, 2::-1]
    inside = array >= _INSIDE
    if not inside.any():
        raise EmptyMask("The segment holds no voxel. Check that it is the one that is meant.")
    if is_own_series and not segmentation.is_gapless:
        inside, vectors = _on_slices_of(grid, inside, vectors, affine[:3, 3])
    own = grid.geometry
    to_index = np.linalg.inv(grid_affine(own.spacing_mm, own.origin_mm, own.direction))
    centers = affine[:3, 3] + np.outer(np.arange(len(inside)), vectors[:, 2])
    numbers = np.rint(centers @ to_index[2, :3] + to_index[2, 3]).astype(int).tolist()
    remarks = refuse_regular_gaps(np.flatnonzero(inside.any(axis=(1, 2))).tolist(), numbers, own.size[2])
    spacing = np.linalg.norm(vectors, axis=0)
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    place_image(image, spacing.tolist(), affine[:3, 3].tolist(), (vectors / spacing).ravel().tolist())
    return image, remarks


def _no_regular_volume() -> InvalidAttribute:
    return InvalidAttribute(
        "The segmentation is not one regular volume, or lacks an attribute that DICOM requires. Export it again at the "
        "source."
    )


def _frames_reach_each_other(dataset: Dataset) -> bool:
    """Whether Slice Thickness (0018,0050) says that a frame reaches as far as Spacing Between Slices (0018,0088)."""
    groups = (
        *attributes.items(dataset, "SharedFunctionalGroupsSequence"),
        *attributes.items(dataset, "PerFrameFunctionalGroupsSequence")[:1],
    )
    measures = [item for group in groups for item in attributes.items(group, "PixelMeasuresSequence")]
    thickness, spacing = (
        next((value for item in measures if (value := attributes.number(item, keyword))), None)
        for keyword in ("SliceThickness", "SpacingBetweenSlices")
    )
    return bool(thickness and spacing and thickness >= (1 - _ON_SLICE) * spacing)


def _on_slices_of(
    grid: Volume, inside: npt.NDArray[np.bool_], vectors: npt.NDArray[np.float64], origin: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Put frames that lie on slices of the image, but not on all of them, on those alone.

    Without Spacing Between Slices (0018,0088), or with the distance of source images of which every second was left
    out, a reader has only the distance of the stored frames, and would make each as thick as the gap to the next.
    """
    own = grid.geometry
    to_index = np.linalg.inv(grid_affine(own.spacing_mm, own.origin_mm, own.direction))
    step = to_index[:3, :3] @ vectors[:, 2]
    first = to_index[:3, :3] @ origin + to_index[:3, 3]
    slices = round(float(abs(step[2])))
    is_along = np.abs(step[:2]).max() < _ON_SLICE and abs(abs(step[2]) - slices) < _ON_SLICE
    if slices < 2 or not is_along or abs(first[2] - round(float(first[2]))) > _ON_SLICE:
        return inside, vectors
    spread = np.zeros(((len(inside) - 1) * slices + 1, *inside.shape[1:]), bool)
    spread[::slices] = inside
    return spread, vectors / np.array([1, 1, slices])
