"""OperationsService: how the installation as a whole does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import grpc

from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.process_metrics import ProcessMetrics
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.servers.operations_metrics import InstallationCounts, ProcessText, metrics_text
from oncoresponse.stages.v1 import process_pb2, process_pb2_grpc
from oncoresponse.storage.correction_store import CorrectionStore
from oncoresponse.storage.database_errors import known_database_errors
from oncoresponse.storage.delivery_store import DeliveryStore
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.v1 import (
    model_pb2,
    model_pb2_grpc,
    monitoring_pb2,
    monitoring_pb2_grpc,
    operations_pb2,
    operations_pb2_grpc,
)
from oncoresponse.workflow.assessment_records import AssessmentRecords

_PAGE = 1000
# Less than who scrapes waits, by default 10 s.
_ANSWERS_WITHIN_SECONDS = 4.0
_COMPUTES_WITHIN_SECONDS = 30.0
_MODELS_HOLD_SECONDS = 60.0
# Drift changes in weeks, and its figures take seconds.
_REPORTS_HOLD_SECONDS = 300.0
_Value = TypeVar("_Value")


class OperationsServicer(operations_pb2_grpc.OperationsServiceServicer):
    """See ``protos/oncoresponse/v1/operations.proto``.

    Args:
        settings: Of the process.
        metrics: What it counts.
        peers: The other processes.
        records: The assessments.
        deliveries: What is sent to others.
        reports: What physicians did with reports.
        corrections: Of contours.
    """

    def __init__(
        self,
        settings: ServerSettings,
        metrics: ProcessMetrics,
        peers: Peers,
        records: AssessmentRecords,
        deliveries: DeliveryStore,
        reports: ReportStore,
        corrections: CorrectionStore,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._peers = peers
        self._records = records
        self._deliveries = deliveries
        self._reports = reports
        self._corrections = corrections
        self._models = _Held(self._listed_models, _MODELS_HOLD_SECONDS)
        self._monitoring = _Held(self._monitoring_reports, _REPORTS_HOLD_SECONDS)

    async def GetMetrics(
        self, request: operations_pb2.GetMetricsRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.GetMetricsResponse:
        """Read the metrics."""
        others = asyncio.gather(*(self._process(*item) for item in self._peers.elsewhere().items()))
        counts, models, monitoring, processes = await asyncio.gather(
            asyncio.to_thread(self._counts), self._models.value(), self._monitoring.value(), others
        )
        own = ProcessText(
            self._settings.executor_id,
            tuple(service.value for service in self._settings.services),
            await asyncio.to_thread(self._metrics.text),
        )
        text = await asyncio.to_thread(metrics_text, [own, *processes], models, monitoring, counts)
        return operations_pb2.GetMetricsResponse(metrics=text)

    def _counts(self) -> InstallationCounts:
        with known_database_errors():
            return InstallationCounts(
                assessments=self._records.unfinished(),
                deliveries=self._deliveries.totals(),
                reports=self._reports.totals(),
                corrections=self._corrections.total(),
                now=time.time_ns() // 1_000_000,
            )

    async def _process(self, address: str, asked_for: tuple[Service, ...]) -> ProcessText:
        wanted = process_pb2.DescribeProcessRequest(metrics=True)
        try:
            answer = await self._peers.ask(
                address,
                process_pb2_grpc.ProcessServiceStub,
                "DescribeProcess",
                wanted,
                timeout_seconds=_ANSWERS_WITHIN_SECONDS,
            )
        except grpc.aio.AioRpcError:
            return ProcessText(address, tuple(service.value for service in asked_for), None)
        return ProcessText(address, tuple(answer.services), answer.metrics)

    async def _listed_models(self) -> list[model_pb2.Model]:
        try:
            answer = await self._peers.call(
                Service.MODEL,
                model_pb2_grpc.ModelServiceStub,
                "ListModels",
                model_pb2.ListModelsRequest(page_size=_PAGE),
                model_pb2.ListModelsResponse,
                timeout_seconds=_ANSWERS_WITHIN_SECONDS,
            )
        except OncoResponseError:
            return []
        return list(answer.models)

    async def _monitoring_reports(self) -> dict[str, str | None]:
        models = await self._models.value()
        reports = await asyncio.gather(*(self._monitoring_report(model.name) for model in models))
        return {model.name.removeprefix("models/"): report for model, report in zip(models, reports, strict=True)}

    async def _monitoring_report(self, model: str) -> str | None:
        """None where this one model cannot be read: the others are still told."""
        try:
            answer = await self._peers.call(
                Service.MONITORING,
                monitoring_pb2_grpc.MonitoringServiceStub,
                "GetMonitoringReport",
                monitoring_pb2.GetMonitoringReportRequest(model=model),
                monitoring_pb2.GetMonitoringReportResponse,
                timeout_seconds=_COMPUTES_WITHIN_SECONDS,
            )
        except OncoResponseError:
            return None
        return str(answer.metrics)


class _Held(Generic[_Value]):
    """A value that is made anew when it is asked for and too old; whoever asks meanwhile waits for the same one.

    Args:
        make: Makes it.
        seconds: How old it may be.
    """

    def __init__(self, make: Callable[[], Awaitable[_Value]], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._made: tuple[float, _Value] | None = None

    async def value(self) -> _Value:
        """The value."""
        async with self._lock:
            now = time.monotonic()
            if self._made is None or now - self._made[0] > self._seconds:
                self._made = (now, await self._make())
            return self._made[1]
