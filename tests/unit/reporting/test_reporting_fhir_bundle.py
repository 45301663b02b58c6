"""The Bundle against FHIR R4: fhir.resources, and the requirements that it does not check."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.bundle import Bundle
from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.definition import MeasuredInput
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.dicom_objects.archive_object import part10
from oncoresponse.reporting.fhir_bundle import fhir_bundle
from oncoresponse.reporting.report_content import ReportContext
from pydicom.sr._concepts_dict import concepts

Json = dict[str, Any]
REQUIREMENTS: Json = json.loads((Path(__file__).parents[2] / "data/fhir/r4_requirements.json").read_text())
BACKBONE = ("BackboneElement", "Element")


def problems(bundle: Json) -> list[str]:
    """Breaches of R4 cardinality, required bindings, reference targets and of this project's own rules."""
    types = {entry["fullUrl"]: entry["resource"]["resourceType"] for entry in bundle["entry"]}
    found = list(_structure("Bundle", "", {key: value for key, value in bundle.items() if key != "entry"}, types))
    for entry in bundle["entry"]:
        found += _structure(entry["resource"]["resourceType"], "", entry["resource"], types)
        found += _structure("Bundle", "entry.request", entry["request"], types)
        request = entry["request"]
        is_update = request["method"] == "PUT" and re.match(r"[A-Za-z]+\?identifier=[^|]+\|.|Binary/.", request["url"])
        if not (request.get("ifNoneExist") or is_update):
            found.append(f"{entry['fullUrl']}: not conditional")
    text = json.dumps(bundle)
    if "97509-4" in text:
        found.append("LOINC 97509-4 is a clinician's judgment")
    for risk in resources(bundle, "RiskAssessment"):
        observed = resource(bundle, "Observation", "predicted-response-probability")
        percent = risk.get("prediction", [{}])[0].get("probabilityDecimal")
        if percent != observed.get("valueQuantity", {}).get("value"):
            found.append("RiskAssessment.prediction.probabilityDecimal is not the percentage of the Observation")
    return found


def _structure(name: str, path: str, value: Json, types: dict[str, str]) -> Iterator[str]:
    table = REQUIREMENTS[name]
    prefix = f"{path}." if path else ""
    present: set[str] = set()
    for key, item in value.items():
        if key in ("resourceType", "extension"):
            continue
        element, kind = _element(table, prefix, key)
        if element is None:
            yield f"{name}.{prefix}{key}: no such element in R4"
            continue
        present.add(element)
        rule = table[element]
        items = item if isinstance(item, list) else [item]
        if isinstance(item, list) != (rule["max"] == "*"):
            yield f"{name}.{element}: cardinality {rule['min']}..{rule['max']}"
        for single in items:
            yield from _value(name, element, rule, kind, single, types)
    for element, rule in table.items():
        if element.startswith(prefix) and "." not in element[len(prefix) :] and rule["min"] and element not in present:
            yield f"{name}.{element}: missing"


def _element(table: Json, prefix: str, key: str) -> tuple[str | None, str | None]:
    if prefix + key in table:
        kinds = table[prefix + key]["types"]
        return prefix + key, kinds[0] if kinds else None
    for element, rule in table.items():
        if element.startswith(prefix) and element.endswith("[x]") and key.startswith(element[len(prefix) : -3]):
            suffix = key[len(element) - len(prefix) - 3 :]
            for kind in rule["types"]:
                if kind.lower() == suffix.lower():
                    return element, kind
    return None, None


def _value(name: str, element: str, rule: Json, kind: str | None, value: Any, types: dict[str, str]) -> Iterator[str]:
    if "codes" in rule and value not in rule["codes"]:
        yield f"{name}.{element}: '{value}' is not in the required value set"
    if kind == "Reference":
        target = value.get("type") or value.get("reference", "").split("/")[0]
        reference = value.get("reference", "")
        if reference.startswith("urn:"):
            if reference not in types:
                yield f"{name}.{element}: reference to nothing in the Bundle"
            target = types.get(reference, target)
        if "Resource" not in rule["targets"] and target not in rule["targets"]:
            yield f"{name}.{element}: may not refer to {target}"
    if rule.get("same_as"):
        yield from _structure(name, rule["same_as"], value, types)
    elif kind in BACKBONE:
        yield from _structure(name, element, value, types)
    elif kind in REQUIREMENTS and isinstance(value, dict):
        yield from _structure(kind, "", value, types)


def resource(bundle: Json, kind: str, code: str | None = None) -> Json:
    """The first resource of a type, or the one with that code."""
    for entry in bundle["entry"]:
        item: Json = entry["resource"]
        if item["resourceType"] == kind and (code is None or code in json.dumps(item["code"])):
            return item
    raise AssertionError(f"no {kind} {code}")


def resources(bundle: Json, kind: str) -> list[Json]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def strings(element: Any) -> Iterator[str]:
    if isinstance(element, dict):
        for key, value in element.items():
            if key != "data":
                yield from strings(value)
    elif isinstance(element, list):
        for value in element:
            yield from strings(value)
    elif isinstance(element, str):
        yield element


def dicom_object() -> bytes:
    """The smallest object that a Bundle can refer to."""
    made = pydicom.Dataset()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = "1.2.3", "1.2.3.1", "1.2.3.1.1"
    made.SOPClassUID, made.Modality = "1.2.840.10008.5.1.4.1.1.66.4", "SEG"
    return part10(made)


def compose(context: ReportContext) -> Json:
    data = fhir_bundle(
        context,
        html=b"<!DOCTYPE html>",
        pdf=b"%PDF",
        key_image=b"\x89PNG",
        key_image_size=(4, 3),
        objects={"segmentation.dcm": dicom_object()},
    )
    parsed: Json = json.loads(data)
    return parsed


# --- against R4 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["report", "abstaining_report", "two_lesion_report", "mr_report"])
def test_meets_r4_requirements(which: str, request: pytest.FixtureRequest) -> None:
    found: Report = request.getfixturevalue(which)
    assert problems(json.loads(found.bundle_json)) == []


def test_every_resource_is_read_by_fhir_resources(bundle: Json) -> None:
    Bundle.model_validate(bundle)
    for entry in bundle["entry"]:
        get_fhir_model_class(entry["resource"]["resourceType"]).model_validate(entry["resource"])


def _banana(bundle: Json) -> None:
    resource(bundle, "Observation")["status"] = "banana"


def _wrong_target(bundle: Json) -> None:
    observed = resource(bundle, "Observation")
    observed["subject"] = {"reference": "Banana/1"}


def _result_refers_to_risk(bundle: Json) -> None:
    url = next(entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "RiskAssessment")
    resource(bundle, "DiagnosticReport")["result"].append({"reference": url})


def _dangling(bundle: Json) -> None:
    resource(bundle, "DiagnosticReport")["imagingStudy"][0]["reference"] = "urn:uuid:0"


def _fraction(bundle: Json) -> None:
    resource(bundle, "RiskAssessment")["prediction"][0]["probabilityDecimal"] = 0.734


def _disease_status(bundle: Json) -> None:
    resource(bundle, "Observation")["code"]["coding"].append({"system": "http://loinc.org", "code": "97509-4"})


def _unconditional(bundle: Json) -> None:
    del bundle["entry"][3]["request"]["ifNoneExist"]


def _unknown_element(bundle: Json) -> None:
    resource(bundle, "DiagnosticReport")["supportingInfo"] = []


def _missing_element(bundle: Json) -> None:
    del resource(bundle, "RiskAssessment")["subject"]


@pytest.mark.parametrize(
    ("breach", "message"),
    [
        (_banana, "'banana' is not in the required value set"),
        (_wrong_target, "may not refer to Banana"),
        (_result_refers_to_risk, "may not refer to RiskAssessment"),
        (_dangling, "reference to nothing"),
        (_fraction, "is not the percentage"),
        (_disease_status, "97509-4"),
        (_unconditional, "not conditional"),
        (_unknown_element, "no such element"),
        (_missing_element, "subject: missing"),
    ],
)
def test_the_check_finds_a_breach(bundle: Json, breach: Callable[[Json], None], message: str) -> None:
    breach(bundle)
    assert any(message in problem for problem in problems(bundle))


def test_public_codes_exist_in_dicom_context_groups(bundle: Json) -> None:
    schemes = {
        "http://dicom.nema.org/resources/ontology/DCM": "DCM",
        "http://snomed.info/sct": "SCT",
        "urn:oid:1.2.840.10008.2.16.13": "IBSI",
    }
    known = {(scheme, code) for scheme in schemes.values() for entry in concepts[scheme].values() for code in entry}
    # In the IBSI reference manual, not in the copy of PS3.16 that pydicom holds.
    known |= {("IBSI", "84IY"), ("IBSI", "Q4LE"), ("IBSI", "0F91")}
    seen = set()

    def walk(element: Any) -> None:
        if isinstance(element, dict):
            if element.get("system") in schemes and "code" in element:
                seen.add((schemes[element["system"]], element["code"]))
            for value in element.values():
                walk(value)
        elif isinstance(element, list):
            for value in element:
                walk(value)

    walk(bundle)
    assert {"DCM", "SCT", "IBSI"} == {scheme for scheme, _ in seen}
    assert seen - known == set()


def test_displays_are_those_of_their_code_systems(bundle: Json) -> None:
    """DCM and SNOMED CT against DICOM PS3.16 as pydicom holds it; where we know no name, none is shown."""
    schemes = {"http://dicom.nema.org/resources/ontology/DCM": "DCM", "http://snomed.info/sct": "SCT"}
    names: dict[tuple[str, str], set[str]] = {}
    for scheme in schemes.values():
        for entry in concepts[scheme].values():
            for code, value in entry.items():
                names.setdefault((scheme, code), set()).add(value[0])
    checked = 0
    for coding in _codings(bundle):
        if coding["system"] in schemes:
            assert coding["display"] in names[schemes[coding["system"]], coding["code"]]
            checked += 1
        if coding["system"] == "urn:oid:1.2.840.10008.2.16.13":
            assert "display" not in coding
    assert checked > 10


def _codings(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        if {"system", "code"} <= set(value) and "value" not in value:
            yield value
        for item in value.values():
            yield from _codings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _codings(item)


def test_the_range_of_the_training_patients_is_no_reference_range(bundle: Json) -> None:
    """R4 interprets a value by its referenceRange, so a chart would flag a large tumor's volume as merely "High"."""
    assert "referenceRange" not in json.dumps(bundle)
    inputs = resource(bundle, "Observation", "125007")
    notes = " ".join(note["text"] for note in inputs["note"])
    assert "5th to 95th percentile of the training patients, not a normal range: " in notes
    assert "Tumor volume 14 to 1210 ml" in notes


def test_a_measure_of_a_part_of_the_tumor_is_a_lower_bound(make_context: Callable[..., ReportContext]) -> None:
    cut = make_context(segmentation=make_context().lesions[0].segmentation.model_copy(update={"touches_border": True}))
    bundle = compose(cut)
    assert resource(bundle, "Observation", "118565006")["valueQuantity"]["comparator"] == ">="
    for component in resource(bundle, "Observation", "21889-1")["component"]:
        assert component["valueQuantity"]["comparator"] == ">="
    assert resource(bundle, "Observation", "L0JK")["valueQuantity"]["comparator"] == ">="
    assert "comparator" not in resource(bundle, "Observation", "126401")["valueQuantity"]
    assert problems(bundle) == []
    assert "comparator" not in json.dumps(compose(make_context()))


# --- what the report says --------------------------------------------------------------------------


def test_report_is_preliminary_and_unsigned(bundle: Json) -> None:
    report = resource(bundle, "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert "resultsInterpreter" not in report
    assert "profile" not in report["meta"]
    last = report["conclusion"].split("\n")[-1]
    assert last.startswith("Research use only.")
    assert "Preliminary: not reviewed or signed by a physician." in last


def test_probability_is_a_percentage_with_its_interval(bundle: Json) -> None:
    observed = resource(bundle, "Observation", "predicted-response-probability")
    assert observed["valueQuantity"] == {
        "value": 73.4,
        "unit": "%",
        "system": "http://unitsofmeasure.org",
        "code": "%",
    }
    bounds = {
        component["code"]["coding"][0]["code"]: component["valueQuantity"]["value"]
        for component in observed["component"]
        if "valueQuantity" in component
    }
    assert bounds == {"probability-interval-low": 51.2, "probability-interval-high": 87.8}
    assert resource(bundle, "RiskAssessment")["prediction"][0]["probabilityDecimal"] == 73.4
    assert observed["device"]["display"] == "sts-petct response 0.1.0"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer.INDETERMINATE, "unknown"),
        (Answer.OUT_OF_DISTRIBUTION, "unsupported"),
        (Answer.MEASURED_ONLY, "unsupported"),
    ],
)
def test_abstention_shows_a_reason_and_no_number(
    make_context: Callable[..., ReportContext],
    make_prediction: Callable[..., Prediction],
    answer: Answer,
    reason: str,
) -> None:
    made = make_prediction(answer)
    bundle = compose(make_context(prediction=made))
    observed = resource(bundle, "Observation", "predicted-response-probability")
    assert "valueQuantity" not in observed
    assert observed["dataAbsentReason"]["coding"][0]["code"] == reason
    assert observed["dataAbsentReason"]["text"] == made.abstain_reasons[0].text
    risk = resource(bundle, "RiskAssessment")
    assert "prediction" not in risk
    assert made.abstain_reasons[0].text in [note["text"] for note in risk["note"]]
    assert made.answer_text in resource(bundle, "DiagnosticReport")["conclusion"]
    shown = " ".join(strings(bundle))
    assert not re.search(r"\b7[34](\.4)? ?%|\b51(\.2)? ?%|\b88 ?%|raises|lowers", shown)


def test_without_prediction_only_measures_are_reported(make_context: Callable[..., ReportContext]) -> None:
    bundle = compose(make_context(prediction=None))
    assert resources(bundle, "RiskAssessment") == []
    assert "No response prediction was made." in resource(bundle, "DiagnosticReport")["conclusion"]
    assert len(resources(bundle, "Observation")) == 8


def test_measures_have_value_unit_and_code(bundle: Json) -> None:
    volume = resource(bundle, "Observation", "118565006")
    assert volume["valueQuantity"] == {
        "value": 214.8,
        "unit": "ml",
        "system": "http://unitsofmeasure.org",
        "code": "ml",
    }
    assert {item["code"] for item in volume["code"]["coding"]} == {"lesion-volume", "118565006", "YEKZ"}
    assert volume["code"]["coding"][0]["system"].endswith("/CodeSystem/lesion-measure")
    size = resource(bundle, "Observation", "21889-1")
    assert "valueQuantity" not in size
    assert [item["valueQuantity"]["value"] for item in size["component"]] == [87.3, 61.2]
    in_space = resource(bundle, "Observation", "L0JK")
    assert {item["code"] for item in in_space["code"]["coding"]} == {"maximum-3d-diameter", "L0JK"}
    assert (in_space["valueQuantity"]["value"], in_space["valueQuantity"]["code"]) == (104.6, "mm")
    peak = resource(bundle, "Observation", "suv-peak")
    assert peak["component"][0]["valueCodeableConcept"]["coding"][0]["code"] == "126031"


def test_measures_and_features_name_what_computed_them(make_context: Callable[..., ReportContext]) -> None:
    """The engine of the radiomic features computes no measure; it is named as it names itself."""
    context = make_context()
    document = context.lesions[0].features.model_copy(
        update={"engine": "OncoRadiomics native", "engine_version": "7.1"}
    )
    bundle = compose(make_context(features=document))
    for code in ("118565006", "21889-1", "suv-max", "metabolic-tumor-volume", "total-lesion-glycolysis"):
        assert resource(bundle, "Observation", code)["device"]["display"] == "OncoRadiomics lesion measures 0.1.0"
    names = {item["deviceName"][0]["name"]: item["version"][0]["value"] for item in resources(bundle, "Device")}
    assert names["OncoRadiomics lesion measures"] == "0.1.0"
    assert names["OncoRadiomics native"] == "7.1"
    assert "pyradiomics" not in " ".join(strings(bundle))
    inputs = resource(bundle, "Observation", "125007")
    systems = {
        item["code"]["coding"][0]["code"]: item["code"]["coding"][0]["system"].rsplit("/", 1)[1]
        for item in inputs["component"]
    }
    measured = [item["code"]["coding"][0]["code"] for item in by_reference(bundle, inputs["hasMember"])]
    assert measured == ["lesion-volume", "suv-peak"]
    assert not {"lesion-volume", "suv-peak"} & systems.keys(), "each number stands once"
    assert systems["original_glcm_JointEntropy"] == "oncoradiomics-native-feature"
    assert inputs["device"]["display"] == "OncoResponse 0.1.0"
    assert "OncoRadiomics lesion measures 0.1.0; OncoRadiomics native 7.1" in inputs["method"]["text"]


def test_inputs_from_one_source_name_it_as_device(
    make_context: Callable[..., ReportContext], make_prediction: Callable[..., Prediction]
) -> None:
    def inputs_with(*wanted: str) -> Json:
        made = make_prediction()
        kept = tuple(item for item in made.contributions if item.input in wanted)
        changed = made.model_copy(update={"contributions": kept})
        return resource(compose(make_context(prediction=changed)), "Observation", "125007")

    measured = inputs_with("lesion_volume", "suv_peak")
    assert measured["device"]["display"] == measured["method"]["text"] == "OncoRadiomics lesion measures 0.1.0"
    assert inputs_with("original_glcm_JointEntropy")["device"]["display"] == "pyradiomics 3.0.1"
    covariate = make_prediction().contributions[0].model_copy(update={"input": "age_years", "title": "Age"})
    changed = make_prediction().model_copy(update={"contributions": (covariate,)})
    asked = resource(compose(make_context(prediction=changed)), "Observation", "125007")
    assert asked["component"][0]["code"]["coding"][0]["system"].endswith("/CodeSystem/oncoresponse")
    assert asked["device"]["display"] == "OncoResponse 0.1.0"


def test_prediction_names_its_outcome_in_each_resource(
    make_context: Callable[..., ReportContext], make_prediction: Callable[..., Prediction]
) -> None:
    made = make_prediction(Answer.UNFAVORABLE, probability=0.2, interval_low=0.04, interval_high=0.73)
    bundle = compose(make_context(prediction=made))
    expected = "Probability of pathologic complete response: 20 % (90 % interval 4 % to 73 %)."
    observed = resource(bundle, "Observation", "predicted-response-probability")
    assert observed["code"]["text"] == "Probability of pathologic complete response"
    assert expected in observed["text"]["div"]
    assert expected in resource(bundle, "RiskAssessment")["text"]["div"]
    assert expected in resource(bundle, "DiagnosticReport")["conclusion"]
    texts = [item["code"].get("text") for item in observed["component"]]
    assert "Probability of pathologic complete response: lower end of the 90 % interval" in texts
    (left,) = [
        item["valueCodeableConcept"]
        for item in observed["component"]
        if item["code"]["coding"][0]["code"] == "conformal-set"
    ]
    assert (left["coding"][0]["code"], left["text"]) == ("only-unfavorable", "Left: no pathologic complete response")


def test_spelling_is_american(bundle: Json) -> None:
    assert "avour" not in json.dumps(bundle)


def test_a_unsure_contour_is_said_on_each_measure(make_context: Callable[..., ReportContext]) -> None:
    summary = (
        make_context()
        .lesions[0]
        .segmentation.model_copy(
            update={"needs_review": True, "review_reasons": ("PET and CT lie at least 15 mm apart at the tumor.",)}
        )
    )
    volume = resource(compose(make_context(segmentation=summary)), "Observation", "118565006")
    assert volume["note"][0]["text"].startswith("Compare contour and images, and correct the contour, before using")
    assert "PET and CT lie at least 15 mm apart at the tumor." in volume["note"][0]["text"]
    assert len(resource(compose(make_context()), "Observation", "118565006")["note"]) == 1


def test_a_filtered_feature_gets_no_ibsi_code(bundle: Json) -> None:
    inputs = resource(bundle, "Observation", "125007")
    codes = {item["code"]["coding"][0]["code"]: len(item["code"]["coding"]) for item in inputs["component"]}
    assert codes["original_shape_Sphericity"] == 2
    assert codes["wavelet-LLH_glcm_Contrast"] == 1


def test_ai_label_follows_who_made_the_contour(bundle: Json, make_context: Callable[..., ReportContext]) -> None:
    def labelled(item: Json) -> bool:
        return any(label["code"] == "AIAST" for label in item.get("meta", {}).get("security", []))

    assert all(labelled(item) for item in resources(bundle, "Observation"))
    context = make_context()
    supplied = context.lesions[0].segmentation.model_copy(update={"method": "supplied_rtstruct", "network_sha256": ""})
    by_hand = compose(make_context(segmentation=supplied))
    assert not labelled(resource(by_hand, "Observation", "118565006"))
    assert labelled(resource(by_hand, "Observation", "predicted-response-probability"))
    assert labelled(resource(by_hand, "DiagnosticReport"))
    names = [item["deviceName"][0]["name"] for item in resources(by_hand, "Device")]
    assert "sts-petct segmentation" not in names


def test_attachments_carry_size_and_sha1(bundle: Json, report: Report) -> None:
    form = resource(bundle, "DiagnosticReport")["presentedForm"][0]
    assert base64.b64decode(form["data"]) == report.pdf
    assert form["size"] == len(report.pdf)
    assert base64.b64decode(form["hash"]) == hashlib.sha1(report.pdf, usedforsecurity=False).digest()
    image = resource(bundle, "Media")
    assert base64.b64decode(image["content"]["data"]) == report.key_image
    document = resource(bundle, "DocumentReference")["content"][0]["attachment"]
    assert base64.b64decode(document["hash"]) == hashlib.sha1(report.segmentation, usedforsecurity=False).digest()


def test_provenance_names_every_result_and_digest(bundle: Json) -> None:
    provenance = resource(bundle, "Provenance")
    targets = {item["reference"] for item in provenance["target"]}
    made = {
        entry["fullUrl"]
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] not in ("ImagingStudy", "Device", "Provenance")
    }
    assert targets == made
    digests = {item["what"].get("identifier", {}).get("value") for item in provenance["entity"]}
    assert {"c" * 64, "e" * 64, "0123456789abcdef" * 4} <= digests
    assert len(provenance["agent"]) == 5


# --- identity --------------------------------------------------------------------------------------


def test_a_full_url_stands_in_references_and_nowhere_else(bundle: Json, abstaining_bundle: Json) -> None:
    """Servers rewrite a fullUrl wherever they find it; what is equal to one is lost."""

    def others(value: Any, key: str = "") -> Iterator[str]:
        if isinstance(value, dict):
            for name, item in value.items():
                yield from others(item, name)
        elif isinstance(value, list):
            for item in value:
                yield from others(item, key)
        elif isinstance(value, str) and key not in ("fullUrl", "reference"):
            yield value

    for item in (bundle, abstaining_bundle):
        urls = [entry["fullUrl"] for entry in item["entry"]]
        assert len(set(urls)) == len(urls)
        text = "\n".join(others(item))
        assert not [url for url in urls if url in text or url.removeprefix("urn:uuid:") in text]


def test_a_repeat_has_the_same_identity_and_another_assessment_another(
    make_context: Callable[..., ReportContext],
) -> None:
    def queries(bundle: Json) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for entry in bundle["entry"]:
            found.setdefault(entry["resource"]["resourceType"], set()).add(entry["request"]["ifNoneExist"])
        return found

    first, again = queries(compose(make_context())), queries(compose(make_context()))
    assert first == again
    all_queries = [query for group in first.values() for query in group]
    assert len(all_queries) == len(set(all_queries)) == len(compose(make_context())["entry"])
    other = queries(compose(make_context(assessment_id="another")))
    assert other["Device"] == first["Device"]
    assert other["ImagingStudy"] == first["ImagingStudy"]
    for kind in ("Observation", "RiskAssessment", "DiagnosticReport", "Media", "Provenance", "BodyStructure"):
        assert not other[kind] & first[kind]


def test_no_patient_is_created(bundle: Json, make_context: Callable[..., ReportContext]) -> None:
    assert resources(bundle, "Patient") == []
    subject = resource(bundle, "DiagnosticReport")["subject"]
    assert subject["identifier"]["value"] == "STS_019"
    assert "reference" not in subject
    known = compose(make_context(patient_reference="Patient/123"))
    assert resource(known, "DiagnosticReport")["subject"] == {"reference": "Patient/123", "type": "Patient"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"patient_reference": "Patient/1?active=false"}, "patient_reference"),
        ({"patient_reference": "Group/1"}, "patient_reference"),
        ({"service_request_reference": "Task/1"}, "service_request_reference"),
        ({"model_sha256": "f" * 64}, "prediction"),
    ],
)
def test_contradictory_content_is_refused(
    make_context: Callable[..., ReportContext], changes: Json, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make_context(**changes)
    assert refused.value.metadata["field"] == field


def test_time_of_scan_has_a_time_only_with_a_zone(make_context: Callable[..., ReportContext]) -> None:
    study = make_context().study
    assert resource(compose(make_context()), "Observation")["effectiveDateTime"] == "2001-11-27"
    zoned = study.model_copy(update={"timezone_offset": "-0500"})
    assert resource(compose(make_context(study=zoned)), "Observation")["effectiveDateTime"].startswith(
        "2001-11-27T16:53:31-05:00"
    )


def test_only_the_reference_to_the_patient_holds_identity(bundle: Json) -> None:
    text = " ".join(strings(bundle))
    assert "Doe" not in text
    assert "1953" not in text


def test_text_needs_no_escaping_by_the_reader(make_context: Callable[..., ReportContext]) -> None:
    bundle = compose(make_context(planned_treatment='<script>alert("x")</script> & more'))
    report = resource(bundle, "DiagnosticReport")
    assert "<script>" not in report["text"]["div"]
    assert problems(bundle) == []


# --- several lesions -------------------------------------------------------------------------------


def by_reference(bundle: Json, references: list[Json]) -> list[Json]:
    entries = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    return [entries[item["reference"]] for item in references]


def tracking_uid(structure: Json) -> str:
    return str(structure["identifier"][0]["value"])


def test_each_lesion_has_its_body_structure_and_its_observations(two_lesion_report: Report) -> None:
    """The tracking UIDs are those of the segments, so that chart and archive speak of the same lesion."""
    bundle: Json = json.loads(two_lesion_report.bundle_json)
    first, second = resources(bundle, "BodyStructure")
    segments = pydicom.dcmread(io.BytesIO(two_lesion_report.segmentation)).SegmentSequence
    assert [f"urn:oid:{item.TrackingUID}" for item in segments] == [tracking_uid(first), tracking_uid(second)]
    assert "GTV-2" in second["description"]
    for code, values in (("118565006", [214.8, 8.1]), ("21889-1", [None, None]), ("suv-max", [9.84, 9.84])):
        found = [
            item for item in resources(bundle, "Observation") if code in json.dumps(item["code"]) and "focus" in item
        ]
        assert [item.get("valueQuantity", {}).get("value") for item in found] == values
        assert [by_reference(bundle, item["focus"]) for item in found] == [[first], [second]]
        assert [item["code"]["text"].rsplit(", ", 1)[1] for item in found] == ["lesion 1", "lesion 2"]
        # The network drew the first, a person the second, which asks for review and reaches the border.
        assert ["meta" in item for item in found] == [True, False]
        assert ["Compare contour" in item["note"][0]["text"] for item in found] == [False, True]


def test_totals_are_of_the_patient_and_derive_from_the_parts(two_lesion_report: Report) -> None:
    bundle: Json = json.loads(two_lesion_report.bundle_json)
    totals = [item for item in resources(bundle, "Observation") if "patient-total" in json.dumps(item["code"])]
    codes = [item["code"]["coding"][0]["code"] for item in totals]
    assert codes[0] == "lesion-count"
    assert set(codes[1:]) == {
        "total-lesion-volume",
        "total-metabolic-tumor-volume",
        "total-lesion-glycolysis",
        "sum-of-longest-axial-diameters",
    }
    assert totals[0]["valueInteger"] == 2
    for item in totals:
        assert "focus" not in item
        parts = [part for part in by_reference(bundle, item["derivedFrom"]) if part["resourceType"] == "Observation"]
        assert [by_reference(bundle, part["focus"])[0]["resourceType"] for part in parts] == ["BodyStructure"] * 2
    sums = totals[1:]
    assert all(item["valueQuantity"]["comparator"] == ">=" for item in sums), "a part is a lower bound"
    shown = [item["reference"] for item in resource(bundle, "DiagnosticReport")["result"]]
    assert len(shown) == len(resources(bundle, "Observation"))
    # A chart that asks for the volume of a lesion does not get the sum.
    assert not any("118565006" in json.dumps(item["code"]) for item in totals)


def test_the_answer_names_the_lesion_it_was_made_from(two_lesion_report: Report) -> None:
    bundle: Json = json.loads(two_lesion_report.bundle_json)
    first, second = resources(bundle, "BodyStructure")
    observed = resource(bundle, "Observation", "predicted-response-probability")
    inputs = resource(bundle, "Observation", "125007")
    assert by_reference(bundle, observed["focus"]) == by_reference(bundle, inputs["focus"]) == [first]
    basis = by_reference(bundle, resource(bundle, "RiskAssessment")["basis"])
    lesions = [found for item in basis if "focus" in item for found in by_reference(bundle, item["focus"])]
    assert lesions
    assert second not in lesions
    assert not any("patient-total" in json.dumps(item.get("code")) for item in basis)
    for text in (
        observed["text"]["div"],
        resource(bundle, "RiskAssessment")["note"][1]["text"],
        resource(bundle, "DiagnosticReport")["conclusion"],
    ):
        assert "The answer was made from the largest lesion (number 1 of 2)." in text


def test_an_answer_made_from_the_totals_derives_from_them(
    make_two_lesions: Callable[..., ReportContext], make_prediction: Callable[..., Prediction]
) -> None:
    volume = make_prediction().contributions[1].model_copy(update={"input": "total_lesion_volume", "value": 222.9})
    made = make_prediction(contributions=(volume,))
    bundle = compose(make_two_lesions(prediction=made, predicted_lesions=(1, 2), predicted_from="all 2 lesions"))
    assert problems(bundle) == []
    observed = resource(bundle, "Observation", "predicted-response-probability")
    assert len(observed["focus"]) == 2
    totals = [item for item in resources(bundle, "Observation") if "patient-total" in json.dumps(item["code"])]
    assert all(item in by_reference(bundle, observed["derivedFrom"]) for item in totals)
    inputs = resource(bundle, "Observation", "125007")
    (total,) = by_reference(bundle, inputs["hasMember"])
    coding = total["code"]["coding"][0]
    assert (coding["system"].rsplit("/", 1)[1], coding["code"]) == ("patient-total", "total-lesion-volume")


def test_an_input_by_another_name_is_a_measure_only_where_it_was_measured(
    make_context: Callable[..., ReportContext], make_prediction: Callable[..., Prediction]
) -> None:
    """The request may give the value, and goes before what was measured."""
    renamed = MeasuredInput(input="tumor_volume_ml", measure="lesion_volume", same_definition=True, definition="Same.")
    model = make_context().model.model_copy(update={"measured_inputs": (renamed,)})
    for value in (214.8, 199.0):
        item = make_prediction().contributions[1].model_copy(update={"input": "tumor_volume_ml", "value": value})
        made = make_prediction(contributions=(item,))
        bundle = compose(make_context(model=model, prediction=made))
        inputs = resource(bundle, "Observation", "125007")
        if value == 214.8:
            assert by_reference(bundle, inputs["hasMember"]) == [resource(bundle, "Observation", "118565006")]
        else:
            assert inputs["component"][0]["code"]["coding"][0]["system"].endswith("oncoresponse")
    told = make_context(model=model, prediction=made, predicted_lesions=(), predicted_from="the values of the request")
    observed = resource(compose(told), "Observation", "predicted-response-probability")
    assert "focus" not in observed
    basis = by_reference(compose(told), resource(compose(told), "RiskAssessment")["basis"])
    assert not any("focus" in item for item in basis)
    assert "The answer was made from the values of the request." in observed["text"]["div"]


def test_lesions_are_numbered_and_predicted_ones_are_among_them(make_two_lesions: Callable[..., ReportContext]) -> None:
    first, second = make_two_lesions().lesions
    for changes in ({"lesions": (second, first)}, {"lesions": (second,)}, {"predicted_lesions": (3,)}):
        with pytest.raises(InvalidRequest):
            make_two_lesions(**changes)


def test_a_report_on_mr_knows_no_suv(mr_report: Report) -> None:
    bundle: Json = json.loads(mr_report.bundle_json)
    (mean,) = [item for item in resources(bundle, "Observation") if "mean-intensity" in json.dumps(item["code"])]
    assert {item["code"] for item in mean["code"]["coding"]} == {"mean-intensity", "110852", "Q4LE"}
    assert mean["valueQuantity"] == {
        "value": 460.2,
        "unit": "arb. units",
        "system": "http://unitsofmeasure.org",
        "code": "[arb'U]",
    }
    assert resource(bundle, "ImagingStudy")["modality"][0]["code"] == "MR"
    assert resources(bundle, "RiskAssessment") == []
    for word in ("SUV", "glycolysis", "metabolic"):
        assert word not in " ".join(strings(bundle)), word
