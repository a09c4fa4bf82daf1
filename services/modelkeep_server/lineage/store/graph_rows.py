"""From rows of the graph to what they mean. They come from the driver as they are stored: times are microseconds."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, select, type_coerce
from sqlmodel import col

from modelkeep_server.database.clock import from_micros
from modelkeep_server.lineage.domain.graph import Edge, EdgeKind, Label, Node, NodeKind
from modelkeep_server.lineage.store.graph_sql import EDGE
from modelkeep_server.lineage.store.tables import LabelRow, NodeRow

LABEL: Final[tuple[Any, ...]] = (
    col(LabelRow.id).label("label_id"),
    col(LabelRow.kind).label("label_kind"),
    col(LabelRow.team).label("label_team"),
    col(LabelRow.project).label("label_project"),
    col(LabelRow.collection).label("label_collection"),
    col(LabelRow.type).label("label_type"),
)
NODE: Final[tuple[Any, ...]] = (
    col(NodeRow.id).label("node_id"),
    col(NodeRow.key).label("node_key"),
    col(NodeRow.number).label("number"),
    col(NodeRow.run_id).label("run_id"),
    col(NodeRow.display_name).label("display_name"),
    col(NodeRow.digest).label("digest"),
    type_coerce(col(NodeRow.create_time), BigInteger).label("create_micros"),
    type_coerce(col(NodeRow.delete_time), BigInteger).label("delete_micros"),
    col(NodeRow.is_external).label("is_external"),
)
EDGES: Final[tuple[Any, ...]] = (
    EDGE.c.source_id.label("source_id"),
    EDGE.c.target_id.label("target_id"),
    EDGE.c.kind.label("edge_kind"),
    type_coerce(EDGE.c.edge_time, BigInteger).label("edge_micros"),
    EDGE.c.alias_text.label("alias_text"),
    EDGE.c.is_deduplicated.label("is_deduplicated"),
    EDGE.c.source_label_id.label("source_label_id"),
    EDGE.c.target_label_id.label("target_label_id"),
)
NODES: Final = select(*NODE, *LABEL).join_from(NodeRow, LabelRow, col(NodeRow.label_id) == col(LabelRow.id))
"""Nodes with their labels."""


def label_of(row: Any) -> Label:
    """The label in a row."""
    kind = NodeKind(row.label_kind)
    return Label(row.label_id, kind, row.label_team, row.label_project, row.label_collection, row.label_type)


def node_of(row: Any, labels: dict[int, Label]) -> Node:
    """The node in a row. Labels that come again are taken from `labels`."""
    label = labels.get(row.label_id)
    if label is None:
        label = labels[row.label_id] = label_of(row)
    return Node(
        row.node_id,
        label,
        row.number,
        row.run_id,
        row.display_name,
        row.node_key if label.kind is NodeKind.VERSION else "",
        row.digest,
        None if row.create_micros is None else from_micros(row.create_micros),
        None if row.delete_micros is None else from_micros(row.delete_micros),
        bool(row.is_external),
    )


def edge_of(row: Any) -> Edge:
    """The edge in a row."""
    words = (EdgeKind(row.edge_kind), from_micros(row.edge_micros), row.alias_text, bool(row.is_deduplicated))
    return Edge(row.source_id, row.target_id, *words, row.source_label_id, row.target_label_id)
