"""The graph: nodes, edges, and how far the events of metadata were read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _labels()
    _nodes()
    _edges()
    _fans()
    _reading()


def _labels() -> None:
    op.create_table(
        "graph_label",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name_time", sa.BigInteger(), nullable=False),
        sa.Column("type_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_graph_label"),
        sa.UniqueConstraint("key", name="uq_graph_label_key"),
    )
    op.create_index("ix_graph_label_team_project_collection", "graph_label", ["team", "project", "collection"])
    op.create_table(
        "graph_alias",
        sa.Column("label_id", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("label_id", "alias", name="pk_graph_alias"),
        sa.ForeignKeyConstraint(["label_id"], ["graph_label.id"], name="fk_graph_alias_label_id"),
    )


def _nodes() -> None:
    op.create_table(
        "graph_node",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("label_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=True),
        sa.Column("delete_time", sa.BigInteger(), nullable=True),
        sa.Column("state_time", sa.BigInteger(), nullable=True),
        sa.Column("is_external", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_graph_node"),
        sa.ForeignKeyConstraint(["label_id"], ["graph_label.id"], name="fk_graph_node_label_id"),
        sa.UniqueConstraint("key", name="uq_graph_node_key"),
    )
    op.create_index("ix_graph_node_label_id_number", "graph_node", ["label_id", "number"])
    op.create_table(
        "graph_unsettled",
        sa.Column("node_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", name="pk_graph_unsettled"),
        sa.ForeignKeyConstraint(["node_id"], ["graph_node.id"], name="fk_graph_unsettled_node_id"),
    )


def _edges() -> None:
    op.create_table(
        "graph_edge",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("source_label_id", sa.BigInteger(), nullable=False),
        sa.Column("target_label_id", sa.BigInteger(), nullable=False),
        sa.Column("source_rank", sa.Integer(), nullable=False),
        sa.Column("target_rank", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("edge_time", sa.BigInteger(), nullable=False),
        sa.Column("alias_text", sa.Text(), nullable=False),
        sa.Column("is_deduplicated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "target_id", name="pk_graph_edge"),
        sa.ForeignKeyConstraint(["source_id"], ["graph_node.id"], name="fk_graph_edge_source_id"),
        sa.ForeignKeyConstraint(["target_id"], ["graph_node.id"], name="fk_graph_edge_target_id"),
    )
    for near, far in (("source", "target"), ("target", "source")):
        ranked = [f"{near}_id", f"{near}_rank", f"{far}_label_id", f"{far}_id", "edge_time"]
        op.create_index(f"ix_graph_edge_{near}_id_{near}_rank", "graph_edge", ranked)
        labelled = [f"{near}_id", f"{far}_label_id", "edge_time", f"{far}_id"]
        op.create_index(f"ix_graph_edge_{near}_id_{far}_label_id", "graph_edge", labelled)
        op.create_index(f"ix_graph_edge_{near}_id_edge_time", "graph_edge", [f"{near}_id", "edge_time", f"{far}_id"])


def _fans() -> None:
    op.create_table(
        "graph_fan",
        sa.Column("node_id", sa.BigInteger(), nullable=False),
        sa.Column("is_downstream", sa.Boolean(), nullable=False),
        sa.Column("label_id", sa.BigInteger(), nullable=False),
        sa.Column("degree", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "is_downstream", "label_id", name="pk_graph_fan"),
        sa.ForeignKeyConstraint(["node_id"], ["graph_node.id"], name="fk_graph_fan_node_id"),
        sa.ForeignKeyConstraint(["label_id"], ["graph_label.id"], name="fk_graph_fan_label_id"),
    )


def _reading() -> None:
    op.create_table(
        "graph_cursor",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team", "project", name="pk_graph_cursor"),
    )
    op.create_index("ix_graph_cursor_event_time", "graph_cursor", ["event_time"])
    op.create_table(
        "owner",
        sa.Column("duty", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("duty", name="pk_owner"),
    )
