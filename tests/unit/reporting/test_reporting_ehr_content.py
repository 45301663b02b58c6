"""What an EHR needs of the Bundle beyond the measures: who, where, which order, which documents, by which AI."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml
from fhir.resources.R4B.organization import Organization
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.case.study_description import CodedRegion
from oncoresponse.reporting.body_site import series_side, series_site
from oncoresponse.reporting.compose import Report, compose_report
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.report_site import ReportSite
from oncoresponse.rpc.fhir_settings import FhirSettings
from oncoresponse.servers.report_site import report_site
from oncoresponse.storage.resource_values import indexed_bundle
from pydantic import ValidationError
from pydicom.sr._concepts_dict import concepts

_spec = importlib.util.spec_from_file_location("fhir_checks", Path(__file__).parent / "test_reporting_fhir_bundle.py")
assert _spec is not None
assert _spec.loader is not None
checks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(checks)
problems, resource, resources = checks.problems, checks.resource, checks.resources

Json = dict[str, Any]
MakeContext = Callable[..., ReportContext]
MakeBundle = Callable[[ReportContext], Json]
SITE = ReportSite(
    organization_system="https://north.example/orgs",
    organization_identifier="RAD-1",
    patient_id_system="https://north.example/mrn",
    patient_id_systems=(("NORTH", "https://north.example/mrn"),),
    accession_system="https://north.example/accession",
    visit_system="https://north.example/visit",
    time_zone="Europe/Berlin",
    local_base="https://north.example/fhir",
    dicomweb_url="https://pacs.north.example/dicom-web",
)
HOSPITAL = "North Hospital, Radiology"


@pytest.fixture(scope="module")
def at_site(make_two_lesions: MakeContext) -> ReportContext:
    study = make_two_lesions().study
    (series,) = study.series
    thigh = series.model_copy(update={"body_part_examined": "THIGH", "laterality": "L", "description": "WB PET"})
    study = study.model_copy(update={"series": (thigh,), "admission_id": "V-12"})
    return make_two_lesions(study=study, site=SITE, performing_organization=HOSPITAL, model_card=b"# Card\n" * 40)


@pytest.fixture(scope="module")
def site_report(at_site: ReportContext, pet: Any, ct: Any, two_lesions: Any, pet_series: Any) -> Report:
    return compose_report(at_site, {"PT": pet, "CT": ct}, two_lesions, pet_series)


@pytest.fixture
def at_site_bundle(site_report: Report) -> Json:
    parsed: Json = json.loads(site_report.bundle_json)
    return parsed


def by_url(bundle: Json) -> dict[str, Json]:
    return {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}


def test_the_bundle_of_a_site_meets_r4(at_site_bundle: Json) -> None:
    assert problems(at_site_bundle) == []


def test_the_report_has_a_code_for_its_conclusion(
    bundle: Json, abstaining_bundle: Json, make_bundle: MakeBundle, make_context: MakeContext
) -> None:
    def codes(of: Json) -> list[str]:
        return [c["code"] for each in resource(of, "DiagnosticReport")["conclusionCode"] for c in each["coding"]]

    assert codes(bundle) == ["favorable"]
    assert codes(abstaining_bundle) == ["indeterminate"]
    assert codes(make_bundle(make_context(prediction=None))) == ["no-prediction"]


def test_body_site_is_what_the_images_name(at_site_bundle: Json, bundle: Json) -> None:
    sites = [item["bodySite"] for item in resources(at_site_bundle, "Observation") if "bodySite" in item]
    assert sites
    assert all(site["coding"][0]["code"] == "68367000" and site["text"].startswith("Thigh, left") for site in sites)
    totals = [item for item in resources(at_site_bundle, "Observation") if "patient-total" in json.dumps(item["code"])]
    assert all("bodySite" not in item for item in totals)
    series = resource(at_site_bundle, "ImagingStudy")["series"][0]
    assert (series["bodySite"]["code"], series["laterality"]["code"]) == ("68367000", "7771000")
    assert not any("bodySite" in item for item in resources(bundle, "Observation")), "the sample names no part"


@pytest.mark.parametrize(
    ("part", "region", "code", "text"),
    [
        ("BREAST", None, "76752008", "Breast"),
        ("WHOLEBODY", None, None, None),
        ("Oberschenkel", None, None, "Oberschenkel"),
        ("ABDOMEN", CodedRegion(value="10200004", scheme="SCT", meaning="Liver"), "10200004", "Liver"),
    ],
)
def test_body_sites(
    make_context: MakeContext,
    make_bundle: MakeBundle,
    part: str,
    region: CodedRegion | None,
    code: str | None,
    text: str | None,
) -> None:
    study = make_context().study
    regions = () if region is None else (region,)
    changed = study.series[0].model_copy(update={"body_part_examined": part, "anatomic_regions": regions})
    found = resource(
        make_bundle(make_context(study=study.model_copy(update={"series": (changed,)}))), "Observation", "118565006"
    )
    if text is None:
        assert "bodySite" not in found
        return
    assert found["bodySite"]["text"] == f"{text} (part of the body that the images name)"
    assert [item["code"] for item in found["bodySite"].get("coding", [])] == ([code] if code else [])


def test_codes_of_body_sites_are_those_of_dicom(make_context: MakeContext) -> None:
    from oncoresponse.reporting.body_site import _SITES

    names = {(code, value[0]) for entry in concepts["SCT"].values() for code, value in entry.items()}
    assert set(_SITES.values()) <= names
    series = make_context().study.series[0]
    for side in "LRB":
        found = series_side(series.model_copy(update={"laterality": side}))
        assert found is not None
        assert (found.code, found.display) in names
    assert series_side(series) is None
    assert series_site(series) is None


def test_encounter_and_order_are_what_came_in(
    at_site_bundle: Json, make_bundle: MakeBundle, make_context: MakeContext
) -> None:
    visit = {"system": "https://north.example/visit", "value": "V-12"}
    for kind in ("DiagnosticReport", "Observation", "RiskAssessment", "ImagingStudy"):
        for item in resources(at_site_bundle, kind):
            assert visit.items() <= item["encounter"]["identifier"].items()
    (order,) = resource(at_site_bundle, "DiagnosticReport")["basedOn"]
    assert order["identifier"]["system"] == "https://north.example/accession"
    asked = make_bundle(make_context(encounter_reference="Encounter/7", service_request_reference="ServiceRequest/9"))
    assert resource(asked, "DiagnosticReport")["encounter"] == {"reference": "Encounter/7", "type": "Encounter"}
    assert resource(asked, "RiskAssessment")["basedOn"]["reference"] == "ServiceRequest/9"
    plain = make_bundle(make_context())
    assert not any(
        "encounter" in item for kind in ("DiagnosticReport", "Observation") for item in resources(plain, kind)
    )
    assert resources(plain, "ServiceRequest") == [], "no order is invented"


def test_the_performer_is_an_organization_that_is_created_once(at_site_bundle: Json) -> None:
    (made,) = resources(at_site_bundle, "Organization")
    Organization.model_validate(made)
    assert (made["name"], made["identifier"]) == (
        HOSPITAL,
        [{"system": "https://north.example/orgs", "value": "RAD-1"}],
    )
    entry = next(item for item in at_site_bundle["entry"] if item["resource"] == made)
    assert entry["request"]["ifNoneExist"] == "identifier=https://north.example/orgs|RAD-1"
    for kind in ("DiagnosticReport", "Observation"):
        for item in resources(at_site_bundle, kind):
            assert item["performer"][0]["reference"] == entry["fullUrl"]
    agents = resource(at_site_bundle, "Provenance")["agent"]
    assert all(agent["onBehalfOf"]["reference"] == entry["fullUrl"] for agent in agents)


def test_an_organization_of_the_ehr_is_referred_to_and_not_made(
    make_bundle: MakeBundle, make_context: MakeContext
) -> None:
    found = make_bundle(make_context(site=ReportSite(organization_reference="Organization/4")))
    assert resources(found, "Organization") == []
    assert resource(found, "DiagnosticReport")["performer"][0]["reference"] == "Organization/4"
    named = make_bundle(make_context(performing_organization=HOSPITAL))
    assert resource(named, "DiagnosticReport")["performer"] == [{"type": "Organization", "display": HOSPITAL}]
    assert problems(found) == problems(named) == []


@pytest.mark.parametrize(
    ("issuer", "system"), [(None, SITE.patient_id_system), ("NORTH", SITE.patient_id_system), ("SOUTH", None)]
)
def test_a_patient_id_has_the_system_of_its_issuer_and_never_that_of_another(
    make_bundle: MakeBundle, make_context: MakeContext, issuer: str | None, system: str | None
) -> None:
    study = make_context().study
    patient = study.patient.model_copy(update={"issuer_of_patient_id": issuer})
    found = make_bundle(make_context(site=SITE, study=study.model_copy(update={"patient": patient})))
    assert resource(found, "DiagnosticReport")["subject"]["identifier"].get("system") == system


def test_the_zone_of_the_site_gives_the_time_of_the_scan(at_site: ReportContext, at_site_bundle: Json) -> None:
    assert resource(at_site_bundle, "DiagnosticReport")["effectiveDateTime"] == "2001-11-27T16:53:31+01:00"
    summer = at_site.study.model_copy(update={"study_date_time": "2001-07-01T08:00:00"})
    stated = at_site.study.model_copy(update={"timezone_offset": "-0500"})
    for study, time in ((summer, "2001-07-01T08:00:00+02:00"), (stated, "2001-11-27T16:53:31-05:00")):
        assert ReportContext(**{**vars(at_site), "study": study}).scan_date_time == time


def test_local_names_are_those_of_the_site(at_site_bundle: Json, site_report: Report) -> None:
    text = site_report.bundle_json.decode()
    assert "oncoresponse.example" not in text
    assert "https://north.example/fhir/CodeSystem/lesion-measure" in text
    provenance = next(e for e in at_site_bundle["entry"] if e["resource"]["resourceType"] == "Provenance")
    assert provenance["request"]["ifNoneExist"].startswith("_tag=https://north.example/fhir/NamingSystem/report-entry|")


def test_every_resource_says_in_words_and_a_language_what_it_is(at_site_bundle: Json) -> None:
    for entry in at_site_bundle["entry"]:
        item = entry["resource"]
        assert item["language"] == "en", item["resourceType"]
        assert 'xml:lang="en" lang="en"><p>' in item["text"]["div"]
    report = resource(at_site_bundle, "DiagnosticReport")
    assert report["text"]["div"].count("<p>") == len(report["conclusion"].split("\n"))


# --- artificial intelligence -----------------------------------------------------------------------


def test_ai_is_labelled_as_the_transparency_guide_says(at_site_bundle: Json) -> None:
    learned = [item for item in resources(at_site_bundle, "Device") if "extension" in item]
    kinds = {item["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] for item in learned}
    assert kinds == {"Deep-Learning-Models", "Machine-Learning-Models"}
    card = next(item for item in resources(at_site_bundle, "DocumentReference") if "category" in item)
    for item in learned:
        assert item["type"]["coding"][0]["code"] == "Artificial-Intelligence"
        (described,) = [e for e in item["extension"] if e["url"].endswith("modelCardDescription")]
        assert by_url(at_site_bundle)[described["valueReference"]["reference"]] == card
    assert card["type"]["coding"][0]["code"] == "AIModelCard"
    assert card["category"][0]["coding"][0]["code"] == "AIModelCardMarkdownFormat"
    assert base64.b64decode(card["content"][0]["attachment"]["data"]) == b"# Card\n" * 40
    assert "subject" not in card, "it is of no patient"
    provenance = resource(at_site_bundle, "Provenance")
    assert provenance["reason"][0]["coding"][0]["code"] == "AIAST"
    roles = {a["who"]["display"]: a["role"][0]["coding"][0]["code"] for a in provenance["agent"] if "role" in a}
    assert len(roles) == 2
    assert set(roles.values()) == {"Artificial-Intelligence"}
    derived = [e["what"].get("reference") for e in provenance["entity"] if e["role"] == "derivation"]
    assert by_url(at_site_bundle)[derived[0]] == card


def test_confidence_is_a_fraction_of_the_call_and_absent_without_one(
    make_bundle: MakeBundle, make_context: MakeContext, make_prediction: Callable[..., Prediction]
) -> None:
    for answer, probability, confidence in (
        (Answer.FAVORABLE, 0.734, 0.734),
        (Answer.UNFAVORABLE, 0.2, 0.8),
        (Answer.INDETERMINATE, 0.5, None),
    ):
        made = make_prediction(answer, probability=probability, interval_low=0.1, interval_high=0.9)
        found = resource(make_bundle(make_context(prediction=made)), "Observation", "predicted-response-probability")
        stated = [item["valueDecimal"] for item in found.get("extension", []) if item["url"].endswith("AIconfidence")]
        assert stated == ([] if confidence is None else [confidence])


# --- documents -------------------------------------------------------------------------------------


def test_segmentation_sr_page_and_card_are_documents_with_size_and_hash(
    at_site_bundle: Json, site_report: Report
) -> None:
    documents = {
        item["type"]["text"]: item for item in resources(at_site_bundle, "DocumentReference") if "subject" in item
    }
    assert len(documents) == 3
    study = resource(at_site_bundle, "ImagingStudy")
    for title, name in (
        ("DICOM Segmentation of the lesions", "segmentation.dcm"),
        ("DICOM Structured Report of the measurements", "structured-report.dcm"),
        ("Report as PDF", "encapsulated-report.dcm"),
    ):
        data = site_report.objects[name]
        read = pydicom.dcmread(io.BytesIO(data))
        document = documents[title]
        assert document["masterIdentifier"]["value"] == f"urn:oid:{read.SOPInstanceUID}"
        shown = document["content"][-1]
        assert shown["format"]["code"] == read.SOPClassUID
        assert shown["attachment"]["size"] == len(data)
        assert base64.b64decode(shown["attachment"]["hash"]) == hashlib.sha1(data, usedforsecurity=False).digest()
        assert shown["attachment"]["url"] == (
            f"https://pacs.north.example/dicom-web/studies/{read.StudyInstanceUID}/series/{read.SeriesInstanceUID}"
            f"/instances/{read.SOPInstanceUID}"
        )
        instances = {i["uid"]: series for series in study["series"] for i in series.get("instance", [])}
        assert instances[str(read.SOPInstanceUID)]["uid"] == read.SeriesInstanceUID
    assert {"SEG", "SR", "DOC", "OT"} <= {item["code"] for item in study["modality"]}
    assert study["contained"][0]["address"] == "https://pacs.north.example/dicom-web"
    page = documents["Report as PDF"]["content"][0]["attachment"]
    assert page["hash"] == resource(at_site_bundle, "DiagnosticReport")["presentedForm"][0]["hash"]


def test_the_page_is_shown_as_pdf_and_as_html_of_the_same_words(at_site_bundle: Json) -> None:
    pdf, html = resource(at_site_bundle, "DiagnosticReport")["presentedForm"]
    assert (pdf["contentType"], html["contentType"]) == ("application/pdf", "text/html")
    text = base64.b64decode(html["data"]).decode()
    assert html["size"] == len(text.encode())
    assert '<html lang="en">' in text
    assert "Research use only" in text
    assert "PRELIMINARY, not signed" in text
    for shown in ("GTV-2", "All lesions", "Three reasons to distrust it", "<caption>Lesions</caption>"):
        assert shown in text
    assert "<script" not in text
    assert "src=" not in text


@pytest.mark.parametrize("limit", [0, 60_000])
def test_attachments_above_the_limit_are_binaries(
    at_site: ReportContext, limit: int, pet: Any, ct: Any, two_lesions: Any, pet_series: Any
) -> None:
    from dataclasses import replace

    context = replace(at_site, site=replace(SITE, inline_bytes=limit))
    made = compose_report(context, {"PT": pet, "CT": ct}, two_lesions, pet_series)
    bundle: Json = json.loads(made.bundle_json)
    assert problems(bundle) == []
    binaries = {e["fullUrl"]: e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Binary"}
    held = {url: base64.b64decode(item["data"]) for url, item in binaries.items()}
    assert all(len(data) > limit for data in held.values())
    seen = 0
    shown = [*resource(bundle, "DiagnosticReport")["presentedForm"], resource(bundle, "Media")["content"]]
    for attachment in shown:
        if attachment["size"] > limit:
            assert "data" not in attachment
            assert hashlib.sha1(held[attachment["url"]], usedforsecurity=False).digest() == base64.b64decode(
                attachment["hash"]
            )
            seen += 1
        else:
            assert len(base64.b64decode(attachment["data"])) == attachment["size"]
    assert seen == (3 if limit == 0 else 2)
    page = next(d for d in resources(bundle, "DocumentReference") if d["type"].get("text") == "Report as PDF")
    assert page["content"][0]["attachment"]["url"] == shown[0]["url"], "the same bytes are held once"
    owners = by_url(bundle)
    for item in binaries.values():
        assert item["securityContext"]["reference"] in owners


def test_no_number_stands_twice_in_the_chart(bundle: Json) -> None:
    """A measure is one Observation; the inputs of the model refer to it."""
    seen: dict[tuple[str, float], str] = {}
    for item in resources(bundle, "Observation"):
        for part in (item, *item.get("component", [])):
            for coding in part["code"].get("coding", []):
                if "lesion-measure" in coding["system"]:
                    value = part.get("valueQuantity", {}).get("value")
                    assert (coding["code"], value) not in seen
                    seen[coding["code"], value] = item["identifier"][0]["value"]
    assert len(seen) >= 8


def test_the_chart_keeps_one_device_for_all_reports_that_leads_to_no_patient(
    make_bundle: MakeBundle, make_context: MakeContext
) -> None:
    """The read API indexes what is made here: a Device is shared, the documents of a report are not."""
    found = {
        name: indexed_bundle(
            json.dumps(make_bundle(make_context(assessment_id=name, model_card=b"# Card", site=SITE))).encode(),
            name,
            "",
        ).resources
        for name in ("one", "two")
    }
    devices, documents = (
        {name: {each.id: each.digest for each in every if each.resource_type == kind} for name, every in found.items()}
        for kind in ("Device", "DocumentReference")
    )
    assert devices["one"] == devices["two"]
    assert len(devices["one"]) == 5
    assert not documents["one"].keys() & documents["two"].keys()
    assert {"Organization"} <= {each.resource_type for each in found["one"]}


# --- settings --------------------------------------------------------------------------------------


def test_settings_become_the_site() -> None:
    settings = FhirSettings(
        organization_system=SITE.organization_system,
        organization_identifier="RAD-1",
        patient_id_system=SITE.patient_id_system,
        patient_id_systems={"NORTH": SITE.patient_id_system},
        accession_system=SITE.accession_system,
        visit_system=SITE.visit_system,
        time_zone="Europe/Berlin",
        local_base=f"{SITE.local_base}/",
        dicomweb_url=f"{SITE.dicomweb_url}/",
    )
    assert report_site(settings) == SITE
    assert report_site(FhirSettings()) == ReportSite()


def test_the_settings_of_the_documentation_are_settings() -> None:
    text = (Path(__file__).parents[3] / "docs/fhir-report.md").read_text(encoding="utf-8")
    (block,) = [part for part in text.split("```yaml\n")[1:] if "organization_identifier" in part]
    stated = yaml.safe_load(block.partition("```")[0])
    assert report_site(FhirSettings(**stated["fhir"])).local_base == SITE.local_base
    assert set(stated["fhir"]) == set(FhirSettings.model_fields) - {"organization"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "Europe/Atlantis"},
        {"organization": "Organization/1", "organization_system": "urn:x", "organization_identifier": "1"},
        {"organization_system": "urn:x"},
        {"organization": "Patient/1"},
        {"local_base": 'https://a.example/"}'},
        {"local_base": "ftp://a.example"},
        {"accession_system": "accession"},
        {"inline_bytes": -1},
    ],
)
def test_settings_that_would_break_a_report_are_refused(wrong: Json) -> None:
    with pytest.raises(ValidationError):
        FhirSettings(**wrong)
