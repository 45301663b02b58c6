"""``/livez`` and ``/readyz``, for what watches over the process. They tell nothing but yes or no."""

from __future__ import annotations

import asyncio
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_ANSWERS_WITHIN_SECONDS = 2.0
# Anybody may ask, so the front door is not asked each time.
_FRESH_SECONDS = 0.5


class HealthRoutes:
    """Answers both.

    Args:
        channel: To the front door.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = health_pb2_grpc.HealthStub(channel)
        self._asking = asyncio.Lock()
        self._asked = -_FRESH_SECONDS
        self._ready = False

    async def live(self, request: Request) -> Response:
        """200: the process answers."""
        del request
        return JSONResponse({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """200 when the front door can work, else 503."""
        del request
        async with self._asking:
            if time.monotonic() - self._asked >= _FRESH_SECONDS:
                self._ready = await self._ask()
                self._asked = time.monotonic()
        return JSONResponse({"status": "ready" if self._ready else "not ready"}, 200 if self._ready else 503)

    async def _ask(self) -> bool:
        try:
            answer = await self._stub.Check(health_pb2.HealthCheckRequest(), timeout=_ANSWERS_WITHIN_SECONDS)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
