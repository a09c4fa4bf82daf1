"""Nodes that got another label: their edges are moved from one fan to another, and the numbers in both stay without a gap."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.store.graph_sql import EDGE
from modelkeep_server.lineage.store.graph_write import set_degrees
from modelkeep_server.lineage.store.tables import FanRow, NodeRow, UnsettledRow

EDGES_AT_ONCE: Final = 100
"""How many edges one transaction moves."""

_Fan = tuple[int, bool, int]


async def has_unsettled(session: AsyncSession) -> bool:
    """Whether there is a node whose edges may say another label than it has."""
    return await session.scalar(select(col(UnsettledRow.node_id)).limit(1)) is not None


async def settle(session: AsyncSession) -> bool:
    """Let some edges of one node say its present label; false when there is no such node."""
    first = select(col(UnsettledRow.node_id)).order_by(col(UnsettledRow.node_id)).limit(1)
    node = await session.scalar(first)
    if node is None:
        return False
    label = await session.scalar(select(col(NodeRow.label_id)).where(col(NodeRow.id) == node).with_for_update())
    for direction in Direction:
        edges = await _others(session, node, label, direction)
        for edge in edges:
            await _move(session, edge, label, direction)
        if len(edges) == EDGES_AT_ONCE:
            return True
    await session.execute(delete(UnsettledRow).where(col(UnsettledRow.node_id) == node))
    return True


async def _others(session: AsyncSession, node: int, label: Any, direction: Direction) -> list[Any]:
    """Edges into the node (upstream), or out of it, that say another label of it."""
    c = EDGE.c
    if direction is Direction.UPSTREAM:
        columns = (c.source_id.label("other"), c.target_id.label("node"), c.target_label_id.label("label"))
        wanted = select(*columns, c.source_rank.label("rank")).where(c.target_id == node, c.target_label_id != label)
    else:
        columns = (c.target_id.label("other"), c.source_id.label("node"), c.source_label_id.label("label"))
        wanted = select(*columns, c.target_rank.label("rank")).where(c.source_id == node, c.source_label_id != label)
    return list((await session.execute(wanted.order_by("other").limit(EDGES_AT_ONCE))).all())


async def _move(session: AsyncSession, edge: Any, label: Any, direction: Direction) -> None:
    """Move an edge between two fans of its other end: the last one of the old fan takes its place there."""
    c = EDGE.c
    is_up = direction is Direction.UPSTREAM
    end, node, label_column, rank = (
        (c.source_id, c.target_id, c.target_label_id, c.source_rank)
        if is_up
        else (c.target_id, c.source_id, c.source_label_id, c.target_rank)
    )
    current = (end == edge.other) & (node == edge.node)
    row = (await session.execute(select(rank).where(current))).scalar_one()  # an earlier move may have changed it
    old, new = (edge.other, is_up, edge.label), (edge.other, is_up, label)
    left, there = await _degree(session, old), await _degree(session, new)
    if row != left:
        last = (end == edge.other) & (label_column == edge.label) & (rank == left)
        await session.execute(EDGE.update().where(last).values({rank: row}))
    await session.execute(EDGE.update().where(current).values({label_column: label, rank: there + 1}))
    await set_degrees(session, {new: there + 1, **({old: left - 1} if left > 1 else {})})
    if left <= 1:
        await session.execute(delete(FanRow).where(_is(old)))


async def _degree(session: AsyncSession, fan: _Fan) -> int:
    return int(await session.scalar(select(col(FanRow.degree)).where(_is(fan))) or 0)


def _is(fan: _Fan) -> Any:
    node, down, label = fan
    return (col(FanRow.node_id) == node) & (col(FanRow.is_downstream) == down) & (col(FanRow.label_id) == label)
