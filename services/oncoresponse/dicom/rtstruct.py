"""RTSTRUCT (DICOM PS3.3 C.8.8.5, C.8.8.6, C.8.8.8): which region is meant, and its contours."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from oncoresponse.dicom import attributes
from oncoresponse.dicom.contour_filling import ClosedContour
from oncoresponse.dicom.contour_remarks import counted
from oncoresponse.dicom.contour_request import (
    AlgorithmType,
    algorithm_type,
    ambiguous_structures,
    automatic_contour,
    is_named,
)
from oncoresponse.dicom.reading import Instance
from oncoresponse.errors import (
    ContourNotClosed,
    ContourNotFound,
    FrameOfReferenceMismatch,
    InvalidAttribute,
)

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OPEN = ("OPEN_PLANAR", "OPEN_NONPLANAR", "POINT")
_GROSS_TUMOR = re.compile(r"\s*(gtv|gross[\W_]*tumou?r)", re.I)
# A defined term (PS3.5 6.2, VR CS); anything else is not quoted.
_TERM = re.compile(r"[A-Z0-9_ ]{1,16}")
_EDEMA = re.compile(r"o?edema", re.I)


@dataclass(frozen=True, eq=False)
class RegionOfInterest:
    """One region of an RTSTRUCT.

    Attributes:
        number: ROI Number (3006,0022).
        name: ROI Name (3006,0026); outside text, not for logs.
        interpreted_type: RT ROI Interpreted Type (3006,00A4), upper case.
        algorithm_type: ROI Generation Algorithm (3006,0036), ``None`` when not stated.
        frame_of_reference_uid: (3006,0024), ``None`` when absent.
        contours: Closed contours.
        plane_distance_mm: Spacing Between Slices of the Source Pixel Planes (3006,004A), ``None`` when not given.
    """

    number: int
    name: str
    interpreted_type: str
    algorithm_type: AlgorithmType | None
    frame_of_reference_uid: str | None
    contours: tuple[ClosedContour, ...]
    plane_distance_mm: float | None


@dataclass(frozen=True, eq=False)
class _Entry:
    item: Dataset
    number: int
    name: str
    interpreted_type: str

    @property
    def algorithm_type(self) -> AlgorithmType | None:
        return algorithm_type(self.item, "ROIGenerationAlgorithm")

    @property
    def is_edema(self) -> bool:
        return bool(_EDEMA.search(self.name))

    @property
    def is_gross_tumor(self) -> bool:
        return not self.is_edema and bool(_GROSS_TUMOR.match(self.name) or self.interpreted_type == "GTV")


def referenced_series_uids(dataset: Dataset) -> tuple[str, ...]:
    """Series that the structure set was drawn on (3006,0010 > 3006,0012 > 3006,0014)."""
    return tuple(
        uid
        for frame in attributes.items(dataset, "ReferencedFrameOfReferenceSequence")
        for study in attributes.items(frame, "RTReferencedStudySequence")
        for series in attributes.items(study, "RTReferencedSeriesSequence")
        if (uid := attributes.text(series, "SeriesInstanceUID"))
    )


def referenced_instance_uids(dataset: Dataset) -> frozenset[str]:
    """Images that contours lie on (3006,0039 > 3006,0040 > 3006,0016)."""
    return frozenset(
        uid
        for region in attributes.items(dataset, "ROIContourSequence")
        for contour in attributes.items(region, "ContourSequence")
        for image in attributes.items(contour, "ContourImageSequence")
        if (uid := attributes.text(image, "ReferencedSOPInstanceUID"))
    )


def has_drawn_tumor(rtstruct: Instance, structure_name: str) -> bool:
    """Whether a region that a request may mean is not AUTOMATIC, so that a person had a hand in it.

    A structure set with no region that fits counts too: choosing from it gives the error that says so.
    """
    fitting = _fitting(rtstruct.dataset, structure_name)
    return not fitting or any(entry.algorithm_type != "AUTOMATIC" for entry in fitting)


def choose_region(rtstruct: Instance, structure_name: str = "", *, with_automatic: bool = False) -> RegionOfInterest:
    """The region a request names, or the only gross tumor volume.

    A gross tumor volume is a region whose name begins with GTV or "gross tumor", or whose interpreted type is
    GTV; one with "edema" in its name is none, because edema around a sarcoma is no tumor.

    Args:
        rtstruct: RT Structure Set.
        structure_name: ROI Name, or ``#`` and the ROI Number, or empty.
        with_automatic: Regions whose ROI Generation Algorithm is AUTOMATIC may be chosen.

    Raises:
        ContourNotFound: No such region, or it has no contour.
        AutomaticContour: There is one, and it is AUTOMATIC.
        AmbiguousSeries: Several regions fit.
        ContourNotClosed: The region has points or open lines.
        MissingAttribute: A required sequence is absent, as in a file that was cut.
        InvalidAttribute: A contour is damaged, or two regions have one number.
    """
    region = _region(rtstruct, _chosen(rtstruct.dataset, structure_name, with_automatic=with_automatic))
    if not region.contours:
        raise ContourNotFound("The region of the structure set has no contour. Draw it, or name another one.")
    return region


def require_region(rtstruct: Instance, structure_name: str = "", *, with_automatic: bool = False) -> None:
    """Refuse what :func:`choose_region` would refuse before it looks at a contour; the points need not be there."""
    dataset = rtstruct.dataset
    _require_own_number(dataset, _chosen(dataset, structure_name, with_automatic=with_automatic))


def _chosen(dataset: Dataset, structure_name: str, *, with_automatic: bool) -> _Entry:
    _require_whole(dataset)
    fitting = _fitting(dataset, structure_name)
    if not fitting:
        raise ContourNotFound(
            "The structure set has no region of that name or number. Name one that it has."
            if structure_name
            else "The structure set has no region that is a gross tumor volume. Name the region in the request."
        )
    if not with_automatic:
        fitting = [entry for entry in fitting if entry.algorithm_type != "AUTOMATIC"]
        if not fitting:
            raise automatic_contour()
    if len(fitting) > 1:
        raise ambiguous_structures("regions of the structure set", [entry.number for entry in fitting])
    return fitting[0]


def every_lesion(
    rtstruct: Instance, *, with_automatic: bool = False
) -> tuple[tuple[RegionOfInterest, ...], tuple[str, ...]]:
    """All regions that may be lesions: RT ROI Interpreted Type is GTV or empty, and something is drawn.

    Args:
        rtstruct: RT Structure Set.
        with_automatic: Regions whose ROI Generation Algorithm is AUTOMATIC may be among them.

    Returns:
        The regions in order of their items, and those left out, as their number and the reason.

    Raises:
        ContourNotFound: There is none.
        AutomaticContour: All are AUTOMATIC.
        ContourNotClosed, MissingAttribute, InvalidAttribute: As :func:`choose_region`.
    """
    _require_whole(rtstruct.dataset)
    regions, left_out = [], []
    is_only_automatic = False
    for entry in _entries(rtstruct.dataset):
        reason = ""
        if entry.interpreted_type not in ("", "GTV"):
            reason = entry.interpreted_type if _TERM.fullmatch(entry.interpreted_type) else "of another type"
        elif entry.is_edema:
            reason = "edema"
        elif entry.algorithm_type == "AUTOMATIC" and not with_automatic:
            reason, is_only_automatic = "AUTOMATIC", True
        else:
            region = _region(rtstruct, entry)
            if region.contours:
                regions.append(region)
                continue
            reason = "without contour"
        left_out.append(f"#{entry.number} ({reason})")
    if not regions and is_only_automatic:
        raise automatic_contour()
    if not regions:
        raise ContourNotFound("The structure set has no region that may be a lesion. Name the regions in the request.")
    return tuple(regions), tuple(left_out)


def _require_whole(dataset: Dataset) -> None:
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        if keyword not in dataset:
            raise attributes.missing(keyword)


def _require_own_number(dataset: Dataset, entry: _Entry) -> None:
    if sum(other.number == entry.number for other in _entries(dataset)) > 1:
        raise attributes.invalid("ROINumber")


def _region(rtstruct: Instance, entry: _Entry) -> RegionOfInterest:
    dataset = rtstruct.dataset
    _require_own_number(dataset, entry)
    return RegionOfInterest(
        number=entry.number,
        name=entry.name,
        interpreted_type=entry.interpreted_type,
        algorithm_type=entry.algorithm_type,
        frame_of_reference_uid=attributes.text(entry.item, "ReferencedFrameOfReferenceUID")
        or rtstruct.frame_of_reference_uid,
        contours=_contours(dataset, entry.number),
        plane_distance_mm=_plane_distance(dataset, entry.number),
    )


def _entries(dataset: Dataset) -> list[_Entry]:
    types = {
        _number(item, "ReferencedROINumber"): (attributes.text(item, "RTROIInterpretedType") or "").upper()
        for item in attributes.items(dataset, "RTROIObservationsSequence")
    }
    found = []
    for item in attributes.items(dataset, "StructureSetROISequence"):
        number = _number(item, "ROINumber")
        if number is None:
            raise attributes.missing("ROINumber")
        found.append(_Entry(item, number, attributes.text(item, "ROIName") or "", types.get(number, "")))
    return found


def _fitting(dataset: Dataset, structure_name: str) -> list[_Entry]:
    entries = _entries(dataset)
    if structure_name:
        return [entry for entry in entries if is_named(structure_name, entry.name, entry.number)]
    tumors = [entry for entry in entries if entry.is_gross_tumor]
    return [entry for entry in tumors if _GROSS_TUMOR.match(entry.name)] or tumors


def _number(item: Dataset, keyword: str) -> int | None:
    value = attributes.number(item, keyword)
    return None if value is None else int(value)


def _contours(dataset: Dataset, number: int) -> tuple[ClosedContour, ...]:
    items = [
        contour
        for region in attributes.items(dataset, "ROIContourSequence")
        if _number(region, "ReferencedROINumber") == number
        for contour in attributes.items(region, "ContourSequence")
    ]
    types = [(attributes.text(item, "ContourGeometricType") or "").upper() for item in items]
    if others := Counter(kind if kind in _OPEN else "unknown type" for kind in types if kind not in _CLOSED):
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        raise ContourNotClosed(
            f"{counted(others.total(), 'contour')} of {len(items)} of the region enclose nothing ({listed}), so it has "
            "no volume. Close them at the source, or name another region.",
            contours=others.total(),
        )
    return tuple(_closed(item, kind == "CLOSEDPLANAR_XOR") for item, kind in zip(items, types, strict=True))


def _plane_distance(dataset: Dataset, number: int) -> float | None:
    distances = [
        attributes.number(planes, "SpacingBetweenSlices")
        for region in attributes.items(dataset, "ROIContourSequence")
        if _number(region, "ReferencedROINumber") == number
        for planes in attributes.items(region, "SourcePixelPlanesCharacteristicsSequence")
    ]
    return distances[0] if len(distances) == 1 else None


def _closed(item: Dataset, is_xor: bool) -> ClosedContour:
    values = attributes.numbers(item, "ContourData")
    if values is None:
        raise attributes.missing("ContourData")
    if len(values) % 3:
        raise attributes.invalid("ContourData")
    points = np.reshape(values, (-1, 3))
    announced = attributes.number(item, "NumberOfContourPoints")
    # Some writers do not count the first point where they repeat it at the end.
    repeated = int(np.array_equal(points[0], points[-1]))
    if announced is not None and not len(points) - repeated <= announced <= len(points):
        raise InvalidAttribute(
            "A contour has another number of points than NumberOfContourPoints says, so part of it may be lost. Export "
            "the structure set again.",
            keyword="NumberOfContourPoints",
        )
    return ClosedContour(points, is_xor)


def require_frame_of_reference(region: RegionOfInterest, frame_of_reference_uid: str) -> None:
    """Refuse a region whose positions mean other places.

    Raises:
        FrameOfReferenceMismatch: The region belongs to another frame of reference, or to none.
    """
    if region.frame_of_reference_uid != frame_of_reference_uid:
        raise FrameOfReferenceMismatch(
            "The contours belong to another frame of reference than the image. Send contours drawn on this examination."
        )
