"""The RPCs of runs."""

from __future__ import annotations

from modelkeep_server.lineage.servicer.base import Part


class RunCalls(Part):
    """Begin, see, find, edit, end and delete runs."""
