"""What a service gives to the process that runs it, and what it gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from modelkeep_server.database.clock import Clock
from modelkeep_server.runtime.callers import Access
from modelkeep_server.runtime.channels import Channels
from modelkeep_server.runtime.tokens import Signer

Context = grpc.aio.ServicerContext[Any, Any]
"""The context of a call, in every servicer."""


@dataclass(frozen=True)
class Wiring:
    """What a service's `build` gets from its process."""

    channels: Channels
    """How to reach other services."""
    clock: Clock
    """Where the time comes from."""
    signer: Signer | None = None
    """Signs access tokens; only where metadata runs."""


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
    gauges: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    """Readings for the metrics, by name: `database_connections_in_use` becomes `modelkeep_blob_database_connections_in_use`."""
