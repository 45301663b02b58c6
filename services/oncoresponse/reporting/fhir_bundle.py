"""The report as one FHIR R4 (4.0.1) transaction Bundle.

Built with the R4B classes of fhir.resources, which for these resources have the elements of R4; the subject is always
a Patient, the one place where R4B allows more. Every entry is a conditional create, so a Bundle that is sent again
changes nothing.
"""

from __future__ import annotations

from typing import Any

from fhir.resources.R4B.bundle import Bundle

from oncoresponse.case.identifiers import lesion_part
from oncoresponse.reporting.code_systems import Json
from oncoresponse.reporting.devices import algorithms, device
from oncoresponse.reporting.diagnostic_report import diagnostic_report, key_image_media
from oncoresponse.reporting.fhir_identifiers import full_url, identifier, identifier_query, tag_query
from oncoresponse.reporting.imaging_study import body_structure, imaging_study, segmentation_document
from oncoresponse.reporting.observations import basis_roles, observations
from oncoresponse.reporting.provenance import provenance
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.risk_assessment import risk_assessment

FHIR_VERSION = "4.0.1"


def fhir_bundle(
    context: ReportContext, *, pdf: bytes, key_image: bytes, key_image_size: tuple[int, int], segmentation: bytes
) -> bytes:
    """Compose the Bundle.

    Args:
        context: What is reported.
        pdf: The one-page report, embedded as ``presentedForm``.
        key_image: PNG, embedded as Media.
        key_image_size: Its width and height in pixels.
        segmentation: DICOM segmentation; referred to by UID and hash, not embedded.

    Returns:
        UTF-8 JSON. The same arguments give the same bytes.
    """
    assessment = context.assessment_id
    devices = algorithms(context)
    results = observations(context, devices)
    entries: list[Json] = [_entry(full_url("study", context.study.study_instance_uid), imaging_study(context))]
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
    made.append(
        _entry(
            full_url(assessment, "segmentation-document"),
            segmentation_document(context, segmentation),
        )
    )
    made.append(_entry(full_url(assessment, "key-image"), key_image_media(context, key_image, *key_image_size)))
    made.append(_entry(full_url(assessment, "report"), diagnostic_report(context, pdf, list(results))))
    targets = [{"reference": item["fullUrl"], "type": item["request"]["url"]} for item in made]
    entries += made
    entries.append(_entry(full_url(assessment, "provenance"), provenance(context, devices, targets)))
    bundle = Bundle.model_validate(
        {
            "identifier": identifier(assessment, "bundle"),
            "type": "transaction",
            "timestamp": context.issued.isoformat(),
            "entry": entries,
        }
    )
    return (bundle.model_dump_json(indent=2) + "\n").encode()


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
