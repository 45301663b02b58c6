"""The families of the installation as a whole, and how those of its processes become one text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from oncoresponse.rpc.process_metrics import Collected
from oncoresponse.v1 import model_pb2

MEASURING_SECONDS: Mapping[str, float] = {"single clicks": 300.0, "manual corrections": 1200.0}
"""What a reader takes to measure the metabolic tumor volume of one PET/CT: typically below 5 minutes where wrong places
go and missed ones come by single clicks, and it may well exceed 20 where contours are corrected by hand (diffuse large
B-cell lymphoma; Burggraaff et al., Mol Imaging Biol 2020, doi:10.1007/s11307-020-01474-z). Not the time of reading the
scan."""
_NOT_DONE = ("waiting", "held", "sending", "dead")


@dataclass(frozen=True)
class ProcessText:
    """What a process answered.

    Attributes:
        process: Its name: the worker's, or the address at which it was asked.
        services: What it runs, or what it was asked for.
        metrics: Its text; ``None`` where it did not answer.
    """

    process: str
    services: tuple[str, ...]
    metrics: str | None


@dataclass(frozen=True)
class InstallationCounts:
    """What the databases say.

    Attributes:
        assessments: ``waiting`` and ``running``: how many, and when the oldest was created, milliseconds since 1970.
        deliveries: The same by destination and state.
        reports: What physicians did, see :meth:`~oncoresponse.storage.report_store.ReportStore.totals`.
        corrections: Contours that were corrected.
        now: Milliseconds since 1970.
    """

    assessments: Mapping[str, tuple[int, int]]
    deliveries: Mapping[tuple[str, str], tuple[int, int]]
    reports: Mapping[tuple[str, str], int]
    corrections: int
    now: int


def metrics_text(
    processes: Iterable[ProcessText],
    models: Iterable[model_pb2.Model],
    reports: Mapping[str, str | None],
    counts: InstallationCounts,
) -> str:
    """All families, each once, those of processes with the labels ``process`` and ``services``.

    Args:
        processes: All of the installation.
        models: The installed ones.
        reports: By model, its monitoring report for Prometheus; ``None`` where it could not be read.
        counts: Of the databases.
    """
    up = _gauge("up", "Whether a process of the installation answers.", "process", "services")
    merged: dict[str, Metric] = {}
    for process in processes:
        labels = {"process": process.process, "services": ",".join(process.services)}
        up.add_metric(tuple(labels.values()), 0 if process.metrics is None else 1)
        _merge(merged, process.metrics or "", labels)
    state = _gauge("model_state", "1 for the state that an installed model has.", "model", "version", "state")
    for model in models:
        word = model_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower()
        state.add_metric((model.name.removeprefix("models/"), model.version, word), 1)
    readable = _gauge("monitoring_readable", "Whether the monitoring report of a model could be made.", "model")
    for name, report in reports.items():
        readable.add_metric((name,), 0 if report is None else 1)
        _merge(merged, report or "", {})
    families = (up, state, readable, *_of_databases(counts), _of_literature(), *merged.values())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(lambda: families))
    return generate_latest(registry).decode()


def _merge(merged: dict[str, Metric], text: str, labels: Mapping[str, str]) -> None:
    for family in text_string_to_metric_families(text):
        into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        into.samples += [Sample(each.name, {**each.labels, **labels}, each.value) for each in family.samples]


def _of_databases(counts: InstallationCounts) -> Iterator[Metric]:
    waiting = _gauge("assessments", "Assessments that are not finished, by state.", "state")
    oldest = _gauge("assessment_oldest_age_seconds", "Age of the oldest of them; 0 where there is none.", "state")
    for name, (count, since) in sorted(counts.assessments.items()):
        waiting.add_metric((name,), count)
        oldest.add_metric((name,), _age(counts.now, since) if count else 0)
    yield from (waiting, oldest)
    number = _gauge("deliveries", "Deliveries, by state.", "destination", "state")
    age = _gauge("delivery_oldest_age_seconds", "Age of the oldest delivery that is not done.", "destination", "state")
    for key, (count, since) in sorted(counts.deliveries.items()):
        number.add_metric(key, count)
        if key[1] in _NOT_DONE:
            age.add_metric(key, _age(counts.now, since))
    yield from (number, age)
    texts = {
        "version": ("report_versions", "Versions of reports that physicians made.", "status"),
        "agreement": ("report_agreements", "What signing physicians said of the result.", "agreement"),
        "judgement": ("report_judgements", "What physicians judged before they saw the answer or after.", "judgement"),
    }
    for kind, (name, text, label) in texts.items():
        family = _gauge(name, text, label)
        for (found, value), count in sorted(counts.reports.items()):
            if found == kind:
                family.add_metric((value,), count)
        yield family
    replaced = _gauge(
        "assessments_replaced", "Assessments made anew in place of an earlier one, as with a new contour."
    )
    replaced.add_metric((), counts.reports.get(("replacement", ""), 0))
    yield replaced
    corrected = _gauge("contour_corrections", "Contours that a person corrected, each step counted.")
    corrected.add_metric((), counts.corrections)
    yield corrected


def _of_literature() -> Metric:
    family = _gauge(
        "literature_measuring_seconds",
        "What a reader takes to measure the tumor volume of a PET/CT (doi:10.1007/s11307-020-01474-z).",
        "work",
    )
    for work, seconds in MEASURING_SECONDS.items():
        family.add_metric((work,), seconds)
    return family


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"oncoresponse_{name}", text, labels=labels)


def _age(now: int, since: int) -> float:
    return max(now - since, 0) / 1000
