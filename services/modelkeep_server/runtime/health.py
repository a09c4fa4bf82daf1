"""The standard health service (`grpc.health.v1`), fed by the readiness of our services.

The one of grpcio-health-checking keeps its watchers until they leave, which would make every drain wait for its full time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVICE: Final = "grpc.health.v1.Health"

_SERVING = pb.HealthCheckResponse.SERVING
_NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Health(rpc.HealthServicer):  # type: ignore[misc,unused-ignore]
    """Says whether each service, and the process as a whole (the empty name), can do its work."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {"": False}
        self._changed = asyncio.Event()
        self._draining = False

    def set(self, service: str, serving: bool) -> None:
        """Say it of one service."""
        if not self._draining and self._serving.get(service) != serving:
            self._serving[service] = serving
            self._wake()

    def drain(self) -> None:
        """Say NOT_SERVING of all from now on, and let the watchers go."""
        self._draining = True
        self._serving = dict.fromkeys(self._serving, False)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _status(self, service: str) -> Any:
        serving = self._serving.get(service)
        return _UNKNOWN if serving is None else (_SERVING if serving else _NOT_SERVING)

    async def Check(self, request: pb.HealthCheckRequest, context: Any) -> pb.HealthCheckResponse:
        """The present state of one service."""
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return pb.HealthCheckResponse(status=self._status(request.service))

    async def List(self, _request: Any, _context: Any) -> Any:
        """The present state of every service; versions of the library that do not know this call never make it."""
        states = {service: pb.HealthCheckResponse(status=self._status(service)) for service in self._serving}
        return pb.HealthListResponse(statuses=states)  # type: ignore[attr-defined,unused-ignore]

    async def Watch(self, request: pb.HealthCheckRequest, _context: Any) -> AsyncIterator[pb.HealthCheckResponse]:
        """The state of one service, now and whenever it changes, until the server drains."""
        last = None
        while True:
            changed, ends = self._changed, self._draining  # as it is before the status is told: that may take long
            if (status := self._status(request.service)) != last:
                last = status
                yield pb.HealthCheckResponse(status=status)
            if ends:
                return
            await changed.wait()
