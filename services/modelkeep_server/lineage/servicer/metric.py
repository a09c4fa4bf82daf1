"""The RPCs of metrics."""

from __future__ import annotations

from modelkeep_server.lineage.servicer.base import Part


class MetricCalls(Part):
    """Keep and list what runs measured."""
