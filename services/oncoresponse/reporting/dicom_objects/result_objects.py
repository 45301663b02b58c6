"""The DICOM objects of one report, but for its segmentation, of which they are made."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pydicom import dcmread
from pydicom.dataset import Dataset

from oncoresponse.case.artifact_names import lesion_file_name
from oncoresponse.reporting.dicom_objects.archive_object import SourceSeries, source_series
from oncoresponse.reporting.dicom_objects.documents import encapsulated_report, key_image_object
from oncoresponse.reporting.dicom_objects.structured_report import structured_report
from oncoresponse.reporting.dicom_objects.surface_object import surface_object
from oncoresponse.reporting.document_references import ENCAPSULATED_REPORT, STRUCTURED_REPORT
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.surfaces.meshes import stl
from oncoresponse.reporting.surfaces.surface_models import SurfaceModels


def result_objects(
    context: ReportContext,
    source_datasets: Sequence[Dataset],
    *,
    segmentation: bytes,
    pdf: bytes,
    key_image: bytes,
    models: SurfaceModels | None,
) -> dict[str, bytes]:
    """Structured report, page, key image and surfaces by file name.

    Args:
        context: What is reported.
        source_datasets: Headers of the series the lesions were contoured on.
        segmentation: DICOM Segmentation.
        pdf: The page.
        key_image: PNG.
        models: Surfaces; ``None`` for none.

    Raises:
        MissingAttribute, InvalidAttribute: As :func:`~oncoresponse.reporting.compose.compose_report`.
    """
    source = source_series(source_datasets)
    made = {
        STRUCTURED_REPORT: structured_report(context, source, segmentation),
        ENCAPSULATED_REPORT: encapsulated_report(context, source, pdf),
        "key-image.dcm": key_image_object(context, source, key_image),
    }
    return made if models is None else made | surface_objects(context, source, segmentation, models)


def surface_objects(
    context: ReportContext, source: SourceSeries, segmentation: bytes, models: SurfaceModels
) -> dict[str, bytes]:
    """Encapsulated STL of each surface by file name; of several lesions with their number."""
    made_of = dcmread(io.BytesIO(segmentation), stop_before_pixels=True)
    made_from = str(made_of.SOPClassUID), str(made_of.SOPInstanceUID)
    made: dict[str, bytes] = {}
    for instance, (name, mesh) in enumerate(models.meshes.items(), start=1):
        what, _, number = name.partition("-")
        title = f"{what.capitalize()} {number}".strip()
        file_name = f"{what}-surface.dcm"
        if number:
            file_name = lesion_file_name(file_name, int(number), len(context.lesions))
        made[file_name] = surface_object(
            context, source, stl(mesh), title=title, instance=instance, made_from=made_from
        )
    return made
