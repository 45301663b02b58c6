"""The report against scikit-learn and the Prometheus parser, its sentences, and that it gives nobody away."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from oncoresponse.monitoring.drift import DriftVerdict
from oncoresponse.monitoring.performance import FEWEST_OF_EACH_OUTCOME, share
from oncoresponse.monitoring.plots import write_plots
from oncoresponse.monitoring.prometheus import prometheus_text
from oncoresponse.monitoring.records import MonitoredCase, OutcomeRecord
from oncoresponse.monitoring.report import MonitoringReport, monitoring_report
from prometheus_client.parser import text_string_to_metric_families
from pypdf import PdfReader
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

pytestmark = pytest.mark.slow


def arrays(cases) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([case.prediction.probability for case in cases]),
        np.array([case.outcome.favorable for case in cases]).astype(int),
    )


def test_discrimination_and_calibration_are_those_of_scikit_learn(report, cases):
    found = report.outcomes.performance
    probability, favorable = arrays(cases)
    assert found.figures.auc.value == pytest.approx(roc_auc_score(favorable, probability), abs=1e-6)
    assert found.figures.brier.value == pytest.approx(brier_score_loss(favorable, probability), abs=1e-6)
    log_odds = np.log(probability / (1 - probability))[:, None]
    slope = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(log_odds, favorable).coef_[0, 0]
    assert found.figures.calibration_slope.value == pytest.approx(slope, rel=1e-3)
    assert (found.patients, found.favorable) == (300, favorable.sum())
    assert found.expected_favorable == pytest.approx(probability.sum())
    assert found.figures.auc.low < found.figures.auc.value < found.figures.auc.high
    assert sum(part.observed.count for part in found.calibration) == favorable.sum()


def test_share_has_the_interval_of_wilson():
    # Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), method 3: 81 of 263.
    found = share(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share(0, 0).text == "0 of 0"


def test_abstention_calls_and_months_are_counted(report, cases):
    abstained = [case for case in cases if case.prediction.abstained]
    called = [case for case in cases if not case.prediction.abstained]
    assert report.abstained.count == len(abstained) == report.abstain_reasons["CONFORMAL_BOTH"]
    assert sum(report.answers.values()) == report.predictions == 300
    right = sum((case.prediction.probability > 0.5) == case.outcome.favorable for case in called)
    assert (report.outcomes.calls_right.count, report.outcomes.calls_right.total) == (right, len(called))
    assert report.outcomes.performance_of_calls.patients == len(called)
    assert [(entry.month, entry.predictions) for entry in report.months] == [
        ("2026-01", 100),
        ("2026-02", 100),
        ("2026-03", 100),
    ]
    assert report.outcomes.median_follow_up_months == 24


def test_subgroups_are_the_overall_figures_of_their_members(model, report, cases):
    found = {(entry.group, entry.value): entry for entry in report.subgroups}
    median = f"{model.references[0].median:.3g} ml"
    assert set(found) == {
        ("sex", "female"),
        ("sex", "male"),
        ("call", "made"),
        ("call", "none made"),
        ("Tumor size", f"up to {median}"),
        ("Tumor size", f"above {median}"),
    }
    women = [case for case in cases if case.prediction.groups["sex"] == "female"]
    expected = monitoring_report(model, women).outcomes.performance
    assert found["sex", "female"].performance == expected
    assert expected.patients == 100


def test_drift_and_miscalibration_are_found_and_said(model, draw_cases):
    """Larger tumors, and outcomes that follow the probability only a third as strongly as predicted."""
    cases = draw_cases(300, shift=4.0, truth=lambda p: 1 / (1 + ((1 - p) / p) ** (1 / 3)))
    report = monitoring_report(model, cases)
    by_name = {entry.name: entry for entry in report.drift}
    assert by_name["size"].verdict is DriftVerdict.LARGE
    assert by_name["probability"].verdict is DriftVerdict.NONE
    assert report.findings[0].startswith("Tumor size: large drift.")
    assert any("not calibrated" in sentence for sentence in report.findings)


def test_without_either_none_is_said(report):
    assert not any("drift." in sentence or "not calibrated" in sentence for sentence in report.findings)
    assert "No drift was seen against the 200 training patients." in report.findings


def test_few_outcomes_give_a_sentence_and_no_figure(model, draw_cases):
    cases = draw_cases(2 * FEWEST_OF_EACH_OUTCOME - 1)
    report = monitoring_report(model, cases)
    assert report.outcomes.performance.figures is None
    assert "Outcomes recorded: 19" in report.outcomes.performance.too_few
    assert all(entry.remark for entry in report.subgroups)
    assert any("drift is judged from 20 on" in sentence for sentence in report.findings)
    nothing = monitoring_report(model, [])
    assert nothing.predictions == 0
    assert nothing.since_month is None


def test_other_versions_are_counted_apart(model, record):
    cases = [MonitoredCase(record(1)), MonitoredCase(record(2, model_version="0.9.0"))]
    report = monitoring_report(model, cases)
    assert (report.predictions, report.predictions_of_other_versions) == (1, 1)
    told = "Recorded under other versions of the model, and not counted here: 1."
    assert told in report.findings
    assert not any("other versions" in sentence for sentence in monitoring_report(model, cases[:1]).findings)


def test_unknown_outcome_is_no_outcome(model, record):
    cases = [MonitoredCase(record(), OutcomeRecord(record().assessment, None))]
    assert monitoring_report(model, cases).outcomes.recorded.count == 0


def rare_group(draw_cases) -> list[MonitoredCase]:
    """A name that somebody put where a category belongs."""
    cases = draw_cases(60)
    named = cases[0].outcome
    return [
        MonitoredCase(cases[0].prediction, OutcomeRecord(named.assessment, True, 24, {"note": "Jane Doe"})),
        *cases[1:],
    ]


def test_group_of_few_patients_and_single_assessments_appear_nowhere(model, draw_cases, tmp_path):
    cases = rare_group(draw_cases)
    report = monitoring_report(model, cases)
    write_plots(report, tmp_path / "page.pdf")
    page = "".join(part.extract_text() for part in PdfReader(tmp_path / "page.pdf").pages)
    for text in (report.model_dump_json(), prometheus_text(report), page):
        assert "Jane" not in text
        assert "assessments/" not in text
    assert report.hidden_groups == 1
    # Input values of single patients are in no figure.
    sizes = {f"{case.prediction.inputs['size']:.6f}" for case in cases}
    assert not [size for size in sizes if size in report.model_dump_json()]


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_parse_and_hold_the_figures_of_the_report(report):
    found = samples(prometheus_text(report))
    common = {("model", "sts-petct"), ("version", "1.0.0")}
    everyone = {("group", "all"), ("value", "all")}

    def value(name: str, *labels: tuple[str, str]) -> float:
        return found[f"oncoresponse_monitoring_{name}", frozenset({*common, *labels})]

    assert value("predictions") == 300
    assert value("answers", ("answer", "indeterminate")) == report.abstained.count
    assert value("abstain_reasons", ("reason", "CONFORMAL_BOTH")) == report.abstained.count
    assert value("abstention_ratio", *everyone) == pytest.approx(report.abstained.value)
    for entry in report.drift:
        name = ("input", entry.name)
        assert value("population_stability_index", name) == pytest.approx(entry.population_stability_index)
        assert value("kolmogorov_smirnov_statistic", name) == pytest.approx(entry.ks_statistic)
        assert value("kolmogorov_smirnov_p_value", name) == pytest.approx(entry.ks_p_value)
    assert value("auc", *everyone) == pytest.approx(report.outcomes.performance.figures.auc.value)
    women = next(entry for entry in report.subgroups if entry.value == "female")
    assert value("auc_low", ("group", "sex"), ("value", "female")) == pytest.approx(women.performance.figures.auc.low)


def test_metric_that_is_not_known_is_absent_and_not_zero(model):
    text = prometheus_text(monitoring_report(model, []))
    assert "oncoresponse_monitoring_predictions" in text
    for name in ("auc", "population_stability_index{", "abstention_ratio"):
        assert name not in text


@pytest.mark.parametrize("patients", [0, 3, 60])
def test_page_says_what_the_report_says_and_is_the_same_each_time(model, draw_cases, tmp_path, patients):
    report = monitoring_report(model, draw_cases(patients, shift=4.0))
    write_plots(report, tmp_path / "first.pdf")
    write_plots(MonitoringReport.model_validate_json(report.model_dump_json()), tmp_path / "second.pdf")
    assert (tmp_path / "first.pdf").read_bytes() == (tmp_path / "second.pdf").read_bytes()
    (page,) = PdfReader(tmp_path / "first.pdf").pages
    text = page.extract_text()
    assert "Research use only." in text
    assert "Tumor size" in text
    assert ("large drift" in text) == (patients == 60)


def test_report_is_the_same_each_time_and_tells_progress(model, draw_cases):
    seen: list[float] = []
    first = monitoring_report(model, draw_cases(60), seen.append)
    assert first == monitoring_report(model, draw_cases(60))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_documentation_names_every_field(report):
    def names(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()

    page = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    counted = {"answers": {}, "abstain_reasons": {}}  # their keys are answers and codes
    found = names({**report.model_dump(mode="json"), **counted})
    assert found - set(re.findall(r"`([a-z0-9_]+)(?:\[\])?`", page)) == set()


def test_model_that_predicts_nothing_has_a_page_and_no_claim_about_drift(model, record, tmp_path):
    measures_only = dataclasses.replace(model, references=())
    for cases in ([], [MonitoredCase(record(number, inputs={}, probability=None), None) for number in range(30)]):
        report = monitoring_report(measures_only, cases)
        assert report.drift == ()
        assert not any("No drift was seen" in sentence for sentence in report.findings)
        write_plots(report, tmp_path / "page.pdf")
        assert "No drift was seen" not in PdfReader(tmp_path / "page.pdf").pages[0].extract_text()
