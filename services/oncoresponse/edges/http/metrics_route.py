"""``/metrics`` for Prometheus: models, what their predictions came to, and the deliveries that are not done.

Everything is asked of the front door for the caller of the request. No label holds anything of a patient.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import grpc
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.identity import allowed_asker
from oncoresponse.edges.http.route_rules import ROUTE_RULES
from oncoresponse.edges.pages import pages
from oncoresponse.v1 import delivery_pb2, delivery_pb2_grpc, model_pb2, model_pb2_grpc, monitoring_pb2
from oncoresponse.v1 import monitoring_pb2_grpc as monitoring_grpc

PATH = "/metrics"
_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ANSWERS_WITHIN_SECONDS = 30.0
_PAGE = 1000
# What was sent or given up grows for ever and needs nobody.
_NOT_DONE = {
    delivery_pb2.DELIVERY_STATE_WAITING: "waiting",
    delivery_pb2.DELIVERY_STATE_HELD: "held",
    delivery_pb2.DELIVERY_STATE_SENDING: "sending",
    delivery_pb2.DELIVERY_STATE_DEAD: "dead",
}


class MetricsRoute:
    """The handler.

    Args:
        front_door: Where tokens are checked.
        channel: To it.
    """

    def __init__(self, front_door: FrontDoor, channel: grpc.aio.Channel) -> None:
        self._front_door = front_door
        self._channel = channel
        self._models = model_pb2_grpc.ModelServiceStub(channel)
        self._monitoring = monitoring_grpc.MonitoringServiceStub(channel)
        self._deliveries = delivery_pb2_grpc.DeliveryServiceStub(channel)

    async def metrics(self, request: Request) -> Response:
        """The text exposition format."""
        asker = await allowed_asker(request, ROUTE_RULES["GET", PATH], self._front_door, self._channel)
        call = {"metadata": asker.metadata, "timeout": _ANSWERS_WITHIN_SECONDS}
        listed = model_pb2.ListModelsRequest(page_size=_PAGE)
        models = [each async for page in pages(self._models.ListModels, listed, call) for each in page.models]
        reports = await asyncio.gather(*(self._report(model.name, call) for model in models))
        wanted = [delivery_pb2.ListDeliveriesRequest(page_size=_PAGE, state=state) for state in _NOT_DONE]
        deliveries = [
            each
            for request in wanted
            async for page in pages(self._deliveries.ListDeliveries, request, call)
            for each in page.deliveries
        ]
        text = metrics_text(models, reports, deliveries, time.time())
        return Response(text, headers={"Content-Type": _MEDIA_TYPE})

    async def _report(self, model: str, call: dict[str, object]) -> str | None:
        """None where this one model cannot be read: the others are still told."""
        try:
            wanted = monitoring_pb2.GetMonitoringReportRequest(model=model)
            answer = await self._monitoring.GetMonitoringReport(wanted, **call)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                raise
            return None
        return str(answer.metrics)


def metrics_text(
    models: Iterable[model_pb2.Model],
    reports: Iterable[str | None],
    deliveries: Iterable[delivery_pb2.Delivery],
    now: float,
) -> str:
    """All families, each once.

    Args:
        models: The installed ones.
        reports: Of each model, its monitoring report for Prometheus; None where it could not be read.
        deliveries: Those that are not done.
        now: Seconds since 1970.
    """
    state = GaugeMetricFamily(
        "oncoresponse_model_state", "1 for the state that an installed model has.", labels=("model", "version", "state")
    )
    readable = GaugeMetricFamily(
        "oncoresponse_monitoring_readable", "Whether the monitoring report of a model could be made.", labels=("model",)
    )
    merged: dict[str, Metric] = {}
    for model, report in zip(models, reports, strict=True):
        name = model.name.removeprefix("models/")
        word = model_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower()
        state.add_metric((name, model.version, word), 1)
        readable.add_metric((name,), 0 if report is None else 1)
        for family in text_string_to_metric_families(report or ""):
            merged.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            ).samples += family.samples
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families((state, readable, *merged.values(), *_of_deliveries(deliveries, now))))
    return generate_latest(registry).decode()


def _of_deliveries(deliveries: Iterable[delivery_pb2.Delivery], now: float) -> Iterator[Metric]:
    counts: Counter[tuple[str, str]] = Counter()
    oldest: dict[tuple[str, str], float] = {}
    for each in deliveries:
        key = (each.destination, _NOT_DONE[each.state])
        counts[key] += 1
        oldest[key] = max(oldest.get(key, 0.0), now - each.create_time.ToMilliseconds() / 1000)
    labels = ("destination", "state")
    number = GaugeMetricFamily("oncoresponse_deliveries", "Deliveries that are not done, by state.", labels=labels)
    age = GaugeMetricFamily(
        "oncoresponse_delivery_oldest_age_seconds", "Age of the oldest delivery that is not done.", labels=labels
    )
    for key, count in sorted(counts.items()):
        number.add_metric(key, count)
        age.add_metric(key, oldest[key])
    return iter((number, age))


class _Families:
    """What a registry collects: families made already."""

    def __init__(self, families: tuple[Metric, ...]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families
