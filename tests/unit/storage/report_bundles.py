"""Bundles of reports as they come from the chain, as small as a test of the index needs them."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

from oncoresponse.case.stored_artifact import StoredArtifact

Json = dict[str, Any]
LARGE = base64.b64encode(b"%PDF-" + b"x" * 20_000).decode()


def urn(*parts: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, "\n".join(parts)).urn


def bundle(
    assessment: str,
    patient: str = "MRN-1",
    *,
    reference: str = "",
    status: str = "preliminary",
    date: str = "2026-03-01T09:00:00+01:00",
    code: str = "volume",
    pdf: str = LARGE,
    study: bool = True,
    study_uid: str = "1.2.3",
    findings: int = 2,
) -> bytes:
    """A report with a study, findings, a risk, a device that many reports share, and a provenance."""
    subject: Json = {"type": "Patient", "identifier": {"value": patient}}
    if reference:
        subject = {"reference": reference, "type": "Patient"}

    def entry(kind: str, role: str, scope: str = assessment, **elements: Any) -> Json:
        resource = {"resourceType": kind, **elements}
        if kind != "Provenance":
            resource["identifier"] = elements.get("identifier", [{"system": "urn:id", "value": f"{scope}-{role}"}])
        request = {"method": "POST", "url": kind}
        return {"fullUrl": urn(scope, role), "resource": resource, "request": request}

    observations = [
        entry(
            "Observation",
            f"finding-{number}",
            status=status,
            code={"coding": [{"system": "urn:codes", "code": code if number == 0 else f"{code}-{number}"}]},
            subject=subject,
            effectiveDateTime=date,
            device={"reference": urn("all", "device")},
            derivedFrom=[{"reference": urn(assessment, "study")}],
        )
        for number in range(findings)
    ]
    entries = [
        entry("Device", "device", "all", status="active", type={"text": "Software"}),
        *observations,
        entry(
            "RiskAssessment",
            "risk",
            status=status,
            subject=subject,
            occurrenceDateTime=date,
            performer={"reference": urn("all", "device")},
            basis=[{"reference": urn(assessment, "finding-0")}],
        ),
        entry(
            "DiagnosticReport",
            "report",
            status=status,
            code={"coding": [{"system": "http://loinc.org", "code": "18748-4"}]},
            subject=subject,
            effectiveDateTime=date,
            result=[{"reference": each["fullUrl"]} for each in observations],
            presentedForm=[{"contentType": "application/pdf", "data": pdf, "size": 20_005}],
        ),
        entry(
            "Provenance",
            "provenance",
            meta={"tag": [{"system": "urn:tag", "code": f"{assessment}-provenance"}]},
            target=[{"reference": urn(assessment, "report")}],
            recorded=date,
            agent=[{"who": {"reference": urn("all", "device")}}],
        ),
    ]
    if study:
        identifier = [{"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"}]
        entries.append(
            entry("ImagingStudy", "study", status="available", subject=subject, started=date, identifier=identifier)
        )
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


def stored(data: bytes) -> StoredArtifact:
    return StoredArtifact(
        sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), media_type="application/fhir+json"
    )
