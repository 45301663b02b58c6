"""The study that was read, with the series that the results add to it, and the lesions in it, as FHIR R4."""

from __future__ import annotations

from collections.abc import Iterable

from fhir.resources.R4B.bodystructure import BodyStructure
from fhir.resources.R4B.imagingstudy import ImagingStudy

from oncoresponse.case.identifiers import derived_dicom_uid, lesion_part, tracking_identifier, tracking_uid
from oncoresponse.case.study_description import SeriesDescription
from oncoresponse.reporting.archive_files import ArchiveFile, series_of
from oncoresponse.reporting.body_site import series_side, series_site
from oncoresponse.reporting.code_systems import (
    DCM,
    MODALITIES,
    STUDY,
    TRACKING_IDENTIFIER,
    TRACKING_UID,
    WADO_RS,
    Code,
    Json,
    concept,
)
from oncoresponse.reporting.fhir_elements import ai_asserted, narrative
from oncoresponse.reporting.fhir_identifiers import (
    dicom_identifier,
    encounter,
    full_url,
    order,
    subject,
)
from oncoresponse.reporting.lesion_wording import lesion_name, sentence
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion


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


def imaging_study(context: ReportContext, files: Iterable[ArchiveFile]) -> ImagingStudy:
    """R4 ImagingStudy: the series that were used and those that go back into the study.

    Args:
        context: What is reported.
        files: DICOM objects that were made.
    """
    study = context.study
    made = series_of(files)
    modalities = [_modality(item.modality).coding for item in study.series] + [item["modality"] for item in made]
    element: Json = {
        "text": narrative("Imaging study that was assessed: the series that were used, and those of the results."),
        "identifier": [dicom_identifier(study.study_instance_uid)],
        "status": "available",
        "modality": list({coding["code"]: coding for coding in modalities}.values()),
        "subject": subject(context),
        "series": [*(_series(item) for item in study.series), *made],
    }
    if based_on := order(context):
        element["basedOn"] = based_on
    if found := encounter(context):
        element["encounter"] = found
    if started := context.scan_date_time:
        element["started"] = started
    if study.description:
        element["description"] = study.description
    if context.site.dicomweb_url:
        element["contained"] = [_archive(context)]
        element["endpoint"] = [{"reference": "#archive", "type": "Endpoint"}]
    return ImagingStudy.model_validate(element)


def _series(series: SeriesDescription) -> Json:
    """A series of the study, by its own words."""
    element: Json = {
        "uid": series.series_instance_uid,
        "modality": _modality(series.modality).coding,
        "numberOfInstances": len(series.sop_instance_uids),
    }
    if series.description:
        element["description"] = series.description
    if site := series_site(series):
        element["bodySite"] = site.coding
    if side := series_side(series):
        element["laterality"] = side.coding
    return element


def _archive(context: ReportContext) -> Json:
    """Endpoint of the archive, inside the study that refers to it; payload DCM 113014, as IHE IMR asks."""
    return {
        "resourceType": "Endpoint",
        "id": "archive",
        "status": "active",
        "connectionType": WADO_RS.coding,
        "payloadType": [concept(STUDY)],
        "payloadMimeType": ["application/dicom"],
        "address": context.site.dicomweb_url,
    }


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


def _modality(name: str) -> Code:
    return MODALITIES.get(name) or Code(DCM, name, name)
