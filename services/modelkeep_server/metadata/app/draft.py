"""Drafts: open them, fill them, give them up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

from modelkeep.errors import InvalidArgument, LimitExceeded, ModelkeepError
from modelkeep.names import CollectionName, DraftName, ProjectName

from modelkeep_server.metadata.app.collection import ensure_collection
from modelkeep_server.metadata.domain.call import Call
from modelkeep_server.metadata.domain.draft import Draft, DraftState
from modelkeep_server.metadata.domain.entry import Assembler, Batch, EntryPart, require_same
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller

BATCH_LINES: Final = 1000
BATCH_BYTES: Final = 1 << 20
"""What one transaction writes of a stream of entries: whichever comes first."""

SWEPT_DRAFTS: Final = 4
SWEPT_BATCHES: Final = 10
"""What one call drops of drafts that ended: so many of them, and of each so many batches of entries."""


class DraftApp:
    """The use cases of drafts that are not committed yet."""

    def __init__(self, transactions: Transactions, limits: Limits) -> None:
        self._transactions = transactions
        self._limits = limits

    async def create_draft(self, call: Call, project: ProjectName, collection: CollectionName, type_: str) -> Draft:
        """Open a draft; make its project and collection if they are missing (SEM-1).

        Raises TeamNotFound, CollectionTypeMismatch (SEM-2), InvalidArgument.
        """
        call.caller.require(project.team)
        if collection.parent != project:
            message = f"the collection {collection} is not in the project {project}, where the draft is to be"
            raise InvalidArgument(message, field="draft.collection", value=str(collection))

        async def step(work: Work) -> Draft:
            await ensure_collection(work, collection, type_, call.caller.actor)
            name = DraftName(project.team, project.project, str(uuid4()))
            return await work.drafts.create(name, collection, type_, call.caller.actor, self._limits.draft_lifetime)

        draft = await self._transactions.once(call, Draft, step)
        await self._sweep_some()
        return draft

    async def get_draft(self, caller: Caller, name: DraftName) -> Draft:
        """A draft. Raises DraftNotFound."""
        caller.require(name.team)
        return await self._transactions.read(lambda work: work.drafts.get(name))

    async def abort_draft(self, call: Call, name: DraftName) -> Draft:
        """Give a draft up; one that was aborted or expired stays as it is. Raises DraftNotFound, DraftNotOpen."""
        call.caller.require(name.team)

        async def step(work: Work) -> Draft:
            draft = await work.drafts.lock(name)
            if draft.state is DraftState.COMMITTED:
                draft.require_open()
            if draft.state is DraftState.OPEN:
                await work.drafts.abort(name)
            return await work.drafts.get(name)

        draft = await self._transactions.once(call, Draft, step)
        await sweep(self._transactions, name)
        return draft

    async def add_entries(self, caller: Caller, name: DraftName, messages: AsyncIterator[Sequence[EntryPart]]) -> int:
        """Add the entries of a stream, batch by batch; how many it had. What a broken stream wrote may simply come again.

        Raises DraftNotFound, DraftNotOpen, InvalidPath, InvalidEntry, InvalidReference, PathConflict, LimitExceeded.
        """
        caller.require(name.team)
        assembler = Assembler()
        async for parts in messages:
            self._check(parts)
            for part in parts:
                assembler.add(part)
                if assembler.ready_lines >= BATCH_LINES or assembler.ready_bytes >= BATCH_BYTES:
                    await self._add(name, assembler.take())
        assembler.end()
        await self._add(name, assembler.take())
        return assembler.entry_count

    def _check(self, parts: Sequence[EntryPart]) -> None:
        """Raise LimitExceeded when a message has more than GetCapabilities allows (SEM-27)."""
        found = {
            "entries": (len(parts), self._limits.max_entries_per_message),
            "segments": (sum(len(part.segments) for part in parts), self._limits.max_segments_per_message),
        }
        for what, (count, limit) in found.items():
            if count > limit:
                message = f"a message has {count:,} {what}; at most {limit:,} are allowed, so send more messages"
                raise LimitExceeded(message, field=what, limit=limit)

    async def _add(self, name: DraftName, batch: Batch) -> None:
        async def step(work: Work) -> None:
            count = await work.drafts.prolong(name, self._limits.draft_lifetime)
            await work.manifests.add_pages(name, batch.pages)
            known = await work.drafts.lines(name, batch.lines.keys())
            for path, line in known.items():
                require_same(line, batch.lines[path])
            fresh = {path: line for path, line in batch.lines.items() if path not in known}
            if count + len(fresh) > self._limits.max_entries:
                message = (
                    f"a version has at most {self._limits.max_entries:,} entries; pack small files, or log several versions"
                )
                raise LimitExceeded(message, field="entries", limit=self._limits.max_entries)
            if fresh:
                await work.drafts.add_lines(name, fresh)

        await self._transactions.write(step)

    async def _sweep_some(self) -> None:
        with suppress(ModelkeepError):
            for ended in await self._transactions.read(lambda work: work.drafts.unswept(SWEPT_DRAFTS)):
                await sweep(self._transactions, ended)


async def sweep(transactions: Transactions, name: DraftName) -> None:
    """Drop entries of a draft that ended, in small transactions. What stays is left to the next draft that is opened."""
    with suppress(ModelkeepError):
        for _ in range(SWEPT_BATCHES):
            if await transactions.write(lambda work: work.drafts.sweep(name, BATCH_LINES)):
                return
