"""DiagnosticReport, ``preliminary`` as the chain makes it, with the key image and the PDF inside."""

from __future__ import annotations

from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.media import Media

from oncoresponse.reporting.code_systems import (
    DIAGNOSTIC_IMAGING_STUDY,
    NO_PREDICTION,
    RADIOLOGY,
    RADIOLOGY_LOINC,
    Json,
    concept,
)
from oncoresponse.reporting.fhir_elements import ai_asserted, attachment, narrative
from oncoresponse.reporting.fhir_identifiers import encounter, full_url, identifier, order, subject
from oncoresponse.reporting.imaging_study import imaging_study_reference
from oncoresponse.reporting.lesion_observations import observation_reference
from oncoresponse.reporting.organization import performer
from oncoresponse.reporting.prediction_observations import answer_concept
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import conclusion

REPLACES = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-replaces"
"""R4 extension: the report that this one replaces."""


def key_image_media(context: ReportContext, key_image: bytes, width: int, height: int) -> Media:
    """R4 Media: the image with the contours, PNG."""
    element: Json = {
        "text": narrative(
            "Key image: the lesions with their contours."
            if context.has_several_lesions
            else "Key image: the tumor with its contour."
        ),
        "identifier": [identifier(context.assessment_id, "key-image")],
        "status": "completed",
        "subject": subject(context),
        "createdDateTime": context.issued.isoformat(),
        "width": width,
        "height": height,
        "content": attachment(key_image, "image/png", _key_image_title(context)),
    }
    if context.any_contour_is_by_algorithm:
        element["meta"] = ai_asserted()
    return Media.model_validate(element)


def presented_forms(html: bytes, pdf: bytes, title: str) -> list[Json]:
    """The report for a reader, as PDF and as HTML."""
    return [attachment(pdf, "application/pdf", title), attachment(html, "text/html", title)]


def diagnostic_report(context: ReportContext, html: bytes, pdf: bytes, result_roles: list[str]) -> DiagnosticReport:
    """R4 DiagnosticReport.

    ``status`` is ``preliminary`` and ``resultsInterpreter`` is absent: to sign is a physician's act, of which
    :mod:`~oncoresponse.reporting.signed_bundle` makes another version. No profile is
    claimed, because those of the field (IHE IMR, US Core) ask for the physician who interpreted the study.
    """
    text, prediction = conclusion(context), context.prediction
    if context.planned_treatment:
        text += f' Planned treatment according to the order, not an input of the model: "{context.planned_treatment}".'
    element: Json = {
        "text": narrative(text),
        "identifier": [identifier(context.assessment_id, "report")],
        "status": "preliminary",
        "category": [concept(RADIOLOGY_LOINC, RADIOLOGY)],
        "code": concept(DIAGNOSTIC_IMAGING_STUDY, text=context.model.title),
        "subject": subject(context),
        "issued": context.issued.isoformat(),
        "result": [observation_reference(context, role) for role in result_roles],
        "imagingStudy": [imaging_study_reference(context)],
        "media": [
            {
                "comment": _key_image_title(context),
                "link": {"reference": full_url(context.assessment_id, "key-image"), "type": "Media"},
            }
        ],
        "conclusion": text,
        "conclusionCode": [concept(NO_PREDICTION) if prediction is None else answer_concept(prediction)],
        "presentedForm": presented_forms(html, pdf, "Report, research use only"),
    }
    if context.any_contour_is_by_algorithm or prediction is not None:
        element["meta"] = ai_asserted()
    if based_on := order(context):
        element["basedOn"] = based_on
    if context.replaces:
        earlier = {"type": "DiagnosticReport", "identifier": identifier(context.replaces, "report")}
        element["extension"] = [{"url": REPLACES, "valueReference": earlier}]
    if effective := context.scan_date_time:
        element["effectiveDateTime"] = effective
    if by := performer(context):
        element["performer"] = by
    if found := encounter(context):
        element["encounter"] = found
    return DiagnosticReport.model_validate(element)


def _key_image_title(context: ReportContext) -> str:
    return "Key image with lesion contours" if context.has_several_lesions else "Key image with tumor contour"
