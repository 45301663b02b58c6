"""The report in the Prometheus text exposition format, for the textfile collector or whatever scrapes the RPC."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from oncoresponse.monitoring.performance import Performance
from oncoresponse.monitoring.report import MonitoringReport

_PREFIX = "oncoresponse_monitoring"
_ALL = "all"


def prometheus_text(report: MonitoringReport) -> str:
    """Gauges with the labels ``model`` and ``version``; what is not known is left out, never 0.

    No label holds anything of a single patient: group values of fewer than five patients are not in the report.
    """
    metrics = _Metrics(report.model_name, report.model_version)
    metrics.add("predictions", "Recorded predictions.", report.predictions)
    for answer, count in report.answers.items():
        metrics.add("answers", "Recorded predictions by answer.", count, answer=answer)
    for code, count in report.abstain_reasons.items():
        metrics.add("abstain_reasons", "Recorded predictions by reason for abstaining.", count, reason=code)
    for entry in report.drift:
        name = entry.name
        metrics.add("input_patients", "Predictions with this input.", entry.patients, input=name)
        metrics.add("input_missing", "Predictions without this input.", entry.missing, input=name)
        metrics.add(
            "population_stability_index",
            "Population stability index against the training patients.",
            entry.population_stability_index,
            input=name,
        )
        metrics.add(
            "population_stability_index_by_chance",
            "Value that the index exceeds in 5 percent of cohorts of this size without drift.",
            entry.index_by_chance,
            input=name,
        )
        metrics.add(
            "kolmogorov_smirnov_statistic",
            "Largest difference of the cumulative distributions of monitored and training patients.",
            entry.ks_statistic,
            input=name,
        )
        metrics.add(
            "kolmogorov_smirnov_p_value", "P-value of the Kolmogorov-Smirnov test.", entry.ks_p_value, input=name
        )
        metrics.add(
            "outside_training_range_ratio",
            "Share of the predictions with this input beyond the range of the training patients.",
            entry.outside_training_range,
            input=name,
        )
    metrics.add("outcomes_recorded_ratio", "Share of the predictions with an outcome.", report.outcomes.recorded.value)
    metrics.add(
        "calls_right_ratio", "Share of the calls that agreed with the outcome.", report.outcomes.calls_right.value
    )
    _add_group(metrics, _ALL, _ALL, report.abstained.value, report.outcomes.performance)
    for subgroup in report.subgroups:
        _add_group(metrics, subgroup.group, subgroup.value, subgroup.abstained.value, subgroup.performance)
    return generate_latest(metrics.registry).decode()


def _add_group(metrics: _Metrics, group: str, value: str, abstained: float | None, found: Performance) -> None:
    labels = {"group": group, "value": value}
    metrics.add("abstention_ratio", "Share of the predictions without a call.", abstained, **labels)
    metrics.add("outcomes", "Patients with a probability and an outcome.", found.patients, **labels)
    metrics.add("outcomes_favorable", "Of these, with the favorable outcome.", found.favorable, **labels)
    metrics.add("outcomes_favorable_expected", "Of these, expected by the model.", found.expected_favorable, **labels)
    if found.figures is None:
        return
    for name, text in (
        ("auc", "Area under the ROC curve on recorded outcomes."),
        ("brier", "Brier score on recorded outcomes."),
        ("calibration_slope", "Calibration slope on recorded outcomes, ideal 1."),
        ("calibration_intercept", "Calibration-in-the-large on recorded outcomes, ideal 0."),
    ):
        estimate = getattr(found.figures, name)
        metrics.add(name, text, estimate.value, **labels)
        metrics.add(f"{name}_low", f"{text} Lower end of the 95 percent interval.", estimate.low, **labels)
        metrics.add(f"{name}_high", f"{text} Upper end of the 95 percent interval.", estimate.high, **labels)


class _Metrics:
    """Gauges of one model, each made when its first value comes."""

    def __init__(self, model: str, version: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._model, self._version = model, version
        self._gauges: dict[str, Gauge] = {}

    def add(self, name: str, text: str, value: float | None, /, **labels: str) -> None:
        """Set a gauge; nothing when the value is not known."""
        if value is None:
            return
        if name not in self._gauges:
            names = ("model", "version", *labels)
            self._gauges[name] = Gauge(f"{_PREFIX}_{name}", text, names, registry=self.registry)
        self._gauges[name].labels(model=self._model, version=self._version, **labels).set(value)
