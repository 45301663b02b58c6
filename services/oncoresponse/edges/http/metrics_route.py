"""``/metrics`` for Prometheus: what the front door says of the installation, and what this HTTP server counts.

No label holds anything of a patient.
"""

from __future__ import annotations

import grpc
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.http.identity import call_metadata
from oncoresponse.rpc.process_metrics import SECONDS_BUCKETS
from oncoresponse.v1 import operations_pb2, operations_pb2_grpc

PATH = "/metrics"
_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ANSWERS_WITHIN_SECONDS = 45.0
_NO_ROUTE = "none"


class HttpMetrics:
    """What the HTTP server counts.

    Args:
        own_process: Whether it runs in a process of its own, of which nobody else tells memory and time.
    """

    def __init__(self, *, own_process: bool) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Histogram(
            "oncoresponse_http_request_seconds",
            "Requests to the HTTP server that were answered.",
            ("method", "route", "status"),
            registry=self._registry,
            buckets=SECONDS_BUCKETS,
        )
        if own_process:
            ProcessCollector(namespace="oncoresponse_edges", registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the template, empty where there is none."""
        # Anybody may send any word as a method.
        known = method if route else "any"
        self._requests.labels(known, route or _NO_ROUTE, str(status)).observe(seconds)

    def text(self) -> str:
        """All of it in the text exposition format 0.0.4."""
        return generate_latest(self._registry).decode()


class MetricsRoute:
    """The handler.

    Args:
        front_door: Where tokens are checked.
        channel: To it.
        own: What the HTTP server counts.
    """

    def __init__(self, front_door: FrontDoor, channel: grpc.aio.Channel, own: HttpMetrics) -> None:
        self._front_door = front_door
        self._stub = operations_pb2_grpc.OperationsServiceStub(channel)
        self._own = own

    async def metrics(self, request: Request) -> Response:
        """The text exposition format."""
        answer = await self._stub.GetMetrics(
            operations_pb2.GetMetricsRequest(),
            metadata=call_metadata(request, self._front_door),
            timeout=_ANSWERS_WITHIN_SECONDS,
        )
        return Response(answer.metrics + self._own.text(), headers={"Content-Type": _MEDIA_TYPE})
