"""The limits of this server, as its settings say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one call, run or answer may hold, and how long a run may be silent."""

    heartbeat_timeout: timedelta = timedelta(minutes=5)
    """Then it counts as crashed."""
    max_json_bytes: int = 1 << 20
    """Of a config, and of a summary."""
    max_points: int = 50_000
    """In one call, over all its series."""
    max_metrics: int = 10_000
    """Of one run."""
    max_tags: int = 100
    """On one run."""
    max_nodes: int = 10_000
    """In the answer of one walk."""
    max_walked: int = 2_000_000
    """That one walk meets, shown or not."""
    max_walks: int = 16
    """At once, of one process."""
    max_searches: int = 5
    """At once: the other connections to the database are for calls that are quick."""
    max_message_bytes: int = 4 << 20
