"""All objects of one report by their file names, and the files of its three-dimensional part."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom import dcmread
from pydicom.dataset import Dataset

from oncoresponse.case.artifact_names import lesion_file_name
from oncoresponse.case.volume import Volume
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.dicom_objects.archive_object import source_series
from oncoresponse.reporting.dicom_objects.documents import encapsulated_report, key_image_object
from oncoresponse.reporting.dicom_objects.structured_report import structured_report
from oncoresponse.reporting.dicom_objects.surface_object import surface_object
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.surfaces.body_region import stated_region
from oncoresponse.reporting.surfaces.meshes import stl
from oncoresponse.reporting.surfaces.surface_models import SurfaceModels, surface_models
from oncoresponse.reporting.wording import research_use_statement

STRUCTURED_REPORT, ENCAPSULATED_REPORT = "structured-report.dcm", "encapsulated-report.dcm"


@dataclass(frozen=True)
class ReportObjects:
    """File contents by file name.

    Attributes:
        dicom: DICOM Part 10 files.
        scene: All surfaces as GLB.
        distances: UTF-8 JSON; ``None`` without a CT.
    """

    dicom: dict[str, bytes]
    scene: bytes
    distances: bytes | None


def reported_surfaces(
    context: ReportContext, lesions: Volume, ct: Volume | None, margin_mm: float | None = None
) -> tuple[SurfaceModels, ReportContext]:
    """Make meshes and distances, and put the distances into what is reported. The same arguments give the same.

    Args:
        context: What is reported.
        lesions: From :func:`~oncoresponse.reporting.lesion_map.lesion_map`.
        ct: For bone, skin and margins; ``None`` where there is none.
        margin_mm: Width of the shell around each lesion, in mm; ``None`` for none.

    Raises:
        InvalidRequest: The margin is not above 0 and at most 100 mm.
    """
    models = surface_models(
        lesions,
        ct,
        region=stated_region(context.study),
        margin_mm=margin_mm,
        research_use_statement=research_use_statement(context),
    )
    measured = {} if models.distances is None else {entry.lesion: entry for entry in models.distances.lesions}
    reported = tuple(replace(lesion, distances=measured.get(lesion.number)) for lesion in context.lesions)
    return models, replace(context, lesions=reported)


def report_objects(
    context: ReportContext,
    report: Report,
    models: SurfaceModels,
    source_datasets: Sequence[Dataset],
) -> ReportObjects:
    """Make them. The same arguments give the same bytes.

    Args:
        context: What is reported.
        report: What was composed of it.
        models: From :func:`reported_surfaces`.
        source_datasets: Headers of the series the lesions were contoured on.

    Raises:
        MissingAttribute, InvalidAttribute: As :func:`~oncoresponse.reporting.compose.compose_report`.
    """
    source = source_series(source_datasets)
    segmentation = dcmread(io.BytesIO(report.segmentation), stop_before_pixels=True)
    made = {
        STRUCTURED_REPORT: structured_report(context, source, report.segmentation),
        ENCAPSULATED_REPORT: encapsulated_report(context, source, report.pdf),
        "key-image.dcm": key_image_object(context, source, report.key_image),
    }
    made_from = str(segmentation.SOPClassUID), str(segmentation.SOPInstanceUID)
    for instance, (name, mesh) in enumerate(models.meshes.items(), start=1):
        what, _, number = name.partition("-")
        title = f"{what.capitalize()} {number}".strip()
        file_name = f"{what}-surface.dcm"
        if number:
            file_name = lesion_file_name(file_name, int(number), len(context.lesions))
        made[file_name] = surface_object(
            context, source, stl(mesh), title=title, instance=instance, made_from=made_from
        )
    distances = None if models.distances is None else models.distances.model_dump_json(indent=2).encode()
    return ReportObjects(made, models.scene, distances)
