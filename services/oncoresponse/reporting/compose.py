"""The reporting stage: everything the other stages found, in; FHIR Bundle, PDF, key image and DICOM SEG, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.reporting.dicom_objects.result_objects import result_objects
from oncoresponse.reporting.fhir_bundle import SEGMENTATION, fhir_bundle
from oncoresponse.reporting.fhir_r5 import r5_bundle
from oncoresponse.reporting.html_page import report_html
from oncoresponse.reporting.key_image import ShownImage, key_image_panels, key_image_png
from oncoresponse.reporting.patient_page import patient_page
from oncoresponse.reporting.pdf_report import report_page
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.segmentation_object import segmentation_object
from oncoresponse.reporting.surfaces.surface_models import SurfaceModels
from oncoresponse.reporting.wording import (
    readable_summary,
    refuse_treatment_directives,
    research_use_statement,
    spoken_texts,
)


@dataclass(frozen=True)
class Report:
    """The renderings of one report, as file contents, and what a signed version of its page is set from.

    Attributes:
        bundle_json: FHIR R4 transaction Bundle, UTF-8 JSON.
        pdf: One A4 page.
        page: What that page was set from (:class:`~oncoresponse.reporting.report_page.ReportPage`), UTF-8 JSON.
        key_image: PNG.
        segmentation: DICOM Segmentation.
        objects: All DICOM objects by file name, the segmentation among them.
        patient_page: HTML for the patient.
        bundle_r5: The Bundle in FHIR R5, UTF-8 JSON.
        summary: The result in a few lines, without patient identity.
    """

    bundle_json: bytes
    pdf: bytes
    page: bytes
    key_image: bytes
    segmentation: bytes
    objects: Mapping[str, bytes]
    patient_page: bytes
    bundle_r5: bytes
    summary: str


def compose_report(
    context: ReportContext,
    images: Mapping[str, Volume],
    lesions: Volume,
    source_datasets: Sequence[Dataset],
    models: SurfaceModels | None = None,
) -> Report:
    """Compose every rendering of a report. The same arguments give the same bytes.

    Args:
        context: What is reported.
        images: By input role, LPS, in one frame of reference; any grids. Those that the model shows are needed, but for
            optional ones.
        lesions: From :func:`~oncoresponse.reporting.lesion_map.lesion_map`, on the grid of the image that the model
            segments on.
        source_datasets: DICOM datasets of the series that the model segments on, without or with pixel data.
        models: Surfaces, from :func:`~oncoresponse.reporting.dicom_objects.report_objects.reported_surfaces`.

    Raises:
        EmptyMask: A lesion holds no voxel: there is nothing to report.
        InvalidRequest: The image that the model shows is not among the images.
        FrameOfReferenceMismatch: The volumes cannot be compared.
        GeometryMismatch: The lesions are not on the planes of the source images.
        MissingAttribute: A source image lacks what a reference to it needs.
        InvalidAttribute: The source images are not of one series, or their patient identity breaks DICOM's rules.
        ModelFolderInvalid: A text of the model tells the reader what to do about a treatment.
    """
    refuse_treatment_directives(spoken_texts(context))
    panels = key_image_panels(shown_images(context.model, images), lesions, context.main_lesion.number)
    segmentation = segmentation_object(context, lesions, source_datasets)
    key_image, size = key_image_png(panels, research_use_statement(context))
    page = report_page(context, panels)
    pdf = page.pdf()
    objects = {SEGMENTATION: segmentation} | result_objects(
        context, source_datasets, segmentation=segmentation, pdf=pdf, key_image=key_image, models=models
    )
    bundle = fhir_bundle(
        context,
        html=report_html(page.content),
        pdf=pdf,
        key_image=key_image,
        key_image_size=size,
        objects=objects,
    )
    return Report(
        bundle_json=bundle,
        pdf=pdf,
        page=page.to_json(),
        key_image=key_image,
        segmentation=segmentation,
        objects=objects,
        patient_page=patient_page(bundle),
        bundle_r5=r5_bundle(bundle),
        summary=readable_summary(context),
    )


def shown_images(model: ImagingResponse, images: Mapping[str, Volume]) -> list[ShownImage]:
    """What the key image shows, under the names that a reader knows.

    Args:
        model: Names the input roles.
        images: By input role; an optional one may be missing.

    Raises:
        InvalidRequest: The first, which all views are made of, is missing.
    """
    if model.show[0] not in images:
        raise InvalidRequest(f"The case has no image for the input {model.show[0]}, which the report shows.")
    modalities = {item.role: item.modality for item in model.inputs}
    shown = [role for role in model.show if role in images]
    counts = Counter(modalities[role] for role in shown)
    return [ShownImage(_title(role, modalities[role], counts[modalities[role]]), images[role]) for role in shown]


def _title(role: str, modality: str, count: int) -> str:
    name = "PET" if modality == "PT" else modality
    return name if count == 1 else f"{name} {role.replace('_', ' ')}"
