"""What a process counts, for Prometheus. Labels are services, methods and codes: never a project, a name or a digest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one process. A registry of its own, so that several servers may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        by_method = ("service", "method")
        self._calls = Counter("modelkeep_rpc_calls", "Calls that ended, by code.", (*by_method, "code"), registry=self.registry)
        self._seconds = Histogram(
            "modelkeep_rpc_duration_seconds", "How long calls took.", by_method, buckets=_SECONDS, registry=self.registry
        )
        self._received = Counter("modelkeep_rpc_received_bytes", "Bytes of requests.", by_method, registry=self.registry)
        self._sent = Counter("modelkeep_rpc_sent_bytes", "Bytes of responses.", by_method, registry=self.registry)
        self._in_flight = Gauge("modelkeep_rpc_in_flight_calls", "Calls being served now.", registry=self.registry)
        self._ready = Gauge(
            "modelkeep_service_ready", "1 while the service can do its work.", ("service",), registry=self.registry
        )

    def method(self, path: str) -> MethodMetrics:
        """The metrics of one RPC, by its full path."""
        service, name = path.removeprefix("/").split("/")
        labels = (service.rpartition(".")[2], name)
        return MethodMetrics(
            calls=self._calls,
            labels=labels,
            seconds=self._seconds.labels(*labels),
            received=self._received.labels(*labels),
            sent=self._sent.labels(*labels),
        )

    def read_in_flight(self, reading: Callable[[], float]) -> None:
        """Where the number of calls being served is read."""
        self._in_flight.set_function(reading)

    def ready(self, service: str, ready: bool) -> None:
        """Say whether a service can do its work."""
        self._ready.labels(service).set(ready)

    def gauges(self, service: str, readings: Mapping[str, Callable[[], float]]) -> None:
        """Show readings of a service: `database_connections_in_use` of blob as `modelkeep_blob_database_connections_in_use`."""
        for name, reading in readings.items():
            what = name.replace("_", " ")
            Gauge(f"modelkeep_{service}_{name}", f"{what[0].upper()}{what[1:]}.", registry=self.registry).set_function(reading)

    def samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """The present values of one metric, with their labels."""
        for metric in self.registry.collect():
            for sample in metric.samples:
                if sample.name == name:
                    yield dict(sample.labels), sample.value


class MethodMetrics:
    """The metrics of one RPC, with its labels looked up beforehand: this runs in every call."""

    __slots__ = ("_by_code", "_calls", "_labels", "received", "seconds", "sent")

    def __init__(
        self, *, calls: Counter, labels: tuple[str, str], seconds: Histogram, received: Counter, sent: Counter
    ) -> None:
        self._calls = calls
        self._labels = labels
        self._by_code: dict[str, Counter] = {}
        self.seconds = seconds
        self.received = received
        self.sent = sent

    def ended(self, code: str, seconds: float) -> None:
        """Count a call that ended."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._calls.labels(*self._labels, code)
        counter.inc()
        self.seconds.observe(seconds)


class MetricsServer:
    """Serves metrics over HTTP, from a thread of its own. Raises OSError when the port is taken."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, host, metrics.registry)
        self.port = int(self._server.server_port)
        """The port that it listens on."""

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
