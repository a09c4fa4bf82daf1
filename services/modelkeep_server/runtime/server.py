"""The gRPC server of a process, and what a service gives to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from modelkeep_server.runtime import health
from modelkeep_server.runtime.callers import Access
from modelkeep_server.runtime.channels import MAX_MESSAGE_BYTES
from modelkeep_server.runtime.interceptors import Interceptor
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.listening import Address, refuse_exposure, refuse_taken, server_credentials
from modelkeep_server.runtime.metrics import Metrics
from modelkeep_server.runtime.settings import RuntimeSettings
from modelkeep_server.runtime.tokens import Verifier

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]
"""The context of a call, in every servicer."""

_REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"
_CANCELLED_CALLS_SECONDS: Final = 5
"""How long calls that were cancelled at the end of a drain may take to notice."""


@dataclass(frozen=True)
class Service:
    """A service, built and ready to be mounted on a server."""

    name: str
    """`blob`, `metadata`, …"""
    servicers: Sequence[Callable[[grpc.aio.Server], None]]
    """Each adds one servicer to the server."""
    access: Mapping[str, Access]
    """What each RPC needs, by its full path; a server with an RPC that has no rule does not start."""
    check: Callable[[], Awaitable[None]]
    """Raises ModelkeepError while the service's database or store does not answer."""
    close: Callable[[], Awaitable[None]]
    """Gives back what the service holds; called once no call is served any more."""
    watches: frozenset[str] = frozenset()
    """The RPCs, by full path, that mostly wait and are many: they do not count as calls that the server works on."""
    hush: Callable[[], None] = lambda: None
    """A drain begins: ends those, for which it would wait in vain. That a peer goes too is not worth a warning from now on."""
    gauges: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    """Readings for the metrics, by name: `database_connections_in_use` becomes `modelkeep_blob_database_connections_in_use`."""


class Server:
    """One gRPC server with any number of services on it: bind, mount, start, drain."""

    def __init__(self, settings: RuntimeSettings, verifier: Verifier, metrics: Metrics) -> None:
        refuse_exposure(settings)
        self._settings = settings
        self._metrics = metrics
        self._interceptor = Interceptor(settings, verifier, metrics)
        self._server = grpc.aio.server(options=_options(settings))
        self._health = health.Health()
        self._services: list[Service] = []
        self._mounted: dict[str, list[str]] = {}
        self._readiness: asyncio.Task[None] | None = None

    def bind(self) -> str:
        """Take the address of the settings. Returns its URL, with the port that it got. Raises CannotStart."""
        credentials = server_credentials(self._settings)
        return self._bind(Address.parse(self._settings.listen), credentials).url(tls=credentials is not None)

    def bind_loopback(self) -> str:
        """Take one more address, that only this machine reaches, without TLS: for calls of the process to itself."""
        return self._bind(Address("127.0.0.1"), None).url(tls=False)

    def _bind(self, address: Address, credentials: grpc.ServerCredentials | None) -> Address:
        refuse_taken(address)
        try:
            if credentials:
                port = self._server.add_secure_port(str(address), credentials)
            else:
                port = self._server.add_insecure_port(str(address))
        except RuntimeError as error:
            message = f"cannot listen on {address}: it is taken or cannot be used; choose another with --listen or --port"
            raise CannotStart(message) from error
        return Address(address.host, 0 if address.is_unix else port, address.is_unix)

    def mount(self, service: Service) -> None:
        """Put a service on the server. Raises CannotStart when an RPC has no access rule, or a rule has no RPC."""
        door = _Door()
        for add in service.servicers:
            add(cast("grpc.aio.Server", door))
        self._mount(door, service.access, watches=service.watches)
        self._mounted[service.name] = list(door.handlers)
        self._services.append(service)
        self._metrics.gauges(service.name, service.gauges)

    def _mount(
        self, door: _Door, access: Mapping[str, Access], *, is_probe: bool = False, watches: frozenset[str] = frozenset()
    ) -> None:
        paths = door.paths
        if unruled := sorted(paths - access.keys()):
            raise CannotStart(f"no access rule says who may call {', '.join(unruled)}; add one to the service's ACCESS table")
        if unknown := sorted(access.keys() - paths):
            raise CannotStart(f"the access rules of {', '.join(unknown)} belong to no RPC; take them out of the ACCESS table")
        for name, methods in door.handlers.items():
            wrapped = {
                method: self._interceptor.wrap(
                    path := f"/{name}/{method}", handler, access[path], is_probe=is_probe, is_watch=path in watches
                )
                for method, handler in methods.items()
            }
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, wrapped),))

    async def start(self) -> None:
        """Serve."""
        self._mount_own()
        await self._check()
        await self._server.start()
        self._readiness = asyncio.create_task(self._keep_checking())

    def _mount_own(self) -> None:
        door = _Door()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, door)
        self._mount(door, door.for_anyone(), is_probe=True)
        if self._settings.reflection:
            door = _Door()
            names = [name for names in self._mounted.values() for name in names]
            servicer = ReflectionServicer((*names, health.SERVICE, _REFLECTION))
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, door)
            self._mount(door, door.for_anyone())

    async def drain(self) -> None:
        """End well: say NOT_SERVING, take no new calls, let those under way finish, cancel what is left, close the services."""
        self._health.drain()
        if self._readiness:
            self._readiness.cancel()
            with suppress(asyncio.CancelledError):
                await self._readiness
            await asyncio.sleep(self._settings.drain_notice_seconds)
        for service in self._services:
            service.hush()
        await self._server.stop(self._settings.drain_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CANCELLED_CALLS_SECONDS):
                await self._interceptor.idle()
        for service in self._services:
            await service.close()

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(self._settings.readiness_seconds)
            await self._check()

    async def _check(self) -> None:
        ready = await asyncio.gather(*(self._is_ready(service) for service in self._services))
        for service, is_ready in zip(self._services, ready, strict=True):
            self._metrics.ready(service.name, is_ready)
            for name in (service.name, *self._mounted[service.name]):
                self._health.set(name, is_ready)
        self._health.set("", all(ready))

    async def _is_ready(self, service: Service) -> bool:
        try:
            async with asyncio.timeout(self._settings.readiness_seconds):
                await service.check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the service cannot do its work
            log.warning("not ready", service=service.name, error=f"{type(error).__name__}: {error}")
            return False
        return True


class _Door:
    """Stands in for the server while servicers are added, and keeps their handlers to be wrapped."""

    def __init__(self) -> None:
        self.handlers: dict[str, Mapping[str, grpc.RpcMethodHandler[Any, Any]]] = {}

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        """The handlers by method; generated code calls this."""
        self.handlers[service] = handlers

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same handlers once more, in a form that hides their methods."""

    @property
    def paths(self) -> frozenset[str]:
        """The full path of each RPC."""
        return frozenset(f"/{name}/{method}" for name, methods in self.handlers.items() for method in methods)

    def for_anyone(self) -> Mapping[str, Access]:
        """Rules by which anyone may call: for services of gRPC itself, which get new RPCs when their library is updated."""
        return dict.fromkeys(self.paths, Access.ANONYMOUS)


def _options(settings: RuntimeSettings) -> list[tuple[str, int]]:
    age = int(settings.max_connection_age_seconds * 1000)
    return [
        ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a partner
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.max_concurrent_streams", 1000),
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", int(settings.max_stream_seconds * 1000)),  # streams end at their own limit
        ("grpc.max_connection_idle_ms", age),
        ("grpc.keepalive_time_ms", int(settings.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
