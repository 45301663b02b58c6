"""RTSTRUCT contours (DICOM PS3.3 C.8.8.5, C.8.8.6, C.8.8.8) to a mask.

A voxel belongs to the region when its centre lies inside the contours of its slice. Contours of one slice
are combined by exclusive or, so that a contour inside another one is a hole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from skimage.measure import grid_points_in_poly

from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import Instance
from oncoresponse.errors import AmbiguousSeries, ContourNotFound, EmptyMask, FrameOfReferenceMismatch, GeometryMismatch

_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
# A contour this far from a slice plane, in slices, was not drawn on that slice.
_OFF_PLANE_SLICES = 0.1
_GROSS_TUMOR = re.compile(r"\s*(gtv|gross[\W_]*tumou?r)", re.I)
_EDEMA = re.compile(r"o?edema", re.I)


@dataclass(frozen=True, eq=False)
class RegionOfInterest:
    """One region of an RTSTRUCT.

    Attributes:
        name: ROI Name (3006,0026); outside text, not for logs.
        interpreted_type: RT ROI Interpreted Type (3006,00A4), upper case.
        frame_of_reference_uid: (3006,0024), ``None`` when absent.
        polygons: Closed contours, each of shape (points, 3), LPS mm.
    """

    name: str
    interpreted_type: str
    frame_of_reference_uid: str | None
    polygons: tuple[npt.NDArray[np.float64], ...]


def referenced_series_uids(dataset: Dataset) -> tuple[str, ...]:
    """Series that the structure set was drawn on (3006,0010 > 3006,0012 > 3006,0014)."""
    return tuple(
        uid
        for frame in attributes.items(dataset, "ReferencedFrameOfReferenceSequence")
        for study in attributes.items(frame, "RTReferencedStudySequence")
        for series in attributes.items(study, "RTReferencedSeriesSequence")
        if (uid := attributes.text(series, "SeriesInstanceUID"))
    )


def choose_region(rtstruct: Instance, structure_name: str = "") -> RegionOfInterest:
    """The region a request names, or the only gross tumor volume.

    A gross tumor volume is a region whose name begins with GTV or "gross tumor", or whose interpreted type is
    GTV; one with "edema" in its name is none, because edema around a sarcoma is no tumor.

    Args:
        rtstruct: RT Structure Set.
        structure_name: ROI Name, or empty.

    Raises:
        ContourNotFound: No such region, or it has no closed contour.
        AmbiguousSeries: Several regions fit.
        MissingAttribute: A required sequence is absent, as in a file that was cut.
    """
    dataset = rtstruct.dataset
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        if keyword not in dataset:
            raise attributes.missing(keyword)
    types = {
        attributes.text(item, "ReferencedROINumber"): (attributes.text(item, "RTROIInterpretedType") or "").upper()
        for item in attributes.items(dataset, "RTROIObservationsSequence")
    }
    regions = [
        (item, attributes.text(item, "ROIName") or "", types.get(attributes.text(item, "ROINumber"), ""))
        for item in attributes.items(dataset, "StructureSetROISequence")
    ]
    if structure_name:
        fitting = [region for region in regions if region[1] == structure_name]
    else:
        tumors = [region for region in regions if not _EDEMA.search(region[1])]
        fitting = [region for region in tumors if _GROSS_TUMOR.match(region[1])]
        fitting = fitting or [region for region in tumors if region[2] == "GTV"]
    if not fitting:
        raise ContourNotFound(
            "The structure set has no region of that name. Name one that it has."
            if structure_name
            else "The structure set has no region that is a gross tumor volume. Name the region in the request."
        )
    if len(fitting) > 1:
        raise AmbiguousSeries(
            f"{len(fitting)} regions of the structure set may be meant. Name one of them in the request.",
            candidates=len(fitting),
        )
    item, name, interpreted_type = fitting[0]
    polygons = _polygons(dataset, attributes.required_text(item, "ROINumber"))
    if not polygons:
        raise ContourNotFound("The region of the structure set has no closed contour. Draw it, or name another one.")
    frame = attributes.text(item, "ReferencedFrameOfReferenceUID") or rtstruct.frame_of_reference_uid
    return RegionOfInterest(name, interpreted_type, frame, polygons)


def _polygons(dataset: Dataset, number: str) -> tuple[npt.NDArray[np.float64], ...]:
    found = []
    for region in attributes.items(dataset, "ROIContourSequence"):
        if attributes.text(region, "ReferencedROINumber") != number:
            continue
        for contour in attributes.items(region, "ContourSequence"):
            if (attributes.text(contour, "ContourGeometricType") or "").upper() not in _CLOSED:
                continue
            values = attributes.numbers(contour, "ContourData") or ()
            if len(values) % 3:
                raise attributes.invalid("ContourData")
            if len(values) >= 9:
                found.append(np.reshape(values, (-1, 3)))
    return tuple(found)


def rasterize(
    region: RegionOfInterest,
    index_to_patient: npt.NDArray[np.float64],
    size: tuple[int, int, int],
    frame_of_reference_uid: str,
) -> npt.NDArray[np.uint8]:
    """Fill the contours on the slices they were drawn on.

    Args:
        region: What to draw.
        index_to_patient: Affine, shape (4, 4), of the grid: (i, j, k) to LPS mm.
        size: Voxels of the grid along i, j, k.
        frame_of_reference_uid: Of the grid.

    Returns:
        0 and 1, axes (k, j, i).

    Raises:
        FrameOfReferenceMismatch: The region belongs to another frame of reference.
        GeometryMismatch: Contours do not lie in slice planes of the grid, or skip slices regularly.
        EmptyMask: No voxel centre of the grid is inside.
    """
    require_frame_of_reference(region, frame_of_reference_uid)
    columns, rows, slices = size
    mask = np.zeros((slices, rows, columns), bool)
    to_index = np.linalg.inv(index_to_patient)
    drawn_on = set()
    for polygon in region.polygons:
        points = polygon @ to_index[:3, :3].T + to_index[:3, 3]
        k = round(float(points[:, 2].mean()))
        if np.abs(points[:, 2] - k).max() > _OFF_PLANE_SLICES:
            raise GeometryMismatch(
                "The contours do not lie in the slices of the image. Send the series they were drawn on, too."
            )
        drawn_on.add(k)
        if 0 <= k < slices:
            _toggle_inside(mask[k], points[:, 1::-1])
    planes = sorted(drawn_on)
    if len(planes) > 2 and min(np.diff(planes)) > 1:
        raise GeometryMismatch(
            "The contours skip slices of the image regularly. Interpolate them to every slice, or draw them there."
        )
    if not mask.any():
        raise EmptyMask("The contours enclose no voxel of the image. Check that they belong to it.")
    return mask.astype(np.uint8)


def require_frame_of_reference(region: RegionOfInterest, frame_of_reference_uid: str) -> None:
    """Refuse a region whose positions mean other places.

    Raises:
        FrameOfReferenceMismatch: The region belongs to another frame of reference, or to none.
    """
    if region.frame_of_reference_uid != frame_of_reference_uid:
        raise FrameOfReferenceMismatch(
            "The contours belong to another frame of reference than the image. Send contours drawn on this examination."
        )


def _toggle_inside(plane: npt.NDArray[np.bool_], vertices: npt.NDArray[np.float64]) -> None:
    """Exclusive or of a polygon, shape (points, 2) as (j, i), into a slice."""
    low = np.maximum(np.floor(vertices.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(vertices.max(axis=0)).astype(int) + 1, plane.shape)
    if np.any(high <= low):
        return
    labels = grid_points_in_poly(  # type: ignore[no-untyped-call]
        tuple(high - low), vertices - low, binarize=False
    )
    # 1 is inside; a centre exactly on the line (2, 3) counts as outside, so that regions that share an edge do
    # not share voxels.
    plane[low[0] : high[0], low[1] : high[1]] ^= labels == 1
