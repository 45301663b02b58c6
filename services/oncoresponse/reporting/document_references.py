"""What a report is made of and leads to, as FHIR R4 DocumentReference: SEG, SR, page, and the card of the model.

Objects of the archive are named by their UIDs, with size and hash, and by their WADO-RS address where the site states
one; they are not embedded.
"""

from __future__ import annotations

from fhir.resources.R4B.documentreference import DocumentReference

from oncoresponse.reporting.archive_files import ArchiveFile, dicom_format
from oncoresponse.reporting.code_systems import (
    DIAGNOSTIC_IMAGING_STUDY,
    IMAGING_MEASUREMENT_REPORT,
    MODALITIES,
    MODEL_CARD,
    MODEL_CARD_MARKDOWN,
    SHA256,
    Json,
    concept,
)
from oncoresponse.reporting.fhir_elements import ai_asserted, attachment, narrative
from oncoresponse.reporting.fhir_identifiers import dicom_identifier, encounter, full_url, identifier, subject
from oncoresponse.reporting.imaging_study import imaging_study_reference
from oncoresponse.reporting.report_content import ReportContext

STRUCTURED_REPORT, ENCAPSULATED_REPORT = "structured-report.dcm", "encapsulated-report.dcm"
"""File names of the objects that are documents, beside the segmentation."""


def segmentation_document(context: ReportContext, file: ArchiveFile) -> DocumentReference:
    """The DICOM Segmentation."""
    what = "the lesions" if context.has_several_lesions else "the tumor"
    title = f"DICOM Segmentation of {what}"
    element = _of_archive(context, "segmentation-document", file, title, "Segmentation Storage")
    element["type"] = concept(MODALITIES["SEG"], text=title)
    if not context.any_contour_is_by_algorithm:
        element.pop("meta", None)
    return DocumentReference.model_validate(element)


def structured_report_document(context: ReportContext, file: ArchiveFile) -> DocumentReference:
    """The DICOM Structured Report (TID 1500)."""
    title = "DICOM Structured Report of the measurements"
    element = _of_archive(context, "structured-report-document", file, title, "Comprehensive 3D SR Storage")
    element["type"] = concept(IMAGING_MEASUREMENT_REPORT, text=title)
    return DocumentReference.model_validate(element)


def page_document(context: ReportContext, pdf: bytes, file: ArchiveFile | None) -> DocumentReference:
    """The page of the report: the PDF by size and hash (its bytes are ``presentedForm``), and its DICOM object."""
    role = "page-document"
    page = {"attachment": attachment(pdf, "application/pdf", "Report, research use only", embed=False)}
    if file is None:
        element = _document(context, role, "Report as PDF")
    else:
        element = _of_archive(context, role, file, "Report as PDF", "Encapsulated PDF Storage")
    element["type"] = concept(DIAGNOSTIC_IMAGING_STUDY, text="Report as PDF")
    element["content"] = [page, *element.get("content", [])]
    return DocumentReference.model_validate(element)


def model_card_reference(context: ReportContext) -> Json | None:
    """Reference to the card of the model in the Bundle; ``None`` where the model has none."""
    if not context.model_card:
        return None
    display = f"Model card of {context.model.name} {context.model.version}"
    return {
        "reference": full_url(*_card_parts(context)),
        "type": "DocumentReference",
        "identifier": identifier(*_card_parts(context)),
        "display": display,
    }


def model_card_entry(context: ReportContext) -> tuple[str, DocumentReference] | None:
    """``fullUrl`` and resource of the card of the model (AI-ModelCard); ``None`` where it has none.

    It is of the model and of no patient, so that all reports of a version share it.
    """
    if not context.model_card:
        return None
    title = f"Model card of {context.model.name} {context.model.version}"
    element: Json = {
        "text": narrative(f"{title}. {context.model.intended_use.device_status}"),
        "identifier": [identifier(*_card_parts(context)), {"system": SHA256, "value": context.model_sha256}],
        "status": "current",
        "type": concept(MODEL_CARD),
        "category": [concept(MODEL_CARD_MARKDOWN)],
        "description": title,
        "content": [{"attachment": attachment(context.model_card, "text/markdown", title)}],
    }
    return full_url(*_card_parts(context)), DocumentReference.model_validate(element)


def _card_parts(context: ReportContext) -> tuple[str, ...]:
    return ("model-card", context.model.name, context.model.version, context.model_sha256)


def _of_archive(context: ReportContext, role: str, file: ArchiveFile, title: str, sop_class_name: str) -> Json:
    element = _document(context, role, f"{title}, stored with the study.")
    shown = attachment(file.data, "application/dicom", title, embed=False)
    if context.site.dicomweb_url:
        shown["url"] = file.address(context.site.dicomweb_url)
    element["masterIdentifier"] = dicom_identifier(file.sop_instance_uid)
    element["content"] = [{"attachment": shown, "format": dicom_format(file, sop_class_name)}]
    return element


def _document(context: ReportContext, role: str, text: str) -> Json:
    around: Json = {"related": [imaging_study_reference(context)]}
    if found := encounter(context):
        around["encounter"] = [found]
    element: Json = {
        "text": narrative(text),
        "identifier": [identifier(context.assessment_id, role)],
        "status": "current",
        "docStatus": "preliminary",
        "subject": subject(context),
        "date": context.issued.isoformat(),
        "context": around,
    }
    if context.any_contour_is_by_algorithm or context.prediction is not None:
        element["meta"] = ai_asserted()
    return element
