"""The study that was read, the lesions in it, and the segmentation written back to it, as FHIR R4."""

from __future__ import annotations

from fhir.resources.R4B.bodystructure import BodyStructure
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.imagingstudy import ImagingStudy

from oncoresponse.case.identifiers import derived_dicom_uid, lesion_part, tracking_identifier, tracking_uid
from oncoresponse.reporting.code_systems import (
    DCM,
    DICOM_UID,
    MODALITIES,
    TRACKING_IDENTIFIER,
    TRACKING_UID,
    Code,
    Json,
    concept,
)
from oncoresponse.reporting.fhir_elements import ai_asserted, attachment, narrative
from oncoresponse.reporting.fhir_identifiers import (
    dicom_identifier,
    full_url,
    identifier,
    order,
    subject,
)
from oncoresponse.reporting.lesion_wording import lesion_name, sentence
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def segmentation_series_uid(context: ReportContext) -> str:
    """SeriesInstanceUID of the DICOM segmentation of this assessment."""
    return derived_dicom_uid(context.assessment_id, "segmentation-series")


def segmentation_sop_instance_uid(context: ReportContext) -> str:
    """SOPInstanceUID of the DICOM segmentation of this assessment."""
    return derived_dicom_uid(context.assessment_id, "segmentation-instance")


def imaging_study_reference(context: ReportContext) -> Json:
    """Reference to the ImagingStudy of the Bundle."""
    return {"reference": full_url("study", context.study.study_instance_uid), "type": "ImagingStudy"}


def lesion_reference(context: ReportContext, lesion: ReportedLesion) -> Json:
    """Reference to the BodyStructure of a lesion in the Bundle."""
    return {"reference": full_url(context.assessment_id, lesion_part(lesion.number)), "type": "BodyStructure"}


def imaging_study(context: ReportContext) -> ImagingStudy:
    """R4 ImagingStudy: the series that were used and the segmentation series that goes back into the study."""
    study = context.study
    series: list[Json] = [
        {
            "uid": item.series_instance_uid,
            "modality": _modality(item.modality).coding,
            "numberOfInstances": len(item.sop_instance_uids),
        }
        for item in study.series
    ]
    series.append(
        {
            "uid": segmentation_series_uid(context),
            "modality": MODALITIES["SEG"].coding,
            "numberOfInstances": 1,
            "instance": [
                {
                    "uid": segmentation_sop_instance_uid(context),
                    "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{SEGMENTATION_STORAGE}"},
                }
            ],
        }
    )
    element: Json = {
        "text": narrative("Imaging study that was assessed, with the series that were used."),
        "identifier": [dicom_identifier(study.study_instance_uid)],
        "status": "available",
        "modality": [_modality(name).coding for name in dict.fromkeys(item.modality for item in study.series)],
        "subject": subject(context),
        "series": series,
    }
    if based_on := order(context):
        element["basedOn"] = based_on
    if started := context.scan_date_time:
        element["started"] = started
    return ImagingStudy.model_validate(element)


def body_structure(context: ReportContext, lesion: ReportedLesion) -> BodyStructure:
    """R4 BodyStructure of a contoured lesion, with the DICOM tracking identifiers of its segment.

    Location and morphology stay out: the software knows neither the anatomical site nor the diagnosis.
    """
    description = "Contoured tumor. Anatomical site and diagnosis are not asserted by this software."
    if context.has_several_lesions:
        description = f"{sentence(lesion_name(lesion))} {description}"
    assessment, number = context.assessment_id, lesion.number
    element: Json = {
        "text": narrative(description),
        "identifier": [
            {**dicom_identifier(tracking_uid(assessment, number)), "type": concept(TRACKING_UID)},
            {"type": concept(TRACKING_IDENTIFIER), "value": tracking_identifier(assessment, number)},
        ],
        "description": description,
        "patient": subject(context),
    }
    if lesion.contour_is_by_algorithm:
        element["meta"] = ai_asserted()
    return BodyStructure.model_validate(element)


def segmentation_document(context: ReportContext, segmentation: bytes) -> DocumentReference:
    """R4 DocumentReference of the DICOM segmentation: UIDs, size and hash; the object itself goes to the archive."""
    what = "the lesions" if context.has_several_lesions else "the tumor"
    element: Json = {
        "text": narrative(f"DICOM Segmentation of {what}, stored with the study."),
        "masterIdentifier": dicom_identifier(segmentation_sop_instance_uid(context)),
        "identifier": [identifier(context.assessment_id, "segmentation-document")],
        "status": "current",
        "docStatus": "preliminary",
        "type": concept(MODALITIES["SEG"], text=f"DICOM Segmentation of {what}"),
        "subject": subject(context),
        "date": context.issued.isoformat(),
        "content": [
            {
                "attachment": attachment(segmentation, "application/dicom", "DICOM Segmentation", embed=False),
                "format": {"system": DICOM_UID, "code": SEGMENTATION_STORAGE, "display": "Segmentation Storage"},
            }
        ],
        "context": {"related": [imaging_study_reference(context)]},
    }
    if context.any_contour_is_by_algorithm:
        element["meta"] = ai_asserted()
    return DocumentReference.model_validate(element)


def _modality(name: str) -> Code:
    return MODALITIES.get(name) or Code(DCM, name, name)
