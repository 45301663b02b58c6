"""DICOM Segmentation objects (PS3.3 C.8.20) to a mask, read by highdicom."""

from __future__ import annotations

import re
import sqlite3

import highdicom
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.dicom.pixel_values import with_native_pixels
from oncoresponse.dicom.reading import Instance, read_whole
from oncoresponse.dicom.slice_geometry import place_image
from oncoresponse.errors import AmbiguousSeries, ContourNotFound, EmptyMask, FrameOfReferenceMismatch, InvalidAttribute
from oncoresponse.pydicom_messages import without_pydicom_messages
from oncoresponse.volume import Quantity, Volume, resample_to

# SNOMED CT: neoplasm (morphology), neoplasm primary, mass, gross tumor volume.
_TUMOR_CODES = frozenset({"108369006", "86049000", "4147007", "228791004", "M-80000", "M-80003", "M-03000"})
_TUMOR_LABEL = re.compile(r"gtv|gross[\W_]*tumou?r|\btumou?r|neoplasm|lesion", re.I)
_EDEMA = re.compile(r"o?edema", re.I)
_INSIDE = 0.5


def referenced_series_uids(dataset: Dataset) -> tuple[str, ...]:
    """Series that the segmentation was made on (0008,1115)."""
    items = attributes.items(dataset, "ReferencedSeriesSequence")
    return tuple(uid for item in items if (uid := attributes.text(item, "SeriesInstanceUID")))


def choose_segment(segmentation: Instance, structure_name: str = "") -> int:
    """Number of the segment a request names by its label, or of the only tumor.

    A tumor is a segment whose property type is a neoplasm or a mass, or whose label says so.

    Raises:
        ContourNotFound: No such segment.
        AmbiguousSeries: Several segments fit.
    """
    fitting = []
    for item in attributes.items(segmentation.dataset, "SegmentSequence"):
        label = attributes.text(item, "SegmentLabel") or ""
        if structure_name:
            fits = label == structure_name
        else:
            kinds = attributes.items(item, "SegmentedPropertyTypeCodeSequence")
            codes = {attributes.text(kind, "CodeValue") for kind in kinds}
            fits = bool(codes & _TUMOR_CODES or _TUMOR_LABEL.search(label)) and not _EDEMA.search(label)
        if fits:
            fitting.append(int(attributes.required_number(item, "SegmentNumber")))
    if not fitting:
        raise ContourNotFound(
            "The segmentation has no segment of that label. Name one that it has."
            if structure_name
            else "The segmentation has no segment that is a tumor. Name the segment in the request."
        )
    if len(fitting) > 1:
        raise AmbiguousSeries(
            f"{len(fitting)} segments may be meant. Name one of them in the request.", candidates=len(fitting)
        )
    return fitting[0]


def segment_mask(segmentation: Instance, segment_number: int, grid: Volume) -> Volume:
    """A segment as a mask on a given grid.

    A fractional segmentation counts as inside from 0.5. On another grid than its own the segment is sampled at
    the nearest voxel centre.

    Args:
        segmentation: Segmentation object that was read from a file.
        segment_number: (0062,0004).
        grid: Where the mask is wanted.

    Raises:
        FrameOfReferenceMismatch: The segmentation belongs to another frame of reference.
        InvalidAttribute: The segmentation is not one regular volume.
        TruncatedFile, DicomLimitExceeded: Its pixel data cannot be decoded.
        EmptyMask: No voxel of the grid is inside.
    """
    if segmentation.frame_of_reference_uid != grid.frame_of_reference_uid:
        raise FrameOfReferenceMismatch(
            "The segmentation belongs to another frame of reference than the image. Send one made on this examination."
        )
    # Decompressed in a child process first: highdicom would decode in this one.
    dataset = with_native_pixels(read_whole(segmentation), segmentation.limits)
    try:
        with without_pydicom_messages():
            found = highdicom.seg.Segmentation.from_dataset(dataset, copy=False).get_volume(
                segment_numbers=[segment_number]
            )
            array, affine = np.asarray(found.array)[..., 0], np.asarray(found.affine)
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError, NotImplementedError, sqlite3.Error):
        # highdicom keeps its table of frames in SQLite, and lets its errors through.
        raise InvalidAttribute(
            "The segmentation cannot be read as one regular volume. Export it again at the source."
        ) from None
    # highdicom's index axes are (slice, row, column); SimpleITK's are (column, row, slice).
    vectors = affine[:3, 2::-1]
    spacing = np.linalg.norm(vectors, axis=0)
    image = sitk.GetImageFromArray((array >= _INSIDE).astype(np.uint8))
    place_image(image, spacing.tolist(), affine[:3, 3].tolist(), (vectors / spacing).ravel().tolist())
    # On its own grid too: the result then carries the grid's geometry to the last digit.
    image = resample_to(image, grid.image, interpolator=sitk.sitkNearestNeighbor, outside=0)
    if not sitk.GetArrayViewFromImage(image).any():
        raise EmptyMask("The segment holds no voxel of the image. Check that it belongs to it.")
    return grid.with_image(image, Quantity.MASK)
