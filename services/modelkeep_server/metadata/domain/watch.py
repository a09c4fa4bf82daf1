"""Watches: what is told of an alias that somebody follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from modelkeep.names import LATEST, AliasName, ProjectName

from modelkeep_server.metadata.domain.version import Version


@dataclass(frozen=True, slots=True)
class AliasState:
    """Where an alias points, at a moment."""

    name: AliasName
    version: Version | None
    seq: int
    """As in `Alias`; 0 while the alias never was. For `latest`, the number of the project's last event."""
    update_time: datetime | None
    actor: str
    reason: str
    event_sequence: int
    """The last event of the project when this was true."""
    read_time: datetime

    def differs(self, other: AliasState | None) -> bool:
        """Whether a watcher that knows `other` wants to know this."""
        if other is None:
            return True
        if self.name.alias != LATEST and self.seq != other.seq:
            return True
        return (self.version and self.version.uid) != (other.version and other.version.uid)


@dataclass(frozen=True, slots=True)
class Log:
    """What the event logs of some projects have that is new."""

    heads: Mapping[ProjectName, int]
    """The last event of each project that exists."""
    payloads: Sequence[tuple[ProjectName, str]]
    """The new events that may move an alias: their fields as JSON."""
    crowded: frozenset[ProjectName]
    """The projects that have so many new events that they were not read."""
    read_time: datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """How often watchers hear something, and how long."""

    tick_seconds: float = 1.0
    """How often the event logs are read for news of other processes."""
    heartbeat_seconds: float = 20.0
    stream_seconds: float = 3600.0
    """After it a stream ends, or a little before: those that began together do not all come back together."""
    max_watches: int = 10_000


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing is new."""

    read_time: datetime | None
    """When the event logs were last read; None when they were not yet."""
