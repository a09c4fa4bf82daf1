"""The rows by which runs are found and sorted: the values of their config and summary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.filtering.keys import MARK, Value, key_of, values_of
from modelkeep_server.lineage.domain.values import INFINITIES
from modelkeep_server.lineage.store.tables import ConfigValueRow, SummaryValueRow

ValueTable: TypeAlias = type[ConfigValueRow] | type[SummaryValueRow]

EMPTY: Final = "{}"


def rows_of(json_text: str) -> Iterator[Value]:
    """The rows of an object; the texts that stand for infinities are found as the numbers that they mean."""
    for value in values_of(json_text):
        infinity = INFINITIES.get(value.text or "")
        yield value if infinity is None else replace(value, entry=_path(value) + key_of(infinity), text=None)


def _path(value: Value) -> str:
    return value.entry[: value.entry.index(MARK) + len(MARK)]


@dataclass(frozen=True, slots=True)
class Change:
    """From the rows of one object to those of another."""

    gone: frozenset[str]
    """Entries whose rows go."""
    rows: tuple[Value, ...]
    """Rows that come."""

    @classmethod
    def between(cls, old: str, new: str) -> Change:
        """The least that is to do."""
        before, after = _by_entry(old), _by_entry(new)
        changed = {entry for entry, rows in after.items() if before.get(entry) != rows}
        gone = {entry for entry, rows in before.items() if after.get(entry) != rows}
        return cls(frozenset(gone), tuple(row for entry in sorted(changed) for row in after[entry]))


def _by_entry(json_text: str) -> dict[str, list[Value]]:
    found = defaultdict(list)
    for value in rows_of(json_text) if json_text != EMPTY else ():
        found[value.entry].append(value)
    return found


async def keep_values(session: AsyncSession, table: ValueTable, run_id: int, old: str, new: str) -> None:
    """Make the rows of an object those of its new text: at most two statements, and none where nothing changes."""
    if old == new:
        return
    change = Change.between(old, new)
    if change.gone:
        theirs = delete(table).where(col(table.run_id) == run_id, col(table.entry).in_(sorted(change.gone)))
        await session.execute(theirs.execution_options(synchronize_session=False))
    if change.rows:
        rows = [{"run_id": run_id, "entry": row.entry, "ordinal": row.ordinal, "text": row.text} for row in change.rows]
        columns: Any = table
        await session.execute(insert(columns.__table__), rows)
