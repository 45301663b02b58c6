"""Distances of lesions to bone and skin in every rendering: SR, FHIR, page, summary."""

from __future__ import annotations

import dataclasses
import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import pydicom
import pytest
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.dicom_objects.archive_object import source_series
from oncoresponse.reporting.dicom_objects.structured_report import structured_report
from oncoresponse.reporting.lesion_distances import DISTANCE_METHOD, LesionDistances
from oncoresponse.reporting.pdf_report import page_content
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.wording import conclusion, readable_summary
from pydicom.dataset import Dataset

MakeContext = Callable[..., ReportContext]
KNOWN = LesionDistances(lesion=1, bone_mm=12.4, bone="exact", skin_mm=35.9, skin="at least")
CUT = LesionDistances(lesion=2, bone_mm=None, bone="unknown", skin_mm=None, skin="not computed")


@pytest.fixture(scope="module")
def context(make_two_lesions: MakeContext) -> ReportContext:
    made = make_two_lesions()
    head = CUT.model_copy(update={"skin_not_computed": "head or neck"})
    lesions = tuple(
        dataclasses.replace(lesion, distances=each) for lesion, each in zip(made.lesions, (KNOWN, head), strict=True)
    )
    return dataclasses.replace(made, lesions=lesions)


@pytest.fixture(scope="module")
def document(context: ReportContext, two_lesion_report: Report, pet_series: list[Dataset]) -> bytes:
    return structured_report(context, source_series(pet_series), two_lesion_report.segmentation)


def _items(data: bytes) -> list[dict[str, Dataset]]:
    """NUM and CODE items of each group of a lesion by their code value."""
    made = pydicom.dcmread(io.BytesIO(data))
    groups: list[dict[str, Dataset]] = []

    def visit(item: Dataset) -> None:
        parts = item.get("ContentSequence", [])
        numbers = {
            each.ConceptNameCodeSequence[0].CodeValue: each for each in parts if each.ValueType in ("NUM", "CODE")
        }
        if "distance-to-bone" in numbers:
            groups.append(numbers)
        for part in parts:
            visit(part)

    visit(made)
    return groups


def test_the_sr_says_exact_at_least_unknown_and_not_attempted(document: bytes) -> None:
    first, second = _items(document)
    bone, skin = first["distance-to-bone"], first["distance-to-skin"]
    assert (bone.MeasuredValueSequence[0].NumericValue, skin.MeasuredValueSequence[0].NumericValue) == (12.4, 35.9)
    assert bone.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    assert "NumericValueQualifierCodeSequence" not in bone
    qualifier = skin.NumericValueQualifierCodeSequence[0]
    assert (qualifier.CodeValue, qualifier.CodingSchemeDesignator) == ("at-least", "99ONCORESPONSE")
    reasons = [second[f"distance-to-{name}"].ConceptCodeSequence[0] for name in ("bone", "skin")]
    assert [(item.CodingSchemeDesignator, item.CodeMeaning) for item in reasons] == [
        ("DCM", "Value unknown"),
        ("DCM", "Measurement not attempted"),
    ]


def test_checkers_read_the_sr_with_distances(
    document: bytes, tmp_path: Path, require_installed: Callable[..., None]
) -> None:
    require_installed("dicom3tools", "dciodvfy")
    require_installed("dcmtk", "dsrdump")
    path = tmp_path / "sr.dcm"
    path.write_bytes(document)
    checked = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    said = (checked.stdout + checked.stderr).splitlines()
    assert "Comprehensive3DSR" in said
    assert [line for line in said if line.startswith("Error")] == []
    dumped = subprocess.run(["dsrdump", str(path)], capture_output=True, encoding="utf-8", errors="replace", check=True)
    assert not [line for line in dumped.stderr.splitlines() if line.startswith(("E:", "F:"))]
    assert "Distance to skin" in dumped.stdout
    groups = highdicom.sr.srread(io.BytesIO(document)).content.get_volumetric_roi_measurement_groups()
    found = [
        (item.name.value, item.qualifier.value if item.qualifier else "")
        for group in groups
        for item in group.get_measurements()
    ]
    assert [each for each in found if "distance" in each[0]] == [
        ("distance-to-bone", ""),
        ("distance-to-skin", "at-least"),
    ]
    absent = [item.name.value for item in groups[1].get_qualitative_evaluations()]
    assert absent[-2:] == ["distance-to-bone", "distance-to-skin"]


def _observations(bundle: dict[str, Any]) -> dict[str, Any]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    found = {item["code"]["text"]: item for item in resources if item["resourceType"] == "Observation"}
    report = next(item for item in resources if item["resourceType"] == "DiagnosticReport")
    risk = next(item for item in resources if item["resourceType"] == "RiskAssessment")
    urls = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    results = {urls[item["reference"]]["code"]["text"] for item in report["result"]}
    assert set(found) == results
    assert not [item for item in risk["basis"] if "Distance" in str(urls[item["reference"]].get("code"))]
    return found


def test_fhir_says_the_same(
    context: ReportContext, make_two_lesions: MakeContext, make_bundle: Callable[[ReportContext], dict[str, Any]]
) -> None:
    found = _observations(make_bundle(context))
    bone, skin = found["Distance to bone, lesion 1"], found["Distance to skin, lesion 1"]
    assert bone["valueQuantity"] == {
        "value": 12.4,
        "unit": "mm",
        "system": "http://unitsofmeasure.org",
        "code": "mm",
    }
    assert (skin["valueQuantity"]["value"], skin["valueQuantity"]["comparator"]) == (35.9, ">=")
    assert skin["method"]["text"] == DISTANCE_METHOD
    for title, code in (("bone", "unknown"), ("skin", "not-performed")):
        item = found[f"Distance to {title}, lesion 2"]
        assert "valueQuantity" not in item
        assert item["dataAbsentReason"]["coding"][0]["code"] == code
    assert "not computed in head and neck" in found["Distance to skin, lesion 2"]["dataAbsentReason"]["text"]
    assert not [title for title in _observations(make_bundle(make_two_lesions())) if "Distance" in title]


def test_page_summary_and_conclusion_show_them(context: ReportContext, make_two_lesions: MakeContext) -> None:
    table = page_content(context)["lesions"]
    place = table["columns"].index("To bone, mm")
    assert table["columns"][place + 1] == "To skin, mm"
    # 35.9 mm rounded up would be more than is known.
    assert [row[place : place + 2] for row in table["rows"]] == [["12", "≥ 35"], ["unknown", "not computed"]]
    assert page_content(context)["contour"].endswith(DISTANCE_METHOD)
    single = dataclasses.replace(context, lesions=context.lesions[:1], totals=())
    assert page_content(single)["measures"][-2:] == [
        {"title": "Distance to bone", "value": "12", "unit": "mm"},
        {"title": "Distance to skin", "value": "≥ 35", "unit": "mm"},
    ]
    for text in (conclusion(context), readable_summary(context)):
        assert text.count(DISTANCE_METHOD) == 1
        assert "Distance to bone: unknown, as the CT cuts the lesion." in text
        assert "Distance to skin: not computed in head and neck." in text
    assert "Distance to skin ≥ 35 mm" in conclusion(context)
    without = make_two_lesions()
    assert "To bone, mm" not in page_content(without)["lesions"]["columns"]
    assert "istance to" not in readable_summary(without)
