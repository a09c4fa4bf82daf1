"""Rows of the graph. Only the process that holds the `owner` row writes them, but for the nodes of runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from modelkeep_server.database.tables import id_field, ref, text_field, time
from modelkeep_server.lineage.store.tables.base import Table


class LabelRow(Table, table=True):
    """A collection, or a project and a job type: what nodes have in common that are told as a group (SEM-55)."""

    __tablename__ = "graph_label"
    __table_args__ = (Index("ix_graph_label_team_project_collection", "team", "project", "collection"),)
    id: int = id_field()
    key: str = Field(sa_type=Text, unique=True)
    """`uid:…` of a collection, `name:…` where no event told its uid, `run:…` of a project and a job type."""
    kind: int
    """A NodeKind."""
    team: str = ""
    project: str = ""
    collection: str = ""
    type: str = text_field()
    name_time: datetime = time()
    """When the name was given: an older event does not take it back."""
    type_time: datetime = time()
    """The same for the type."""


class NodeRow(Table, table=True):
    """A run, a version or a copy; never deleted (SEM-47)."""

    __tablename__ = "graph_node"
    __table_args__ = (Index("ix_graph_node_label_id_number", "label_id", "number"),)
    id: int = id_field()
    key: str = Field(sa_type=Text, unique=True)
    """The uid of a version, the resource name of a run, `copy:` and the uid of a copy."""
    label_id: int = ref("graph_label.id")
    number: int = 0
    """Of a version."""
    run_id: str = ""
    """Of a run."""
    display_name: str = text_field()
    """Of a run."""
    digest: str = ""
    """Of a version."""
    create_time: datetime | None = time(nullable=True)
    delete_time: datetime | None = time(nullable=True)
    state_time: datetime | None = time(nullable=True)
    """When a version was last deleted or restored, or the display name of a run told."""
    is_external: bool = False


class UnsettledRow(Table, table=True):
    """A node that got another label, which its edges do not say yet: the owner of the graph puts that right."""

    __tablename__ = "graph_unsettled"
    node_id: int = ref("graph_node.id", primary_key=True)


class EdgeRow(Table, table=True):
    """An edge, and its place among those that share an end and a label at the other."""

    __tablename__ = "graph_edge"
    __table_args__ = (
        # Of a node with many neighbours a walk reads only the first few of each label.
        Index("ix_graph_edge_source_id_source_rank", "source_id", "source_rank", "target_label_id", "target_id", "edge_time"),
        Index("ix_graph_edge_target_id_target_rank", "target_id", "target_rank", "source_label_id", "source_id", "edge_time"),
        Index("ix_graph_edge_source_id_target_label_id", "source_id", "target_label_id", "edge_time", "target_id"),
        Index("ix_graph_edge_target_id_source_label_id", "target_id", "source_label_id", "edge_time", "source_id"),
        Index("ix_graph_edge_source_id_edge_time", "source_id", "edge_time", "target_id"),
        Index("ix_graph_edge_target_id_edge_time", "target_id", "edge_time", "source_id"),
    )
    source_id: int = ref("graph_node.id", primary_key=True)
    target_id: int = ref("graph_node.id", primary_key=True)
    source_label_id: int = Field(sa_type=BigInteger)
    target_label_id: int = Field(sa_type=BigInteger)
    source_rank: int
    """Counts from 1 the edges of the source to nodes of the target's label."""
    target_rank: int
    """Counts from 1 the edges of the target from nodes of the source's label."""
    kind: int
    """An EdgeKind."""
    edge_time: datetime = time()
    alias_text: str = text_field()
    is_deduplicated: bool = False


class FanRow(Table, table=True):
    """How many neighbours of one label a node has on one side."""

    __tablename__ = "graph_fan"
    node_id: int = ref("graph_node.id", primary_key=True)
    is_downstream: bool = Field(primary_key=True)
    label_id: int = ref("graph_label.id", primary_key=True)
    degree: int = Field(sa_type=BigInteger)


class GraphAliasRow(Table, table=True):
    """Where an alias points; a deleted one keeps its row, because its number never falls."""

    __tablename__ = "graph_alias"
    label_id: int = ref("graph_label.id", primary_key=True)
    alias: str = Field(primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    number: int | None = None
    """The version; null when the alias is deleted."""


class CursorRow(Table, table=True):
    """How far the log of a project was read."""

    __tablename__ = "graph_cursor"
    __table_args__ = (Index("ix_graph_cursor_event_time", "event_time"),)
    team: str = Field(primary_key=True)
    project: str = Field(primary_key=True)
    sequence: int = Field(sa_type=BigInteger)
    event_time: datetime = time()
    """Of the newest event that was ever read, by the clock of metadata: it stays when events are read again."""


class OwnerRow(Table, table=True):
    """Which process does what only one may do."""

    __tablename__ = "owner"
    duty: str = Field(primary_key=True)
    holder: str
    epoch: int = Field(sa_type=BigInteger)
    """Raised each time that the holder changes: a late one is told by it."""
    lease_until: datetime = time()
