"""A mesh as Encapsulated STL (PS3.3 A.85.1, modality M3D)."""

from __future__ import annotations

from pydicom.uid import EncapsulatedSTLStorage

from oncoresponse.reporting.dicom_objects.archive_object import (
    SourceSeries,
    code_item,
    long_string,
    new_object,
    part10,
    reference,
    references,
    set_sources,
)
from oncoresponse.reporting.report_content import ReportContext


def surface_object(
    context: ReportContext, source: SourceSeries, stl: bytes, *, title: str, instance: int, made_from: tuple[str, str]
) -> bytes:
    """Encapsulate a mesh. Its vertices are in the frame of reference of the source series: LPS, mm.

    Args:
        context: What is reported.
        source: Series the lesions were contoured on.
        stl: Binary STL.
        title: What it is of, such as ``Lesion 1``.
        instance: Number in the series of surfaces, from 1.
        made_from: SOP Class UID and SOP Instance UID of the segmentation.
    """
    made = new_object(
        context, source, "surfaces", sop_class_uid=EncapsulatedSTLStorage, modality="M3D", instance=instance
    )
    made.SeriesDescription = "3D models, research use only"
    made.FrameOfReferenceUID = source.first.FrameOfReferenceUID
    made.PositionReferenceIndicator = source.first.get("PositionReferenceIndicator") or None
    made.BurnedInAnnotation = "NO"
    made.AcquisitionDateTime = None
    made.DocumentTitle = long_string(f"{title}, LPS mm, research use only")
    made.ConceptNameCodeSequence = []
    made.ContentDescription = long_string(f"{title}, LPS mm, research use only")
    made.SourceInstanceSequence = [reference(*made_from), *references(source)]
    set_sources(made, source)
    made.MeasurementUnitsCodeSequence = [code_item("mm", "UCUM", "mm")]
    made.ModelModification = "NO"
    made.ModelMirroring = "NO"
    made.MIMETypeOfEncapsulatedDocument = "model/stl"
    made.EncapsulatedDocumentLength = len(stl)
    made.EncapsulatedDocument = stl + b"\0" * (len(stl) % 2)
    return part10(made)
