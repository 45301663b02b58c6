"""Signed, amended and withdrawn versions of a report: what they say, and that they say it in valid FHIR."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pypdf
import pytest
from oncoresponse.case.sign_off import (
    Agreement,
    PhysicianJudgement,
    RecordedJudgement,
    ReportStatus,
    SignOff,
    WithdrawalReason,
)
from oncoresponse.errors import ReportNotSignable
from oncoresponse.reporting.compose import Report, compose_report
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.sign_off import FirstVersion, SignedDocuments, sign_off_documents
from oncoresponse.reporting.signed_bundle import filed_under

_spec = importlib.util.spec_from_file_location("fhir_checks", Path(__file__).parent / "test_reporting_fhir_bundle.py")
assert _spec is not None
assert _spec.loader is not None
checks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(checks)
problems, resource, resources = checks.problems, checks.resource, checks.resources

Json = dict[str, Any]
ASSESSMENT = "0190b5c0-assessment"
TIME = datetime(2026, 11, 26, 8, 0, 5, tzinfo=UTC)
COMMENT = "The rim was missed; see image 41."
FINAL = SignOff(2, ReportStatus.FINAL, "https://idp#4711", "Dr. Ada Gray", TIME, Agreement.AGREE)
DISAGREES = SignOff(2, ReportStatus.FINAL, "https://idp#4711", "Dr. Ada Gray", TIME, Agreement.DISAGREE, COMMENT)
AMENDED = SignOff(
    3, ReportStatus.AMENDED, "cn=second", "", TIME + timedelta(hours=1), Agreement.CHANGED_CONTOUR, COMMENT
)
WITHDRAWN = SignOff(
    4,
    ReportStatus.ENTERED_IN_ERROR,
    "cn=second",
    "Dr. Second",
    TIME + timedelta(hours=2),
    comment=COMMENT,
    reason=WithdrawalReason.WRONG_PATIENT,
)
JUDGED = RecordedJudgement("https://idp#4711", "Dr. Ada Gray", PhysicianJudgement.UNFAVORABLE, "Necrosis.", TIME)


def first_version(report: Report) -> FirstVersion:
    return FirstVersion(ASSESSMENT, report.bundle_json, ReportPage.model_validate_json(report.page))


def version(report: Report, *sign_offs: SignOff, judgements: tuple[RecordedJudgement, ...] = ()) -> SignedDocuments:
    """The version that the last step makes, after those before it."""
    digests = [hashlib.sha256(report.bundle_json).hexdigest()]
    for count in range(1, len(sign_offs) + 1):
        made = sign_off_documents(first_version(report), sign_offs[:count], digests, judgements)
        digests.append(hashlib.sha256(made.bundle).hexdigest())
    return made


def text_of(pdf: bytes) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]


@pytest.fixture(scope="module")
def signed(report: Report) -> SignedDocuments:
    return version(report, FINAL, judgements=(JUDGED,))


@pytest.fixture(scope="module")
def withdrawn(report: Report) -> SignedDocuments:
    return version(report, FINAL, AMENDED, WITHDRAWN, judgements=(JUDGED,))


def test_the_page_that_is_kept_sets_the_page_of_version_1(report: Report) -> None:
    assert ReportPage.model_validate_json(report.page).pdf() == report.pdf


@pytest.mark.parametrize(
    "steps", [(FINAL,), (DISAGREES,), (FINAL, AMENDED), (WITHDRAWN,), (FINAL, AMENDED, WITHDRAWN)], ids=len
)
def test_every_version_is_valid_fhir_and_the_same_bytes_again(report: Report, steps: tuple[SignOff, ...]) -> None:
    made = version(report, *steps, judgements=(JUDGED,))
    bundle = json.loads(made.bundle)
    assert problems(bundle) == []
    assert version(report, *steps, judgements=(JUDGED,)) == made
    status = steps[-1].status.value
    for kind in ("DiagnosticReport", "RiskAssessment"):
        assert {item["status"] for item in resources(bundle, kind)} == {status}
    results = [each for each in resources(bundle, "Observation") if "physician-judgement" not in json.dumps(each)]
    assert {each["status"] for each in results} == {status}
    assert resource(bundle, "DocumentReference")["docStatus"] == status


def test_a_signature_changes_status_and_signer_and_no_figure(report: Report, signed: SignedDocuments) -> None:
    before, after = json.loads(report.bundle_json), json.loads(signed.bundle)
    found = {json.dumps(each["identifier"]): each for each in resources(after, "Observation")}
    for observation in resources(before, "Observation"):
        assert found.pop(json.dumps(observation["identifier"])) == {**observation, "status": "final"}
    (judged,) = found.values()
    assert judged["valueCodeableConcept"]["coding"][0]["code"] == "judgement-unfavorable"
    assert judged["performer"][0]["display"] == "Dr. Ada Gray"
    report_before, report_after = resource(before, "DiagnosticReport"), resource(after, "DiagnosticReport")
    assert report_after["identifier"] == report_before["identifier"]
    assert report_after["resultsInterpreter"] == [
        {
            "type": "Practitioner",
            "identifier": {
                "system": report_after["resultsInterpreter"][0]["identifier"]["system"],
                "value": FINAL.signer,
            },
            "display": "Dr. Ada Gray",
        }
    ]
    assert report_after["issued"] == "2026-11-26T08:00:05Z"
    assert report_after["meta"]["tag"][0]["code"] == "2"
    lines, signed_lines = (item["conclusion"].split("\n") for item in (report_before, report_after))
    assert signed_lines[0] == lines[0], "the answer, which a list of results shows"
    assert "Final: signed by Dr. Ada Gray, 2026-11-26 08:00 UTC." in signed_lines
    assert "Preliminary" not in report_after["conclusion"]
    assert "Research use only." in signed_lines[-1]


def test_what_changes_is_updated_and_what_does_not_is_created_once(report: Report, signed: SignedDocuments) -> None:
    before = {entry["fullUrl"]: entry for entry in json.loads(report.bundle_json)["entry"]}
    for entry in json.loads(signed.bundle)["entry"]:
        kind, request = entry["resource"]["resourceType"], entry["request"]
        if entry["fullUrl"] not in before:
            assert (request["method"], kind in ("Observation", "Provenance")) == ("POST", True)
        elif entry == before[entry["fullUrl"]]:
            assert request["method"] == "POST"
        else:
            assert request == {"method": "PUT", "url": f"{kind}?{before[entry['fullUrl']]['request']['ifNoneExist']}"}


def test_each_signature_has_a_provenance_that_names_signer_time_and_what_it_revises(
    report: Report, withdrawn: SignedDocuments
) -> None:
    found = resources(json.loads(withdrawn.bundle), "Provenance")
    assert [item["agent"][0]["who"]["display"] for item in found] == ["Dr. Ada Gray", "cn=second", "Dr. Second"]
    assert [item["agent"][0]["type"]["coding"][0]["code"] for item in found] == ["verifier", "verifier", "author"]
    assert [item["activity"]["coding"][0]["code"] for item in found] == ["UPDATE", "UPDATE", "NULLIFY"]
    assert [item["occurredDateTime"][11:19] for item in found] == ["08:00:05", "09:00:05", "10:00:05"]
    revised = [item["entity"][0]["what"]["identifier"]["value"] for item in found]
    second = version(report, FINAL, judgements=(JUDGED,)).bundle
    assert revised[:2] == [hashlib.sha256(data).hexdigest() for data in (report.bundle_json, second)]


@pytest.mark.parametrize(("step", "said"), [(DISAGREES, "DISAGREES"), (AMENDED, "CHANGED THE CONTOUR")])
def test_a_reservation_of_the_signer_stands_before_the_answer_and_at_each_figure(
    report: Report, step: SignOff, said: str
) -> None:
    steps = (DISAGREES,) if step is DISAGREES else (FINAL, AMENDED)
    made = version(report, *steps)
    bundle = json.loads(made.bundle)
    conclusion = resource(bundle, "DiagnosticReport")["conclusion"]
    assert said in conclusion.split("\n")[0]
    assert COMMENT in conclusion
    for kind in ("Observation", "RiskAssessment"):
        assert all(said in item["note"][0]["text"] for item in resources(bundle, kind))
    (page,) = text_of(made.pdf)
    assert said in page
    assert COMMENT in page


def test_the_signed_page_names_status_signer_time_and_comment(report: Report, signed: SignedDocuments) -> None:
    (page,) = text_of(signed.pdf)
    assert "FINAL, signed" in page
    assert "The signing physician agrees with the result. Final: signed by Dr. Ada Gray, 2026-11-26 08:00 UTC." in page
    assert "PRELIMINARY" not in page
    (amended,) = text_of(version(report, FINAL, AMENDED).pdf)
    assert "AMENDED, signed" in amended
    assert "Amended: signed again by cn=second, 2026-11-26 09:00 UTC." in amended
    assert "Before: Final: signed by Dr. Ada Gray" in amended
    root = pypdf.PdfReader(io.BytesIO(signed.pdf)).trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"], "still tagged"


def test_the_longest_comment_leaves_the_page_readable(report: Report) -> None:
    long = SignOff(2, ReportStatus.FINAL, "dr", "", TIME, Agreement.DISAGREE, "word \u05d0 \u0627 <b>&amp; " * 60)
    made = version(report, long)
    pages = text_of(made.pdf)
    assert "whole in the FHIR report" in pages[0]
    assert "The physician decides" in pages[-1]
    assert long.comment.rstrip() in resource(json.loads(made.bundle), "DiagnosticReport")["conclusion"]
    assert problems(json.loads(made.bundle)) == []


def test_a_withdrawn_version_says_so_and_carries_no_finding(report: Report, withdrawn: SignedDocuments) -> None:
    text = withdrawn.bundle.decode()
    before = json.loads(report.bundle_json)
    bundle = json.loads(text)
    assert {entry["resource"]["resourceType"] for entry in bundle["entry"]} == {
        *("DiagnosticReport", "Observation", "RiskAssessment", "DocumentReference", "Media", "BodyStructure"),
        "Provenance",
    }
    for observation in resources(bundle, "Observation"):
        assert not {"valueQuantity", "note", "valueCodeableConcept", "focus"} & observation.keys()
        assert all(each.keys() == {"code"} for each in observation.get("component", []))
    assert "prediction" not in resource(bundle, "RiskAssessment")
    found = resource(bundle, "DiagnosticReport")
    assert found["conclusion"].split("\n")[0] == "WITHDRAWN, ENTERED IN ERROR: DO NOT USE."
    assert "the images are of another patient" in found["conclusion"]
    assert not {"result", "imagingStudy", "media", "resultsInterpreter"} & found.keys()
    # No number of the report and no word of its answer is left.
    for observation in resources(before, "Observation"):
        assert observation["text"]["div"] not in text
    assert resource(before, "DiagnosticReport")["conclusion"].split("\n")[0] not in text
    assert "Necrosis." not in text
    # What the EHR has is what is marked: the same identifiers and the same subject.
    kinds = ("DiagnosticReport", "Observation", "RiskAssessment", "Media", "BodyStructure", "DocumentReference")
    for kind in kinds:
        sent = {json.dumps(item["identifier"]) for item in resources(before, kind)}
        assert sent <= {json.dumps(item["identifier"]) for item in resources(bundle, kind)}
    assert found["subject"] == resource(before, "DiagnosticReport")["subject"]


def test_every_page_of_a_withdrawn_report_has_the_banner_and_none_a_finding(withdrawn: SignedDocuments) -> None:
    pages = text_of(withdrawn.pdf)
    assert all("WITHDRAWN: ENTERED IN ERROR. DO NOT USE." in page for page in pages)
    assert "ENTERED IN ERROR" in pages[0]
    assert "Dr. Second" in pages[0]
    assert COMMENT in pages[0]
    assert "the images are of another patient" in pages[0]
    assert not any(word in "".join(pages) for word in ("Lesion volume", "SUV", "Probability", "73"))


def test_a_report_of_an_earlier_release_can_be_withdrawn_and_not_signed(report: Report) -> None:
    first = FirstVersion(ASSESSMENT, report.bundle_json, None)
    digests = ["a" * 64]
    with pytest.raises(ReportNotSignable):
        sign_off_documents(first, [FINAL], digests)
    gone = SignOff(2, ReportStatus.ENTERED_IN_ERROR, "dr", "", TIME, reason=WithdrawalReason.TECHNICAL)
    made = sign_off_documents(first, [gone], digests)
    assert problems(json.loads(made.bundle)) == []
    assert filed_under(report.bundle_json) in text_of(made.pdf)[0]


def test_a_report_that_replaces_another_refers_to_it(
    make_context: Callable[..., ReportContext], pet: Any, ct: Any, mask: Any, pet_series: Any, report: Report
) -> None:
    other = compose_report(
        make_context(assessment_id="newer", replaces=ASSESSMENT), {"PT": pet, "CT": ct}, mask, pet_series
    )
    bundle = json.loads(other.bundle_json)
    (extension,) = resource(bundle, "DiagnosticReport")["extension"]
    assert extension["url"].endswith("/diagnosticReport-replaces")
    earlier = resource(json.loads(report.bundle_json), "DiagnosticReport")["identifier"][0]
    assert extension["valueReference"]["identifier"] == earlier
    assert problems(bundle) == []
    assert f"Assessment newer, which replaces {ASSESSMENT}." in text_of(other.pdf)[0]
    gone = SignOff(2, ReportStatus.ENTERED_IN_ERROR, "dr", "", TIME, reason=WithdrawalReason.TECHNICAL)
    made = sign_off_documents(first_version(report), [gone], ["a" * 64], replaced_by="newer")
    assert "Replaced by the report of assessment newer." in text_of(made.pdf)[0]
