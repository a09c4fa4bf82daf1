"""The tables of the lineage service.

Times are microseconds: those of the server by the clock of this database, those that a client measured as it said them.
"""

from __future__ import annotations

from modelkeep_server.lineage.store.tables.base import Table, metadata
from modelkeep_server.lineage.store.tables.graph import (
    CursorRow,
    EdgeRow,
    FanRow,
    GraphAliasRow,
    LabelRow,
    NodeRow,
    OwnerRow,
    UnsettledRow,
)
from modelkeep_server.lineage.store.tables.metric import MetricRow, PointRow
from modelkeep_server.lineage.store.tables.request import RequestRow
from modelkeep_server.lineage.store.tables.run import ConfigValueRow, RunRow, RunTagRow, SummaryValueRow

__all__ = [
    "ConfigValueRow",
    "CursorRow",
    "EdgeRow",
    "FanRow",
    "GraphAliasRow",
    "LabelRow",
    "MetricRow",
    "NodeRow",
    "OwnerRow",
    "PointRow",
    "RequestRow",
    "RunRow",
    "RunTagRow",
    "SummaryValueRow",
    "Table",
    "UnsettledRow",
    "metadata",
]
