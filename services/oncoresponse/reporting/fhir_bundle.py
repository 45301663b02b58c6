"""The report as one FHIR R4 (4.0.1) transaction Bundle.

Built with the R4B classes of fhir.resources, which for these resources have the elements of R4; the subject is always
a Patient, the one place where R4B allows more. Every entry is a conditional create, so a Bundle that is sent again
changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.documentreference import DocumentReference

from oncoresponse.case.identifiers import lesion_part
from oncoresponse.reporting.archive_files import archive_files
from oncoresponse.reporting.bundle_text import finish, written
from oncoresponse.reporting.code_systems import LOCAL_BASE, Json
from oncoresponse.reporting.devices import algorithms, device
from oncoresponse.reporting.diagnostic_report import diagnostic_report, key_image_media
from oncoresponse.reporting.document_references import (
    ENCAPSULATED_REPORT,
    STRUCTURED_REPORT,
    model_card_entry,
    page_document,
    segmentation_document,
    structured_report_document,
)
from oncoresponse.reporting.fhir_identifiers import full_url, identifier, identifier_query, tag_query
from oncoresponse.reporting.imaging_study import body_structure, imaging_study
from oncoresponse.reporting.observations import basis_roles, observations
from oncoresponse.reporting.organization import organization_entry
from oncoresponse.reporting.provenance import provenance
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.risk_assessment import risk_assessment

FHIR_VERSION = "4.0.1"
SEGMENTATION = "segmentation.dcm"
"""File name of the DICOM Segmentation, which every report has."""


def fhir_bundle(
    context: ReportContext,
    *,
    html: bytes,
    pdf: bytes,
    key_image: bytes,
    key_image_size: tuple[int, int],
    objects: Mapping[str, bytes],
) -> bytes:
    """Compose the Bundle.

    Args:
        context: What is reported.
        html: The report as HTML, ``presentedForm``.
        pdf: The one-page report, ``presentedForm`` too.
        key_image: PNG, embedded as Media.
        key_image_size: Its width and height in pixels.
        objects: DICOM objects by file name, the segmentation among them; referred to by UID and hash, not embedded.

    Returns:
        UTF-8 JSON. The same arguments give the same bytes.
    """
    assessment = context.assessment_id
    devices = algorithms(context)
    results = observations(context, devices)
    files = archive_files(objects)
    entries: list[Json] = [
        _entry(*shared) for shared in (organization_entry(context), model_card_entry(context)) if shared is not None
    ]
    study_url = full_url("study", context.study.study_instance_uid)
    entries.append(_entry(study_url, imaging_study(context, files.values())))
    entries += [_entry(full_url(*item.identity), device(context, item)) for item in devices.values()]
    made = [
        _entry(full_url(assessment, lesion_part(lesion.number)), body_structure(context, lesion))
        for lesion in context.lesions
    ]
    made += [_entry(full_url(assessment, role), resource) for role, resource in results.items()]
    if context.prediction is not None:
        basis = basis_roles(context, results)
        resource = risk_assessment(context, context.prediction, devices["response"], basis)
        made.append(_entry(full_url(assessment, "risk-assessment"), resource))
    documents: dict[str, DocumentReference] = {
        "segmentation-document": segmentation_document(context, files[SEGMENTATION])
    }
    if STRUCTURED_REPORT in files:
        documents["structured-report-document"] = structured_report_document(context, files[STRUCTURED_REPORT])
    documents["page-document"] = page_document(context, pdf, files.get(ENCAPSULATED_REPORT))
    made += [_entry(full_url(assessment, role), document) for role, document in documents.items()]
    made.append(_entry(full_url(assessment, "key-image"), key_image_media(context, key_image, *key_image_size)))
    made.append(_entry(full_url(assessment, "report"), diagnostic_report(context, html, pdf, list(results))))
    targets = [{"reference": item["fullUrl"], "type": item["request"]["url"]} for item in made]
    entries += made
    entries.append(_entry(full_url(assessment, "provenance"), provenance(context, devices, targets)))
    composed: Json = json.loads(
        Bundle.model_validate(
            {
                "identifier": identifier(assessment, "bundle"),
                "type": "transaction",
                "timestamp": context.issued.isoformat(),
                "entry": entries,
            }
        ).model_dump_json()
    )
    finish(composed, context.site.inline_bytes)
    return written(composed, context.site.local_base or LOCAL_BASE)


def _entry(url: str, resource: Any) -> Json:
    kind: str = resource.get_resource_type()
    identifiers = getattr(resource, "identifier", None)
    if identifiers:
        query = identifier_query({"system": identifiers[0].system, "value": identifiers[0].value})
    else:
        tag = resource.meta.tag[0]
        query = tag_query({"system": tag.system, "code": tag.code})
    return {
        "fullUrl": url,
        "resource": resource,
        "request": {"method": "POST", "url": kind, "ifNoneExist": query},
    }
