"""Every resource of the Bundle against the R4 models and FHIRPath invariants of fhircraft, an independent library.

Not a unit test only because importing fhircraft's models takes half a minute.
"""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fhircraft.exceptions import FhirValidationWarning
from oncoresponse.case.sign_off import (
    Agreement,
    PhysicianJudgement,
    RecordedJudgement,
    ReportStatus,
    SignOff,
    WithdrawalReason,
)
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.report_page import ReportPage
from oncoresponse.reporting.sign_off import FirstVersion, sign_off_documents
from pydantic import ValidationError

# The sample report of the unit tests; pytest finds these fixtures as names of this module.
_spec = importlib.util.spec_from_file_location(
    "reporting_sample", Path(__file__).parents[1] / "unit/reporting/conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)
pet_series, pet, ct, mask, model = sample.pet_series, sample.pet, sample.ct, sample.mask, sample.model
make_context, report, abstaining_report = sample.make_context, sample.report, sample.abstaining_report
two_lesions, make_two_lesions, two_lesion_report = sample.two_lesions, sample.make_two_lesions, sample.two_lesion_report
mr_report = sample.mr_report

MODULES = {
    "BodyStructure": "body_structure",
    "Device": "device",
    "DiagnosticReport": "diagnostic_report",
    "DocumentReference": "document_reference",
    "ImagingStudy": "imaging_study",
    "Media": "media",
    "Observation": "observation",
    "Provenance": "provenance",
    "RiskAssessment": "risk_assessment",
}


def r4_model(kind: str) -> Any:
    return getattr(import_module(f"fhircraft.fhir.resources.datatypes.R4.core.{MODULES[kind]}"), kind)


def resources(report: Report) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in json.loads(report.bundle_json)["entry"]]


def signed_resources(report: Report) -> list[dict[str, Any]]:
    """Of a signed version and of a withdrawn one, with a judgement."""
    time = datetime(2026, 11, 26, 8, tzinfo=UTC)
    signed = SignOff(2, ReportStatus.FINAL, "dr", "Dr. Ada", time, Agreement.DISAGREE, "The rim was missed.")
    gone = SignOff(3, ReportStatus.ENTERED_IN_ERROR, "dr", "", time, reason=WithdrawalReason.WRONG_PATIENT)
    judged = RecordedJudgement("dr", "", PhysicianJudgement.UNCERTAIN, "Necrosis.", time)
    first = FirstVersion("0190b5c0-assessment", report.bundle_json, ReportPage.model_validate_json(report.page))
    made = [
        sign_off_documents(first, steps, ["a" * 64, "b" * 64][: len(steps)], [judged])
        for steps in ([signed], [signed, gone])
    ]
    return [entry["resource"] for each in made for entry in json.loads(each.bundle)["entry"]]


@pytest.mark.timeout(300)
def test_resources_meet_r4_models_and_invariants(
    two_lesion_report: Report, abstaining_report: Report, mr_report: Report
) -> None:
    seen = set()
    every = resources(two_lesion_report) + resources(abstaining_report) + resources(mr_report)
    for resource in every + signed_resources(two_lesion_report):
        r4_model(resource["resourceType"]).model_validate(resource)
        seen.add(resource["resourceType"])
    assert seen == set(MODULES)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "change", "invariant"),
    [
        ("RiskAssessment", lambda item: item["prediction"][0].update(probabilityDecimal=734), "ras-2"),
        (
            "Observation",
            lambda item: item.update(dataAbsentReason={"text": "none"}, valueQuantity={"value": 1}),
            "obs-6",
        ),
        ("DiagnosticReport", lambda item: item.pop("text"), "dom-6"),
    ],
)
def test_the_invariants_find_a_breach(report: Report, kind: str, change: Any, invariant: str) -> None:
    resource = next(item for item in resources(report) if item["resourceType"] == kind)
    change(resource)
    # dom-6 is best practice, so fhircraft warns of it; warnings are errors here.
    with pytest.raises((ValidationError, FhirValidationWarning), match=invariant):
        r4_model(kind).model_validate(resource)
