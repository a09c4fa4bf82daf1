"""The limits of this server, as its settings say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one call, draft or version may hold, and how long what ends lives."""

    draft_lifetime: timedelta = timedelta(days=1)
    """From the last entries on, or from the last step of a commit that seals it."""
    restore_period: timedelta = timedelta(days=7)
    """From the deletion of a version on (SEM-44)."""
    max_entries: int = 10_000_000
    """Of one version."""
    max_entries_per_message: int = 1000
    max_segments_per_message: int = 20_000
    """Over all entries of the message."""
    max_message_bytes: int = 4 << 20
    max_aliases: int = 100
    """In one call."""
    max_tags: int = 100
    """On one version."""
    max_signatures: int = 100
    """On one version."""
    max_searches: int = 5
    """At once: the other connections to the database are for calls that are quick."""
    max_paths: int = 1000
    """In one call that takes entries out of a draft."""
