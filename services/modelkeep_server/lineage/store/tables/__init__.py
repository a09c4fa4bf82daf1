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
from modelkeep_server.lineage.store.tables.request import RequestRow

__all__ = [
    "CursorRow",
    "EdgeRow",
    "FanRow",
    "GraphAliasRow",
    "LabelRow",
    "NodeRow",
    "OwnerRow",
    "RequestRow",
    "Table",
    "UnsettledRow",
    "metadata",
]
