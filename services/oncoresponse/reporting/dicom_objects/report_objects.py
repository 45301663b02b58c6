"""All objects of one report by their file names, and the files of its three-dimensional part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from oncoresponse.case.volume import Volume
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.dicom_objects.archive_object import source_series
from oncoresponse.reporting.dicom_objects.result_objects import surface_objects
from oncoresponse.reporting.fhir_bundle import SEGMENTATION
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.surfaces.body_region import stated_region
from oncoresponse.reporting.surfaces.surface_models import SurfaceModels, surface_models
from oncoresponse.reporting.wording import research_use_statement


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
    """Put the objects of a report together. The same arguments give the same bytes.

    Args:
        context: What is reported.
        report: What was composed of it.
        models: From :func:`reported_surfaces`.
        source_datasets: Headers of the series the lesions were contoured on.

    Raises:
        MissingAttribute, InvalidAttribute: As :func:`~oncoresponse.reporting.compose.compose_report`.
    """
    made = {name: data for name, data in report.objects.items() if name != SEGMENTATION}
    if not any("surface" in name for name in made):  # composed without them
        made |= surface_objects(context, source_series(source_datasets), report.segmentation, models)
    distances = None if models.distances is None else models.distances.model_dump_json(indent=2).encode()
    return ReportObjects(made, models.scene, distances)
