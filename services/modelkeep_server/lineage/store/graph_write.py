"""Writes what a piece of a log changes: a few statements, however many events it has.

Only the owner of the graph does it, so nobody else numbers edges meanwhile; the nodes of runs alone may be made by others at
the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, select, tuple_, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Micros, to_micros
from modelkeep_server.database.dialect import upsert
from modelkeep_server.lineage.domain.graph_delta import EARLIEST, Delta, EdgeSeen, NodeSeen
from modelkeep_server.lineage.store.graph_label import Labels
from modelkeep_server.lineage.store.graph_node import unsettle
from modelkeep_server.lineage.store.graph_sql import EDGE, Ids
from modelkeep_server.lineage.store.tables import EdgeRow, FanRow, GraphAliasRow, NodeRow

_NODE = NodeRow.__table__  # type: ignore[attr-defined]  # sqlmodel makes it
_FAN = (col(FanRow.node_id), col(FanRow.is_downstream), col(FanRow.label_id))


async def write(session: AsyncSession, delta: Delta) -> None:
    """Write a piece."""
    known = await _nodes(session, delta.nodes)
    told = {key for key, label in delta.labels.items() if label.name_time > EARLIEST}
    needed = told | {node.label for key, node in delta.nodes.items() if key not in known or not node.is_guess}
    needed |= {label for label, _ in delta.aliases}
    labels = await Labels(session, delta).resolve(needed) if needed else {}
    fresh = [node for key, node in delta.nodes.items() if key not in known]
    if fresh:
        await _insert(session, fresh, labels)
    await _update(session, [(known[key], node) for key, node in delta.nodes.items() if key in known], labels)
    if delta.edges:
        ends = {key for pair in delta.edges for key in pair}
        await _edges(session, delta.edges, await _nodes(session, ends))
    await _states(session, delta)
    await _aliases(session, delta, labels)


async def _nodes(session: AsyncSession, keys: Collection[str]) -> dict[str, Any]:
    columns = (_NODE.c.id, _NODE.c.key, _NODE.c.label_id, _NODE.c.number, _NODE.c.digest, _NODE.c.display_name)
    more = (_NODE.c.create_time, _NODE.c.state_time, _NODE.c.is_external)
    rows = await session.execute(select(*columns, *more).where(_NODE.c.key.in_(list(keys))))
    return {row.key: row for row in rows}


async def _insert(session: AsyncSession, nodes: Sequence[NodeSeen], labels: Mapping[str, int]) -> None:
    rows = [
        {
            "key": node.key,
            "label_id": labels[node.label],
            "number": node.number,
            "run_id": node.run_id,
            "display_name": node.display_name,
            "digest": node.digest,
            "create_time": node.create_time,
            "state_time": node.told_time,
            "is_external": bool(node.run_id),
        }
        for node in nodes  # in the order of events, which becomes that of walks
    ]
    await session.execute(upsert(session, NodeRow).values(rows).on_conflict_do_nothing())


async def _update(session: AsyncSession, pairs: Iterable[tuple[Any, NodeSeen]], labels: Mapping[str, int]) -> None:
    """Tell nodes that are there what they do not know yet, and write nothing else of them.

    A run may be begun meanwhile: then what was said there holds, so whether it is external is looked at once more.
    """
    changes: dict[tuple[bool, frozenset[str]], list[dict[str, Any]]] = {}
    moved = []
    for row, node in pairs:
        if news := _news(row, node, labels):
            changes.setdefault((bool(node.run_id) and row.is_external, frozenset(news)), []).append({"b_id": row.id, **news})
        if "label_id" in news:
            moved.append(row.id)
    for (is_external, _), rows in changes.items():
        statement = _NODE.update().where(_NODE.c.id == bindparam("b_id"))
        await session.execute(statement.where(_NODE.c.is_external) if is_external else statement, rows)
    if moved:
        await unsettle(session, moved)


def _news(row: Any, node: NodeSeen, labels: Mapping[str, int]) -> dict[str, Any]:
    """What a row does not say yet. Of a run that somebody began, only that it was there before: whoever did knows better."""
    told: dict[str, Any] = {}
    if not node.is_guess:
        told = {"label_id": labels[node.label], "number": node.number, "digest": node.digest or row.digest}
    if node.create_time:
        told["create_time"] = min(node.create_time, row.create_time or node.create_time)
    words = (node.told_time or EARLIEST, node.display_name)
    if node.run_id and row.is_external and words > (row.state_time or EARLIEST, row.display_name):
        told |= {"state_time": node.told_time, "display_name": node.display_name}
    return {name: value for name, value in told.items() if getattr(row, name) != value}


@dataclass(frozen=True, slots=True)
class _New:
    """An edge to be made."""

    source: Any
    target: Any
    seen: EdgeSeen

    @property
    def fans(self) -> tuple[tuple[int, bool, int], tuple[int, bool, int]]:
        """Of which fans it becomes a part: that of its source, and that of its target."""
        return (self.source.id, True, self.target.label_id), (self.target.id, False, self.source.label_id)


async def _edges(session: AsyncSession, edges: Mapping[tuple[str, str], EdgeSeen], nodes: Mapping[str, Any]) -> None:
    by_ids = {
        (nodes[source].id, nodes[target].id): _New(nodes[source], nodes[target], e) for (source, target), e in edges.items()
    }
    lists = Ids(is_sqlite=session.get_bind().dialect.name == "sqlite")
    pair = lists.pairs()
    is_one = (EDGE.c.source_id == pair.c.a) & (EDGE.c.target_id == pair.c.b)
    micros = type_coerce(EDGE.c.edge_time, BigInteger)
    there = select(EDGE.c.source_id, EDGE.c.target_id, micros).join_from(pair, EDGE, is_one)
    rows = await session.execute(there, lists.of_pairs(by_ids))
    known = {(source, target): time for source, target, time in rows}
    earlier = [
        {"b_source": ids[0], "b_target": ids[1], "edge_time": new.seen.time, **_words(new.seen)}
        for ids, new in by_ids.items()
        if ids in known and to_micros(new.seen.time) < known[ids]
    ]
    if earlier:
        one = (EDGE.c.source_id == bindparam("b_source")) & (EDGE.c.target_id == bindparam("b_target"))
        await session.execute(EDGE.update().where(one), earlier)
    fresh = [new for ids, new in sorted(by_ids.items()) if ids not in known]
    if fresh:
        await _add(session, sorted(fresh, key=lambda new: new.seen.time))


def _words(seen: EdgeSeen) -> dict[str, Any]:
    return {"alias_text": seen.alias_text, "is_deduplicated": seen.deduplicated}


async def _add(session: AsyncSession, fresh: Sequence[_New]) -> None:
    """Make edges, each with its place in the fans of both its ends."""
    fans = sorted({fan for new in fresh for fan in new.fans})
    rows = await session.execute(select(*_FAN, col(FanRow.degree)).where(tuple_(*_FAN).in_(fans)))
    degrees = Counter({(node, down, label): degree for node, down, label, degree in rows})
    values = []
    for new in fresh:
        for fan in new.fans:
            degrees[fan] += 1
        down, up = new.fans
        values.append(
            {
                "source_id": new.source.id,
                "target_id": new.target.id,
                "source_label_id": new.source.label_id,
                "target_label_id": new.target.label_id,
                "source_rank": degrees[down],
                "target_rank": degrees[up],
                "kind": new.seen.kind.value,
                "edge_time": new.seen.time,
                **_words(new.seen),
            }
        )
    await session.execute(upsert(session, EdgeRow).values(values))
    await set_degrees(session, {fan: degrees[fan] for fan in fans})


async def set_degrees(session: AsyncSession, degrees: Mapping[tuple[int, bool, int], int]) -> None:
    """Write how many neighbours fans have."""
    rows = [
        {"node_id": node, "is_downstream": down, "label_id": label, "degree": degree}
        for (node, down, label), degree in degrees.items()
    ]
    statement = upsert(session, FanRow).values(rows)
    key = ["node_id", "is_downstream", "label_id"]
    await session.execute(statement.on_conflict_do_update(index_elements=key, set_={"degree": statement.excluded.degree}))


async def _states(session: AsyncSession, delta: Delta) -> None:
    rows = [
        {"b_key": uid, "state_time": time, "delete_time": time if is_deleted else None}
        for uid, (time, is_deleted) in delta.states.items()
    ]
    if rows:
        time = bindparam("state_time", type_=Micros())
        is_news = _NODE.c.state_time.is_(None) | (_NODE.c.state_time <= time)
        await session.execute(_NODE.update().where(_NODE.c.key == bindparam("b_key"), is_news).values(state_time=time), rows)


async def _aliases(session: AsyncSession, delta: Delta, labels: Mapping[str, int]) -> None:
    newest: dict[tuple[int, str], tuple[int, int | None]] = {}
    for (label, alias), change in delta.aliases.items():
        key = (labels[label], alias)
        newest[key] = max(change, newest.get(key, (0, None)), key=lambda change: change[0])
    if not newest:
        return
    rows = [{"label_id": key[0], "alias": key[1], "seq": seq, "number": number} for key, (seq, number) in newest.items()]
    statement = upsert(session, GraphAliasRow).values(rows)
    told = {"seq": statement.excluded.seq, "number": statement.excluded.number}
    is_news = statement.excluded.seq > col(GraphAliasRow.seq)
    await session.execute(statement.on_conflict_do_update(index_elements=["label_id", "alias"], set_=told, where=is_news))
