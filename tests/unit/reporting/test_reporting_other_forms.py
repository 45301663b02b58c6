"""The other forms of a version: R5, IMR, the page for the patient; and what a signature changes in the documents."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pydicom
import pypdf
import pytest
from fhir.resources.bundle import Bundle as BundleR5
from oncoresponse.reporting.compose import Report, compose_report
from oncoresponse.reporting.dicom_objects.signed_objects import signed_page_object, verified_report
from oncoresponse.reporting.fhir_r5 import r5_bundle
from oncoresponse.reporting.patient_page import patient_page
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.report_site import ReportSite
from oncoresponse.reporting.sign_off import FirstVersion, SignedDocuments, sign_off_documents

_spec = importlib.util.spec_from_file_location("sign_off_tests", Path(__file__).parent / "test_reporting_sign_off.py")
assert _spec is not None
assert _spec.loader is not None
steps = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(steps)
checks = steps.checks
problems, resource, resources = checks.problems, checks.resource, checks.resources
FINAL, DISAGREES, AMENDED, WITHDRAWN, JUDGED = (
    steps.FINAL,
    steps.DISAGREES,
    steps.AMENDED,
    steps.WITHDRAWN,
    steps.JUDGED,
)

Json = dict[str, Any]
SITE = ReportSite(
    organization_system="https://north.example/orgs",
    organization_identifier="RAD-1",
    accession_system="https://north.example/accession",
    time_zone="Europe/Berlin",
    local_base="https://north.example/fhir",
    dicomweb_url="https://pacs.north.example/dicom-web",
)
SMALL = replace(SITE, inline_bytes=1000)


def composed(make_context: Callable[..., ReportContext], site: ReportSite, images: tuple[Any, ...]) -> Report:
    pet, ct, mask, series = images
    context = make_context(site=site, performing_organization="North", model_card=b"# Card\n" * 400)
    return compose_report(context, {"PT": pet, "CT": ct}, mask, series)


@pytest.fixture(scope="module")
def images(pet: Any, ct: Any, mask: Any, pet_series: Any) -> tuple[Any, ...]:
    return pet, ct, mask, pet_series


@pytest.fixture(scope="module")
def site_report(make_context: Callable[..., ReportContext], images: tuple[Any, ...]) -> Report:
    return composed(make_context, SITE, images)


def signed(report: Report, *sign_offs: Any, site: ReportSite = SITE) -> SignedDocuments:
    """The version that the last step makes, with its DICOM objects."""

    def objects_of(count: int) -> Callable[[bytes], Mapping[str, bytes]]:
        def make(pdf: bytes) -> Mapping[str, bytes]:
            if sign_offs[count - 1].reason is not None:
                return {}
            sr, page = (report.objects[name] for name in ("structured-report.dcm", "encapsulated-report.dcm"))
            return {
                "structured-report.dcm": verified_report(sr, sign_offs[:count]),
                "encapsulated-report.dcm": signed_page_object(page, sign_offs[:count], pdf),
            }

        return make

    first = FirstVersion(steps.ASSESSMENT, report.bundle_json, ReportPage.model_validate_json(report.page))
    digests = [hashlib.sha256(report.bundle_json).hexdigest()]
    for count in range(1, len(sign_offs) + 1):
        made = sign_off_documents(first, sign_offs[:count], digests, [JUDGED], objects_of=objects_of(count), site=site)
        digests.append(hashlib.sha256(made.bundle).hexdigest())
    return made


def statuses(bundle: Json) -> set[str]:
    """Of everything that has a status of a report."""
    found = {item["status"] for kind in ("DiagnosticReport", "RiskAssessment") for item in resources(bundle, kind)}
    # The key image, a Media in R4, has none.
    signed_ones = [item for item in resources(bundle, "DocumentReference") if "type" in item and "subject" in item]
    assert len(signed_ones) == 3
    found |= {item["docStatus"] for item in signed_ones}
    for item in resources(bundle, "Observation"):
        if "physician-judgement" not in json.dumps(item["code"]):
            found.add(item["status"])
    return found


@pytest.mark.parametrize(
    ("taken", "status"),
    [((FINAL,), "final"), ((FINAL, AMENDED), "amended"), ((FINAL, AMENDED, WITHDRAWN), "entered-in-error")],
    ids=["final", "amended", "withdrawn"],
)
def test_every_form_of_a_version_has_its_status(site_report: Report, taken: tuple[Any, ...], status: str) -> None:
    made = signed(site_report, *taken)
    bundle = json.loads(made.bundle)
    assert problems(bundle) == []
    assert statuses(bundle) == {status}
    in_r5 = json.loads(made.bundle_r5)
    BundleR5.model_validate(in_r5)
    assert statuses(in_r5) == {status}
    assert made.imr_bundle is not None
    assert resource(json.loads(made.imr_bundle), "DiagnosticReport")["status"] == status
    assert signed(site_report, *taken) == made, "the same again"
    cards = [item for item in resources(bundle, "DocumentReference") if "category" in item]
    assert len(cards) == (0 if status == "entered-in-error" else 1)
    assert all("docStatus" not in item and item["status"] == "current" for item in cards), "a card is never signed"


# --- what a signature changes ----------------------------------------------------------------------


def test_signed_documents_are_those_of_the_verified_objects(site_report: Report) -> None:
    made = signed(site_report, FINAL)
    bundle = json.loads(made.bundle)
    documents = {item["type"]["text"]: item for item in resources(bundle, "DocumentReference") if "subject" in item}
    study = resource(bundle, "ImagingStudy")
    instances = {item["uid"] for series in study["series"] for item in series.get("instance", [])}
    for title, name in (
        ("DICOM Structured Report of the measurements", "structured-report.dcm"),
        ("Report as PDF", "encapsulated-report.dcm"),
    ):
        read = pydicom.dcmread(io.BytesIO(made.objects[name]))
        assert read.VerificationFlag == "VERIFIED"
        document = documents[title]
        assert document["masterIdentifier"]["value"] == f"urn:oid:{read.SOPInstanceUID}"
        attachment = document["content"][-1]["attachment"]
        assert attachment["size"] == len(made.objects[name])
        assert attachment["url"].endswith(f"/instances/{read.SOPInstanceUID}")
        assert document["authenticator"]["display"] == "Dr. Ada Gray"
        assert read.SOPInstanceUID in instances
    before = {item["uid"] for item in resource(json.loads(site_report.bundle_json), "ImagingStudy")["series"]}
    after = {item["uid"] for item in study["series"]}
    assert before < after
    assert len(after - before) == 2


def test_a_signer_who_disagrees_leaves_no_code_of_the_answer(site_report: Report) -> None:
    for step, code in ((FINAL, "favorable"), (DISAGREES, "result-not-confirmed")):
        report = resource(json.loads(signed(site_report, step).bundle), "DiagnosticReport")
        assert [item["coding"][0]["code"] for item in report["conclusionCode"]] == [code]
    gone = resource(json.loads(signed(site_report, FINAL, AMENDED, WITHDRAWN).bundle), "DiagnosticReport")
    assert not {"conclusionCode", "encounter", "performer"} & gone.keys()


def test_html_of_a_version_says_what_its_page_says(site_report: Report) -> None:
    for taken, words in (
        ((FINAL,), ["FINAL, signed", "The signing physician agrees", "Dr. Ada Gray"]),
        ((DISAGREES,), ["The signing physician DISAGREES", "The rim was missed"]),
        ((FINAL, AMENDED, WITHDRAWN), ["WITHDRAWN: ENTERED IN ERROR", "No finding of it may be used"]),
    ):
        report = resource(json.loads(signed(site_report, *taken).bundle), "DiagnosticReport")
        pdf, html = report["presentedForm"]
        assert (pdf["contentType"], html["contentType"]) == ("application/pdf", "text/html")
        text = base64.b64decode(html["data"]).decode()
        assert all(word in text for word in words), (taken, words)
        assert ("Tumor volume" in text) == (taken[-1] is not WITHDRAWN)


def test_a_withdrawn_version_empties_every_binary_of_the_findings(
    make_context: Callable[..., ReportContext], images: tuple[Any, ...]
) -> None:
    report = composed(make_context, SMALL, images)

    def binaries(bundle: bytes) -> dict[str, Json]:
        return {
            entry["fullUrl"]: entry
            for entry in json.loads(bundle)["entry"]
            if entry["resource"]["resourceType"] == "Binary"
        }

    first = binaries(report.bundle_json)
    assert sorted(item["resource"]["contentType"] for item in first.values()) == [
        "application/pdf",
        "image/png",
        "text/html",
        "text/markdown",
    ]
    final = binaries(signed(report, FINAL, site=SMALL).bundle)
    assert final.keys() == first.keys()
    for url, entry in final.items():
        changed = entry["resource"]["data"] != first[url]["resource"]["data"]
        assert changed == (entry["resource"]["contentType"] in ("application/pdf", "text/html"))
        assert (
            entry["request"] == first[url]["request"] == {"method": "PUT", "url": f"Binary/{entry['resource']['id']}"}
        )
    # Whatever the limit is by then.
    made = signed(report, FINAL, AMENDED, WITHDRAWN)
    assert problems(json.loads(made.bundle)) == []
    gone = binaries(made.bundle)
    assert gone.keys() == {url for url, item in first.items() if item["resource"]["contentType"] != "text/markdown"}
    for url, entry in gone.items():
        assert entry["request"] == first[url]["request"]
        data = base64.b64decode(entry["resource"]["data"])
        assert b"WITHDRAWN" in data or data.startswith(b"%PDF")
        if data.startswith(b"%PDF"):
            assert "WITHDRAWN" in pypdf.PdfReader(io.BytesIO(data)).pages[0].extract_text()
    card = next(url for url, item in first.items() if item["resource"]["contentType"] == "text/markdown")
    assert card not in gone


# --- IMR -------------------------------------------------------------------------------------------


def imr(made: SignedDocuments) -> Json:
    assert made.imr_bundle is not None
    parsed: Json = json.loads(made.imr_bundle)
    return parsed


def test_the_imr_bundle_has_the_three_types_and_what_imr_asks_of_each(site_report: Report) -> None:
    bundle = imr(signed(site_report, FINAL))
    assert problems(bundle) == []
    assert bundle["type"] == "transaction"
    assert bundle["meta"]["profile"] == [
        "https://profiles.ihe.net/RAD/IMR/StructureDefinition/imr-store-multimedia-report-bundle"
    ]
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds == ["DiagnosticReport", "ServiceRequest", "ImagingStudy"]
    assert {entry["request"]["method"] for entry in bundle["entry"]} == {"POST"}
    report, order, study = (entry["resource"] for entry in bundle["entry"])
    assert {"issued", "subject", "performer", "resultsInterpreter", "imagingStudy"} <= report.keys()
    assert report["performer"][0]["reference"] == "#organization"
    assert report["contained"][0]["resourceType"] == "Organization"
    assert len(report["imagingStudy"]) == 1
    assert "text/html" in {form["contentType"] for form in report["presentedForm"]}
    for form in report["presentedForm"]:
        data = base64.b64decode(form["data"])
        assert form["size"] == len(data)
        assert base64.b64decode(form["hash"]) == hashlib.sha1(data, usedforsecurity=False).digest()
    assert report["basedOn"] == [{"reference": bundle["entry"][1]["fullUrl"], "type": "ServiceRequest"}]
    assert order["identifier"][0]["type"]["coding"][0]["code"] == "ACSN"
    assert (order["category"][0]["coding"][0]["code"], order["intent"]) == ("363679005", "order")
    assert study["identifier"][0]["type"]["coding"][0]["code"] == "110180"
    assert study["contained"][0]["payloadType"][0]["coding"][0]["code"] == "113014"
    assert study["started"] == "2001-11-27T16:53:31+01:00"


def test_each_version_is_an_imr_report_of_its_own_that_names_the_one_before(site_report: Report) -> None:
    first, second, third = (
        imr(signed(site_report, *taken)) for taken in ((FINAL,), (FINAL, AMENDED), (FINAL, AMENDED, WITHDRAWN))
    )
    reports = [resource(bundle, "DiagnosticReport") for bundle in (first, second, third)]
    assert len({report["identifier"][0]["value"] for report in reports}) == 3
    # Not that of the other Bundle's report, which a server may have too.
    assert all(len(report["identifier"]) == 1 for report in reports)
    assert "extension" not in reports[0]
    for report, before in zip(reports[1:], reports, strict=False):
        assert report["extension"][0]["valueReference"]["identifier"] == before["identifier"][0]
    assert "profile" not in reports[2].get("meta", {})
    assert problems(third) == []


def test_a_report_that_nobody_signed_has_no_imr_report_to_take_back(report: Report) -> None:
    gone = replace(WITHDRAWN, version=2)
    assert signed(report, gone).imr_bundle is None


def test_no_profile_is_claimed_and_no_order_made_where_the_site_says_too_little(report: Report) -> None:
    bundle = imr(signed(report, FINAL))
    assert problems(bundle) == []
    assert [entry["resource"]["resourceType"] for entry in bundle["entry"]] == ["DiagnosticReport", "ImagingStudy"]
    assert '"profile"' not in json.dumps(bundle)


def test_imr_carries_the_bytes_that_the_other_bundle_has_in_binaries(
    make_context: Callable[..., ReportContext], images: tuple[Any, ...]
) -> None:
    made = signed(composed(make_context, SMALL, images), FINAL, site=SMALL)
    forms = resource(imr(made), "DiagnosticReport")["presentedForm"]
    assert base64.b64decode(forms[0]["data"]) == made.pdf


# --- R5 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["report", "abstaining_report", "two_lesion_report", "mr_report", "site_report"])
def test_r5_is_read_by_the_r5_classes_and_says_the_same(which: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(which)
    before, after = json.loads(report.bundle_json), json.loads(report.bundle_r5)
    BundleR5.model_validate(after)
    assert [entry["fullUrl"] for entry in after["entry"]] == [entry["fullUrl"] for entry in before["entry"]]
    assert "Media" not in {entry["resource"]["resourceType"] for entry in after["entry"]}
    references = {entry["fullUrl"] for entry in after["entry"]}
    for url in re.findall(r'"reference": "(urn:uuid:[^"]+)"', report.bundle_r5.decode()):
        assert url in references
    # Every number, code and sentence of R4 is there.
    said = json.dumps(after, ensure_ascii=False)
    for entry in before["entry"]:
        for text in re.findall(r'"(?:text|display|code|div)": ("[^"]*")', json.dumps(entry, ensure_ascii=False)):
            assert text in said, text
    values = [item["valueQuantity"]["value"] for item in resources(before, "Observation") if "valueQuantity" in item]
    assert values == [
        item["valueQuantity"]["value"] for item in resources(after, "Observation") if "valueQuantity" in item
    ]


def test_the_r5_classes_refuse_r4(report: Report) -> None:
    """So that the test above can fail."""
    in_r4 = json.loads(report.bundle_json)
    in_r4["entry"] = [entry for entry in in_r4["entry"] if entry["resource"]["resourceType"] == "DiagnosticReport"]
    with pytest.raises(ValueError, match="imagingStudy"):
        BundleR5.model_validate(in_r4)
    assert r5_bundle(report.bundle_json) == report.bundle_r5


# --- the page for the patient ----------------------------------------------------------------------


class _Outline(HTMLParser):
    """Headings, language, landmarks and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.language = ""
        self.tags: list[str] = []
        self.title = ""
        self.sentences: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "html":
            self.language = dict(attrs).get("lang") or ""
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "well formed"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "title":
            self.title = data
        elif self.open and self.open[-1] in ("p", "li"):
            self.sentences += [part for part in re.split(r"(?<=[.!?])\s+", data.strip()) if part]


def outline(page: bytes) -> _Outline:
    read = _Outline()
    read.feed(page.decode())
    assert read.open == []
    return read


def grade(sentences: list[str]) -> float:
    """Flesch-Kincaid grade (Kincaid 1975), syllables by groups of vowels."""
    words = [word for sentence in sentences for word in re.findall(r"[A-Za-z]+", sentence)]
    syllables = sum(max(1, len(re.findall(r"[aeiouy]+", word.lower().removesuffix("e")))) for word in words)
    return 0.39 * len(words) / len(sentences) + 11.8 * syllables / len(words) - 15.59


def test_the_patient_page_is_accessible_html_in_plain_language(report: Report) -> None:
    page = outline(report.patient_page)
    assert page.language == "en"
    assert page.title == "How AI was used in your report"
    assert page.tags.count("h1") == page.tags.count("main") == 1
    assert page.tags.index("h1") < page.tags.index("h2")
    assert not {"script", "img", "table", "a", "form"} & set(page.tags)
    spoken = [text for text in page.sentences if not text.startswith(("Program:", "Report number:"))]
    assert grade(spoken) < 6.5, "WCAG 3.1.5 asks for lower secondary school, which is grade 9"
    assert max(len(text.split()) for text in spoken) <= 30


def test_the_patient_page_holds_no_identity_and_no_result(report: Report, site_report: Report) -> None:
    for made in (report, site_report):
        text = made.patient_page.decode()
        for secret in ("STS_019", "Doe", "Jane", "1953", "2144184978610994", "73", "51.2", "SUV", "ml", "likely"):
            assert secret not in re.sub(r"<style>.*?</style>|<[^>]+>|urn:\S+|Report number: \S+", " ", text), secret


@pytest.mark.parametrize(
    ("which", "said", "unsaid"),
    [
        ("report", ["drew a line around it", "made an estimate"], ["It gave none"]),
        ("abstaining_report", ["It gave none"], ["made an estimate of how"]),
        ("two_lesion_report", ["Other lines came with your images"], []),
        ("mr_report", ["made no estimate", "MRI scan"], ["PET"]),
    ],
)
def test_the_patient_page_says_what_was_done(
    which: str, said: list[str], unsaid: list[str], request: pytest.FixtureRequest
) -> None:
    report: Report = request.getfixturevalue(which)
    text = report.patient_page.decode()
    assert all(words in text for words in said)
    assert not any(words in text for words in unsaid)
    assert "No doctor has checked and signed this report yet." in text
    assert patient_page(report.bundle_json) == report.patient_page


def test_the_patient_page_follows_the_signature(site_report: Report) -> None:
    for taken, said in (
        ((FINAL,), "Ada Gray checked the report and signed it on 2026-11-26."),
        ((DISAGREES,), "does not stand behind the result"),
        ((FINAL, AMENDED), "changed after it had been signed"),
        ((FINAL, AMENDED, WITHDRAWN), "was taken back"),
    ):
        text = outline(signed(site_report, *taken).patient_page).sentences
        assert any(said in sentence for sentence in text), (said, text)
    gone = signed(site_report, FINAL, AMENDED, WITHDRAWN).patient_page.decode()
    assert "estimate" not in gone
    assert "No doctor has checked" not in signed(site_report, FINAL).patient_page.decode()


def test_the_pdf_is_tagged_and_names_its_language(report: Report) -> None:
    for data in (report.pdf, steps.version(report, FINAL).pdf, steps.version(report, FINAL, AMENDED, WITHDRAWN).pdf):
        root = pypdf.PdfReader(io.BytesIO(data)).trailer["/Root"]
        assert root["/Lang"] == "en"
        assert root["/MarkInfo"]["/Marked"]
        assert root["/StructTreeRoot"]["/K"]
