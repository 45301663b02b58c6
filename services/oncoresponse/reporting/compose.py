"""The reporting stage: everything the other stages found, in; FHIR Bundle, PDF, key image and DICOM SEG, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from oncoresponse.case.volume import Volume
from oncoresponse.reporting.fhir_bundle import fhir_bundle
from oncoresponse.reporting.key_image import key_image_panels, key_image_png
from oncoresponse.reporting.pdf_report import pdf_report
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.segmentation_object import segmentation_object
from oncoresponse.reporting.wording import (
    readable_summary,
    refuse_treatment_directives,
    research_use_statement,
    spoken_texts,
)


@dataclass(frozen=True)
class Report:
    """The four renderings of one report, as file contents.

    Attributes:
        bundle_json: FHIR R4 transaction Bundle, UTF-8 JSON.
        pdf: One A4 page.
        key_image: PNG.
        segmentation: DICOM Segmentation.
        summary: The result in a few lines, without patient identity.
    """

    bundle_json: bytes
    pdf: bytes
    key_image: bytes
    segmentation: bytes
    summary: str


def compose_report(
    context: ReportContext, pet: Volume, ct: Volume | None, mask: Volume, source_datasets: Sequence[Dataset]
) -> Report:
    """Compose every rendering of a report. The same arguments give the same bytes.

    Args:
        context: What is reported.
        pet: SUVbw (g/mL), LPS.
        ct: HU, LPS, same frame of reference as the PET; any grid. ``None`` without a CT.
        mask: Tumor, 0 or 1, on the PET grid.
        source_datasets: DICOM datasets of the PET series, without or with pixel data.

    Raises:
        EmptyMask: The mask holds no voxel: there is nothing to report.
        FrameOfReferenceMismatch: The volumes cannot be compared.
        GeometryMismatch: The mask is not on the PET grid or not on the planes of the source images.
        MissingAttribute: A source image lacks what a reference to it needs.
        InvalidAttribute: The source images are not of one series, or their patient identity breaks DICOM's rules.
        ModelFolderInvalid: A text of the model tells the reader what to do about a treatment.
    """
    refuse_treatment_directives(spoken_texts(context))
    panels = key_image_panels(pet, ct, mask)
    segmentation = segmentation_object(context, mask, source_datasets)
    key_image, size = key_image_png(panels, research_use_statement(context))
    pdf = pdf_report(context, panels)
    bundle = fhir_bundle(context, pdf=pdf, key_image=key_image, key_image_size=size, segmentation=segmentation)
    return Report(bundle, pdf, key_image, segmentation, readable_summary(context))
