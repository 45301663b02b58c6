"""A model without evidence for a prediction still gives measures, FHIR and PDF, and no number of an outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from oncoresponse.case.prediction import Answer, Prediction
from oncoresponse.case.volume import Volume
from oncoresponse.reporting.compose import compose_report
from oncoresponse.reporting.report_content import ReportContext


def test_the_whole_report_says_that_nothing_is_predicted(
    make_context: Callable[..., ReportContext],
    make_prediction: Callable[..., Prediction],
    pet: Volume,
    ct: Volume,
    mask: Volume,
    pet_series: list[Any],
) -> None:
    context = make_context(prediction=make_prediction(Answer.NO_EVIDENCE))
    report = compose_report(context, {"PT": pet, "CT": ct}, mask, pet_series)
    bundle = json.loads(report.bundle_json)
    resources = [entry["resource"] for entry in bundle["entry"]]
    (predicted,) = [
        found
        for found in resources
        if found["resourceType"] == "Observation"
        and "dataAbsentReason" in found
        and "Probability" in str(found["code"])
    ]
    assert "valueQuantity" not in predicted
    assert "no evidence" in predicted["dataAbsentReason"]["text"].lower()
    assert not any("probabilityDecimal" in json.dumps(found) for found in resources)
    assert any(found.get("valueQuantity", {}).get("unit") for found in resources), "the measures are there"
    assert "No evidence" in report.summary
    assert "Tumor volume" in report.summary
    assert report.pdf.startswith(b"%PDF")
