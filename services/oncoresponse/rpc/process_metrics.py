"""What a process counts of itself for Prometheus: calls, stages, ends of assessments, memory. Nothing of a patient.

Labels are names of methods, stages and reason codes, of which there are as many as the code has.
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from oncoresponse.errors import InternalError

SECONDS_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Of how long calls and requests take."""
_TO_REPORT = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 86400)
_PACKAGE = "/oncoresponse."
_PROCESSES = Path("/proc")

# When a counter was made says nothing: the process tells when it started.
disable_created_metrics()  # type: ignore[no-untyped-call]


class ProcessMetrics:
    """Counters of one process; any thread may count.

    Args:
        data_directory: Of which the free space is told; ``None`` where the process has none.
    """

    def __init__(self, data_directory: Path | None = None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._calls = self._histogram("call_seconds", "Calls that were answered.", SECONDS_BUCKETS, "method", "status")
        self._errors = self._counter("call_errors", "Calls that failed, by reason code.", "method", "reason")
        self._stages = self._histogram(
            "stage_seconds", "Stages that this process ran.", SECONDS_BUCKETS, "stage", "status"
        )
        self._ended = self._counter(
            "assessments_ended", "Assessments that this worker brought to their end.", "outcome", "reason"
        )
        for outcome in ("completed", "choice_needed"):
            self._ended.labels(outcome, "")
        # Without labels, so that they begin at 0 and the first one is an increase.
        self._internal = self._counter("internal_errors", "Calls that ended with an error that nobody foresaw.")
        self._failed = self._counter("assessments_failed", "Assessments that failed, for whatever reason.")
        self._lesions = self._counter("lesions_contoured", "Lesions of finished assessments.", "needs_review")
        self._answers = self._counter("answers", "Answers of finished assessments.", "model", "answer")
        self._to_report = self._histogram(
            "arrival_to_report_seconds",
            "From the first instance of a study at this server to its report, waiting for an order included.",
            _TO_REPORT,
        )
        ProcessCollector(registry=self._registry)
        self.register(Collected(functools.partial(_of_the_machine, data_directory)))

    def called(self, method: str, status: str, reason: str, seconds: float) -> None:
        """Count a call.

        Args:
            method: Its path, as in ``/oncoresponse.v1.StudyService/GetStudy``; that of a stage with its name behind it.
            status: How it ended, in the words of gRPC.
            reason: Reason code; empty where it succeeded.
            seconds: How long it took.
        """
        path, _, stage = method.partition(" ") if method.startswith("/") else (method, "", "")
        name = path.removeprefix(_PACKAGE).removeprefix("v1.")
        self._calls.labels(name, status).observe(seconds)
        if reason:
            self._errors.labels(name, reason).inc()
        if reason == InternalError.reason:
            self._internal.inc()
        if stage:
            self._stages.labels(stage, status).observe(seconds)

    def ended(self, outcome: str, reason: str = "") -> None:
        """Count the end of an assessment: ``completed``, ``choice_needed``, or ``failed`` for a reason."""
        self._ended.labels(outcome, reason).inc()
        if outcome == "failed":
            self._failed.inc()

    def reported(self, model: str, answer: str, lesions: Iterable[bool], arrival_to_report: float | None) -> None:
        """Count what a finished assessment came to.

        Args:
            model: Its name.
            answer: In one word; empty where nothing was predicted.
            lesions: Of each whether a physician has to look at its contour first.
            arrival_to_report: Seconds; ``None`` where it is not known when the study came.
        """
        if answer:
            self._answers.labels(model, answer).inc()
        for needs_review in lesions:
            self._lesions.labels("yes" if needs_review else "no").inc()
        if arrival_to_report is not None:
            self._to_report.observe(arrival_to_report)

    def register(self, collector: Collected) -> None:
        """Tell something else too, whenever it is asked for."""
        self._registry.register(collector)

    def text(self) -> str:
        """All of it in the text exposition format 0.0.4."""
        return generate_latest(self._registry).decode()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"oncoresponse_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"oncoresponse_{name}", text, labels, registry=self._registry, buckets=buckets)


class Collected:
    """Families that are made when they are asked for.

    Args:
        make: Makes them.
    """

    def __init__(self, make: Callable[[], Iterable[Metric]]) -> None:
        self._make = make

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._make()


def _of_the_machine(data_directory: Path | None) -> Iterator[Metric]:
    """Memory of child processes and of the GPU, and free disk."""
    yield GaugeMetricFamily(
        "oncoresponse_children_resident_memory_bytes",
        "Resident memory of the child processes, which compute features and decode pixels.",
        value=_memory_of_children(),
    )
    if data_directory is not None and data_directory.is_dir():
        yield GaugeMetricFamily(
            "oncoresponse_disk_free_bytes",
            "Free space of the disk of the data folder.",
            value=shutil.disk_usage(data_directory).free,
        )
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        memory = GaugeMetricFamily(
            "oncoresponse_gpu_memory_bytes", "GPU memory of this process.", labels=("device", "kind")
        )
        for number in range(torch.cuda.device_count()):
            memory.add_metric((f"cuda:{number}", "allocated"), torch.cuda.memory_allocated(number))
            memory.add_metric((f"cuda:{number}", "reserved"), torch.cuda.memory_reserved(number))
        yield memory


def _memory_of_children() -> int:
    """Bytes of all descendants; 0 where the system does not tell."""
    total, seen = 0, [*_children("self")]
    for child in seen:
        try:
            status = (_PROCESSES / child / "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            # It has just ended.
            continue
        seen += _children(child)
        total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
    return total


def _children(process: str) -> list[str]:
    try:
        tasks = list((_PROCESSES / process / "task").iterdir())
        return [child for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    except OSError:
        return []
