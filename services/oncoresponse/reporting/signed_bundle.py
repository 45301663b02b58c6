"""The FHIR Bundle of a signed version: that of version 1 with what the signature changes, and nothing composed anew.

What the physician saw is what is signed, whatever became of the model since. Identifiers stay, so the EHR updates the
resources it has: what changes is a conditional update (R4 3.1.0.4.3), what does not stays a conditional create. A
server that never had version 1 gets everything by either.

A withdrawn version carries no finding: its resources have status ``entered-in-error``, their identifiers, codes and
subject, and no value. What they referred to (study, devices) is not sent, so that nothing is created under a patient
whose it may not be.

There is no ``Provenance.signature``: that element holds a digital signature, and this is a named person's statement,
whose proof is the record of the installation.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fhir.resources.R4B.bundle import Bundle

from oncoresponse.case.sign_off import PhysicianJudgement, RecordedJudgement, ReportStatus, SignOff
from oncoresponse.reporting.archive_files import ArchiveFile, series_of
from oncoresponse.reporting.binaries import emptied
from oncoresponse.reporting.bundle_text import finish, read_bundle, written
from oncoresponse.reporting.code_systems import (
    CALLER,
    DATA_OPERATION,
    NOT_CONFIRMED,
    PARTICIPANT_TYPE,
    PHYSICIAN_JUDGEMENT,
    REPORT_VERSION,
    SHA256,
    Code,
    Json,
    concept,
    local,
)
from oncoresponse.reporting.diagnostic_report import presented_forms
from oncoresponse.reporting.fhir_elements import attachment, narrative
from oncoresponse.reporting.fhir_identifiers import (
    dicom_identifier,
    entry_tag,
    full_url,
    identifier,
    identifier_query,
    tag_query,
)
from oncoresponse.reporting.report_site import DEFAULT_INLINE_BYTES
from oncoresponse.reporting.sign_off_wording import (
    WITHDRAWN,
    agreement_sentence,
    is_reservation,
    reason_words,
    sign_off_sentence,
    signed_conclusion,
    withdrawn_conclusion,
)
from oncoresponse.reporting.wording import NOT_SIGNED

_REVISE = Code(DATA_OPERATION, "UPDATE", "revise")
_NULLIFY = Code(DATA_OPERATION, "NULLIFY", "nullify")
_VERIFIER = Code(PARTICIPANT_TYPE, "verifier", "Verifier")
_AUTHOR = Code(PARTICIPANT_TYPE, "author", "Author")
_JUDGEMENTS = {
    PhysicianJudgement.FAVORABLE: local("judgement-favorable", "Favorable outcome expected"),
    PhysicianJudgement.UNFAVORABLE: local("judgement-unfavorable", "Unfavorable outcome expected"),
    PhysicianJudgement.UNCERTAIN: local("judgement-uncertain", "Uncertain"),
}
# What a withdrawn resource keeps: what it is, whose, and what R4 asks for.
_KEPT: Mapping[str, tuple[str, ...]] = {
    "DiagnosticReport": ("identifier", "basedOn", "category", "code", "subject"),
    "Observation": ("identifier", "category", "code", "subject"),
    "RiskAssessment": ("identifier", "method", "subject"),
    "DocumentReference": ("masterIdentifier", "identifier", "type", "subject"),
    "Media": ("identifier", "subject"),
    "BodyStructure": ("identifier", "patient"),
}
_SIGNED = ("DiagnosticReport", "Observation", "RiskAssessment", "DocumentReference")


@dataclass(frozen=True)
class ShownForms:
    """What a version is shown as.

    Attributes:
        html: The page.
        pdf: The page.
        files: DICOM objects of the version, by file name.
        inline_bytes: Largest attachment inside a resource.
    """

    html: bytes
    pdf: bytes
    files: Mapping[str, ArchiveFile] = field(default_factory=dict)
    inline_bytes: int = DEFAULT_INLINE_BYTES


def signed_bundle(
    assessment_id: str,
    first: bytes,
    sign_offs: Sequence[SignOff],
    digests: Sequence[str],
    shown: ShownForms,
    judgements: Sequence[RecordedJudgement] = (),
    replaced_by: str = "",
) -> bytes:
    """Compose it. The same arguments give the same bytes.

    Args:
        assessment_id: Identifier of the assessment.
        first: Bundle of version 1.
        sign_offs: In order; the last one is of this version.
        digests: SHA-256 of the Bundles of the versions before, in order, from that of version 1 on.
        shown: What this version is shown as.
        judgements: Of physicians.
        replaced_by: Identifier of a newer assessment; empty for none.

    Returns:
        UTF-8 JSON.
    """
    newest = sign_offs[-1]
    bundle, local_base = read_bundle(first)
    subject = _report_of(bundle)["subject"]
    binaries = {entry["fullUrl"]: entry for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Binary"}
    others = [entry for entry in bundle["entry"] if entry["fullUrl"] not in binaries]
    if newest.status is ReportStatus.ENTERED_IN_ERROR:
        entries = [
            _updated(entry, _withdrawn(entry["resource"], newest, shown, replaced_by))
            for entry in others
            if _is_of_patient(entry["resource"])
        ]
        made = [_judgement(assessment_id, each, subject, withdrawn=newest) for each in judgements]
        entries += [_updated(entry, entry["resource"]) for entry in made]
    else:
        made = [_judgement(assessment_id, each, subject) for each in judgements]
        results = [{"reference": entry["fullUrl"], "type": "Observation"} for entry in made]
        entries = [_next_version(entry, sign_offs, shown, results, replaced_by) for entry in others]
        entries += made
    targets = [
        {"reference": entry["fullUrl"], "type": kind}
        for entry in entries
        if _is_of_patient(entry["resource"]) and (kind := entry["resource"]["resourceType"])
    ]
    entries += [
        _provenance(assessment_id, step, digest, targets) for step, digest in zip(sign_offs, digests, strict=True)
    ]
    bundle |= {
        "identifier": identifier(assessment_id, "bundle", f"version-{newest.version}"),
        "timestamp": newest.time.isoformat(),
        "entry": entries,
    }
    composed: Json = json.loads(Bundle.model_validate(bundle).model_dump_json())
    finish(composed, shown.inline_bytes, binaries)
    known = {entry["fullUrl"] for entry in composed["entry"]}
    composed["entry"] = [*_kept_binaries(binaries, known, others, newest), *composed["entry"]]
    return written(composed, local_base)


def filed_under(first: bytes) -> str:
    """Reference or Patient ID that a report is filed under; empty where it has neither."""
    subject: Json = _report_of(json.loads(first))["subject"]
    return str(subject.get("reference") or subject.get("identifier", {}).get("value") or "")


def _report_of(bundle: Json) -> Json:
    report: Json = next(
        entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "DiagnosticReport"
    )
    return report


def _updated(entry: Json, resource: Json) -> Json:
    """The entry as a conditional update by business identifier, the first of the resource."""
    kind = resource["resourceType"]
    found = resource["identifier"][0]
    return {
        "fullUrl": entry["fullUrl"],
        "resource": resource,
        "request": {"method": "PUT", "url": f"{kind}?{identifier_query(found)}"},
    }


def _is_of_patient(resource: Json) -> bool:
    """Whether a version changes it: the card of the model, a document too, is of no patient."""
    kind = resource["resourceType"]
    return kind in _KEPT and (kind != "DocumentReference" or "subject" in resource)


def _kept_binaries(
    binaries: Mapping[str, Json], known: Collection[str], others: Sequence[Json], newest: SignOff
) -> list[Json]:
    """Binaries of version 1 that this version shows nothing else in: as they are, or emptied where it is withdrawn.

    What the card of a model says is no finding, and it is not sent with a withdrawal.
    """
    left = {url: entry for url, entry in binaries.items() if url not in known}
    if newest.status is not ReportStatus.ENTERED_IN_ERROR:
        return list(left.values())
    of_patient = {entry["fullUrl"] for entry in others if _is_of_patient(entry["resource"])}
    owned = (item for item in left.values() if item["resource"]["securityContext"]["reference"] in of_patient)
    return [emptied(item, WITHDRAWN) for item in owned]


def _next_version(
    entry: Json, sign_offs: Sequence[SignOff], shown: ShownForms, judged: Sequence[Json], replaced_by: str
) -> Json:
    resource = entry["resource"]
    kind = resource["resourceType"]
    if kind == "ImagingStudy":
        return {**entry, "resource": _with_series(resource, shown.files)}
    if kind not in _SIGNED or not _is_of_patient(resource):
        return entry
    return _updated(entry, _signed(resource, sign_offs, shown, judged, replaced_by))


def _with_series(study: Json, files: Mapping[str, ArchiveFile]) -> Json:
    """The study with the series of the signed objects."""
    added = series_of(files.values())
    known = {coding["code"] for coding in study["modality"]}
    modalities = {item["modality"]["code"]: item["modality"] for item in added}
    new = [coding for code, coding in modalities.items() if code not in known]
    return {**study, "modality": [*study["modality"], *new], "series": [*study["series"], *added]}


def _signed_document(resource: Json, newest: SignOff, shown: ShownForms) -> Json:
    """A document with the signer; the structured report and the page are those of this version."""
    changed = {
        **resource,
        "docStatus": newest.status.value,
        "date": newest.time.isoformat(),
        "authenticator": _person(newest.signer, newest.shown_signer),
    }
    contents = []
    for content in resource["content"]:
        before = content["attachment"]
        if before["contentType"] == "application/pdf":
            renewed = attachment(shown.pdf, "application/pdf", before["title"], embed=False)
            contents.append({**content, "attachment": renewed})
            continue
        found = next(
            (file for file in shown.files.values() if file.sop_class_uid == content.get("format", {}).get("code")), None
        )
        if found is None:
            contents.append(content)
            continue
        renewed = attachment(found.data, before["contentType"], before["title"], embed=False)
        if "/studies/" in before.get("url", ""):
            renewed["url"] = found.address(before["url"].partition("/studies/")[0])
        contents.append({**content, "attachment": renewed})
        changed["masterIdentifier"] = dicom_identifier(found.sop_instance_uid)
    return {**changed, "content": contents}


def _signed(
    resource: Json, sign_offs: Sequence[SignOff], shown: ShownForms, judged: Sequence[Json], replaced_by: str
) -> Json:
    newest = sign_offs[-1]
    status = newest.status.value
    kind = resource["resourceType"]
    if kind == "DocumentReference":
        return _signed_document(resource, newest, shown)
    changed: Json = {**resource, "status": status}
    if kind != "DiagnosticReport":
        if is_reservation(newest):
            changed["note"] = [{"text": f"{agreement_sentence(newest)} {sign_off_sentence(newest)}"}]
            changed["note"] += resource.get("note", [])
        return changed
    conclusion = signed_conclusion(resource["conclusion"], NOT_SIGNED, sign_offs, replaced_by)
    return {
        **changed,
        "meta": _with_version(resource, newest),
        "text": narrative(conclusion),
        "issued": newest.time.isoformat(),
        "resultsInterpreter": [_person(newest.signer, newest.shown_signer)],
        "result": [*resource.get("result", []), *judged],
        "conclusion": conclusion,
        **({"conclusionCode": [concept(NOT_CONFIRMED)]} if is_reservation(newest) else {}),
        "presentedForm": presented_forms(shown.html, shown.pdf, f"Report, {status}, research use only"),
    }


def _withdrawn(resource: Json, step: SignOff, shown: ShownForms, replaced_by: str) -> Json:
    kind = resource["resourceType"]
    kept: Json = {"resourceType": kind, "text": narrative(WITHDRAWN)}
    kept |= {name: resource[name] for name in _KEPT[kind] if name in resource}
    if components := resource.get("component"):
        # Who filed each value by its code has to find it again.
        kept["component"] = [{"code": each["code"]} for each in components]
    if kind == "BodyStructure":
        # R4 BodyStructure has no status.
        return {**kept, "active": False}
    kept["status"] = step.status.value
    if kind == "DiagnosticReport":
        conclusion = withdrawn_conclusion(step, replaced_by)
        kept |= {
            "meta": _with_version({}, step),
            "text": narrative(conclusion),
            "issued": step.time.isoformat(),
            "conclusion": conclusion,
            "presentedForm": presented_forms(shown.html, shown.pdf, "Withdrawn report"),
        }
    elif kind == "DocumentReference":
        kept |= {"docStatus": step.status.value, "content": [{"attachment": {"title": WITHDRAWN}}]}
    elif kind == "Media":
        kept["content"] = {"title": WITHDRAWN}
    return kept


def _with_version(resource: Json, step: SignOff) -> Json:
    """``meta`` with the number of the version as a tag: ``meta.versionId`` is the server's own."""
    tag = {"system": REPORT_VERSION, "code": str(step.version)}
    return {**resource.get("meta", {}), "tag": [tag]}


def _judgement(
    assessment_id: str, judgement: RecordedJudgement, subject: Json, withdrawn: SignOff | None = None
) -> Json:
    parts = (assessment_id, "judgement", judgement.physician)
    code = _JUDGEMENTS[judgement.judgement]
    asked = "before the model's answer was shown" if judgement.answer_withheld else "not blinded to the model's answer"
    said = f"{PHYSICIAN_JUDGEMENT.display}, {asked}: {code.display}, {judgement.shown_physician}."
    resource: Json = {
        "resourceType": "Observation",
        "text": narrative(said if withdrawn is None else WITHDRAWN),
        "identifier": [identifier(*parts)],
        "status": "final" if withdrawn is None else withdrawn.status.value,
        "code": concept(PHYSICIAN_JUDGEMENT),
        "subject": subject,
    }
    if withdrawn is None:
        resource |= {
            "effectiveDateTime": judgement.time.isoformat(),
            "performer": [_person(judgement.physician, judgement.shown_physician)],
            "valueCodeableConcept": concept(code),
            "note": [{"text": text} for text in (f"Made {asked}.", judgement.comment) if text],
        }
    query = identifier_query(resource["identifier"][0])
    return {
        "fullUrl": full_url(*parts),
        "resource": resource,
        "request": {"method": "POST", "url": "Observation", "ifNoneExist": query},
    }


def _provenance(assessment_id: str, step: SignOff, before: str, targets: Sequence[Json]) -> Json:
    withdraws = step.status is ReportStatus.ENTERED_IN_ERROR
    parts = (assessment_id, "provenance", f"version-{step.version}")
    tag = entry_tag(*parts)
    revised: Json = {"identifier": {"system": SHA256, "value": before}}
    revised["display"] = f"version {step.version - 1} of the report"
    resource: Json = {
        "resourceType": "Provenance",
        "meta": {"tag": [tag]},
        "text": narrative(" ".join(text for text in (sign_off_sentence(step), agreement_sentence(step)) if text)),
        "target": targets,
        "occurredDateTime": step.time.isoformat(),
        "recorded": step.time.isoformat(),
        "activity": concept(_NULLIFY if withdraws else _REVISE),
        "agent": [
            {
                "type": concept(_AUTHOR if withdraws else _VERIFIER),
                "who": _person(step.signer, step.shown_signer),
            }
        ],
        "entity": [{"role": "revision", "what": revised}],
    }
    if withdraws:
        resource["reason"] = [concept(text=reason_words(step))]
    return {
        "fullUrl": full_url(*parts),
        "resource": resource,
        "request": {"method": "POST", "url": "Provenance", "ifNoneExist": tag_query(tag)},
    }


def _person(name: str, display: str) -> Json:
    """A logical reference: the service knows who called, and not which Practitioner of the EHR that is."""
    return {"type": "Practitioner", "identifier": {"system": CALLER, "value": name}, "display": display}
