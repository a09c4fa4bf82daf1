"""The nodes of runs, which both those who begin runs and the tail of the events write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from modelkeep.names import ProjectName, RunName
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.dialect import upsert
from modelkeep_server.lineage.domain.graph_delta import LabelSeen, job_label, run_key
from modelkeep_server.lineage.store.tables import LabelRow, NodeRow, UnsettledRow


async def node_of_run(session: AsyncSession, name: RunName, *, job_type: str, display_name: str, create_time: datetime) -> int:
    """The node of a run that was begun, made or brought up to date; its id.

    Events may have told of the run before: then it was external, and is no longer; but it was there then (SEM-56).
    """
    seen = job_label(ProjectName(name.team, name.project), job_type)
    label = (await ensure_labels(session, [seen]))[seen.key]
    words = {"display_name": display_name, "create_time": create_time, "is_external": False}
    row = {"key": run_key(name), "label_id": label, "number": 0, "run_id": name.run, "digest": "", **words}
    statement = upsert(session, NodeRow).values(row).on_conflict_do_nothing().returning(col(NodeRow.id))
    made = await session.scalar(statement)
    if made is not None:
        return int(made)
    columns = (col(NodeRow.id), col(NodeRow.label_id), col(NodeRow.create_time))
    found = select(*columns).where(col(NodeRow.key) == run_key(name)).with_for_update()
    node, before, known = (await session.execute(found)).one()
    words["create_time"] = min(known or create_time, create_time)
    await session.execute(update(NodeRow).where(col(NodeRow.id) == node).values(label_id=label, **words))
    if label != before:
        await unsettle(session, [node])
    return int(node)


async def delete_node_of_run(session: AsyncSession, name: RunName, time: datetime) -> None:
    """Leave a tombstone where a run was (SEM-47)."""
    await session.execute(update(NodeRow).where(col(NodeRow.key) == run_key(name)).values(delete_time=time))


async def unsettle(session: AsyncSession, nodes: Collection[int]) -> None:
    """Note that nodes got another label, so that the owner of the graph tells their edges."""
    rows = [{"node_id": node} for node in nodes]
    await session.execute(upsert(session, UnsettledRow).values(rows).on_conflict_do_nothing())


async def ensure_labels(session: AsyncSession, seen: Collection[LabelSeen]) -> Mapping[str, int]:
    """The ids of labels by their keys; those that are missing are made as they are told."""
    keys = [label.key for label in seen]
    known = await _ids(session, keys)
    fresh = [
        {
            "key": label.key,
            "kind": label.kind.value,
            "team": label.team,
            "project": label.project,
            "collection": label.collection,
            "type": label.type,
            "name_time": label.name_time,
            "type_time": label.type_time,
        }
        for label in sorted(seen, key=lambda label: label.key)
        if label.key not in known
    ]
    if fresh:
        await session.execute(upsert(session, LabelRow).values(fresh).on_conflict_do_nothing())
        known = await _ids(session, keys)
    return known


async def _ids(session: AsyncSession, keys: Collection[str]) -> dict[str, int]:
    rows = await session.execute(select(col(LabelRow.key), col(LabelRow.id)).where(col(LabelRow.key).in_(keys)))
    return {row.key: row.id for row in rows}
