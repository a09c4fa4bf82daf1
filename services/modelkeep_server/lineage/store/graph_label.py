"""The labels of a piece of the log: collections are known by their uid, or by their name where no event told it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from modelkeep.names import CollectionName
from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.lineage.domain.graph import NodeKind
from modelkeep_server.lineage.domain.graph_delta import Delta, LabelSeen
from modelkeep_server.lineage.store.graph_node import ensure_labels
from modelkeep_server.lineage.store.tables import LabelRow

_Name = tuple[str, str, str]
_NAME = (col(LabelRow.team), col(LabelRow.project), col(LabelRow.collection))


class Labels:
    """Resolves the labels of one piece."""

    def __init__(self, session: AsyncSession, delta: Delta) -> None:
        self._session = session
        self._delta = delta
        self._by_key: dict[str, Any] = {}
        self._by_name: dict[_Name, list[Any]] = {}

    async def resolve(self, wanted: Collection[str]) -> Mapping[str, int]:
        """The ids of the labels with these keys, made, adopted, renamed and typed as the piece tells."""
        seen = [self._delta.labels[key] for key in sorted(wanted)]
        await self._read(seen)
        found: dict[str, int] = {}
        missing: list[LabelSeen] = []
        for label in seen:
            row = self._row(label)
            if row is None:
                missing.append(label)
            else:
                found[label.key] = row.id
                await self._tell(row, label)
        return {**found, **(await ensure_labels(self._session, missing) if missing else {})}

    async def _read(self, seen: Collection[LabelSeen]) -> None:
        names = {_name(label) for label in seen if label.kind is NodeKind.VERSION and label.team}
        names |= {_parts(old) for old in self._delta.renames.values()}
        by_name = tuple_(*_NAME).in_(sorted(names)) & (col(LabelRow.kind) == NodeKind.VERSION.value)
        either = or_(col(LabelRow.key).in_([label.key for label in seen]), by_name)
        columns = (col(LabelRow.id), col(LabelRow.key), *_NAME, col(LabelRow.type))
        times = (col(LabelRow.name_time), col(LabelRow.type_time))
        for row in await self._session.execute(select(*columns, *times).where(either).order_by(col(LabelRow.name_time))):
            self._by_key[row.key] = row
            self._by_name.setdefault((row.team, row.project, row.collection), []).append(row)

    def _row(self, label: LabelSeen) -> Any | None:
        """The row of a label: by its uid, or one of that name."""
        if label.kind is NodeKind.RUN or not label.team:
            return self._by_key.get(label.key)
        if label.key.startswith("uid:"):
            if label.key in self._by_key:
                return self._by_key[label.key]
            return next((row for row in self._by_name.get(_name(label), ()) if not row.key.startswith("uid:")), None)
        old = self._delta.renames.get(label.key)
        rows = [*(self._by_name.get(_parts(old), ()) if old else ()), *self._by_name.get(_name(label), ())]
        return rows[-1] if rows else None  # the one that has, or had, the name last

    async def _tell(self, row: Any, label: LabelSeen) -> None:
        """Let the row say what is newer than what it says."""
        news: dict[str, Any] = {}
        if label.key.startswith("uid:") and row.key != label.key:
            news["key"] = label.key
        if _is_newer(label.name_time, row.name_time):
            news |= {"team": label.team, "project": label.project, "collection": label.collection}
            news["name_time"] = label.name_time
            if row.key.startswith("name:") and "key" not in news and _name(label) != (row.team, row.project, row.collection):
                news["key"] = f"renamed:{row.id}"  # the name is free for another collection
        if _is_newer(label.type_time, row.type_time):
            news |= {"type": label.type, "type_time": label.type_time}
        if news:
            await self._session.execute(update(LabelRow).where(col(LabelRow.id) == row.id).values(**news))


def _is_newer(told: datetime, known: datetime) -> bool:
    return told > known


def _name(label: LabelSeen) -> _Name:
    return label.team, label.project, label.collection


def _parts(name: CollectionName) -> _Name:
    return name.team, name.project, name.collection
