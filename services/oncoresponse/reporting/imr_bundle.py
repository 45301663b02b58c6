"""A signed report as the transaction of IHE IMR, Store Multimedia Report [RAD-141] (Trial Implementation 1.1.0, R4).

IMR closes the Bundle to three types: one DiagnosticReport, its ServiceRequests and ImagingStudies, all by POST. So the
report Bundle cannot be it: this is a second, smaller one of the same content, in which patient, order and physician are
the references that the report has, the organization is the EHR's or contained, and the findings stand in the HTML page.

A version is a report of its own here, as POST does not update: each has an identifier of its version, by which a repeat
creates nothing, and a later one names the earlier by ``diagnosticReport-replaces``. A withdrawn one has
``entered-in-error`` and no finding.

Profiles are claimed in ``meta.profile`` where everything that they ask for is there: an organization, a time of the
study and the address of an archive come from the settings and from the study.
"""

from __future__ import annotations

import json

from oncoresponse.reporting.bundle_text import read_bundle, written
from oncoresponse.reporting.code_systems import REPORT_VERSION, SNOMED, STUDY_INSTANCE_UID, Code, Json, concept
from oncoresponse.reporting.diagnostic_report import REPLACES
from oncoresponse.reporting.fhir_identifiers import full_url, identifier, identifier_query

_PROFILES = "https://profiles.ihe.net/RAD/IMR/StructureDefinition"
BUNDLE_PROFILE = f"{_PROFILES}/imr-store-multimedia-report-bundle"
_REPORT, _STUDY, _ORDER = (f"{_PROFILES}/imr-{name}" for name in ("diagnosticreport", "imagingstudy", "servicerequest"))
_IMAGING = Code(SNOMED, "363679005", "Imaging")
_LEFT_OUT = ("result", "media")
_WITHDRAWN, _FIRST_SIGNED = "entered-in-error", "2"


def imr_bundle(signed: bytes) -> bytes | None:
    """The Bundle; ``None`` where no version was signed that could be taken back. The same Bundle gives the same bytes.

    Args:
        signed: Bundle of a signed, amended or withdrawn version.
    """
    bundle, local_base = read_bundle(signed)
    entries = {entry["resource"]["resourceType"]: entry for entry in bundle["entry"]}
    report_entry, study_entry = entries["DiagnosticReport"], entries.get("ImagingStudy")
    report: Json = {key: value for key, value in report_entry["resource"].items() if key not in _LEFT_OUT}
    version = next(tag["code"] for tag in report["meta"]["tag"] if tag["system"] == REPORT_VERSION)
    if report["status"] == _WITHDRAWN and version == _FIRST_SIGNED:
        return None
    made: list[Json] = []
    report["presentedForm"] = [_inline(form, bundle) for form in report["presentedForm"]]
    _contain_organization(report, bundle)
    if (order := _order(report)) is not None:
        made.append(order)
        report["basedOn"] = [{"reference": order["fullUrl"], "type": "ServiceRequest"}]
    study = None if study_entry is None else _study(study_entry["resource"], report)
    if study is not None and study_entry is not None:
        made.append(_created(study_entry["fullUrl"], study))
    base = report["identifier"][0]
    own = identifier("imr", base["value"], version)
    # Not that of the report too: a server that gets both would have two resources under one identifier, and an update
    # of the report by it would match two.
    report["identifier"] = [own]
    if version != _FIRST_SIGNED:
        earlier = {"type": "DiagnosticReport", "identifier": identifier("imr", base["value"], str(int(version) - 1))}
        report["extension"] = [{"url": REPLACES, "valueReference": earlier}]
    complete = _is_complete(report, study)
    if complete:
        report["meta"] = {**report["meta"], "profile": [_REPORT]}
    sent: Json = {
        "resourceType": "Bundle",
        **({"meta": {"profile": [BUNDLE_PROFILE]}} if complete else {}),
        "identifier": identifier("imr", bundle["identifier"]["value"]),
        "type": "transaction",
        "timestamp": bundle["timestamp"],
        "entry": [_created(full_url("imr", base["value"], version), report), *made],
    }
    return written(sent, local_base)


def _created(url: str, resource: Json) -> Json:
    kind = resource["resourceType"]
    query = identifier_query(resource["identifier"][0])
    return {"fullUrl": url, "resource": resource, "request": {"method": "POST", "url": kind, "ifNoneExist": query}}


def _inline(form: Json, bundle: Json) -> Json:
    """IMR takes ``data`` or ``url``; a Binary is no entry that it allows."""
    for entry in bundle["entry"]:
        if entry["fullUrl"] == form.get("url"):
            return {**{key: value for key, value in form.items() if key != "url"}, "data": entry["resource"]["data"]}
    return form


def _contain_organization(report: Json, bundle: Json) -> None:
    """The Organization that the other Bundle creates, inside the report: no entry of this one."""
    by_url = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    for number, reference in enumerate(report.get("performer", [])):
        found = by_url.get(reference.get("reference", ""))
        if found is not None:
            inside = {key: value for key, value in found.items() if key not in ("text", "language")}
            report["contained"] = [{**inside, "id": "organization"}]
            report["performer"][number] = {**reference, "reference": "#organization"}


def _order(report: Json) -> Json | None:
    """The ServiceRequest of an accession number; a literal reference of the EHR stays a reference."""
    for reference in report.get("basedOn", []):
        accession = reference.get("identifier")
        if accession is None or not accession.get("system"):
            continue
        resource: Json = {
            "resourceType": "ServiceRequest",
            "meta": {"profile": [_ORDER]},
            "identifier": [accession],
            "status": "unknown",  # whoever placed the order knows
            "intent": "order",
            "category": [concept(_IMAGING)],
            "subject": report["subject"],
        }
        return _created(full_url("order", accession["system"], accession["value"]), resource)
    return None


def _study(study: Json, report: Json) -> Json:
    changed = json.loads(json.dumps(study))
    changed["identifier"][0]["type"] = concept(STUDY_INSTANCE_UID)
    if "basedOn" in changed:
        changed["basedOn"] = report["basedOn"]
    if "started" in changed and "endpoint" in changed:
        changed["meta"] = {"profile": [_STUDY]}
    return dict(changed)


def _is_complete(report: Json, study: Json | None) -> bool:
    people = report.get("resultsInterpreter") and report.get("performer")
    return bool(people and study is not None and "meta" in study)
