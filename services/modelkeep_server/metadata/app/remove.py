"""Removing: entries out of an open draft, files and whole folders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

from modelkeep.errors import EntryNotFound, InvalidArgument, LimitExceeded, TooBusy
from modelkeep.manifest import parse_path
from modelkeep.names import DraftName

from modelkeep_server.metadata.app.draft import require_base
from modelkeep_server.metadata.app.merge import DraftLines, end_of
from modelkeep_server.metadata.domain.draft import Draft, Removed
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.calls import Call

ATTEMPTS: Final = 8
"""How often it begins again because the draft changed while its entries were counted."""


class _Changed(Exception):
    """The draft is another one than the entries were counted of."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a draft has of the paths that are to go."""

    files: Sequence[bytes]
    folders: Sequence[bytes]
    """Each with its slash."""
    entry_count: int
    missing: str
    """The first path of which it has nothing; empty when there is none."""


class RemovalApp:
    """The use case of taking entries out of a draft."""

    def __init__(self, transactions: Transactions, limits: Limits) -> None:
        self._transactions = transactions
        self._limits = limits

    async def remove_entries(self, call: Call, name: DraftName, paths: Sequence[str]) -> Removed:
        """Take files out, and folders with all that lies under them: all of them or none.

        Raises DraftNotFound, DraftNotOpen, InvalidPath, EntryNotFound, LimitExceeded, InvalidArgument.
        """
        call.caller.require(name.team)
        self._check(paths)
        for _ in range(ATTEMPTS):
            with suppress(_Changed):
                return await self._attempt(call, name, sorted({parse_path(path) for path in paths}))
        message = f"the draft {name.draft} changed {ATTEMPTS} times while its entries were counted; try again"
        raise TooBusy(message, draft=str(name), retry_after_seconds=1)

    async def _attempt(self, call: Call, name: DraftName, paths: Sequence[str]) -> Removed:
        """Remove, unless the draft changes meanwhile. Raises _Changed."""
        draft = await self._transactions.read(lambda work: work.drafts.get(name))
        require_base(call.caller, name.team, draft.base.version if draft.base else None)
        found = await self._find(draft, paths)
        return await self._transactions.once(call, Removed, lambda work: self._remove(work, draft, found))

    def _check(self, paths: Sequence[str]) -> None:
        if not paths:
            raise InvalidArgument("there is no path in the call; name at least one", field="paths")
        if len(paths) > self._limits.max_paths:
            message = f"the call names {len(paths):,} paths; at most {self._limits.max_paths:,} go into one, so name folders"
            raise LimitExceeded(message, field="paths", limit=self._limits.max_paths)

    async def _find(self, draft: Draft, paths: Sequence[str]) -> _Found:
        files: list[bytes] = []
        folders: list[bytes] = []
        total, missing = 0, ""
        for path in paths:
            key = path.encode()
            folder = key + b"/"
            here, under = await self._count(draft, key, key + b"\x00"), await self._count(draft, folder, end_of(folder))
            if not here + under:
                missing = missing or path
            if not any(key.startswith(above) for above in folders):  # else it is counted there
                total += here + under
            files += [key] * bool(here)
            folders += [folder] * bool(under)
        return _Found(files, folders, total, missing)

    async def _count(self, draft: Draft, first: bytes, end: bytes) -> int:
        count = 0
        async with aclosing(DraftLines(self._transactions, draft).read(first, end)) as some:
            async for lines in some:
                count += len(lines)
        return count

    async def _remove(self, work: Work, draft: Draft, found: _Found) -> Removed:
        _, revision = await work.drafts.prolong(draft.name, self._limits.draft_lifetime)
        if revision != draft.revision:
            raise _Changed
        if found.missing:
            message = f"the draft has neither a file nor a folder {found.missing!r}; nothing was removed"
            raise EntryNotFound(message, path=found.missing, draft=str(draft.name))
        for folder in found.folders:
            await work.draft_entries.drop_lines(draft.name, folder, end_of(folder))
        gone = dict.fromkeys([*found.files, *found.folders], b"")
        await work.draft_entries.put_lines(draft.name, gone)
        await work.draft_entries.changed(draft.name, -found.entry_count)
        return Removed(found.entry_count)
