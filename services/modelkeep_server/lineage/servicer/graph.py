"""The RPCs of the graph."""

from __future__ import annotations

from modelkeep_server.lineage.servicer.base import Part


class GraphCalls(Part):
    """What came from what."""
