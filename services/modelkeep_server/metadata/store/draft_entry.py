"""The rows of the entries of drafts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from modelkeep.digest import Digest
from modelkeep.names import DraftName
from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.metadata.domain.manifest import PageSlot
from modelkeep_server.metadata.domain.page import Keyed, Page
from modelkeep_server.metadata.store.tables import DraftEntryRow, DraftPageRow, DraftRow, PageRow

AT_ONCE: Final = 5000
"""How many values one statement names: engines bound them."""


class DraftEntryRepository:
    """The entries of all drafts."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def has_lines(self, name: DraftName, first: bytes, last: bytes, folders: Collection[bytes]) -> bool:
        """Whether a draft has a line from `first` to `last`, or for one of `folders`."""
        path = col(DraftEntryRow.path)
        here = or_(and_(path >= first, path <= last), path.in_(folders))
        lines = select(path).where(col(DraftEntryRow.draft_id) == name.draft, here)
        return (await self._session.execute(lines.limit(1))).first() is not None

    async def set_runs(self, name: DraftName, pages: Sequence[Page], instead: Collection[Digest]) -> None:
        """Keep pages of entries as runs of a locked draft, instead of some runs that it has."""
        if instead:
            theirs = col(DraftPageRow.page).in_([digest.sha256 for digest in instead])
            left = update(DraftPageRow).where(col(DraftPageRow.draft_id) == name.draft, theirs)
            none = {"first_path": None, "last_path": None, "entry_count": None}
            await self._session.execute(left.values(none).execution_options(synchronize_session=False))
        rows = [{"digest": page.digest.sha256, "data": page.data} for page in pages]
        await self._session.execute(upsert(self._session, PageRow).on_conflict_do_nothing(), rows)
        runs = [
            {
                "draft_id": name.draft,
                "page": page.digest.sha256,
                "first_path": page.first_path,
                "last_path": page.last_path,
                "entry_count": page.entry_count,
            }
            for page in pages
        ]
        statement = upsert(self._session, DraftPageRow)
        # An earlier seal may have written the same page.
        places = {key: statement.excluded[key] for key in ("first_path", "last_path", "entry_count")}
        statement = statement.on_conflict_do_update(index_elements=["draft_id", "page"], set_=places)
        await self._session.execute(statement, runs)

    async def put_lines(self, name: DraftName, lines: Mapping[bytes, bytes]) -> None:
        """Keep lines of a locked draft, by path, in place of those that it has; an empty one takes an entry out."""
        if not lines:
            return
        statement = upsert(self._session, DraftEntryRow)
        statement = statement.on_conflict_do_update(index_elements=["draft_id", "path"], set_={"line": statement.excluded.line})
        rows = [{"draft_id": name.draft, "path": path, "line": line} for path, line in lines.items()]
        await self._session.execute(statement, rows)

    async def drop_lines(self, name: DraftName, first: bytes, end: bytes) -> None:
        """Forget the lines of a locked draft from `first` on and before `end`."""
        path = col(DraftEntryRow.path)
        statement = delete(DraftEntryRow).where(col(DraftEntryRow.draft_id) == name.draft, path >= first, path < end)
        await self._session.execute(statement.execution_options(synchronize_session=False))

    async def changed(self, name: DraftName, by: int) -> None:
        """Note that a locked draft has `by` more entries, or others; takes its seal back."""
        statement = update(DraftRow).where(col(DraftRow.id) == name.draft)
        values = {"entry_count": col(DraftRow.entry_count) + by, "revision": col(DraftRow.revision) + 1, "manifest": None}
        await self._session.execute(statement.values(values).execution_options(synchronize_session=False))

    async def lines(self, name: DraftName, paths: Collection[bytes]) -> Mapping[bytes, bytes]:
        """The lines that a draft has for some paths, and for folders that it takes out."""
        found: dict[bytes, bytes] = {}
        wanted = sorted(paths)
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            statement = select(col(DraftEntryRow.path), col(DraftEntryRow.line))
            statement = statement.where(col(DraftEntryRow.draft_id) == name.draft, col(DraftEntryRow.path).in_(some))
            found.update((path, line) for path, line in await self._session.execute(statement))
        return found

    async def lines_from(self, name: DraftName, first: bytes, end: bytes | None, limit: int, size: int) -> Sequence[Keyed]:
        """Paths and lines from `first` on and before `end`: at most `limit`, up to the line that reaches `size` bytes."""
        key, line = col(DraftEntryRow.path), col(DraftEntryRow.line)
        following = [col(DraftEntryRow.draft_id) == name.draft, key >= first]
        if end is not None:
            following.append(key < end)
        # Lengths are known without reading the lines, so only those that are asked for are ever loaded.
        lengths = select(key, func.length(line).label("size")).where(*following).order_by(key).limit(limit).subquery()
        up_to_here = func.sum(lengths.c.size).over(order_by=lengths.c.path)
        places = select(lengths.c.path, (up_to_here - lengths.c.size).label("start")).subquery()
        last = select(places.c.path).where(places.c.start < size).order_by(places.c.path.desc()).limit(1).scalar_subquery()
        rows = await self._session.execute(select(key, line).where(*following, key <= last).order_by(key))
        return [(path, line) for path, line in rows]

    async def runs(self, name: DraftName, first: bytes, end: bytes | None, limit: int) -> Sequence[PageSlot]:
        """The next runs of a draft by path that may have paths from `first` on and before `end`; their ordinals say nothing."""
        place: tuple[Any, ...] = (DraftPageRow.first_path, DraftPageRow.last_path, DraftPageRow.entry_count)
        statement = select(col(DraftPageRow.page), *map(col, place)).where(
            col(DraftPageRow.draft_id) == name.draft, col(DraftPageRow.last_path) >= first
        )
        if end is not None:
            statement = statement.where(col(DraftPageRow.first_path) < end)
        rows = await self._session.execute(statement.order_by(col(DraftPageRow.last_path)).limit(limit))
        return [PageSlot(0, Digest(page), first, last, count) for page, first, last, count in rows]
